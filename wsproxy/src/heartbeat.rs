//! Whether a client is still there.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use crate::websocket::WebSocket;

/// How many pings in a row may be without any sign of life.
const MISSED: u32 = 3;

/// Pings a client that is silent, at an interval.
///
/// Whatever a client sends shows that it lives, so one that sends is not pinged; and proxies on the way that cut silent
/// connections see the pings and the pongs. So does one live that takes bytes from a connection that was full: they are in front
/// of the ping. Clients of hixie know no pings and are taken to live, and so are those that are not listened to, because
/// the target does not take what they have said before.
pub(crate) struct Heartbeat {
    ticks: Option<Interval>,
    received: u64,
    /// What had been written to a client that took no more.
    held: Option<u64>,
    missed: u32,
}

impl Heartbeat {
    /// Pings `client` every `interval`, if there is one.
    pub(crate) fn new<C>(client: &WebSocket<C>, interval: Option<Duration>) -> Self
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let interval = interval.filter(|_| client.has_pings());
        let ticks = interval.map(|interval| {
            let mut ticks = interval_at(tokio::time::Instant::now() + interval, interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Heartbeat { ticks, received: client.received(), held: None, missed: 0 }
    }

    /// Ready when the client has answered none of [`MISSED`] pings, an interval after the last. `listens`: what the client sends is
    /// read. `held`: what has been written, if the client takes no more.
    pub(crate) fn poll<C>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut WebSocket<C>,
        listens: bool,
        held: Option<u64>,
    ) -> Poll<()>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(ticks) = &mut self.ticks else { return Poll::Pending };
        while ticks.poll_tick(cx).is_ready() {
            let speaks = std::mem::replace(&mut self.received, client.received()) != client.received();
            let takes = std::mem::replace(&mut self.held, held).is_some_and(|before| held != Some(before));
            if speaks || takes {
                self.missed = 0;
                continue;
            }
            if listens && self.missed == MISSED {
                return Poll::Ready(());
            }
            self.missed = if listens { self.missed + 1 } else { 0 };
            client.ping();
            // What cannot go out waits for the next write. An error is found by that, or by a read, if there is one.
            if matches!(Pin::new(&mut *client).poll_flush(cx), Poll::Ready(Err(_))) && !listens {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}
