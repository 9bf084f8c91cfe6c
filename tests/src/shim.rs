//! A way to a wrapped server for clients that speak plain TCP: each connection becomes a WebSocket.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::net::uninterrupted;
use crate::{Client, Reader, Wire, Writer};

/// A listener on a free port of 127.0.0.1. Accepts until it is dropped; connections end with their clients.
#[derive(Debug)]
pub struct Shim {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Shim {
    /// Leads to `server` over `wire`.
    ///
    /// # Errors
    /// Those of bind(2).
    pub fn start(server: SocketAddr, wire: Wire) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                // A refused connection ends the TCP client's as well: that is all it can learn.
                match stream.and_then(|stream| pump(stream, server, wire)) {
                    Ok(()) => {}
                    Err(error) => eprintln!("shim to {server}, {wire:?}: {error}"),
                }
            }
        });
        Ok(Self { addr, stop })
    }

    /// Where TCP clients connect to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the accepting thread; if that fails it ends with the process.
        let _ = TcpStream::connect(self.addr);
    }
}

fn pump(tcp: TcpStream, server: SocketAddr, wire: Wire) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let (reader, writer) = Client::connect(server, wire)?.split();
    let back = tcp.try_clone()?;
    thread::spawn(move || forward(tcp, writer));
    thread::spawn(move || backward(reader, back));
    Ok(())
}

fn forward(mut tcp: TcpStream, mut writer: Writer) {
    let mut bytes = vec![0; 65_536];
    loop {
        match uninterrupted(|| tcp.read(&mut bytes)) {
            Ok(n) if n > 0 => {
                if writer.try_send(&bytes[..n]).is_err() {
                    break;
                }
            }
            _ => break,
        }
    }
    // The server may be gone already, then there is nothing to close.
    let _ = writer.try_close(1000);
}

fn backward(mut reader: Reader, mut tcp: TcpStream) {
    loop {
        match reader.read_some() {
            Ok(bytes) if !bytes.is_empty() => {
                if tcp.write_all(&bytes).is_err() {
                    break;
                }
            }
            Ok(_) => break,
            // An idle connection is none that has ended.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            Err(error) => {
                eprintln!("shim: {error}");
                break;
            }
        }
    }
    // The client may have gone first.
    let _ = tcp.shutdown(Shutdown::Both);
}
