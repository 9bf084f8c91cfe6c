//! What goes over the wire, from the client's side: opening handshakes and frames.
//!
//! Written against the specifications alone, so that a mistake of the library shows.

use std::io::{self, BufRead, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How a client speaks to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Bare TCP.
    Plain,
    /// RFC 6455, binary frames.
    Rfc6455,
    /// The same over TLS.
    Wss,
    /// draft-ietf-hybi-thewebsocketprotocol-00, base64 in text frames.
    Hixie76,
}

/// The request of RFC 6455 section 1.3, with its key and the answer that goes with it.
const RFC6455_REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const RFC6455_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The keys of draft-ietf-hybi-thewebsocketprotocol-00 section 1.2, and the answer that goes with them.
const HIXIE76_REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
    Origin: http://localhost\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\
    Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n^n:ds[4U";
const HIXIE76_ANSWER: &str = "8jKS'y:G*Co,Wxa-";

fn broken(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Wire {
    /// What the client sends first; empty for [`Wire::Plain`].
    pub fn request(self) -> &'static [u8] {
        match self {
            Self::Plain => b"",
            Self::Rfc6455 | Self::Wss => RFC6455_REQUEST.as_bytes(),
            Self::Hixie76 => HIXIE76_REQUEST.as_bytes(),
        }
    }

    /// Reads the reply to [`Wire::request`]. A refusal or a wrong answer is `InvalidData`.
    pub fn read_reply(self, from: &mut impl BufRead) -> io::Result<()> {
        if self == Self::Plain {
            return Ok(());
        }
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if from.read_line(&mut head)? == 0 {
                return Err(broken(format!("no whole reply to the handshake: {head:?}")));
            }
        }
        let mut answer = [0; 16];
        if self == Self::Hixie76 {
            from.read_exact(&mut answer)?;
        }
        let right = match self {
            Self::Hixie76 => answer == HIXIE76_ANSWER.as_bytes(),
            Self::Plain | Self::Rfc6455 | Self::Wss => head.contains(RFC6455_ACCEPT),
        };
        if !head.starts_with("HTTP/1.1 101 ") || !right {
            return Err(broken(format!("the handshake failed: {head:?}")));
        }
        Ok(())
    }

    /// `payload` as the client sends it, in frames of `size` bytes (the last one may be shorter).
    pub fn frames(self, payload: &[u8], size: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 * payload.len());
        for (number, part) in payload.chunks(size).enumerate() {
            match self {
                Self::Plain => out.extend_from_slice(part),
                Self::Rfc6455 | Self::Wss => masked_frame(&mut out, part, number),
                Self::Hixie76 => {
                    out.push(0x00);
                    out.extend_from_slice(STANDARD.encode(part).as_bytes());
                    out.push(0xff);
                }
            }
        }
        out
    }

    /// The one frame in which a server is to send `payload`, which is shorter than 126 bytes; not for hixie.
    pub fn short_reply(self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        if matches!(self, Self::Rfc6455 | Self::Wss) {
            out.extend([0x82, u8::try_from(payload.len()).unwrap_or(u8::MAX)]);
        }
        out.extend_from_slice(payload);
        out
    }

    /// Reads what comes next from a server and appends its payload to `out`; at most `limit` bytes, which only
    /// matters for [`Wire::Plain`], where nothing marks an end. Returns the bytes taken from the wire. Whatever
    /// a server has no reason to send here, such as control frames, is `InvalidData`.
    pub fn read_frame(self, from: &mut impl BufRead, out: &mut Vec<u8>, limit: usize) -> io::Result<u64> {
        let taken = match self {
            Self::Plain => {
                let there = from.fill_buf()?;
                let (part, _) = there.split_at(there.len().min(limit));
                out.extend_from_slice(part);
                let taken = part.len();
                from.consume(taken);
                taken
            }
            Self::Rfc6455 | Self::Wss => read_rfc6455(from, out)?,
            Self::Hixie76 => read_hixie(from, out)?,
        };
        if taken == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        u64::try_from(taken).map_err(io::Error::other)
    }
}

/// RFC 6455 section 5.2: a final binary frame with a mask of its own.
fn masked_frame(out: &mut Vec<u8>, part: &[u8], number: usize) {
    out.push(0x82);
    match (u8::try_from(part.len()), u16::try_from(part.len())) {
        (Ok(length @ 0..=125), _) => out.push(0x80 | length),
        (_, Ok(length)) => {
            out.push(0x80 | 126);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend((part.len() as u64).to_be_bytes());
        }
    }
    // Any non-zero mask will do; an odd factor makes neighbours differ.
    let mask = (number as u32).wrapping_mul(0x9e37_79b1).wrapping_add(0x1357_9bdf).to_be_bytes();
    out.extend(mask);
    out.extend(part.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
}

fn read_rfc6455(from: &mut impl BufRead, out: &mut Vec<u8>) -> io::Result<usize> {
    let mut head = [0; 2];
    from.read_exact(&mut head)?;
    let [kind, length] = head;
    if kind != 0x82 {
        return Err(broken(format!("a frame that is no final binary one: {head:02x?}")));
    }
    let (header, length) = match length {
        126 => {
            let mut long = [0; 2];
            from.read_exact(&mut long)?;
            (4, usize::from(u16::from_be_bytes(long)))
        }
        127 => {
            let mut long = [0; 8];
            from.read_exact(&mut long)?;
            (10, usize::try_from(u64::from_be_bytes(long)).map_err(io::Error::other)?)
        }
        0x80.. => return Err(broken("a masked frame from the server")),
        short => (2, usize::from(short)),
    };
    let before = out.len();
    from.take(length as u64).read_to_end(out)?;
    if out.len() - before != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(header + length)
}

fn read_hixie(from: &mut impl BufRead, out: &mut Vec<u8>) -> io::Result<usize> {
    let mut frame = Vec::new();
    let taken = from.read_until(0xff, &mut frame)?;
    match frame.as_slice() {
        [0x00, text @ .., 0xff] => {
            STANDARD.decode_vec(text, out).map_err(|error| broken(format!("base64: {error}")))?;
            Ok(taken)
        }
        [] => Ok(0),
        other => Err(broken(format!("no text frame: {:02x?}", other.iter().take(16).collect::<Vec<_>>()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_frames_carry_mask_and_shortest_length() {
        let frames = Wire::Rfc6455.frames(b"Hello", 3);
        assert_eq!(frames[..2], [0x82, 0x83]);
        assert_eq!(frames[6] ^ frames[2], b'H');
        assert_eq!(frames.len(), 2 * 6 + 5);
        assert_eq!(Wire::Rfc6455.frames(&[7; 126], 200)[1..4], [0xfe, 0, 126]);
        assert_eq!(Wire::Rfc6455.frames(&[7; 65536], 65536)[1..10], [0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn server_frames_are_read_and_counted() {
        let mut out = Vec::new();
        let mut wire: &[u8] = &[0x82, 2, b'h', b'i', 0x82, 126, 0, 1, b'!'];
        assert_eq!(Wire::Rfc6455.read_frame(&mut wire, &mut out, 9).unwrap(), 4);
        assert_eq!(Wire::Rfc6455.read_frame(&mut wire, &mut out, 9).unwrap(), 5);
        assert_eq!(out, b"hi!");
        assert!(Wire::Rfc6455.read_frame(&mut &[0x89, 0][..], &mut out, 9).is_err());
        assert!(Wire::Rfc6455.read_frame(&mut &[0x82, 5, 1][..], &mut out, 9).is_err());
    }

    #[test]
    fn hixie_frames_are_what_the_client_sends() {
        let frames = Wire::Hixie76.frames(b"Hello", 4);
        assert_eq!(frames, b"\x00SGVsbA==\xff\x00bw==\xff");
        let (mut out, mut wire) = (Vec::new(), frames.as_slice());
        while !wire.is_empty() {
            Wire::Hixie76.read_frame(&mut wire, &mut out, 9).unwrap();
        }
        assert_eq!(out, b"Hello");
        assert!(Wire::Hixie76.read_frame(&mut &b"\xff\x00"[..], &mut out, 9).is_err());
    }

    #[test]
    fn a_refusal_is_no_reply() {
        assert!(Wire::Rfc6455.read_reply(&mut &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]).is_err());
        let wrong = format!("HTTP/1.1 101 x\r\nSec-WebSocket-Accept: {}\r\n\r\n", "A".repeat(28));
        assert!(Wire::Rfc6455.read_reply(&mut wrong.as_bytes()).is_err());
    }
}
