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
    /// Ping a silent client every so many seconds, and give it up after three without an answer; 0 never
    #[arg(long, value_name = "SECS", default_value_t = 30)]
    heartbeat: u64,
    #[arg(value_name = "[ADDRESS:]PORT")]
    listen: Listen,
    #[arg(value_name = "HOST:PORT")]
    target: Target,
}

fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let host = options.listen.host.as_deref().unwrap_or("::");
    let listener = std::net::TcpListener::bind((host, options.listen.port)).expect("bind");
    listener.set_nonblocking(true).expect("nb");
    let heartbeat = (options.heartbeat > 0).then(|| Duration::from_secs(options.heartbeat));
    let server = Server::new(Policy::default(), Duration::from_secs(10), Proxy::new(options.target, heartbeat));
    let n = std::thread::available_parallelism().map_or(1, |n| n.get());
    let work = move |listener: std::net::TcpListener, server: Server<Proxy>| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("rt");
        runtime.block_on(async { server.run(TcpListener::from_std(listener).expect("x")).await });
    };
    for _ in 1..n {
        let (l, s) = (listener.try_clone().expect("c"), server.clone());
        std::thread::spawn(move || work(l, s));
    }
    work(listener, server);
    ExitCode::SUCCESS
}
