//! `wstest [ADDRESS:]PORT`: a load test. Its page, `wstest.html`, and the server send each other messages of random digits, and each
//! checks what it gets: see [`message`]. `?delay=MS` in the request's path is the pause between two messages of the server;
//! 0 is as fast as the client takes them.

mod message;

use std::error::Error;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use message::{Checker, Maker};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{interval, sleep, timeout};
use wsproxy::{Handler, Request, Stream, WebSocket};

/// The pause between two messages, in milliseconds, unless the client asks for another.
const DELAY: u64 = 10;

/// How often the counts are shown.
const SHOWN: Duration = Duration::from_secs(1);

/// How long the last message may take.
const PARTING: Duration = Duration::from_secs(5);

struct Test;

impl Handler for Test {
    async fn serve(&self, request: Request, socket: WebSocket<Stream>) {
        let id = request.id;
        let (from, mut to) = tokio::io::split(socket);
        let (mut checker, mut maker) = (Checker::default(), Maker::seeded(id));
        println!("{id}: open, from {}", request.peer);
        let over = AtomicBool::new(false);
        {
            let mut sending = pin!(send(&mut to, &mut maker, delay(&request.accepted.path), &over));
            let sends = tokio::select! {
                () = check(id, from, &mut checker) => true,
                () = &mut sending => false,
            };
            over.store(true, Ordering::Relaxed);
            if sends {
                // Close stands between frames: the message that is under way is ended.
                let _ = timeout(PARTING, sending).await;
            }
        }
        let _ = to.shutdown().await;
        println!("{id}: end: sent {}, {checker}", maker.made());
    }
}

/// Checks what comes, to its end.
async fn check(id: u64, mut from: impl AsyncRead + Unpin, checker: &mut Checker) {
    let mut buffer = vec![0; 64 * 1024];
    let mut shown = interval(SHOWN);
    loop {
        tokio::select! {
            read = from.read(&mut buffer) => {
                let Ok(count @ 1..) = read else { return };
                for error in checker.take(buffer.get(..count).unwrap_or_default()) {
                    println!("{id}: error: {error}");
                }
            }
            _ = shown.tick() => println!("{id}: {checker}"),
        }
    }
}

/// Sends messages until it is over, or the client takes no more.
async fn send(to: &mut (impl AsyncWrite + Unpin), maker: &mut Maker, delay: Duration, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) && to.write_all(&maker.next()).await.is_ok() && to.flush().await.is_ok() {
        if !delay.is_zero() {
            sleep(delay).await;
        }
    }
}

/// The `delay` that a path asks for.
fn delay(path: &str) -> Duration {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("delay=")?.parse().ok());
    Duration::from_millis(asked.unwrap_or(DELAY))
}

fn main() -> Result<(), Box<dyn Error>> {
    wsexamples::serve("wstest.html", Test)
}
