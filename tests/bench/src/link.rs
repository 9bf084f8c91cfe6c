//! A client's connection to a server of the benchmark.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::tls::Session;
use crate::wire::Wire;

/// A server that says nothing for this long has failed: the benchmark ends with an error, and never hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection with its opening handshake behind it.
pub struct Link {
    stream: TcpStream,
    tls: Option<Box<RefCell<Session>>>,
    wire: Wire,
}

impl Link {
    /// Connects and speaks the opening handshakes. Errors: those of connect(2), and `InvalidData` for a refusal.
    pub fn open(at: SocketAddr, wire: Wire) -> io::Result<Self> {
        Self::over(connect(at)?, wire)
    }

    /// Speaks the opening handshakes over a connection. `InvalidData` is a refusal.
    pub fn over(stream: TcpStream, wire: Wire) -> io::Result<Self> {
        let tls = match wire {
            Wire::Wss => Some(Box::new(RefCell::new(Session::open(&stream)?))),
            Wire::Plain | Wire::Rfc6455 | Wire::Hixie76 => None,
        };
        let link = Self { stream, tls, wire };
        link.write(wire.request())?;
        link.buffered(8 * 1024, |mut from| wire.read_reply(&mut from))?;
        Ok(link)
    }

    /// The socket, for the timed parts without TLS.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// How this connection speaks.
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// Prepared frames as they go over the wire: all that is sealed must be sent, in this order.
    pub fn seal<'a>(&self, bytes: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
        match &self.tls {
            None => Ok(Cow::Borrowed(bytes)),
            Some(session) => Ok(Cow::Owned(session.borrow_mut().seal(&self.stream, bytes)?)),
        }
    }

    /// Sends what was sealed.
    pub fn put(&self, sealed: &[u8]) -> io::Result<()> {
        (&self.stream).write_all(sealed)
    }

    /// Sends bytes as they are: prepared frames.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.put(&self.seal(bytes)?)
    }

    /// Sends `payload` as one frame.
    pub fn send(&self, payload: &[u8]) -> io::Result<()> {
        self.write(&self.wire.frames(payload, usize::MAX))
    }

    /// Fills `buffer`.
    pub fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        match &self.tls {
            None => (&self.stream).read_exact(buffer),
            Some(session) => session.borrow_mut().reader(&self.stream).read_exact(buffer),
        }
    }

    /// Receives exactly `count` bytes of payload, and returns them with the bytes they took on the wire, or within TLS. More
    /// than that is `InvalidData`.
    pub fn receive(&self, count: usize) -> io::Result<(Vec<u8>, u64)> {
        let (mut payload, mut taken) = (Vec::with_capacity(count), 0);
        self.buffered(8 * 1024, |mut from| {
            while payload.len() < count {
                let missing = count - payload.len();
                taken += self.wire.read_frame(&mut from, &mut payload, missing)?;
            }
            Ok(())
        })?;
        if payload.len() > count {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more payload than was asked for"));
        }
        Ok((payload, taken))
    }

    /// Reads through a buffer of `size` bytes that must be empty afterwards: what it held would be missing on the socket.
    pub fn buffered(&self, size: usize, read: impl FnOnce(&mut dyn BufRead) -> io::Result<()>) -> io::Result<()> {
        let rest = match &self.tls {
            None => {
                let mut from = BufReader::with_capacity(size, &self.stream);
                read(&mut from)?;
                from.buffer().len()
            }
            Some(session) => {
                let mut session = session.borrow_mut();
                read(&mut session.reader(&self.stream))?;
                session.unread()
            }
        };
        if rest > 0 {
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
