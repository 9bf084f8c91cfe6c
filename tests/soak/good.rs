//! Clients that do no harm, and check what they get.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wstests::{Client, Process, Rng, Server, Wire};

/// A short conversation. Returns how long the longest wait in it was: for the handshake, for an echo, or for the end.
pub fn quick(addr: SocketAddr, wire: Wire, rng: &mut Rng) -> Duration {
    let mut longest = Duration::ZERO;
    let mut begun = Instant::now();
    let mut lap = || {
        longest = longest.max(begun.elapsed());
        begun = Instant::now();
        longest
    };
    let mut client = Client::builder(wire).seed(rng.bits()).connect(addr).unwrap_or_else(|e| panic!("{wire:?}: {e}"));
    lap();
    for _ in 0..3 {
        let len = rng.between(1, 2000);
        let sent = rng.bytes(len);
        client.send(&sent);
        assert!(client.read_exact(len) == sent, "{wire:?}: not what was sent");
        lap();
    }
    client.close(1000);
    assert_eq!(client.read_to_end(), b"", "{wire:?}: more than was sent");
    lap()
}

/// The first conversation, which brings what is made once. Returns how many descriptors the server has without a client.
pub fn first(server: &Server) -> usize {
    // A client that is there before the server waits needs nothing of what is made for waiting.
    Process::new(server.pid()).await_sleep();
    let mut client = Client::connect(server.addr(), Wire::Rfc6455).unwrap();
    client.send(b"first");
    assert_eq!(client.read_exact(5), b"first");
    // While the client is there: when it has gone the server may take its time.
    Process::new(server.pid()).descriptors() - 1
}

/// As many handshakes at a time as the library keeps (1024), and more: their objects stay with it for those who come later.
pub fn crowd(server: &Server, rng: &mut Rng) {
    let mut pending = Vec::new();
    for _ in 0..22 {
        for seed in 0..50 {
            // Who has said something is with the library; who is silent may still be the kernel's (TCP_DEFER_ACCEPT).
            let mut client = Client::builder(Wire::Rfc6455).seed(seed).begin(server.addr()).unwrap();
            client.advance(1).unwrap();
            pending.push(client);
        }
        // Once another was served they have been looked at.
        quick(server.addr(), Wire::Rfc6455, rng);
    }
}

/// A long one, in which nothing is done the simple way, that ends in any way.
pub fn thorough(addr: SocketAddr, wire: Wire, rng: &mut Rng) {
    let mut client = Client::builder(wire).seed(rng.bits()).connect(addr).unwrap_or_else(|e| panic!("{wire:?}: {e}"));
    let len = rng.length(150_000);
    let sent = rng.bytes(len);
    let got = client.exchange(&sent, rng, len);
    assert!(got == sent, "{wire:?}: not what was sent");
    client.assert_pongs();
    match rng.between(0, 3) {
        0 => drop(client),
        1 => client.abort(),
        2 => {
            client.shutdown_write();
            assert_eq!(client.read_to_end(), b"", "{wire:?}: more than was sent");
        }
        _ => {
            client.close(1000);
            assert_eq!(client.read_to_end(), b"", "{wire:?}: more than was sent");
        }
    }
}
