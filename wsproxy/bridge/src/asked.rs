//! Options of the client's socket, which the program cannot reach: its library asks for them, and sets them, here.
//!
//! Each question comes over a connection of its own, of one message each way ([`wsproto::question`]). One is answered at a time, and
//! nobody is waited for. The name of the socket can be read by everyone, so who asks has to be of this process's user, or root.

use std::os::fd::RawFd;

use libc::{IPPROTO_TCP, POLLIN, TCP_NODELAY, c_int};
use wsproto::question::{Message, Question, encode_answer};

use crate::{NET, NO_FD, QUESTIONS, sys};

/// Who asks, and what is answered without the kernel.
pub struct Asked {
    /// [`QUESTIONS`], or none.
    listener: RawFd,
    /// Who has connected and not yet asked.
    asker: Option<RawFd>,
    /// `TCP_NODELAY` as the program has set it. It is on all the same: what the program writes is passed on as it comes, in whole runs.
    nodelay: c_int,
}

impl Asked {
    /// The program has asked for nothing yet.
    pub fn new() -> Self {
        let mut nodelay = [0; size_of::<c_int>()];
        let _ = sys::get_option(NET, IPPROTO_TCP, TCP_NODELAY, &mut nodelay);
        let _ = sys::set_option(NET, IPPROTO_TCP, TCP_NODELAY, &c_int::to_ne_bytes(1));
        let listener = if sys::listens(QUESTIONS) { QUESTIONS } else { NO_FD };
        Asked { listener, asker: None, nodelay: c_int::from_ne_bytes(nodelay) }
    }

    /// What to wait for.
    pub fn interest(&self) -> (RawFd, i16) {
        (self.asker.unwrap_or(self.listener), POLLIN)
    }

    /// Does what can be done without waiting.
    pub fn step(&mut self) {
        if self.listener == NO_FD {
            return;
        }
        let Some(asker) = self.asker.take().or_else(|| self.accept()) else { return };
        let mut message = [0; Message::MAX];
        match sys::recv(asker, &mut message) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.asker = Some(asker);
                return;
            }
            Ok(len) => {
                if let Some(answer) = message.get(..len).and_then(Question::decode).and_then(|q| self.answer(q)) {
                    let _ = sys::send(asker, &[std::io::IoSlice::new(answer.as_slice())]);
                }
            }
            Err(_) => {}
        }
        sys::close(asker);
    }

    /// The next one, if that one may ask.
    fn accept(&self) -> Option<RawFd> {
        let asker = sys::accept(self.listener).ok()?;
        let may_ask = sys::user(asker).is_some_and(|user| user == 0 || user == sys::own_user());
        if !may_ask {
            sys::close(asker);
        }
        may_ask.then_some(asker)
    }

    fn answer(&mut self, question: Question<'_>) -> Option<Message> {
        let mut value = [0; Message::MAX];
        let answer = match question {
            Question::Get { level: IPPROTO_TCP, name: TCP_NODELAY, room } => {
                let nodelay = self.nodelay.to_ne_bytes();
                let len = room.min(nodelay.len());
                value.get_mut(..len)?.copy_from_slice(nodelay.get(..len)?);
                Ok(len)
            }
            Question::Get { level, name, room } => sys::get_option(NET, level, name, value.get_mut(..room)?),
            Question::Set { level, name, value } => {
                let set = sys::set_option(NET, level, name, value);
                if (level, name, set.is_ok()) == (IPPROTO_TCP, TCP_NODELAY, true) {
                    let on = value.first_chunk().map(|value| c_int::from_ne_bytes(*value));
                    self.nodelay = c_int::from(on? != 0);
                    let _ = sys::set_option(NET, IPPROTO_TCP, TCP_NODELAY, &c_int::to_ne_bytes(1));
                }
                set.map(|()| 0)
            }
        };
        match answer {
            Ok(len) => encode_answer(Ok(value.get(..len)?)),
            Err(error) => encode_answer(Err(error.raw_os_error()?)),
        }
    }
}
