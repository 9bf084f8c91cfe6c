//! The kernel as the layer sees it: the only way out.
//!
//! The cdylib implements [`Sys`] over the real libc functions; unit tests implement it over a scripted kernel. Every
//! method is the system call of its name and returns what that call returns, with errno as the error; none of them
//! goes through a hook.

use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use libc::{c_int, c_uint, epoll_event, pollfd, sigset_t};

/// A file descriptor, as libc has it.
pub type Fd = c_int;

/// The error number of a failed call, errno(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub c_int);

/// `ERESTARTSYS` of the kernel, which no program sees: see [`Sys::send_waiting`].
pub const RESTART: Errno = Errno(512);

/// The result of a system call.
pub type Result<T> = std::result::Result<T, Errno>;

/// The address of a TCP peer as `accept` reports it: at most a `sockaddr_in6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr {
    bytes: [u8; 28],
    len: u8,
}

impl PeerAddr {
    /// Takes a `sockaddr` in its memory layout; what exceeds a `sockaddr_in6` is cut.
    pub fn new(sockaddr: &[u8]) -> Self {
        let mut bytes = [0; 28];
        for (to, from) in bytes.iter_mut().zip(sockaddr) {
            *to = *from;
        }
        PeerAddr { bytes, len: sockaddr.len().min(28) as u8 }
    }

    /// The `sockaddr`, as long as the kernel made it.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// The address and port, if it is an internet address.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        let [f0, f1, p0, p1, a0, a1, a2, a3, rest @ ..] = self.bytes;
        let port = u16::from_be_bytes([p0, p1]);
        match (c_int::from(u16::from_ne_bytes([f0, f1])), self.len) {
            (libc::AF_INET, 16..) => Some((Ipv4Addr::new(a0, a1, a2, a3), port).into()),
            (libc::AF_INET6, 28..) => {
                let octets: [u8; 16] = rest.first_chunk().copied()?;
                let scope = u32::from_ne_bytes(rest.last_chunk().copied()?);
                Some(SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, scope).into())
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for PeerAddr {
    /// The `sockaddr` of an address, in its memory layout: ip(7), ipv6(7).
    fn from(addr: SocketAddr) -> Self {
        let mut bytes = Vec::with_capacity(28);
        match addr {
            SocketAddr::V4(addr) => {
                bytes.extend((libc::AF_INET as u16).to_ne_bytes());
                bytes.extend(addr.port().to_be_bytes());
                bytes.extend(addr.ip().octets());
                bytes.extend([0; 8]);
            }
            SocketAddr::V6(addr) => {
                bytes.extend((libc::AF_INET6 as u16).to_ne_bytes());
                bytes.extend(addr.port().to_be_bytes());
                bytes.extend(addr.flowinfo().to_ne_bytes());
                bytes.extend(addr.ip().octets());
                bytes.extend(addr.scope_id().to_ne_bytes());
            }
        }
        PeerAddr::new(&bytes)
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.socket_addr() {
            Some(addr) => write!(f, "{addr}"),
            None => f.write_str("unknown"),
        }
    }
}

/// A word that a process shares with the children that it forks.
pub trait SharedWords: Send + Sync {
    /// The word at `index`, if there is one.
    fn get(&self, index: usize) -> Option<&AtomicU32>;
}

/// The system calls that the layer makes. `None` as a time means for ever.
pub trait Sys: Sync {
    /// recv(2).
    fn recv(&self, fd: Fd, buf: &mut [u8], flags: c_int) -> Result<usize>;
    /// recvmsg(2) without control data.
    fn recv_vectored(&self, fd: Fd, bufs: &mut [IoSliceMut<'_>], flags: c_int) -> Result<usize>;
    /// recv(2) with `MSG_TRUNC | MSG_DONTWAIT`: drops `len` queued bytes without copying them, tcp(7).
    fn discard(&self, fd: Fd, len: usize) -> Result<usize>;
    /// send(2).
    fn send(&self, fd: Fd, bytes: &[u8], flags: c_int) -> Result<usize>;
    /// sendmsg(2) without control data.
    fn send_vectored(&self, fd: Fd, bufs: &[IoSlice<'_>], flags: c_int) -> Result<usize>;
    /// sendmsg(2) that may wait. It may be interrupted by signals, but their handlers run only after the call of the layer, or
    /// [`Sys::outside`]: what was sent can be accounted for. [`RESTART`] means that nothing was sent, and that the kernel would go
    /// on after the handler.
    fn send_waiting(&self, fd: Fd, bufs: &[IoSlice<'_>], flags: c_int) -> Result<usize>;
    /// Runs `f`, which waits, so that signal handlers run meanwhile, and first those that had to wait. No lock is held: the
    /// handler may call us, or leave by siglongjmp(3).
    fn outside<T>(&self, f: impl FnOnce() -> T) -> T;
    /// futex(2) `FUTEX_WAIT`: waits while `word` is `value`, or until [`Sys::wake_word`].
    ///
    /// # Errors
    /// `EAGAIN` when the time is over; `EINTR`, unless the handler restarts calls and there is no limit.
    fn wait_word(&self, word: &AtomicU32, value: u32, limit: Option<Duration>) -> Result<()>;
    /// futex(2) `FUTEX_WAKE`: wakes all who wait.
    fn wake_word(&self, word: &AtomicU32);
    /// getsockopt(2) `SO_MEMINFO`: bytes in the send queue, and how many the kernel lets there be.
    fn send_queue(&self, fd: Fd) -> Result<(usize, usize)>;
    /// readv(2), for a number that turns out to be no socket any more.
    fn read_vectored(&self, fd: Fd, bufs: &mut [IoSliceMut<'_>]) -> Result<usize>;
    /// writev(2), for a number that turns out to be no socket any more.
    fn write_vectored(&self, fd: Fd, bufs: &[IoSlice<'_>]) -> Result<usize>;
    /// sendfile(2) from `position` on, which moves on by what was sent; from the file's own position where it is `None`. Signals as in
    /// [`Sys::send_waiting`].
    fn sendfile(&self, fd: Fd, file: Fd, position: Option<&mut i64>, len: usize) -> Result<usize>;
    /// pread(2).
    fn pread(&self, file: Fd, buf: &mut [u8], position: i64) -> Result<usize>;
    /// lseek(2).
    fn lseek(&self, file: Fd, offset: i64, whence: c_int) -> Result<i64>;
    /// fstat(2): the size of a regular file; 0 for everything else.
    fn file_size(&self, file: Fd) -> i64;
    /// fstat(2): whether `fd` is a pipe.
    fn is_pipe(&self, fd: Fd) -> bool;
    /// splice(2) from a pipe to a socket.
    fn splice(&self, pipe: Fd, fd: Fd, len: usize, flags: c_uint) -> Result<usize>;
    /// read(2).
    fn read(&self, fd: Fd, buf: &mut [u8]) -> Result<usize>;
    /// accept4(2).
    fn accept4(&self, fd: Fd, flags: c_int) -> Result<(Fd, PeerAddr)>;
    /// fcntl(2) `F_SETLK`: takes the record lock of a listener, which one process at a time has, whatever program it runs. Returns whether
    /// no other process has it; where there are no such locks, that none has.
    fn take_turn(&self, listener: Fd) -> bool;
    /// Gives it back, as the end of the process does.
    fn leave_turn(&self, listener: Fd);
    /// shutdown(2).
    fn shutdown(&self, fd: Fd, how: c_int) -> Result<()>;
    /// close(2).
    fn close(&self, fd: Fd) -> Result<()>;
    /// close_range(2).
    fn close_range(&self, first: c_uint, last: c_uint, flags: c_uint) -> Result<()>;
    /// dup3(2), or dup2(2) where `flags` is `None`.
    fn dup_to(&self, old: Fd, new: Fd, flags: Option<c_int>) -> Result<Fd>;
    /// fcntl(2) with an integer argument.
    fn fcntl(&self, fd: Fd, command: c_int, arg: c_int) -> Result<c_int>;
    /// ioctl(2) `SIOCOUTQNSD`: bytes in the send queue that have not been sent once; 0 where the kernel does not tell.
    fn unsent(&self, fd: Fd) -> usize;
    /// getsockopt(2) `SO_LINGER`: whether the program has said how its close is to be.
    fn closes_its_own_way(&self, fd: Fd) -> bool;
    /// ioctl(2) `FIONREAD`: bytes in the receive queue.
    fn queued(&self, fd: Fd) -> Result<usize>;
    /// The local port of a TCP socket that listens; `None` for everything else (getsockopt(2) `SO_ACCEPTCONN`,
    /// getsockname(2)).
    fn listening_port(&self, fd: Fd) -> Option<u16>;
    /// setsockopt(2) `TCP_DEFER_ACCEPT`, unless the program has set it: a connection shows up once its client has sent
    /// something.
    fn defer_accept(&self, fd: Fd, time: Duration) -> Result<()>;
    /// setsockopt(2) `SO_SNDBUF` to the most that the system lets it be.
    fn make_room(&self, fd: Fd) -> Result<()>;
    /// setsockopt(2) `SO_RCVLOWAT` to 1, the default.
    fn reset_low_water(&self, fd: Fd) -> Result<()>;
    /// getsockopt(2) `SO_RCVTIMEO`; `None` when there is no limit.
    fn receive_timeout(&self, fd: Fd) -> Option<Duration>;
    /// getsockopt(2) `SO_SNDTIMEO`; `None` when there is no limit.
    fn send_timeout(&self, fd: Fd) -> Option<Duration>;
    /// ppoll(2).
    fn poll(&self, fds: &mut [pollfd], timeout: Option<Duration>, mask: Option<&sigset_t>) -> Result<usize>;
    /// epoll_create1(2) with `EPOLL_CLOEXEC`.
    fn epoll_create(&self) -> Result<Fd>;
    /// epoll_ctl(2).
    fn epoll_ctl(&self, epoll: Fd, op: c_int, fd: Fd, event: Option<epoll_event>) -> Result<()>;
    /// epoll_pwait2(2), or epoll_pwait(2) where that says it all.
    fn epoll_wait(
        &self,
        epoll: Fd,
        events: &mut [epoll_event],
        timeout: Option<Duration>,
        mask: Option<&sigset_t>,
    ) -> Result<usize>;
    /// The text of `/proc/self/fdinfo/FD`, proc(5); empty without it.
    fn fdinfo(&self, fd: Fd) -> Vec<u8>;
    /// The inode of an open file, fstat(2).
    fn inode(&self, fd: Fd) -> Option<u64>;
    /// timerfd_create(2): monotonic, non-blocking, close-on-exec.
    fn timer_create(&self) -> Result<Fd>;
    /// timerfd_settime(2): readable from the absolute time `at` on; `None` disarms.
    fn timer_set(&self, timer: Fd, at: Option<Duration>) -> Result<()>;
    /// Moves a descriptor of the library's own out of the numbers that programs count on, close-on-exec.
    fn move_high(&self, fd: Fd) -> Fd;
    /// getrlimit(2) `RLIMIT_NOFILE`, the soft limit: how many descriptors the process may have.
    fn descriptor_limit(&self) -> usize;
    /// clock_gettime(2) `CLOCK_MONOTONIC`.
    fn now(&self) -> Duration;
    /// getpid(2), asked of the kernel: differs in a vfork(2) child, which shares our memory.
    fn pid(&self) -> libc::pid_t;
    /// pthread_self(3).
    fn thread(&self) -> u64;
    /// Whether this process has had no second thread.
    fn is_single_threaded(&self) -> bool;
    /// Whether the process `pid` runs: kill(2) with signal 0 finds it, and waitid(2), or pidfd_open(2)
    /// where it is no child, does not find it dead.
    fn is_alive(&self, pid: libc::pid_t) -> bool;
    /// Whether a system call that a signal handler interrupted would have been restarted: every handler that is
    /// installed has `SA_RESTART`, signal(7).
    fn signals_restart(&self) -> bool;
    /// raise(3) `SIGPIPE`, as a write to a closed socket does.
    fn raise_sigpipe(&self);
    /// `count` words, zero, that children of fork(2) share with us; `None` when there is no memory.
    fn shared_words(&self, count: usize) -> Option<Arc<dyn SharedWords>>;
    /// 32 unpredictable bits, getrandom(2).
    fn random(&self) -> u32;
    /// The address of a TCP connection's peer, getpeername(2).
    fn peer(&self, fd: Fd) -> Option<SocketAddr>;
    /// The address that a TCP connection was made to, getsockname(2).
    fn local(&self, fd: Fd) -> Option<SocketAddr>;
    /// getsockopt(2) `SO_COOKIE` of a TCP socket: the same for all numbers that name the socket, and for no other socket's.
    fn cookie(&self, fd: Fd) -> Option<u64>;
    /// socketpair(2): two ends of a stream in the Unix domain, close-on-exec.
    fn socket_pair(&self) -> Result<(Fd, Fd)>;
    /// socketpair(2): two ends in the Unix domain that keep messages apart (`SOCK_SEQPACKET`), close-on-exec.
    fn queue_pair(&self) -> Result<(Fd, Fd)>;
    /// getsockopt(2) `SO_COOKIE` of an end that [`Sys::queue_pair`] made; `None` for everything else.
    fn queue_cookie(&self, fd: Fd) -> Option<u64>;
    /// sendmsg(2) of one message with the descriptor `passed`, `SCM_RIGHTS` of unix(7). Does not wait.
    fn send_passing(&self, fd: Fd, bytes: &[u8], passed: Fd) -> Result<()>;
    /// recvmsg(2) of one message, with the descriptor that came along, close-on-exec. The kernel drops one for which there is no number.
    /// Does not wait.
    fn receive_passed(&self, fd: Fd, buf: &mut [u8]) -> Result<(usize, Option<Fd>)>;
    /// bind(2) of a socket in the Unix domain to a name in the abstract namespace, unix(7).
    fn bind_abstract(&self, fd: Fd, name: &[u8]) -> Result<()>;
    /// Gives the socket `to` what the program has set of `from`: `O_NONBLOCK`, `SO_RCVTIMEO`, `SO_SNDTIMEO`.
    fn copy_modes(&self, from: Fd, to: Fd);
    /// A socket in the Unix domain that keeps messages apart (`SOCK_SEQPACKET`), listens by a name in the abstract namespace and does
    /// not wait; close-on-exec.
    fn listen_abstract(&self, name: &[u8]) -> Result<Fd>;
    /// Starts a companion with `net` as its descriptor 0, `pair` as 1 and `questions` as 3, and nothing else of this process; it is no
    /// child of it either. Returns its process id.
    fn start_companion(&self, net: Fd, pair: Fd, questions: Option<Fd>) -> Result<libc::pid_t>;
    /// Takes the library out of the environment that programs get which are started from here on.
    fn disinherit(&self);
    /// Writes one line, newline included, to the log.
    fn log(&self, line: &[u8]);
}
