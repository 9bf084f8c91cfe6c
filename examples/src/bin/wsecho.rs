//! `wsecho [ADDRESS:]PORT`: sends back what it gets. Its page, `wsecho.html`, says something every half second.

use std::error::Error;

use wsproxy::{Handler, Request, Stream, WebSocket};

struct Echo;

impl Handler for Echo {
    async fn serve(&self, request: Request, socket: WebSocket<Stream>) {
        let (mut from, mut to) = tokio::io::split(socket);
        let copied = tokio::io::copy(&mut from, &mut to).await;
        println!("{}: {copied:?}", request.id);
        // Close, now that the client has sent its own, or broken a rule.
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut to).await;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    wsexamples::serve("wsecho.html", Echo)
}
