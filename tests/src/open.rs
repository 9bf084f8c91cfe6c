//! The opening handshake as a client makes it, and the checks of what the server answers.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::{Digest as _, Sha1};

use crate::http::{Reply, check, read_head, read_to_end};
use crate::{Client, Rng, TIMEOUT, Wire, encode};

/// The options of a client; [`Client::builder`] makes one.
#[derive(Clone, Debug)]
pub struct Builder {
    wire: Wire,
    path: String,
    origin: Option<String>,
    version: u8,
    protocols: Option<String>,
    early: Option<Vec<u8>>,
    seed: u64,
}

impl Builder {
    pub(crate) fn new(wire: Wire) -> Self {
        Self {
            wire,
            path: "/".into(),
            // The drafts require an Origin; RFC 6455 clients that are no browsers send none.
            origin: wire.is_hixie().then(|| "http://example.com".into()),
            version: 13,
            protocols: (wire == Wire::Rfc6455Base64).then(|| "base64".into()),
            early: None,
            seed: 1,
        }
    }

    /// The resource name of the request, `/` by default.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    /// The Origin (`Sec-WebSocket-Origin` in versions 7 and 8).
    #[must_use]
    pub fn origin(mut self, origin: &str) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// `Sec-WebSocket-Version`, 13 by default.
    #[must_use]
    pub fn version(mut self, version: u8) -> Self {
        self.version = version;
        self
    }

    /// The subprotocols offered, as the header has them: `binary, base64`.
    #[must_use]
    pub fn protocols(mut self, protocols: &str) -> Self {
        self.protocols = Some(protocols.into());
        self
    }

    /// Payload that is sent in the same segment as the request.
    #[must_use]
    pub fn early(mut self, bytes: &[u8]) -> Self {
        self.early = Some(bytes.into());
        self
    }

    /// The seed of keys and masks.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Connects and makes the opening handshake.
    ///
    /// # Errors
    /// Those of connect(2); `ConnectionRefused` with the HTTP reply when the server refuses; `InvalidData` when its reply
    /// is not what the dialect demands.
    pub fn connect(self, addr: impl ToSocketAddrs) -> io::Result<Client> {
        self.begin(addr)?.finish()
    }

    /// Connects and sends nothing yet.
    ///
    /// # Errors
    /// Those of connect(2).
    pub fn begin(self, addr: impl ToSocketAddrs) -> io::Result<Pending> {
        let addr = addr.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("no address"))?;
        let stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut rng = Rng::silent(self.seed);
        let (mut request, expected) = self.request(&addr.to_string(), &mut rng);
        if let Some(early) = &self.early {
            encode::message(self.wire, early, &mut rng, &mut request);
        }
        Ok(Pending { stream, request, sent: 0, expected, rng, options: self })
    }

    fn request(&self, host: &str, rng: &mut Rng) -> (Vec<u8>, Expected) {
        if self.wire == Wire::Plain {
            return (Vec::new(), Expected::Nothing);
        }
        let mut head = format!("GET {} HTTP/1.1\r\n", self.path);
        let mut line = |text: String| {
            head.push_str(&text);
            head.push_str("\r\n");
        };
        line(format!("Host: {host}"));
        line("Connection: Upgrade".into());
        line(format!("Upgrade: {}", if self.wire.is_hixie() { "WebSocket" } else { "websocket" }));
        let mut tail = Vec::new();
        let expected = match self.wire {
            Wire::Plain => Expected::Nothing,
            Wire::Hixie75 => Expected::Hixie75 { host: host.into() },
            Wire::Hixie76 => {
                let (number1, key1) = hixie76_key(rng);
                let (number2, key2) = hixie76_key(rng);
                line(format!("Sec-WebSocket-Key1: {key1}"));
                line(format!("Sec-WebSocket-Key2: {key2}"));
                tail = rng.bytes(8);
                let challenge = [&number1.to_be_bytes(), &number2.to_be_bytes(), tail.as_slice()].concat();
                Expected::Hixie76 { host: host.into(), answer: Md5::digest(challenge).to_vec() }
            }
            Wire::Rfc6455 | Wire::Rfc6455Base64 => {
                let key = STANDARD.encode(rng.bytes(16));
                line(format!("Sec-WebSocket-Key: {key}"));
                line(format!("Sec-WebSocket-Version: {}", self.version));
                // RFC 6455 section 1.3.
                let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
                Expected::Rfc6455 { accept: STANDARD.encode(digest) }
            }
        };
        if let Some(origin) = &self.origin {
            let old = self.wire.is_rfc6455() && self.version < 13;
            line(format!("{}Origin: {origin}", if old { "Sec-WebSocket-" } else { "" }));
        }
        if let Some(protocols) = &self.protocols {
            let prefix = if self.wire == Wire::Hixie75 { "" } else { "Sec-" };
            line(format!("{prefix}WebSocket-Protocol: {protocols}"));
        }
        head.push_str("\r\n");
        let mut request = head.into_bytes();
        request.append(&mut tail);
        (request, expected)
    }
}

/// What the server has to answer.
#[derive(Debug)]
enum Expected {
    Nothing,
    Hixie75 { host: String },
    Hixie76 { host: String, answer: Vec<u8> },
    Rfc6455 { accept: String },
}

/// A client in the middle of its opening handshake.
#[derive(Debug)]
pub struct Pending {
    stream: TcpStream,
    request: Vec<u8>,
    sent: usize,
    expected: Expected,
    rng: Rng,
    options: Builder,
}

impl Pending {
    /// How many bytes of the request (and of early data) are not sent yet.
    #[must_use]
    pub fn left(&self) -> usize {
        self.request.len() - self.sent
    }

    /// Sends the next `n` bytes of the request, or what is left of it.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn advance(&mut self, n: usize) -> io::Result<()> {
        let end = self.request.len().min(self.sent + n);
        self.stream.write_all(&self.request[self.sent..end])?;
        self.sent = end;
        Ok(())
    }

    /// The TCP connection.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends the rest and waits for the answer.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub fn finish(mut self) -> io::Result<Client> {
        self.advance(usize::MAX - self.sent)?;
        let (protocol, rest) = match &self.expected {
            Expected::Nothing => (None, Vec::new()),
            expected => {
                let (head, mut rest) = read_head(&self.stream)?;
                let reply = Reply::parse(&head)?;
                if reply.status != 101 {
                    let body = read_to_end(&self.stream)?;
                    let refused = Reply { body: [rest, body].concat(), ..reply };
                    return Err(io::Error::new(io::ErrorKind::ConnectionRefused, refused.to_string()));
                }
                if let Expected::Hixie76 { answer, .. } = expected {
                    while rest.len() < 16 {
                        let mut byte = [0];
                        self.stream.read_exact(&mut byte)?;
                        rest.push(byte[0]);
                    }
                    let after = rest.split_off(16);
                    let sent = std::mem::replace(&mut rest, after);
                    check(&sent == answer, || format!("answer {sent:02x?}, not {answer:02x?}"))?;
                }
                (self.options.check_reply(expected, &head, &reply)?, rest)
            }
        };
        Client::opened(self.stream, self.options.wire, protocol, &rest, self.rng)
    }
}

impl Builder {
    fn check_reply(&self, expected: &Expected, head: &[u8], reply: &Reply) -> io::Result<Option<String>> {
        let is = |name: &str, value: &str| {
            let sent = reply.header(name);
            check(sent == Some(value), || format!("{name} is {sent:?}, not {value:?}"))
        };
        let prefix = match expected {
            Expected::Nothing => return Ok(None),
            Expected::Hixie75 { host } => {
                // Draft 75 section 3.1 has the client compare these bytes one by one.
                let start =
                    b"HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n";
                check(head.starts_with(start), || format!("not draft 75: {}", String::from_utf8_lossy(head)))?;
                is("WebSocket-Origin", self.origin.as_deref().unwrap_or_default())?;
                is("WebSocket-Location", &format!("ws://{host}{}", self.path))?;
                ""
            }
            Expected::Hixie76 { host, .. } => {
                is("Upgrade", "WebSocket")?;
                is("Connection", "Upgrade")?;
                is("Sec-WebSocket-Origin", self.origin.as_deref().unwrap_or_default())?;
                is("Sec-WebSocket-Location", &format!("ws://{host}{}", self.path))?;
                "Sec-"
            }
            Expected::Rfc6455 { accept } => {
                is("Upgrade", "websocket")?;
                is("Connection", "Upgrade")?;
                is("Sec-WebSocket-Accept", accept)?;
                "Sec-"
            }
        };
        let protocol = reply.header(&format!("{prefix}WebSocket-Protocol"));
        let offered: Vec<&str> = self.protocols.iter().flat_map(|list| list.split(',')).map(str::trim).collect();
        check(protocol.is_none_or(|protocol| offered.contains(&protocol)), || {
            format!("protocol {protocol:?} was not offered in {offered:?}")
        })?;
        if self.wire == Wire::Rfc6455Base64 {
            check(protocol == Some("base64"), || format!("protocol {protocol:?}, not base64"))?;
        } else if self.wire == Wire::Rfc6455 && offered.contains(&"binary") {
            check(protocol == Some("binary"), || format!("protocol {protocol:?}, not binary"))?;
        }
        Ok(protocol.map(str::to_owned))
    }
}

/// A number and the key that hides it: draft 76 section 4.1, steps 16 to 24 of the request.
fn hixie76_key(rng: &mut Rng) -> (u32, String) {
    let spaces = rng.between(1, 12) as u32;
    let number = rng.between(0, (u32::MAX / spaces) as usize) as u32;
    let mut key: Vec<char> = (number * spaces).to_string().chars().collect();
    for _ in 0..rng.between(1, 12) {
        let at = rng.between(0, key.len());
        let code = [rng.between(0x21, 0x2F), rng.between(0x3A, 0x7E)][rng.between(0, 1)];
        key.insert(at, char::from(code as u8));
    }
    for _ in 0..spaces {
        // Neither at the start nor at the end, where they would be no part of the value.
        let at = rng.between(1, key.len() - 1);
        key.insert(at, ' ');
    }
    (number, key.into_iter().collect())
}
