//! The companion of one connection: a process that speaks WebSocket for a program that cannot be reached from inside.
//!
//! The library starts it as `wsproxy bridge`, which is `wsproxy-bridge` where that is installed, with the client's TCP connection as descriptor 0 and one end of a socket pair, whose
//! other end the program has in place of the connection, as descriptor 1, and a socket for questions about the connection as descriptor 3. The first bytes to be read from the pair are the
//! connection's state ([`wsproto::Handover`]); what follows is what the program writes.
//!
//! It is one thread in a poll loop with a buffer for each direction, so a direction that is stuck holds a buffer's worth and
//! stops reading: back pressure is the kernel's. It ends with the connection:
//!
//! - the client's Close, its FIN, or a broken rule is end of file to the program; a Close is answered when the program closes, or five seconds
//!   after it was told, so that its last words are heard;
//! - the program's `shutdown(SHUT_WR)` is Close to the client, whose bytes are still delivered;
//! - the program's `close` is Close, too; what was written before it is sent first. Then what the client still sends is read and
//!   dropped until it ends its side, for at most two seconds, since closing on unread bytes would take the last
//!   ones back. A client that takes nothing is given up after a minute.
//!
//! With `WSWRAP_VERBOSE=1` in the environment one line about the end goes to the file `WSWRAP_LOG`, or to standard error.

#![deny(unsafe_code)]

mod asked;
mod inbound;
mod outbound;
#[allow(unsafe_code, reason = "it makes the system calls, on descriptors that are only known by their numbers")]
mod sys;

use std::io::{ErrorKind, Write};
use std::os::fd::RawFd;
use std::process::ExitCode;

use libc::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT};
use wsproto::{End, Handover, Receiver};

use asked::Asked;
use inbound::Inbound;
use outbound::Outbound;

/// The client's connection.
const NET: RawFd = 0;
/// The program's end.
const PROGRAM: RawFd = 1;

/// Where the program's library asks for options of [`NET`], if it does.
const QUESTIONS: RawFd = 3;

/// What poll(2) leaves out.
const NO_FD: RawFd = -1;

/// How long, in milliseconds, a client may still send once all is said, before its connection is closed on it.
const LINGER: i64 = 2_000;
/// How long, in milliseconds, the program may have something to say when it has been told of the client's Close, which is not answered before.
const GRACE: i64 = 5_000;
/// How long, in milliseconds, a client may take nothing once the program is gone.
const STALL: i64 = 60_000;

/// Steps that one direction makes before the other one is tried again.
const TURNS: u32 = 8;

/// What a step in one direction came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It can go on at once.
    Busy,
    /// It waits for what it wants to be readable.
    Input,
    /// It waits for room where it writes.
    Room,
    /// Nothing more comes this way.
    Over,
}

impl Step {
    /// What it is to be taken for once poll(2) has reported these events of where it reads and where it writes: an error and a
    /// hang-up count as well, for the next call to find.
    fn woken(self, source: i16, sink: i16) -> Self {
        match self {
            Step::Input if source != 0 => Step::Busy,
            Step::Room if sink != 0 => Step::Busy,
            Step::Busy | Step::Input | Step::Room | Step::Over => self,
        }
    }

    /// The same without having asked: what it waits for may be there.
    fn tried_again(self) -> Self {
        self.woken(POLLIN, POLLOUT)
    }
}

/// Takes over the connection that was inherited, and serves it to its end.
pub fn run() -> ExitCode {
    sys::detach();
    let Some(handover) = take_over() else {
        eprintln!(
            "wsproxy: bridge: descriptor 1 brings no connection of this version: install wsproxy and libwswrapper.so together"
        );
        return ExitCode::FAILURE;
    };
    let peer = sys::peer(NET);
    let mut bridge = Bridge::new(handover);
    bridge.serve();
    bridge.linger();
    if let Some(peer) = peer {
        bridge.log_end(&peer);
    }
    ExitCode::SUCCESS
}

/// Reads the state from the front of what the program's end brings; it was written before this process was started.
fn take_over() -> Option<Handover> {
    let mut buf = [0; Handover::MAX];
    let (prefix, rest) = buf.split_first_chunk_mut::<{ Handover::PREFIX }>()?;
    read_all(prefix)?;
    let len = Handover::len(*prefix)?;
    read_all(rest.get_mut(..len - Handover::PREFIX)?)?;
    Handover::decode(buf.get(..len)?)
}

fn read_all(buf: &mut [u8]) -> Option<()> {
    let mut filled = 0;
    while filled < buf.len() {
        filled += sys::recv(PROGRAM, buf.get_mut(filled..)?).ok().filter(|n| *n > 0)?;
    }
    Some(())
}

/// Both directions, and what passes between them.
struct Bridge {
    inbound: Inbound,
    outbound: Outbound,
    asked: Asked,
    /// Whether the end of the client's stream has been answered.
    answered: bool,
    /// When a Close is answered, whatever the program does.
    deadline: Option<i64>,
}

impl Bridge {
    fn new(handover: Handover) -> Self {
        let Handover { receiver, sender, broken, received, sent } = handover;
        let answered = receiver.end().is_some() && sender.is_closing();
        let (inbound, mut outbound) = (Inbound::new(receiver, received), Outbound::new(sender, sent));
        if broken {
            outbound.give_up();
        }
        Bridge { inbound, outbound, asked: Asked::new(), answered, deadline: None }
    }

    /// Moves bytes until both directions are over.
    ///
    /// A direction that waits is not tried again before poll(2) has seen what it waits for, or the other has made
    /// [`TURNS`] steps: each try is a system call, and a stream in one direction would pay for it with each of its own.
    fn serve(&mut self) {
        // Since when a program that is gone waits for a client that takes nothing, and how much it had taken.
        let mut stalled: Option<(i64, u64)> = None;
        let (mut inward, mut outward) = (Step::Busy, Step::Busy);
        let mut turns = 0;
        loop {
            if inward == Step::Busy {
                inward = self.inbound.step();
                if self.answer() {
                    outward = Step::Busy;
                }
            }
            if outward == Step::Busy {
                outward = self.outbound.step();
            }
            match (inward, outward) {
                // The program is gone and all is said.
                (_, Step::Over) if self.inbound.is_deaf() => return,
                (Step::Busy, _) | (_, Step::Busy) => {
                    turns += 1;
                    if turns == TURNS {
                        turns = 0;
                        self.asked.step();
                        (inward, outward) = (inward.tried_again(), outward.tried_again());
                        if self.is_due() && self.answer() {
                            outward = Step::Busy;
                        }
                    }
                    continue;
                }
                (Step::Over, Step::Over) => return,
                _ => turns = 0,
            }
            if self.is_due() && self.answer() {
                outward = Step::Busy;
                continue;
            }
            let until = |then: i64| i32::try_from(then - sys::now()).unwrap_or(i32::MAX).max(0);
            let mut timeout = self.deadline.filter(|_| !self.answered).map_or(-1, until);
            if self.inbound.is_deaf() && outward == Step::Room {
                let progress = self.outbound.sent();
                let (since, before) = *stalled.get_or_insert((sys::now(), progress));
                if progress != before {
                    stalled = Some((sys::now(), progress));
                }
                let since = stalled.map_or(since, |(since, _)| since);
                if sys::now() - since >= STALL {
                    return;
                }
                timeout = until(since + STALL);
            }
            let events = |input, room| if input { POLLIN } else { 0 } | if room { POLLOUT } else { 0 };
            let net = events(inward == Step::Input, outward == Step::Room);
            let program = events(outward == Step::Input, inward == Step::Room);
            // A hang-up is reported asked or not: of the client it is left to the next call, of the program it is news once.
            let net = (if net == 0 { NO_FD } else { NET }, net);
            let program = (if program == 0 && self.inbound.is_deaf() { NO_FD } else { PROGRAM }, program);
            let Ok([net, program, asked]) = sys::poll([net, program, self.asked.interest()], timeout) else { continue };
            if asked != 0 {
                self.asked.step();
            }
            if program & (POLLHUP | POLLERR | POLLNVAL) != 0 {
                // Both directions of the pair are shut: nobody reads what the client sends.
                self.inbound.be_deaf();
            }
            (inward, outward) = (inward.woken(net, program), outward.woken(program, net));
        }
    }

    /// What the receiving half has to say to the sending one: pongs, and the answer to a Close or to a broken rule. Returns
    /// whether there was something.
    fn answer(&mut self) -> bool {
        let receiver: &mut Receiver = self.inbound.receiver();
        let pong = receiver.take_pong();
        if let Some(pong) = &pong {
            self.outbound.queue_pong(pong);
        }
        if let (Some(end), false) = (receiver.end(), self.answered) {
            let code = end.reply_code();
            if matches!(end, End::Closed(_)) && !self.is_due() {
                self.outbound.answer_with(code);
                let wait = if self.inbound.is_told() { GRACE } else { STALL };
                let deadline = sys::now() + wait;
                self.deadline = Some(self.deadline.map_or(deadline, |before| before.min(deadline)));
                return pong.is_some();
            }
            self.answered = true;
            // What the program had written before it could know goes out in front of the answer.
            self.outbound.finish(code, sys::queued(PROGRAM));
            return true;
        }
        pong.is_some()
    }

    /// Whether the client's Close is to be answered, though the program has not ended.
    fn is_due(&self) -> bool {
        !self.answered && self.deadline.is_some_and(|deadline| sys::now() >= deadline)
    }

    /// Closes without taking back what was sent last.
    fn linger(&mut self) {
        // Unread bytes would be an error to the program instead of the end.
        sys::shutdown(PROGRAM, libc::SHUT_RDWR);
        let mut sink = [0; 4096];
        while matches!(sys::recv(PROGRAM, &mut sink), Ok(1..)) {}
        if self.outbound.is_broken() {
            return;
        }
        sys::shutdown(NET, libc::SHUT_WR);
        let until = sys::now() + LINGER;
        loop {
            match sys::recv(NET, &mut sink) {
                Ok(0) => return,
                Ok(_) => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            let left = until - sys::now();
            if left <= 0 {
                return;
            }
            let _ = sys::poll([(NET, POLLIN)], i32::try_from(left).unwrap_or(i32::MAX));
        }
    }

    /// One line in the words of the library.
    fn log_end(&mut self, peer: &std::net::SocketAddr) {
        if std::env::var_os("WSWRAP_VERBOSE").is_none_or(|value| value != "1") {
            return;
        }
        let (received, sent) = (self.inbound.received(), self.outbound.sent());
        let why = match self.inbound.receiver().end() {
            None => "closed by the program".to_owned(),
            // RFC 6455 section 7.4.1: 1005 stands for a Close without a code.
            Some(End::Closed(reason)) => format!("closed by the client ({})", reason.code().unwrap_or(1005)),
            Some(End::Failed(violation)) => format!("failed ({violation})"),
        };
        let line =
            format!("wswrap[{}]: {peer} end: {why}, {received} bytes in, {sent} bytes out\n", std::process::id());
        let _ = match std::env::var_os("WSWRAP_LOG").filter(|name| name != "stderr") {
            // In one write: lines of several processes do not mix.
            Some(path) => std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .and_then(|mut file| file.write_all(line.as_bytes())),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}
