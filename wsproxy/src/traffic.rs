//! What moves, as signs on standard output: one for each frame and each read or write of the target, as in 2011.
//!
//! They go through a thread of their own, and are lost while standard output takes none: no session waits for a terminal.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use wsproto::Dialect;

use crate::watch::Watch;
use frames::Frames;

mod frames;

/// What is printed first.
pub const LEGEND: &str = "\
Traffic legend:
    }  a frame from the client     }. a part of one
    {  bytes from the target
    >  bytes to the target         >. a part of them
    <  a frame to the client       <. a part of one
";

/// Signs that may wait for standard output.
const WAITING: usize = 4096;

/// The way to standard output. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Traffic(SyncSender<&'static str>);

impl Traffic {
    /// Prints the legend, and what is noted from then on.
    ///
    /// # Errors
    /// Those of clone(2): there is no thread to be had.
    pub fn start() -> io::Result<Self> {
        let (signs, notes) = sync_channel::<&'static str>(WAITING);
        thread::Builder::new().name("traffic".into()).spawn(move || {
            let mut out = io::stdout();
            let mut text = String::from(LEGEND);
            loop {
                // Who reads none of it is not told twice.
                if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                    return;
                }
                let Ok(sign) = notes.recv() else { return };
                text.clear();
                text.push_str(sign);
                text.extend(notes.try_iter().take(WAITING));
            }
        })?;
        Ok(Traffic(signs))
    }

    fn note(&self, sign: &'static str) {
        let _ = self.0.try_send(sign);
    }
}

/// Looks at the client's side of a WebSocket, below its frames.
pub struct ClientSide {
    traffic: Traffic,
    from: Frames,
    to: Frames,
}

impl ClientSide {
    /// For a connection of this dialect.
    pub fn new(traffic: Traffic, dialect: Dialect) -> Self {
        ClientSide { traffic, from: Frames::new(dialect), to: Frames::new(dialect) }
    }
}

impl Watch for ClientSide {
    fn read(&mut self, bytes: &[u8]) {
        for _ in 0..self.from.pass(bytes) {
            self.traffic.note("}");
        }
        if self.from.is_inside() {
            self.traffic.note("}.");
        }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        for _ in 0..self.to.pass(bytes) {
            self.traffic.note("<");
        }
    }

    fn write_ended(&mut self, _whole: bool) {
        if self.to.is_inside() {
            self.traffic.note("<.");
        }
    }
}

/// Looks at the target's side.
pub struct TargetSide(pub Traffic);

impl Watch for TargetSide {
    fn read(&mut self, _bytes: &[u8]) {
        self.0.note("{");
    }

    fn wrote(&mut self, _bytes: &[u8]) {}

    fn write_ended(&mut self, whole: bool) {
        self.0.note(if whole { ">" } else { ">." });
    }
}
