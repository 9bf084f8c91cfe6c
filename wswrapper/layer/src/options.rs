//! Socket options that our own use of the socket has a part in: getsockopt(2) and setsockopt(2).

use crate::Layer;
use crate::sys::{Errno, Fd, Sys};

impl<S: Sys> Layer<S> {
    /// getsockopt(2) `SO_ERROR` of a connection: the error that a look at the queue took from the kernel, once.
    ///
    /// `None` if there was none: then it is the kernel that knows.
    pub fn take_error(&self, fd: Fd) -> Option<Errno> {
        let conn = self.conn(fd)?;
        conn.receive.lock().error.take()
    }
}
