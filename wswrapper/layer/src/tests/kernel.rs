//! A scripted kernel: sockets are byte queues, time stands still unless a test moves it, and a call that would block ends
//! the test.

use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use libc::{
    EAGAIN, EPIPE, EPOLLIN, EPOLLONESHOT, EPOLLOUT, MSG_DONTWAIT, MSG_PEEK, O_NONBLOCK, POLLIN, POLLNVAL, POLLOUT,
    SHUT_RD, SHUT_RDWR, SHUT_WR, c_int, c_short, c_uint, epoll_event, pollfd, sigset_t,
};
use parking_lot::Mutex;

pub use super::state::{Failing, File, State};
use crate::sys::{Errno, Fd, PeerAddr, Result, SharedWords, Sys};

/// The kernel of one test. A clone is another process's view of it.
#[derive(Clone)]
pub struct Script(pub(super) Arc<Mutex<State>>);

struct Words(Vec<AtomicU32>);

impl SharedWords for Words {
    fn get(&self, index: usize) -> Option<&AtomicU32> {
        self.0.get(index)
    }
}

impl Sys for Script {
    fn recv(&self, fd: Fd, buf: &mut [u8], flags: c_int) -> Result<usize> {
        self.recv_vectored(fd, &mut [IoSliceMut::new(buf)], flags)
    }

    fn recv_vectored(&self, fd: Fd, bufs: &mut [IoSliceMut<'_>], flags: c_int) -> Result<usize> {
        let mut state = self.state();
        let file = state.file("recv", fd)?;
        if let Some(error) = file.error.take() {
            return Err(Errno(error));
        }
        if let Some(messages) = &file.messages {
            let (message, _) = messages.front().ok_or(Errno(EAGAIN))?;
            return Ok(message.len().min(bufs.iter().map(|buf| buf.len()).sum()));
        }
        if file.input.is_empty() {
            if file.fin || file.shut_read {
                return Ok(0);
            }
            assert!(flags & MSG_DONTWAIT != 0 || file.nonblocking, "recv({fd}) would block");
            return Err(Errno(EAGAIN));
        }
        let mut done = 0;
        for buf in bufs {
            for place in buf.iter_mut() {
                let Some(byte) = file.input.get(done) else {
                    break;
                };
                *place = *byte;
                done += 1;
            }
        }
        if flags & MSG_PEEK == 0 {
            file.input.drain(..done);
        }
        Ok(done)
    }

    fn discard(&self, fd: Fd, len: usize) -> Result<usize> {
        let mut state = self.state();
        let file = state.file("discard", fd)?;
        if file.input.is_empty() {
            return if file.fin { Ok(0) } else { Err(Errno(EAGAIN)) };
        }
        let len = len.min(file.input.len());
        file.input.drain(..len);
        Ok(len)
    }

    fn send(&self, fd: Fd, bytes: &[u8], flags: c_int) -> Result<usize> {
        self.send_vectored(fd, &[IoSlice::new(bytes)], flags)
    }

    fn send_vectored(&self, fd: Fd, bufs: &[IoSlice<'_>], flags: c_int) -> Result<usize> {
        let mut state = self.state();
        let file = state.file("send", fd)?;
        if file.shut_write {
            return Err(Errno(EPIPE));
        }
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        if file.room == 0 && !bytes.is_empty() {
            assert!(flags & MSG_DONTWAIT != 0 || file.nonblocking, "send({fd}) would block");
            return Err(Errno(EAGAIN));
        }
        let n = bytes.len().min(file.room);
        file.room -= n;
        file.queue.0 += n;
        file.output.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn send_waiting(&self, fd: Fd, bufs: &[IoSlice<'_>], flags: c_int) -> Result<usize> {
        self.with(fd, |file| file.room = file.room.max(file.more));
        self.send_vectored(fd, bufs, flags)
    }

    fn outside<T>(&self, f: impl FnOnce() -> T) -> T {
        f()
    }

    fn wait_word(&self, _word: &AtomicU32, _value: u32, _limit: Option<Duration>) -> Result<()> {
        panic!("the wait would not end")
    }

    fn wake_word(&self, _word: &AtomicU32) {}

    fn send_queue(&self, fd: Fd) -> Result<(usize, usize)> {
        self.state().file("send_queue", fd).map(|file| match file.queue {
            // As if nothing were queued, so that a test can cut a frame where the kernel would not.
            (_, 0) => (0, 1 << 20),
            queue => queue,
        })
    }

    fn read_vectored(&self, fd: Fd, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        self.recv_vectored(fd, bufs, 0)
    }

    fn write_vectored(&self, fd: Fd, bufs: &[IoSlice<'_>]) -> Result<usize> {
        self.send_vectored(fd, bufs, 0)
    }

    fn sendfile(&self, fd: Fd, file: Fd, position: Option<&mut i64>, len: usize) -> Result<usize> {
        let position = position.ok_or(Errno(libc::EINVAL));
        if len == 0 {
            // The probe: a file with a position, nothing else.
            return self.state().file("sendfile", file)?.content.as_ref().map(|_| 0).ok_or(Errno(libc::EINVAL));
        }
        let (position, mut bytes) = (position?, vec![0; len]);
        let n = self.pread(file, &mut bytes, *position)?;
        self.state().calls.push(("sendfile", fd));
        let n = self.send_vectored(fd, &[IoSlice::new(&bytes[..n])], 0)?;
        *position += n as i64;
        Ok(n)
    }

    fn pread(&self, file: Fd, buf: &mut [u8], position: i64) -> Result<usize> {
        let mut state = self.state();
        let content = state.file("pread", file)?.content.as_ref().ok_or(Errno(libc::ESPIPE))?;
        let rest = content.get(position as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn lseek(&self, file: Fd, offset: i64, whence: c_int) -> Result<i64> {
        let mut state = self.state();
        let file = state.file("lseek", file)?;
        file.position = if whence == libc::SEEK_SET { offset } else { file.position + offset };
        Ok(file.position)
    }

    fn file_size(&self, file: Fd) -> i64 {
        self.state()
            .file("fstat", file)
            .ok()
            .and_then(|file| file.content.as_ref())
            .map_or(0, |bytes| bytes.len() as i64)
    }

    fn is_pipe(&self, fd: Fd) -> bool {
        self.state().file("fstat", fd).is_ok_and(|file| file.is_pipe)
    }

    fn splice(&self, pipe: Fd, fd: Fd, len: usize, _flags: c_uint) -> Result<usize> {
        let bytes: Vec<u8> = self.with(pipe, |file| file.input.iter().take(len).copied().collect());
        let n = self.send_vectored(fd, &[IoSlice::new(&bytes)], 0)?;
        self.with(pipe, |file| drop(file.input.drain(..n)));
        Ok(n)
    }

    fn read(&self, fd: Fd, buf: &mut [u8]) -> Result<usize> {
        self.recv_vectored(fd, &mut [IoSliceMut::new(buf)], 0)
    }

    fn accept4(&self, fd: Fd, _flags: c_int) -> Result<(Fd, PeerAddr)> {
        let mut state = self.state();
        let file = state.file("accept", fd)?;
        let new = file.backlog.as_mut().unwrap().pop_front().ok_or(Errno(EAGAIN))?;
        let mut addr = [0; 16];
        addr[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        addr[2..8].copy_from_slice(&[0x30, 0x39, 127, 0, 0, 1]);
        Ok((new, PeerAddr::new(&addr)))
    }

    fn take_turn(&self, listener: Fd) -> bool {
        let state = &mut *self.state();
        let pid = state.pid;
        state.calls.push(("take_turn", listener));
        *state.turns.entry(listener).or_insert(pid) == pid
    }

    fn leave_turn(&self, listener: Fd) {
        let state = &mut *self.state();
        assert_eq!(state.turns.remove(&listener), Some(state.pid));
    }

    fn shutdown(&self, fd: Fd, how: c_int) -> Result<()> {
        let mut state = self.state();
        let file = state.file("shutdown", fd)?;
        file.shut_read |= how == SHUT_RD || how == SHUT_RDWR;
        file.shut_write |= how == SHUT_WR || how == SHUT_RDWR;
        Ok(())
    }

    fn close(&self, fd: Fd) -> Result<()> {
        let mut state = self.state();
        state.file("close", fd)?;
        let closed = state.files.remove(&fd).unwrap_or_default();
        state.sent_by_closed.insert(fd, closed.output);
        for file in state.files.values_mut() {
            if let Some(set) = &mut file.set {
                set.remove(&fd);
            }
        }
        Ok(())
    }

    fn dup_to(&self, old: Fd, new: Fd, _flags: Option<c_int>) -> Result<Fd> {
        let mut state = self.state();
        state.file("dup", old)?;
        let copy = File { copy_of: Some(old), room: usize::MAX, ..File::default() };
        if let Some(replaced) = state.files.insert(new, copy) {
            state.replaced.insert(new, replaced);
        }
        Ok(new)
    }

    fn close_range(&self, first: c_uint, last: c_uint, _flags: c_uint) -> Result<()> {
        let open: Vec<Fd> = self.state().files.keys().copied().collect();
        let in_range = |fd: &Fd| (first..=last).contains(&fd.cast_unsigned());
        open.into_iter().filter(in_range).try_for_each(|fd| self.close(fd))
    }

    fn fcntl(&self, fd: Fd, command: c_int, arg: c_int) -> Result<c_int> {
        if command == libc::F_DUPFD_CLOEXEC {
            // No lower number is ever free; any is where a queue is asked, or a connection that has yet to be sent.
            let unsent = match self.state().file("dup", fd)? {
                File { messages: Some(_), .. } => 0,
                File { unsent: unsent @ 1.., .. } => *unsent,
                _ => return Err(Errno(libc::EMFILE)),
            };
            return Ok(self.add(File { copy_of: Some(fd), unsent, ..File::default() }));
        }
        let mut state = self.state();
        let file = state.file("fcntl", fd)?;
        match command {
            libc::F_SETFD => file.closes_on_exec = arg & libc::FD_CLOEXEC != 0,
            libc::F_GETFD => return Ok(if file.closes_on_exec { libc::FD_CLOEXEC } else { 0 }),
            libc::F_GETFL => return Ok(if file.nonblocking { O_NONBLOCK } else { 0 }),
            libc::F_SETFL => file.nonblocking = arg & O_NONBLOCK != 0,
            _ => {}
        }
        Ok(0)
    }

    fn unsent(&self, fd: Fd) -> usize {
        self.state().file("unsent", fd).map_or(0, |file| file.unsent)
    }

    fn closes_its_own_way(&self, fd: Fd) -> bool {
        self.with(fd, |file| file.lingers)
    }

    fn queued(&self, fd: Fd) -> Result<usize> {
        Ok(self.state().file("queued", fd)?.input.len())
    }

    fn listening_port(&self, fd: Fd) -> Option<u16> {
        let mut state = self.state();
        let file = state.file("getsockname", fd).ok()?;
        file.backlog.as_ref().map(|_| file.port)
    }

    fn defer_accept(&self, _fd: Fd, _time: Duration) -> Result<()> {
        Ok(())
    }

    fn make_room(&self, fd: Fd) -> Result<()> {
        self.with(fd, |file| file.room += 16);
        Ok(())
    }

    fn reset_low_water(&self, _fd: Fd) -> Result<()> {
        Ok(())
    }

    fn receive_timeout(&self, _fd: Fd) -> Option<Duration> {
        None
    }

    fn send_timeout(&self, _fd: Fd) -> Option<Duration> {
        None
    }

    fn poll(&self, fds: &mut [pollfd], timeout: Option<Duration>, _mask: Option<&sigset_t>) -> Result<usize> {
        let mut state = self.state();
        let mut ready = 0;
        for poll in fds {
            state.calls.push(("poll", poll.fd));
            poll.revents = if poll.fd < 0 {
                0
            } else {
                state.bits(poll.fd) as c_short & (poll.events & (POLLIN | POLLOUT) | POLLNVAL)
            };
            ready += usize::from(poll.revents != 0);
        }
        assert!(ready > 0 || timeout == Some(Duration::ZERO), "poll would block");
        Ok(ready)
    }

    fn epoll_create(&self) -> Result<Fd> {
        Ok(self.add(File { set: Some(BTreeMap::new()), ..File::default() }))
    }

    fn epoll_ctl(&self, epoll: Fd, op: c_int, fd: Fd, event: Option<epoll_event>) -> Result<()> {
        let mut state = self.state();
        let set = state.file("epoll_ctl", epoll)?.set.as_mut().unwrap();
        let there = set.contains_key(&fd);
        match (op, event) {
            (libc::EPOLL_CTL_ADD, _) if there => return Err(Errno(libc::EEXIST)),
            (libc::EPOLL_CTL_MOD | libc::EPOLL_CTL_DEL, _) if !there => {
                return Err(Errno(libc::ENOENT));
            }
            (libc::EPOLL_CTL_DEL, _) => drop(set.remove(&fd)),
            (_, Some(event)) => drop(set.insert(fd, (event.events, event.u64))),
            (_, None) => return Err(Errno(libc::EFAULT)),
        }
        Ok(())
    }

    fn epoll_wait(
        &self,
        epoll: Fd,
        events: &mut [epoll_event],
        timeout: Option<Duration>,
        _mask: Option<&sigset_t>,
    ) -> Result<usize> {
        let mut state = self.state();
        let set = state.file("epoll_wait", epoll)?.set.clone().unwrap();
        let mut n = 0;
        for (fd, (wanted, data)) in set {
            let bits = state.bits(fd) & wanted & (EPOLLIN | EPOLLOUT) as u32;
            if bits != 0 && n < events.len() {
                events[n] = epoll_event { events: bits, u64: data };
                n += 1;
                if wanted & EPOLLONESHOT as u32 != 0 {
                    let file = state.files.get_mut(&epoll).unwrap();
                    file.set.as_mut().unwrap().insert(fd, (EPOLLONESHOT as u32, data));
                }
            }
        }
        assert!(n > 0 || timeout == Some(Duration::ZERO), "epoll_wait would block");
        Ok(n)
    }

    fn fdinfo(&self, fd: Fd) -> Vec<u8> {
        let state = self.state();
        let set = state.files.get(&fd).and_then(|file| file.set.as_ref());
        let line = |(fd, (events, data)): (&Fd, &(u32, u64))| {
            format!("tfd: {fd:8} events: {events:8x} data: {data:16x}  pos:0 ino:{fd:x} sdev:7\n").into_bytes()
        };
        set.into_iter().flatten().flat_map(line).collect()
    }

    fn inode(&self, fd: Fd) -> Option<u64> {
        u64::try_from(fd).ok()
    }

    fn timer_create(&self) -> Result<Fd> {
        Ok(self.add(File { is_timer: true, ..File::default() }))
    }

    fn timer_set(&self, timer: Fd, at: Option<Duration>) -> Result<()> {
        self.state().file("timer_set", timer)?.timer = at;
        Ok(())
    }

    fn descriptor_limit(&self) -> usize {
        self.state().limit
    }

    fn move_high(&self, fd: Fd) -> Fd {
        fd
    }

    fn now(&self) -> Duration {
        self.state().now
    }

    fn pid(&self) -> libc::pid_t {
        self.state().pid
    }

    fn thread(&self) -> u64 {
        1
    }

    fn is_single_threaded(&self) -> bool {
        true
    }

    fn is_alive(&self, pid: libc::pid_t) -> bool {
        self.state().processes.contains(&pid)
    }

    fn signals_restart(&self) -> bool {
        true
    }

    fn raise_sigpipe(&self) {
        self.state().calls.push(("SIGPIPE", -1));
    }

    fn shared_words(&self, count: usize) -> Option<Arc<dyn SharedWords>> {
        Some(Arc::new(Words((0..count).map(|_| AtomicU32::new(0)).collect())))
    }

    fn random(&self) -> u32 {
        0x8765_4321
    }

    fn peer(&self, _fd: Fd) -> Option<SocketAddr> {
        Some(([127, 0, 0, 1], 12345).into())
    }

    fn local(&self, _fd: Fd) -> Option<SocketAddr> {
        Some(([127, 0, 0, 1], 5901).into())
    }

    fn cookie(&self, fd: Fd) -> Option<u64> {
        // A copy is a file of its own here that says whose it is.
        let state = self.state();
        state.files.get(&fd).map(|file| file.copy_of.unwrap_or(fd) as u64)
    }

    fn socket_pair(&self) -> Result<(Fd, Fd)> {
        let end = || self.add(File { room: usize::MAX, ..File::default() });
        Ok((end(), end()))
    }

    fn queue_pair(&self) -> Result<(Fd, Fd)> {
        self.make_queue()
    }

    fn queue_cookie(&self, fd: Fd) -> Option<u64> {
        let is_end = |file: &File| file.messages.is_some() || file.writes_to.is_some();
        self.state().files.get(&fd).filter(|file| is_end(file)).map(|_| fd as u64)
    }

    fn send_passing(&self, fd: Fd, bytes: &[u8], passed: Fd) -> Result<()> {
        self.pass(fd, bytes, passed)
    }

    fn receive_passed(&self, fd: Fd, buf: &mut [u8]) -> Result<(usize, Option<Fd>)> {
        self.receive_file(fd, buf)
    }

    fn bind_abstract(&self, fd: Fd, name: &[u8]) -> Result<()> {
        self.state().file("bind", fd)?.output.extend(name);
        Ok(())
    }

    fn copy_modes(&self, _from: Fd, to: Fd) {
        self.state().calls.push(("copy_modes", to));
    }

    fn listen_abstract(&self, name: &[u8]) -> Result<Fd> {
        Ok(self.add(File { output: name.to_vec(), ..File::default() }))
    }

    fn start_companion(&self, net: Fd, pair: Fd, _questions: Option<Fd>) -> Result<libc::pid_t> {
        let mut state = self.state();
        state.companions.push((net, pair));
        if state.no_companion { Err(Errno(libc::ENOENT)) } else { Ok(77) }
    }

    fn disinherit(&self) {
        self.state().disinherited = true;
    }

    fn log(&self, line: &[u8]) {
        self.state().log.extend_from_slice(line);
    }
}
