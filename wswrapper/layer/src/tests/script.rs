//! What a test does to the scripted kernel: files, clients, bytes that arrive.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::kernel::{File, Script, State};
use crate::sys::{Errno, Fd, Result};

impl Script {
    pub fn new() -> Self {
        Script(Arc::new(Mutex::new(State {
            next: 3,
            now: Duration::from_secs(100),
            pid: 10,
            processes: vec![10, 11],
            limit: 1 << 20,
            ..State::default()
        })))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    pub fn add(&self, file: File) -> Fd {
        let mut state = self.state();
        let fd = state.next;
        state.next += 1;
        state.files.insert(fd, file);
        fd
    }

    pub fn listener(&self, port: u16) -> Fd {
        self.add(File { backlog: Some(VecDeque::new()), port, nonblocking: true, ..File::default() })
    }

    pub fn regular(&self, content: &[u8]) -> Fd {
        self.add(File { content: Some(content.to_vec()), ..File::default() })
    }

    pub fn pipe(&self, content: &[u8]) -> Fd {
        self.add(File { input: content.iter().copied().collect(), is_pipe: true, ..File::default() })
    }

    /// A client that has connected to `listener` and sent `input`. Returns its descriptor on our side.
    pub fn connect(&self, listener: Fd, input: &[u8]) -> Fd {
        let file = File { input: input.iter().copied().collect(), room: usize::MAX, ..File::default() };
        let fd = self.add(file);
        self.with(listener, |file| file.backlog.as_mut().unwrap().push_back(fd));
        fd
    }

    pub fn with<T>(&self, fd: Fd, f: impl FnOnce(&mut File) -> T) -> T {
        f(self.state().files.get_mut(&fd).unwrap())
    }

    pub fn arrive(&self, fd: Fd, bytes: &[u8]) {
        self.with(fd, |file| file.input.extend(bytes));
    }

    pub fn take_output(&self, fd: Fd) -> Vec<u8> {
        self.with(fd, |file| std::mem::take(&mut file.output))
    }

    pub fn is_open(&self, fd: Fd) -> bool {
        self.state().files.contains_key(&fd)
    }

    /// A queue: its ends are two files here, and what is in it is the reading one's.
    pub fn make_queue(&self) -> Result<(Fd, Fd)> {
        let end = File { closes_on_exec: true, ..File::default() };
        let read = self.add(File { messages: Some(VecDeque::new()), ..end });
        let write = self.add(File { writes_to: Some(read), closes_on_exec: true, ..File::default() });
        self.state().file("queue_pair", read)?;
        Ok((read, write))
    }

    /// Sends the file that has the number `passed`: it goes on without it, and comes out under another.
    pub fn pass(&self, fd: Fd, bytes: &[u8], passed: Fd) -> Result<()> {
        let mut state = self.state();
        let to = state.file("send_passing", fd)?.writes_to.ok_or(Errno(libc::ENOTSOCK))?;
        let file = state.files.insert(passed, File::default()).ok_or(Errno(libc::EBADF))?;
        let messages = state.files.get_mut(&to).and_then(|file| file.messages.as_mut());
        messages.ok_or(Errno(libc::EPIPE))?.push_back((bytes.to_vec(), file));
        Ok(())
    }

    /// Receives such a file.
    pub fn receive_file(&self, fd: Fd, buf: &mut [u8]) -> Result<(usize, Option<Fd>)> {
        let mut state = self.state();
        let messages = state.file("receive_passed", fd)?.messages.as_mut().ok_or(Errno(libc::ENOTSOCK))?;
        let (bytes, file) = messages.pop_front().ok_or(Errno(libc::EAGAIN))?;
        drop(state);
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok((bytes.len(), Some(self.add(file))))
    }
}
