//! What the examples have in common: a [`Server`] with a page, on the port that the command line names.

use std::error::Error;
use std::future::pending;
use std::sync::Arc;

use wsproxy::address::Listen;
use wsproxy::web::{self, Web};
use wsproxy::{Handler, Server, Settings, socket};

/// The pages, where the sources are.
const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/web");

/// Serves `handler` and the pages at the `[ADDRESS:]PORT` of the command line, to the end of the process.
///
/// # Errors
/// What keeps it from listening.
pub fn serve<H: Handler>(page: &str, handler: H) -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(word), None) = (words.next(), words.next()) else {
        return Err("usage: [ADDRESS:]PORT".into());
    };
    let listen: Listen = word.parse()?;
    let web = Web::new(web::Settings { directory: PAGES.into(), ..web::Settings::default() })?;
    let server = Server::new(Settings { web: Some(Arc::new(web)), ..Settings::default() }, handler);
    tokio::runtime::Runtime::new()?.block_on(async {
        for bound in socket::listen(&listen)? {
            let url = format!("http://{bound}/{page}");
            println!("{url}");
            let (server, listener) = (server.clone(), bound.into_listener()?);
            tokio::spawn(async move {
                if let Err(error) = server.run(listener).await {
                    eprintln!("{url} is served no more: {error}");
                }
            });
        }
        pending().await
    })
}
