//! What goes out without payload: pongs, Close, and what the kernel did not take of them.
//!
//! The receiving half has it to say, and the sending half says it, at the end of a frame and where the program calls us anyway. Nobody waits
//! for it.

use std::io::IoSlice;

use libc::{MSG_DONTWAIT, MSG_NOSIGNAL};
use wsproto::End;

use crate::Layer;
use crate::again::{again, is_passing};
use crate::conn::{Conn, Receive, Send};
use crate::sys::{Errno, Fd, Result, Sys};
use wslock::MutexGuard;

impl<S: Sys> Layer<S> {
    /// Ends a use of the sending half: what was queued for it meanwhile is sent now.
    #[inline(always)]
    pub(crate) fn release(&self, conn: &Conn, fd: Fd, mut send: MutexGuard<'_, Send>) {
        if send.encoder.wants_transmit() {
            let _ = self.transmit(conn, fd, &mut send);
        }
        drop(send);
        self.answer_late(conn, fd);
    }

    /// What the receiver left for the sender while that was in use.
    #[inline(always)]
    pub(crate) fn answer_late(&self, conn: &Conn, fd: Fd) {
        if conn.has_answer() {
            self.reply(conn, fd, &mut conn.receive.lock());
        }
    }

    /// Hands what the receiver has to say to the sender: pongs, and the answer to a broken rule, or to a Close that the program knows of.
    /// If the sender is in use, whoever uses it does this when done.
    #[inline(always)]
    pub(crate) fn settle(&self, conn: &Conn, fd: Fd, receive: &mut Receive) {
        if receive.decoder.end().is_some() || receive.decoder.has_pong() {
            self.reply(conn, fd, receive);
        }
    }

    /// [`Layer::settle`] where the stream has ended or a pong is due.
    #[cold]
    #[inline(never)]
    fn reply(&self, conn: &Conn, fd: Fd, receive: &mut Receive) {
        let unanswered = receive.decoder.end().filter(|_| !receive.ended);
        let ends = unanswered.is_some_and(|end| receive.told || matches!(end, End::Failed(_)));
        if unanswered.is_some() {
            // The end of the stream is visible to the kernel, for whoever asks it next.
            let _ = self.sys.shutdown(fd, libc::SHUT_RD);
        }
        if !ends && !receive.decoder.has_pong() {
            return;
        }
        conn.set_answer();
        let Some(mut send) = conn.send.try_lock() else {
            return;
        };
        if send.busy.is_some() {
            return;
        }
        conn.take_answer();
        if let Some(pong) = receive.decoder.take_pong() {
            send.encoder.queue_pong(&pong);
        }
        if let (true, Some(end)) = (ends, receive.decoder.end()) {
            receive.ended = true;
            send.encoder.close(end.reply_code());
            send.hang_up = true;
        }
        if let Err(error) = self.transmit(conn, fd, &mut send) {
            receive.error.get_or_insert(error);
        }
    }

    /// The program has been told of the end of the stream: a Close is answered. Not before, since nothing can be said behind the answer, and
    /// the program may have something to say to what came in front of the Close. "It MAY delay sending a Close frame until its current
    /// message is sent", RFC 6455 section 5.5.1.
    #[cold]
    #[inline(never)]
    pub(crate) fn end_told(&self, conn: &Conn, fd: Fd) {
        let receive = &mut *conn.receive.lock();
        if !receive.told && self.is_still(conn, fd) {
            receive.told = true;
            self.settle(conn, fd, receive);
        }
    }

    /// Sends what waits for room, if anything does. Called where the program calls us anyway.
    #[inline(always)]
    pub(crate) fn flush(&self, conn: &Conn, fd: Fd) {
        if conn.is_unsent() {
            self.transmit_unsent(conn, fd);
        }
    }

    #[cold]
    #[inline(never)]
    fn transmit_unsent(&self, conn: &Conn, fd: Fd) {
        if let Some(mut send) = conn.send.try_lock()
            && send.busy.is_none()
        {
            let _ = self.transmit(conn, fd, &mut send);
        }
    }

    /// Queues Close and sends what can be sent of it.
    pub(crate) fn say_close(&self, conn: &Conn, fd: Fd, code: u16, hang_up: bool) {
        let mut send = conn.send.lock();
        if send.busy.is_none() {
            send.encoder.close(code);
            send.hang_up |= hang_up;
            let _ = self.transmit(conn, fd, &mut send);
            // The end follows at once, and nothing comes behind Close that a limit would have to hold back.
            if conn.is_unsent() && self.sys.make_room(fd).is_ok() {
                let _ = self.transmit(conn, fd, &mut send);
            }
        }
    }

    /// Sends what goes out without payload, as far as the kernel takes it.
    ///
    /// # Errors
    /// What the kernel said of the connection, other than that there is no room or nobody listens any more.
    fn transmit(&self, conn: &Conn, fd: Fd, send: &mut Send) -> Result<()> {
        let mut result = Ok(());
        while send.encoder.wants_transmit() {
            let head = send.encoder.transmit_control();
            let bytes = head.as_slice();
            let sent = again(|| self.sys.send_vectored(fd, &[IoSlice::new(bytes)], MSG_DONTWAIT | MSG_NOSIGNAL));
            send.encoder.transmitted(sent.unwrap_or(0));
            match sent {
                Ok(n) if n == bytes.len() => continue,
                Ok(_) | Err(Errno(libc::EAGAIN | libc::EPIPE)) => {}
                Err(error) if is_passing(error) => {}
                Err(error) => result = Err(error),
            }
            break;
        }
        conn.set_unsent(send.encoder.wants_transmit());
        if send.hang_up && !send.hung_up && send.encoder.is_closed() {
            send.hung_up = true;
            let _ = self.sys.shutdown(fd, libc::SHUT_WR);
        }
        result
    }
}
