//! The kernel, by way of its system calls.
//!
//! Not by way of libc's functions of those names: most of them are cancellation points, and a thread that is cancelled there is
//! unwound, which it cannot be through Rust's frames; and each return behind a system call is mispredicted.

use std::ffi::CString;
use std::io::{IoSlice, IoSliceMut};
use std::mem::{self, MaybeUninit};
use std::net::SocketAddr;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use libc::{c_int, c_uint, epoll_event, iovec, msghdr, pollfd, sigset_t, sockaddr_storage, socklen_t};
use syscalls::{Sysno, syscall};
use wslayer::sys::{Errno, Fd, PeerAddr, Result, SharedWords, Sys};

use crate::companion;
use crate::glue::to_timespec;
use crate::inherit;
use crate::passing;
use crate::signals;
use crate::start::{identity, log_line};

/// Our own descriptors go from here on, where programs rarely look. Not further up, or the kernel's table for the process grows large.
const HIGH: c_int = 960;

/// What a bridged program may have sent that its companion has not taken: as much as keeps both at work.
const PAIR_BUFFER: c_int = 256 * 1024;

/// Where bytes that are dropped would go, and never do: with MSG_TRUNC a TCP socket writes nothing, tcp(7). So no page of this
/// comes to exist. A null pointer would do for the kernel, but memcheck calls it an error of the program.
static SINK: [AtomicU8; 1 << 20] = [const { AtomicU8::new(0) }; 1 << 20];

/// The real system calls.
pub struct Kernel {
    /// The kernel has epoll_pwait2 (Linux 5.11).
    has_pwait2: AtomicBool,
}

impl Kernel {
    /// The kernel that the program runs on.
    pub const fn new() -> Self {
        Kernel { has_pwait2: AtomicBool::new(true) }
    }
}

/// The size of the kernel's sigset_t, which comes with each signal mask.
const MASK: usize = 8;

/// A system call by its name, with arguments that are words or pointers.
macro_rules! call {
    ($name:ident $(, $arg:expr)*) => {
        syscall!(Sysno::$name $(, $arg)*).map_err(|error| Errno(error.into_raw()))
    };
}

mod options;
mod processes;

pub use options::SO_COOKIE;

/// The lock of a whole file, without waiting: fcntl_locking(2).
fn record_lock(fd: Fd, kind: c_int) -> Result<()> {
    let whence = libc::SEEK_SET as libc::c_short;
    let lock = libc::flock { l_type: kind as libc::c_short, l_whence: whence, l_start: 0, l_len: 0, l_pid: 0 };
    // SAFETY: the command takes a flock, and `lock` is one.
    unsafe { call!(fcntl, fd, libc::F_SETLK, &raw const lock) }.map(drop)
}

fn message(iov: *mut iovec, count: usize) -> msghdr {
    // SAFETY: a msghdr of zeros is valid: no name, no control data.
    let mut msg: msghdr = unsafe { mem::zeroed() };
    (msg.msg_iov, msg.msg_iovlen) = (iov, count);
    msg
}

/// fstat(2).
fn status(fd: Fd) -> Option<libc::stat> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` has the kernel's own layout on 64-bit machines, and is filled where the call succeeds.
    unsafe { call!(fstat, fd, stat.as_mut_ptr()).ok().map(|_| stat.assume_init()) }
}

fn pointer<T>(value: Option<&T>) -> *const T {
    value.map_or(ptr::null(), ptr::from_ref)
}

impl Sys for Kernel {
    fn recv(&self, fd: Fd, buf: &mut [u8], flags: c_int) -> Result<usize> {
        // SAFETY: `buf` is writable for its length.
        unsafe { call!(recvfrom, fd, buf.as_mut_ptr(), buf.len(), flags, 0, 0) }
    }

    fn recv_vectored(&self, fd: Fd, bufs: &mut [IoSliceMut<'_>], flags: c_int) -> Result<usize> {
        let mut msg = message(bufs.as_mut_ptr().cast(), bufs.len());
        // SAFETY: IoSliceMut has the layout of iovec, and each is writable.
        unsafe { call!(recvmsg, fd, &raw mut msg, flags) }
    }

    fn discard(&self, fd: Fd, len: usize) -> Result<usize> {
        let len = len.min(SINK.len());
        // SAFETY: `SINK` has room for `len` bytes, and may be written by anyone at any time.
        unsafe { call!(recvfrom, fd, SINK.as_ptr(), len, libc::MSG_TRUNC | libc::MSG_DONTWAIT, 0, 0) }
    }

    fn send(&self, fd: Fd, bytes: &[u8], flags: c_int) -> Result<usize> {
        // SAFETY: `bytes` is readable for its length.
        unsafe { call!(sendto, fd, bytes.as_ptr(), bytes.len(), flags, 0, 0) }
    }

    fn send_vectored(&self, fd: Fd, bufs: &[IoSlice<'_>], flags: c_int) -> Result<usize> {
        let msg = message(bufs.as_ptr().cast_mut().cast(), bufs.len());
        // SAFETY: IoSlice has the layout of iovec, and each is readable; sendmsg does not write to them.
        unsafe { call!(sendmsg, fd, &raw const msg, flags) }
    }

    fn send_waiting(&self, fd: Fd, bufs: &[IoSlice<'_>], flags: c_int) -> Result<usize> {
        let msg = message(bufs.as_ptr().cast_mut().cast(), bufs.len());
        // SAFETY: as in `send_vectored`.
        unsafe { signals::wait(Sysno::sendmsg, [fd as usize, (&raw const msg).expose_provenance(), flags as usize, 0]) }
    }

    fn outside<T>(&self, f: impl FnOnce() -> T) -> T {
        signals::outside(f)
    }

    fn wait_word(&self, word: &AtomicU32, value: u32, limit: Option<Duration>) -> Result<()> {
        let time = limit.map(to_timespec);
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: `word` is a word; a null pointer means no time limit.
        match unsafe { call!(futex, word.as_ptr(), operation, value, pointer(time.as_ref())) } {
            Ok(_) | Err(Errno(libc::EAGAIN)) => Ok(()),
            Err(Errno(libc::ETIMEDOUT)) => Err(Errno(libc::EAGAIN)),
            Err(error) => Err(error),
        }
    }

    fn wake_word(&self, word: &AtomicU32) {
        // SAFETY: the kernel takes the address for a name.
        let _ = unsafe { call!(futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, c_int::MAX) };
    }

    fn send_queue(&self, fd: Fd) -> Result<(usize, usize)> {
        options::send_queue(fd)
    }

    fn read_vectored(&self, fd: Fd, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        // SAFETY: as in `recv_vectored`.
        unsafe { call!(readv, fd, bufs.as_ptr(), bufs.len()) }
    }

    fn write_vectored(&self, fd: Fd, bufs: &[IoSlice<'_>]) -> Result<usize> {
        // SAFETY: as in `send_vectored`.
        unsafe { call!(writev, fd, bufs.as_ptr(), bufs.len()) }
    }

    fn sendfile(&self, fd: Fd, file: Fd, position: Option<&mut i64>, len: usize) -> Result<usize> {
        let position = position.map_or(ptr::null_mut(), ptr::from_mut);
        // SAFETY: `position` is null or writable.
        unsafe { signals::wait(Sysno::sendfile, [fd as usize, file as usize, position.expose_provenance(), len]) }
    }

    fn pread(&self, file: Fd, buf: &mut [u8], position: i64) -> Result<usize> {
        // SAFETY: `buf` is writable for its length.
        unsafe { call!(pread64, file, buf.as_mut_ptr(), buf.len(), position) }
    }

    fn lseek(&self, file: Fd, offset: i64, whence: c_int) -> Result<i64> {
        // SAFETY: no memory is involved.
        unsafe { call!(lseek, file, offset, whence) }.map(|position| position as i64)
    }

    fn file_size(&self, file: Fd) -> i64 {
        status(file).filter(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG).map_or(0, |stat| stat.st_size)
    }

    fn is_pipe(&self, fd: Fd) -> bool {
        status(fd).is_some_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFIFO)
    }

    fn splice(&self, pipe: Fd, fd: Fd, len: usize, flags: c_uint) -> Result<usize> {
        // SAFETY: no memory is involved: neither has an offset.
        unsafe { call!(splice, pipe, 0, fd, 0, len, flags) }
    }

    fn read(&self, fd: Fd, buf: &mut [u8]) -> Result<usize> {
        // SAFETY: `buf` is writable for its length.
        unsafe { call!(read, fd, buf.as_mut_ptr(), buf.len()) }
    }

    fn accept4(&self, fd: Fd, flags: c_int) -> Result<(Fd, PeerAddr)> {
        let mut addr = MaybeUninit::<sockaddr_storage>::zeroed();
        let mut len = mem::size_of::<sockaddr_storage>() as socklen_t;
        // SAFETY: `addr` has room for the `len` bytes that the kernel may write.
        let new = unsafe { call!(accept4, fd, addr.as_mut_ptr(), &raw mut len, flags) }?;
        // SAFETY: the storage was zeroed, so all of it is initialized; the slice is no longer than it.
        let bytes = unsafe {
            std::slice::from_raw_parts(
                addr.as_ptr().cast::<u8>(),
                (len as usize).min(mem::size_of::<sockaddr_storage>()),
            )
        };
        Ok((new as Fd, PeerAddr::new(bytes)))
    }

    fn take_turn(&self, listener: Fd) -> bool {
        !matches!(record_lock(listener, libc::F_WRLCK), Err(Errno(libc::EAGAIN | libc::EACCES)))
    }

    fn leave_turn(&self, listener: Fd) {
        let _ = record_lock(listener, libc::F_UNLCK);
    }

    fn shutdown(&self, fd: Fd, how: c_int) -> Result<()> {
        // SAFETY: no memory is involved.
        unsafe { call!(shutdown, fd, how) }.map(drop)
    }

    fn close(&self, fd: Fd) -> Result<()> {
        // SAFETY: the program asked for it, or the descriptor is ours.
        unsafe { call!(close, fd) }.map(drop)
    }

    fn close_range(&self, first: c_uint, last: c_uint, flags: c_uint) -> Result<()> {
        // SAFETY: the program asked for it, or nothing has these numbers.
        unsafe { call!(close_range, first, last, flags) }.map(drop)
    }

    fn dup_to(&self, old: Fd, new: Fd, flags: Option<c_int>) -> Result<Fd> {
        if old == new && flags.is_none() {
            // Which dup3(2) refuses; and not every machine has dup2(2).
            return self.fcntl(old, libc::F_GETFD, 0).map(|_| new);
        }
        // SAFETY: no memory is involved.
        unsafe { call!(dup3, old, new, flags.unwrap_or(0)) }.map(|fd| fd as Fd)
    }

    fn fcntl(&self, fd: Fd, command: c_int, arg: c_int) -> Result<c_int> {
        // SAFETY: only commands with an integer argument come here.
        unsafe { call!(fcntl, fd, command, arg) }.map(|value| value as c_int)
    }

    fn unsent(&self, fd: Fd) -> usize {
        let mut value: c_int = 0;
        // SAFETY: SIOCOUTQNSD writes an int.
        let result = unsafe { call!(ioctl, fd, libc::SIOCOUTQNSD, &raw mut value) };
        result.map_or(0, |_| usize::try_from(value).unwrap_or(0))
    }

    fn closes_its_own_way(&self, fd: Fd) -> bool {
        options::closes_its_own_way(fd)
    }

    fn queued(&self, fd: Fd) -> Result<usize> {
        let mut value: c_int = 0;
        // SAFETY: FIONREAD writes an int.
        unsafe { call!(ioctl, fd, libc::FIONREAD, &raw mut value) }?;
        Ok(usize::try_from(value).unwrap_or(0))
    }

    fn listening_port(&self, fd: Fd) -> Option<u16> {
        options::listening_port(fd)
    }

    fn defer_accept(&self, fd: Fd, time: Duration) -> Result<()> {
        options::defer_accept(fd, time)
    }

    fn make_room(&self, fd: Fd) -> Result<()> {
        options::set(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, c_int::MAX)
    }

    fn reset_low_water(&self, fd: Fd) -> Result<()> {
        options::set(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, 1)
    }

    fn receive_timeout(&self, fd: Fd) -> Option<Duration> {
        options::time_limit(fd, libc::SO_RCVTIMEO)
    }

    fn send_timeout(&self, fd: Fd) -> Option<Duration> {
        options::time_limit(fd, libc::SO_SNDTIMEO)
    }

    fn poll(&self, fds: &mut [pollfd], timeout: Option<Duration>, mask: Option<&sigset_t>) -> Result<usize> {
        let mut time = timeout.map(to_timespec);
        let time = time.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        // SAFETY: `fds` is writable for its length, as is `time`; null pointers mean no timeout and no mask.
        unsafe { call!(ppoll, fds.as_mut_ptr(), fds.len(), time, pointer(mask), MASK) }
    }

    fn epoll_create(&self) -> Result<Fd> {
        // SAFETY: no memory is involved.
        unsafe { call!(epoll_create1, libc::EPOLL_CLOEXEC) }.map(|fd| fd as Fd)
    }

    fn epoll_ctl(&self, epoll: Fd, op: c_int, fd: Fd, event: Option<epoll_event>) -> Result<()> {
        let mut event = event;
        let event = event.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        // SAFETY: `event` is null or readable.
        unsafe { call!(epoll_ctl, epoll, op, fd, event) }.map(drop)
    }

    fn epoll_wait(
        &self,
        epoll: Fd,
        events: &mut [epoll_event],
        timeout: Option<Duration>,
        mask: Option<&sigset_t>,
    ) -> Result<usize> {
        let (at, len) = (events.as_mut_ptr(), c_int::try_from(events.len()).unwrap_or(c_int::MAX));
        let whole_millis = timeout.is_none_or(|time| time.subsec_nanos() % 1_000_000 == 0);
        if !whole_millis && self.has_pwait2.load(Ordering::Relaxed) {
            let time = timeout.map(to_timespec);
            // SAFETY: `events` is writable for its length; null pointers mean no timeout and no mask.
            match unsafe { call!(epoll_pwait2, epoll, at, len, pointer(time.as_ref()), pointer(mask), MASK) } {
                Err(Errno(libc::ENOSYS)) => self.has_pwait2.store(false, Ordering::Relaxed),
                result => return result,
            }
        }
        let millis = match timeout {
            None => -1,
            // Rounded up: a wait must not end before its time.
            Some(time) => c_int::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX),
        };
        // SAFETY: as above.
        unsafe { call!(epoll_pwait, epoll, at, len, millis, pointer(mask), MASK) }
    }

    fn fdinfo(&self, fd: Fd) -> Vec<u8> {
        let (mut text, mut buf) = (Vec::new(), [0; 1024]);
        let Ok(path) = CString::new(format!("/proc/self/fdinfo/{fd}")) else { return text };
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        // SAFETY: the path is a C string.
        let Ok(file) = (unsafe { call!(openat, libc::AT_FDCWD, path.as_ptr(), flags) }) else { return text };
        // SAFETY: `buf` is writable for its length.
        while let Ok(n @ 1..) = unsafe { call!(read, file, buf.as_mut_ptr(), buf.len()) } {
            text.extend_from_slice(buf.get(..n).unwrap_or_default());
        }
        let _ = self.close(file as Fd);
        text
    }

    fn inode(&self, fd: Fd) -> Option<u64> {
        identity(fd).map(|(_, inode)| inode)
    }

    fn timer_create(&self) -> Result<Fd> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: no memory is involved.
        unsafe { call!(timerfd_create, libc::CLOCK_MONOTONIC, flags) }.map(|fd| fd as Fd)
    }

    fn timer_set(&self, timer: Fd, at: Option<Duration>) -> Result<()> {
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = libc::itimerspec { it_interval: zero, it_value: at.map_or(zero, to_timespec) };
        // SAFETY: `spec` is readable; the old value is not asked for.
        unsafe { call!(timerfd_settime, timer, libc::TFD_TIMER_ABSTIME, &raw const spec, 0) }.map(drop)
    }

    fn descriptor_limit(&self) -> usize {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is writable. The call does not fail for this limit.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
    }

    fn move_high(&self, fd: Fd) -> Fd {
        let mut lowest = HIGH;
        while lowest > fd {
            match self.fcntl(fd, libc::F_DUPFD_CLOEXEC, lowest) {
                Ok(high) => {
                    let _ = self.close(fd);
                    return high;
                }
                // Beyond the limit, of which the kernel is not asked: a sandbox may forbid that.
                Err(Errno(libc::EINVAL)) => lowest -= (lowest / 8).max(1),
                Err(_) => break,
            }
        }
        // No number is free up there: it may stay where it is.
        fd
    }

    fn now(&self) -> Duration {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is writable, and the clock exists.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    fn pid(&self) -> libc::pid_t {
        // SAFETY: no memory is involved.
        unsafe { libc::getpid() }
    }

    fn thread(&self) -> u64 {
        // SAFETY: no memory is involved.
        unsafe { libc::pthread_self() }
    }

    fn is_single_threaded(&self) -> bool {
        wslock::is_single_threaded()
    }

    fn is_alive(&self, pid: libc::pid_t) -> bool {
        processes::is_alive(self, pid)
    }

    fn signals_restart(&self) -> bool {
        processes::signals_restart()
    }

    fn raise_sigpipe(&self) {
        // SAFETY: what the kernel would do at this point.
        unsafe { libc::raise(libc::SIGPIPE) };
    }

    fn shared_words(&self, count: usize) -> Option<Arc<dyn SharedWords>> {
        processes::shared_words(count)
    }

    fn random(&self) -> u32 {
        let mut bytes = [0; 4];
        // SAFETY: `bytes` is writable.
        let _ = unsafe { call!(getrandom, bytes.as_mut_ptr(), bytes.len(), libc::GRND_NONBLOCK) };
        // No user space pointer, no small number and no pair of 32-bit numbers in common use has this bit.
        u32::from_ne_bytes(bytes) | 1 << 31
    }

    fn peer(&self, fd: Fd) -> Option<SocketAddr> {
        options::address(Sysno::getpeername, fd)
    }

    fn local(&self, fd: Fd) -> Option<SocketAddr> {
        options::address(Sysno::getsockname, fd)
    }

    fn cookie(&self, fd: Fd) -> Option<u64> {
        options::cookie(fd)
    }

    fn socket_pair(&self) -> Result<(Fd, Fd)> {
        let mut pair: [c_int; 2] = [0; 2];
        // SAFETY: `pair` has room for the two descriptors.
        unsafe { call!(socketpair, libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0, pair.as_mut_ptr()) }?;
        for fd in pair {
            let (size, len) = (PAIR_BUFFER, mem::size_of::<c_int>() as socklen_t);
            // SAFETY: the option is an int, and `size` is one. The kernel gives what it allows.
            let _ = unsafe { call!(setsockopt, fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &raw const size, len) };
        }
        Ok((pair[0], pair[1]))
    }

    fn queue_pair(&self) -> Result<(Fd, Fd)> {
        passing::pair()
    }

    fn queue_cookie(&self, fd: Fd) -> Option<u64> {
        passing::cookie(fd)
    }

    fn send_passing(&self, fd: Fd, bytes: &[u8], passed: Fd) -> Result<()> {
        passing::send(fd, bytes, passed)
    }

    fn receive_passed(&self, fd: Fd, buf: &mut [u8]) -> Result<(usize, Option<Fd>)> {
        passing::receive(fd, buf)
    }

    fn bind_abstract(&self, fd: Fd, name: &[u8]) -> Result<()> {
        let (addr, len) = passing::abstract_address(name);
        // SAFETY: `addr` is readable for `len` bytes.
        unsafe { call!(bind, fd, &raw const addr, len) }.map(drop)
    }

    fn copy_modes(&self, from: Fd, to: Fd) {
        if let Ok(flags) = self.fcntl(from, libc::F_GETFL, 0) {
            let _ = self.fcntl(to, libc::F_SETFL, flags & libc::O_NONBLOCK);
        }
        options::copy_time_limits(from, to);
    }

    fn listen_abstract(&self, name: &[u8]) -> Result<Fd> {
        passing::listen(|fd| self.bind_abstract(fd, name))
    }

    fn start_companion(&self, net: Fd, pair: Fd, questions: Option<Fd>) -> Result<libc::pid_t> {
        companion::start(net, pair, questions)
    }

    fn disinherit(&self) {
        inherit::disinherit();
    }

    fn log(&self, line: &[u8]) {
        log_line(line);
    }
}
