//! `wsproxy [OPTIONS] [LISTEN_ADDR:]PORT TARGET_HOST:PORT`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::net::TcpListener;
use wsproto::Policy;
use wsproxy::Server;
use wsproxy::address::{Listen, Target};
use wsproxy::proxy::Proxy;

#[derive(Debug, Parser)]
#[command(name = "wsproxy", version, about)]
struct Options {
    /// Log each connection and its end, too
    #[arg(short, long)]
    verbose: bool,
    #[arg(value_name = "[ADDRESS:]PORT")]
    listen: Listen,
    #[arg(value_name = "HOST:PORT")]
    target: Target,
}

fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("rt");
    runtime.block_on(async {
        let host = options.listen.host.as_deref().unwrap_or("::");
        let listener = TcpListener::bind((host, options.listen.port)).await.expect("bind");
        println!("{}", listener.local_addr().expect("addr").port());
        let server =
            Server::new(vec![listener], Policy::default(), Duration::from_secs(10), Proxy::new(options.target));
        server.run().await;
    });
    ExitCode::SUCCESS
}
