//! The sockets that are listened on, as long as they are.

use std::collections::BTreeMap;
use std::io;

use tokio::sync::watch;
use wsproxy::socket::Bound;

/// Those that are left, by their numbers, and where they listen. One can go: whoever shares it can shut it down.
#[derive(Debug)]
pub struct Doors {
    left: watch::Sender<BTreeMap<usize, String>>,
    /// There were any. A program that serves by itself has its own, and inetd's nowait has none.
    any: bool,
}

impl Doors {
    /// All of `listeners`, counted in their order.
    pub fn new(listeners: &[Bound]) -> Self {
        let left = listeners.iter().map(ToString::to_string).enumerate().collect();
        Doors { left: watch::Sender::new(left), any: !listeners.is_empty() }
    }

    /// Socket `number` listens no more. Every worker finds out, and the first has it logged.
    pub fn lost(&self, number: usize, error: &io::Error) {
        self.left.send_if_modified(|left| {
            let address = left.remove(&number);
            if let Some(address) = &address {
                tracing::error!(address, %error, "this address is listened on no more");
            }
            address.is_some()
        });
    }

    /// Ready when there were some and none is left.
    pub async fn none_left(&self) {
        if !self.any {
            std::future::pending::<()>().await;
        }
        // The sender lives as long as `self`.
        let _ = self.left.subscribe().wait_for(BTreeMap::is_empty).await;
    }
}
