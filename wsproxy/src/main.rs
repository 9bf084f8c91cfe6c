//! `wsproxy [OPTIONS] [LISTEN_ADDR:]PORT TARGET_HOST:PORT`.

mod options;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

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
    /// Ping a silent client every so many seconds, and give it up after three without an answer; 0 never
    #[arg(long, value_name = "SECS", default_value_t = 30)]
    heartbeat: u64,
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
    let web = options.web.web()?.map(Arc::new);
    let heartbeat = (options.heartbeat > 0).then(|| Duration::from_secs(options.heartbeat));
    let proxy = Proxy::new(options.target, options.tls.target()?, heartbeat);
    if let Some(fingerprint) = tls.as_ref().and_then(Tls::fingerprint) {
        println!("SHA-256 fingerprint of the certificate: {fingerprint}");
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let server = Server::new(Settings { tls: tls.clone(), web, ..Settings::default() }, proxy);
    let failed = |error| BadSetting::new("listening", options.listen.port.to_string(), error);
    let host = options.listen.host.as_deref().unwrap_or("::");
    let listener = std::net::TcpListener::bind((host, options.listen.port)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let work = move |listener: std::net::TcpListener, server: Server<Proxy>, tls: Option<Tls>| -> io::Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            if let Some(tls) = tls {
                tokio::spawn(async move { tls.watch().await });
            }
            server.run(TcpListener::from_std(listener)?).await;
            Ok(())
        })
    };
    for _ in 1..std::thread::available_parallelism().map_or(1, usize::from) {
        let (copy, server) = (listener.try_clone().map_err(failed)?, server.clone());
        std::thread::spawn(move || work(copy, server, None));
    }
    work(listener, server, tls).map_err(failed)
}
