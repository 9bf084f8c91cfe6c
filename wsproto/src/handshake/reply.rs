//! The replies. The first three lines of a hixie reply stand as the drafts have them: clients of that time compare bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::refusal::Refusal;
use super::{Accepted, Policy};
use crate::dialect::Dialect;

/// RFC 6455 section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The reply to RFC 6455 with this `Sec-WebSocket-Key`.
pub(super) fn accept_key(accepted: &Accepted, key: &str, reply: &mut Vec<u8>) {
    let proof = STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize());
    push(reply, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    field(reply, "", "Sec-WebSocket-Accept", &proof);
    if let Some(subprotocol) = &accepted.subprotocol {
        field(reply, "Sec-", "WebSocket-Protocol", subprotocol);
    }
    push(reply, "\r\n");
}

/// The reply to hixie; in hixie-76 the digest follows.
pub(super) fn accept(accepted: &Accepted, policy: &Policy, reply: &mut Vec<u8>) {
    let (status, prefix) = match accepted.dialect {
        Dialect::Hixie75 => ("Web Socket Protocol Handshake", ""),
        Dialect::Hixie76 | Dialect::Rfc6455 => ("WebSocket Protocol Handshake", "Sec-"),
    };
    push(reply, "HTTP/1.1 101 ");
    push(reply, status);
    push(reply, "\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n");
    if let Some(origin) = &accepted.origin {
        field(reply, prefix, "WebSocket-Origin", origin);
    }
    let scheme = if policy.secure { "wss" } else { "ws" };
    let location = format!("{scheme}://{}{}", accepted.host, accepted.path);
    field(reply, prefix, "WebSocket-Location", &location);
    if let Some(subprotocol) = &accepted.subprotocol {
        field(reply, prefix, "WebSocket-Protocol", subprotocol);
    }
    push(reply, "\r\n");
}

/// The reply to a request that is refused: the reason as text, and the end of the connection.
pub(super) fn refuse(refusal: &Refusal, policy: &Policy, reply: &mut Vec<u8>) {
    let status = refusal.status();
    let (reason, fields) = match status {
        403 => ("Forbidden", ""),
        405 => ("Method Not Allowed", "Allow: GET\r\n"),
        // RFC 6455 section 4.2.2: the versions spoken, most preferred first.
        426 if policy.dialects.contains(Dialect::Rfc6455) => {
            ("Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13, 8, 7\r\n")
        }
        426 => ("Upgrade Required", "Upgrade: WebSocket\r\n"),
        431 => ("Request Header Fields Too Large", ""),
        _ => ("Bad Request", ""),
    };
    let body = format!("{refusal}\n");
    push(reply, &format!("HTTP/1.1 {status} {reason}\r\n{fields}"));
    field(reply, "", "Content-Type", "text/plain");
    field(reply, "", "Content-Length", &body.len().to_string());
    field(reply, "", "Connection", "close");
    push(reply, "\r\n");
    push(reply, &body);
}

fn push(reply: &mut Vec<u8>, text: &str) {
    reply.extend_from_slice(text.as_bytes());
}

fn field(reply: &mut Vec<u8>, prefix: &str, name: &str, value: &str) {
    for part in [prefix, name, ": ", value, "\r\n"] {
        push(reply, part);
    }
}
