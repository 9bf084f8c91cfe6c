//! The receiving half of a client.

use std::io::{self, ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use crate::client::done;
use crate::decode::{Decoder, End};
use crate::{TIMEOUT, Wire};

/// The receiving half.
#[derive(Debug)]
pub struct Reader {
    stream: TcpStream,
    decoder: Decoder,
    end: Option<End>,
    /// How many pongs `expect_pong` has returned.
    pongs_told: usize,
}

impl Reader {
    /// `received` is what came behind the opening handshake.
    pub(crate) fn new(stream: TcpStream, wire: Wire, received: &[u8]) -> io::Result<Self> {
        let mut reader = Self { stream, decoder: Decoder::new(wire), end: None, pongs_told: 0 };
        reader.receive(received)?;
        Ok(reader)
    }

    /// The next bytes, at least one; none once the stream has ended ([`Reader::end`] says how).
    ///
    /// # Errors
    /// `TimedOut` after the deadline, `InvalidData` when the server breaks a rule of the dialect.
    pub fn read_some(&mut self) -> io::Result<Vec<u8>> {
        self.fill(1)?;
        Ok(std::mem::take(&mut self.decoder.out))
    }

    /// Exactly `n` bytes.
    ///
    /// # Panics
    /// If the stream ends before or nothing more comes until the deadline.
    #[track_caller]
    pub fn read_exact(&mut self, n: usize) -> Vec<u8> {
        let read = self.try_read_exact(n);
        done(&format!("read {n} bytes, {} have come", self.decoder.out.len()), read)
    }

    /// Exactly `n` bytes.
    ///
    /// # Errors
    /// As [`Reader::read_some`], and `UnexpectedEof` if the stream ends before; what has come stays.
    pub fn try_read_exact(&mut self, n: usize) -> io::Result<Vec<u8>> {
        self.fill(n)?;
        let come = self.decoder.out.len();
        if come < n {
            let end = format!("{come} of {n} bytes, then {:?}", self.end);
            return Err(io::Error::new(ErrorKind::UnexpectedEof, end));
        }
        let rest = self.decoder.out.split_off(n);
        Ok(std::mem::replace(&mut self.decoder.out, rest))
    }

    /// Bytes up to and including the first `last`.
    ///
    /// # Panics
    /// If the stream ends before or nothing more comes until the deadline.
    #[track_caller]
    pub fn read_until(&mut self, last: u8) -> Vec<u8> {
        loop {
            if let Some(at) = self.decoder.out.iter().position(|&byte| byte == last) {
                return self.read_exact(at + 1);
            }
            assert!(self.end.is_none(), "{:?} instead of {last:02x}", self.end);
            done("read a line", self.fill(self.decoder.out.len() + 1));
        }
    }

    /// All bytes up to the end of the stream, be it a Close, a FIN or a reset ([`Reader::end`] says which).
    ///
    /// # Panics
    /// If the stream does not end until the deadline or breaks a rule of the dialect.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        done("read to the end", self.fill(usize::MAX));
        std::mem::take(&mut self.decoder.out)
    }

    /// Waits for the end of the TCP stream behind a Close.
    ///
    /// # Panics
    /// If bytes follow the Close, or payload comes instead of an end, or nothing until the deadline.
    #[track_caller]
    pub fn expect_fin(&mut self) {
        assert_eq!(self.read_to_end(), b"", "payload instead of the end");
        let deadline = Instant::now() + TIMEOUT;
        while matches!(self.end, Some(End::Close(..))) && done("wait for the FIN", self.receive_once(deadline)) {}
    }

    /// How the stream ended; `None` while it has not.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The payloads of the pongs received so far.
    #[must_use]
    pub fn pongs(&self) -> &[Vec<u8>] {
        &self.decoder.pongs
    }

    /// The payload of the next pong that this has not returned yet, waited for if need be; data that comes meanwhile stays
    /// to be read.
    ///
    /// # Panics
    /// If the stream ends before or none comes until the deadline.
    #[track_caller]
    pub fn expect_pong(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(pong) = self.decoder.pongs.get(self.pongs_told) {
                self.pongs_told += 1;
                return pong.clone();
            }
            let more = done("wait for a pong", self.receive_once(deadline));
            assert!(more, "{:?} instead of a pong", self.end);
        }
    }

    /// The TCP connection.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The client's own address, as a server should see its peer.
    ///
    /// # Panics
    /// If getsockname(2) fails.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        done("getsockname", self.stream.local_addr())
    }

    /// Receives until `n` bytes of payload are there or the stream has ended. The deadline is that of the next of them: many
    /// may take their time.
    fn fill(&mut self, n: usize) -> io::Result<()> {
        let (mut come, mut deadline) = (self.decoder.out.len(), Instant::now() + TIMEOUT);
        while self.decoder.out.len() < n && self.end.is_none() {
            self.receive_once(deadline)?;
            if self.decoder.out.len() > come {
                (come, deadline) = (self.decoder.out.len(), Instant::now() + TIMEOUT);
            }
        }
        Ok(())
    }

    /// One recv(2); false at the end of the TCP stream.
    fn receive_once(&mut self, deadline: Instant) -> io::Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut piece = [0; 65_536];
        match self.stream.read(&mut piece) {
            Ok(0) => {
                let end = if self.decoder.at_boundary() { End::Fin } else { End::Cut };
                self.end.get_or_insert(end);
                Ok(false)
            }
            Ok(n) => self.receive(&piece[..n]).map(|()| true),
            Err(error) if ends_with_reset(&error) => {
                self.end.get_or_insert(End::Reset);
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn receive(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.decoder
            .receive(bytes)
            .map_err(|rule| io::Error::new(ErrorKind::InvalidData, format!("the server sent: {rule}")))?;
        if self.end.is_none() {
            self.end.clone_from(&self.decoder.close);
        }
        Ok(())
    }
}

pub(crate) fn ends_with_reset(error: &io::Error) -> bool {
    error.kind() == ErrorKind::ConnectionReset
}
