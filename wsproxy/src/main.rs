//! `wsproxy [OPTIONS] [LISTEN_ADDR:]PORT TARGET_HOST:PORT`.

mod options;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use options::tls::TlsOptions;
use options::web::WebOptions;
use tokio::net::TcpListener;
use wsproxy::address::{Listen, Target};
use wsproxy::proxy::Proxy;
use wsproxy::tls::Tls;
use wsproxy::{BadSetting, Server, Settings};

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
    #[command(flatten)]
    tls: TlsOptions,
    #[command(flatten)]
    web: WebOptions,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wsproxy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), BadSetting> {
    let tls = options.tls.server()?;
    if let Some(fingerprint) = tls.as_ref().and_then(Tls::fingerprint) {
        println!("SHA-256 fingerprint of the certificate: {fingerprint}");
    }
    let web = options.web.web()?.map(Arc::new);
    let settings = Settings { tls: tls.clone(), web, ..Settings::default() };
    let proxy = Proxy::new(options.target, options.tls.target()?);
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("rt");
    runtime.block_on(async {
        let host = options.listen.host.as_deref().unwrap_or("::");
        let listener = TcpListener::bind((host, options.listen.port)).await.expect("bind");
        if let Some(tls) = tls {
            tokio::spawn(async move { tls.watch().await });
        }
        Server::new(vec![listener], settings, proxy).run().await;
    });
    Ok(())
}
