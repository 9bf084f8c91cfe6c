//! The system calls that the standard library has no name for. The only unsafe code of the benchmark.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use libc::{c_int, c_void};

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The CPUs that this process may run on (sched_getaffinity(2)).
pub fn cpus() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: the size handed over is that of `set`.
    check(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) })?;
    let all = 0..8 * size_of::<libc::cpu_set_t>();
    // SAFETY: every number in `all` is a bit of `set`.
    Ok(all.filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// Keeps process `pid` (0: the calling thread) on some CPUs (sched_setaffinity(2)), which come from [`cpus`].
pub fn pin(pid: u32, cpus: &[usize]) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    for cpu in cpus {
        // SAFETY: `cpu` was found in a set of this type.
        unsafe { libc::CPU_SET(*cpu, &mut set) };
    }
    // SAFETY: the size handed over is that of `set`.
    check(unsafe { libc::sched_setaffinity(pid, size_of::<libc::cpu_set_t>(), &raw const set) })
}

/// Raises the soft limit of open files to the hard one (setrlimit(2)) and returns it.
pub fn raise_file_limit() -> io::Result<u64> {
    // SAFETY: an all-zero rlimit is a valid value.
    let mut limit: libc::rlimit = unsafe { zeroed() };
    // SAFETY: `limit` is valid for writing.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is valid for reading.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

/// Makes the close of `stream` a reset, which leaves no TIME_WAIT behind (SO_LINGER, socket(7)).
pub fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = libc::socklen_t::try_from(size_of::<libc::linger>()).map_err(io::Error::other)?;
    // SAFETY: pointer and size are those of `linger`.
    check(unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast::<c_void>(),
            size,
        )
    })
}

/// Takes exactly `count` bytes from `stream` and looks at none: the kernel drops them without a copy
/// (MSG_TRUNC, tcp(7)). The end of the stream is an error.
pub fn discard(stream: &TcpStream, mut count: u64) -> io::Result<()> {
    while count > 0 {
        let ask = usize::try_from(count).unwrap_or(usize::MAX).min(1 << 20);
        // SAFETY: with MSG_TRUNC a TCP socket writes nothing to the buffer.
        let got = unsafe { libc::recv(stream.as_raw_fd(), std::ptr::null_mut(), ask, libc::MSG_TRUNC) };
        match u64::try_from(got) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(got) => count -= got,
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
    Ok(())
}

/// Where `byte` first is in `bytes` (memchr(3)).
pub fn find(bytes: &[u8], byte: u8) -> Option<usize> {
    let start = bytes.as_ptr().cast::<c_void>();
    // SAFETY: `start` is valid for reading `bytes.len()` bytes.
    let found = unsafe { libc::memchr(start, c_int::from(byte), bytes.len()) };
    (!found.is_null()).then(|| found.addr() - start.addr())
}
