//! A client's connection to a server of the benchmark.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::wire::Wire;

/// A server that says nothing for this long has failed: the benchmark ends with an error, and never hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection with its opening handshake behind it.
pub struct Link {
    stream: TcpStream,
    wire: Wire,
}

impl Link {
    /// Connects and speaks the opening handshake. Errors: those of connect(2), and `InvalidData` for a refusal.
    pub fn open(at: SocketAddr, wire: Wire) -> io::Result<Self> {
        let link = Self { stream: connect(at)?, wire };
        link.write(wire.request())?;
        link.buffered(|from| wire.read_reply(from))?;
        Ok(link)
    }

    /// The socket, for the timed parts.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// How this connection speaks.
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// Sends bytes as they are: prepared frames.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.stream).write_all(bytes)
    }

    /// Sends `payload` as one frame.
    pub fn send(&self, payload: &[u8]) -> io::Result<()> {
        self.write(&self.wire.frames(payload, usize::MAX))
    }

    /// Receives exactly `count` bytes of payload, and returns them with the bytes they took on the wire. More
    /// than that is `InvalidData`.
    pub fn receive(&self, count: usize) -> io::Result<(Vec<u8>, u64)> {
        let (mut payload, mut taken) = (Vec::with_capacity(count), 0);
        self.buffered(|from| {
            while payload.len() < count {
                let missing = count - payload.len();
                taken += self.wire.read_frame(from, &mut payload, missing)?;
            }
            Ok(())
        })?;
        if payload.len() > count {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more payload than was asked for"));
        }
        Ok((payload, taken))
    }

    /// Reads through a buffer that must be empty afterwards: what it held would be missing on the socket.
    fn buffered(&self, read: impl FnOnce(&mut BufReader<&TcpStream>) -> io::Result<()>) -> io::Result<()> {
        let mut from = BufReader::new(&self.stream);
        read(&mut from)?;
        if !from.buffer().is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the server sent more than was asked for"));
        }
        Ok(())
    }
}

/// A TCP connection that sends at once and gives up after 20 seconds of silence.
pub fn connect(at: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(at)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
