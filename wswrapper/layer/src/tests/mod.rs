//! The layer against a scripted kernel. What needs a real one is tested from outside, in `tests/`.

mod accepting;
mod closing;
mod draining;
mod failing;
mod kernel;
mod leaving;
mod moving;
mod oneshot;
mod racing;
mod reading;
mod script;
mod sharing;
mod state;
mod waiting;
mod writing;

use std::io::{IoSlice, IoSliceMut};
use std::sync::atomic::AtomicU32;

use kernel::{Failing, Script};

use crate::Layer;
use crate::config::Config;
use crate::slots::Slots;
use crate::sys::{Fd, Result};

/// The example of RFC 6455 section 1.2, as small as it may be.
const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A hixie-75 request: everything after it is base64 between `00` and `FF`.
const HIXIE_REQUEST: &str =
    "GET / HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: h\r\nOrigin: http://h\r\n\r\n";

/// A layer in a process of its own, with the variables given.
fn layer(script: &Script, vars: &[(&str, &str)]) -> Layer<Script> {
    let config = Config::from_env(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())).unwrap();
    let words: &'static [AtomicU32] = Vec::from_iter((0..512).map(|_| AtomicU32::new(0))).leak();
    Layer::new(script.clone(), Slots::new(words), config)
}

/// A layer with one open connection, whose reply is read.
fn open(request: &str) -> (Script, Layer<Script>, Fd) {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    let client = script.connect(listener, request.as_bytes());
    let (fd, _) = layer.accept(listener, libc::SOCK_NONBLOCK).unwrap();
    assert_eq!(fd, client);
    script.with(fd, |file| file.nonblocking = true);
    script.take_output(fd);
    script.state().calls.clear();
    (script, layer, fd)
}

/// A masked client frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..65536 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    bytes
}

/// read(2) with a buffer of `len` bytes.
fn read(layer: &Layer<Script>, fd: Fd, len: usize, flags: i32) -> Result<Vec<u8>> {
    let mut buf = vec![0; len];
    let n = layer.receive(fd, &mut [IoSliceMut::new(&mut buf)], flags)?;
    buf.truncate(n);
    Ok(buf)
}

/// write(2).
fn write(layer: &Layer<Script>, fd: Fd, bytes: &[u8]) -> Result<usize> {
    layer.send(fd, &[IoSlice::new(bytes)], 0)
}

const BINARY: u8 = 0x82;
const PING: u8 = 0x89;
const CLOSE: u8 = 0x88;
const AGAIN: crate::sys::Errno = crate::sys::Errno(libc::EAGAIN);
