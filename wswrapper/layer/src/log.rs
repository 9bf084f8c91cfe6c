//! The log: one line for each port that becomes a WebSocket port; with `WSWRAP_VERBOSE`, for each connection, end and
//! refusal.

use std::fmt::{self, Write};
use std::net::SocketAddr;

use wsproto::{Accepted, End};

use crate::Layer;
use crate::bridge::{NotBridged, Why};
use crate::config::LogTarget;
use crate::conn::{Conn, Receive};
use crate::sys::{PeerAddr, Sys};

/// The longest line, newline included.
const LINE: usize = 512;

/// What stands for a Close without a code, RFC 6455 section 7.4.1.
const NO_CODE: u16 = 1005;

/// A line under construction: no allocation, cut at its end, control characters replaced.
struct Line {
    bytes: [u8; LINE],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let Some(place) = self.bytes.get_mut(self.len).filter(|_| self.len < LINE - 1) else {
                break;
            };
            *place = if byte.is_ascii_control() { b'?' } else { byte };
            self.len += 1;
        }
        Ok(())
    }
}

/// An address that may not be known.
struct Shown(Option<SocketAddr>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(addr) => addr.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

impl<S: Sys> Layer<S> {
    fn log(&self, text: fmt::Arguments<'_>) {
        if self.config.log == LogTarget::Nowhere {
            return;
        }
        let mut line = Line { bytes: [0; LINE], len: 0 };
        let _ = write!(line, "wswrap[{}]: {text}", self.pid.load(std::sync::atomic::Ordering::Relaxed));
        if let Some(place) = line.bytes.get_mut(line.len) {
            *place = b'\n';
        }
        self.sys.log(line.bytes.get(..=line.len).unwrap_or_default());
    }

    /// A port has become a WebSocket port.
    pub(crate) fn log_port(&self, port: u16) {
        let mut told = self.told.lock();
        if told.contains(&port) {
            // Another listener on it, for the other address family.
            return;
        }
        told.push(port);
        self.log(format_args!("port {port} speaks WebSocket ({})", self.config.policy.dialects));
    }

    /// A connection is handed to the program.
    pub(crate) fn log_open(&self, peer: &PeerAddr, accepted: &Accepted) {
        if self.config.verbose {
            let Accepted { dialect, path, subprotocol, .. } = accepted;
            let subprotocol = subprotocol.as_deref().unwrap_or("none");
            self.log(format_args!("{peer} open: {dialect}, path {path}, subprotocol {subprotocol}"));
        }
    }

    /// A client gets no WebSocket.
    pub(crate) fn refuse_line(&self, peer: &PeerAddr, why: impl fmt::Display) {
        if self.config.verbose {
            self.log(format_args!("{peer} refused: {why}"));
        }
    }

    /// A companion speaks for a connection from here on.
    pub(crate) fn log_bridged(&self, peer: Option<SocketAddr>, companion: libc::pid_t, why: Why) {
        if self.config.verbose {
            self.log(format_args!("{} bridged by process {companion}: {why}", Shown(peer)));
        }
    }

    /// None does, where one is needed.
    pub(crate) fn log_not_bridged(&self, peer: Option<SocketAddr>, why: Why, refusal: &NotBridged) {
        self.log(format_args!("{} cannot be bridged ({why}): {refusal}", Shown(peer)));
    }

    /// This process is done with a connection.
    pub(crate) fn log_end(&self, conn: &Conn, receive: &Receive) {
        let Some(about) = &receive.about else { return };
        let sent = conn.send.lock().bytes;
        let got = receive.bytes;
        match receive.decoder.end() {
            None => self.log(format_args!("{about} end: closed by the program, {got} bytes in, {sent} bytes out")),
            Some(End::Closed(reason)) => {
                let code = reason.code().unwrap_or(NO_CODE);
                self.log(format_args!("{about} end: closed by the client ({code}), {got} bytes in, {sent} bytes out"));
            }
            Some(End::Failed(violation)) => {
                self.log(format_args!("{about} end: failed ({violation}), {got} bytes in, {sent} bytes out"));
            }
        }
    }
}
