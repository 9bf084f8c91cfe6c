//! HTTP replies, read strictly.

use std::io::{self, Read as _};
use std::net::{TcpStream, ToSocketAddrs};

use crate::net::uninterrupted;
use crate::reader::ends_with_reset;
use crate::{Client, Wire};

/// An HTTP reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The header lines, names and values, in their order.
    pub headers: Vec<(String, String)>,
    /// What follows the head, up to the end of the connection.
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a header, its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn parse(head: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(head).map_err(|_| invalid("the reply is not UTF-8".into()))?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
            .ok_or_else(|| invalid(format!("not an HTTP/1.1 reply: {text:?}")))?;
        let headers = lines
            .take_while(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(':').ok_or_else(|| invalid(format!("header line {line:?}")))?;
                check(!line.contains('\n'), || format!("a bare line feed in {line:?}"))?;
                Ok((name.to_owned(), value.trim().to_owned()))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { status, headers, body: Vec::new() })
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {:?} {}", self.status, self.headers, self.text())
    }
}

/// Sends `request` as it is and reads the reply up to the end of the connection.
///
/// # Errors
/// Those of the connection; `InvalidData` when no HTTP reply comes; `TimedOut`/`WouldBlock` when the server keeps the
/// connection open for the deadline.
pub fn http(addr: impl ToSocketAddrs, request: &[u8]) -> io::Result<Reply> {
    let mut client = Client::connect(addr, Wire::Plain)?;
    client.try_send(request)?;
    let (head, rest) = read_head(client.stream())?;
    let body = read_to_end(client.stream())?;
    Ok(Reply { body: [rest, body].concat(), ..Reply::parse(&head)? })
}

/// Reads up to the end of the stream; a reset ends it as well: a server that closes while bytes of ours are unread causes
/// one, after its reply.
pub(crate) fn read_to_end(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if !ends_with_reset(&error) => Err(error),
        _ => Ok(bytes),
    }
}

/// The head of a reply with its blank line, and what came with it.
pub(crate) fn read_head(mut stream: &TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((bytes, rest));
        }
        let n = uninterrupted(|| stream.read(&mut piece))?;
        check(n > 0, || format!("the connection ended in the reply: {:?}", String::from_utf8_lossy(&bytes)))?;
        bytes.extend_from_slice(&piece[..n]);
    }
}

pub(crate) fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub(crate) fn check(holds: bool, what: impl FnOnce() -> String) -> io::Result<()> {
    if holds { Ok(()) } else { Err(invalid(what())) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::unix::thread::JoinHandleExt as _;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::TIMEOUT;

    static SIGNALS: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn count(_: libc::c_int) {
        SIGNALS.fetch_add(1, Ordering::Relaxed);
    }

    #[test]
    fn a_signal_does_not_end_the_wait_for_a_reply() {
        // SAFETY: the handler only counts; `sigaction` is valid when zeroed: no flags, and SA_RESTART is one.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = count as *const () as usize;
            assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(TIMEOUT)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let reader = thread::spawn(move || read_head(&client));
        // Most of so many find the reader waiting.
        while SIGNALS.load(Ordering::Relaxed) < 1000 && !reader.is_finished() {
            // SAFETY: the thread has not been joined, so its handle is good.
            unsafe { libc::pthread_kill(reader.as_pthread_t(), libc::SIGUSR1) };
        }
        server.write_all(b"HTTP/1.1 200 OK\r\n\r\nrest").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), b"rest".to_vec()));
    }
}
