//! The kernel's side: who listens, what is under way, how many descriptors there may be.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

/// The state LISTEN as the tables of proc(5) write it (include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// Whether a socket of IPv4 listens on `port`. One of IPv6 does not count, even if it takes IPv4 as well: the table does not
/// say so, and programs that listen on both in turn are not ready with the first.
///
/// # Panics
/// If `/proc/net/tcp` cannot be read or understood.
#[must_use]
pub fn is_listening(port: u16) -> bool {
    let table = File::open("/proc/net/tcp").unwrap_or_else(|error| panic!("no TCP table: {error}"));
    for line in BufReader::new(table).lines().skip(1) {
        let line = line.unwrap_or_else(|error| panic!("the TCP table cannot be read: {error}"));
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[_, local, _, state, ..] = fields.as_slice() else {
            panic!("not a line of the TCP table: {line}");
        };
        // Listeners come first, and after a run of many connections the rest is long.
        if state != LISTEN {
            return false;
        }
        if local.ends_with(&format!(":{port:04X}")) {
            return true;
        }
    }
    false
}

/// Lets this process, and the servers it starts, have as many descriptors as it may: tests with many connections need them.
///
/// # Panics
/// If the kernel refuses.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writing and lives across the call.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` holds the limits just read and lives across the call.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    assert!(got == 0 && set == 0, "RLIMIT_NOFILE: {}", io::Error::last_os_error());
}

/// Makes `call` again whenever a signal has ended it. A read(2) with a timeout is not restarted, whatever the signal, see
/// signal(7); and one that this process ignores ends it too: `pthread_create` blocks all signals for a moment, and a SIGCHLD
/// that is blocked in the first thread goes to another.
///
/// # Errors
/// Those of `call`.
pub fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// How many bytes that were written the other side's kernel does not have yet: SIOCOUTQ of tcp(7).
///
/// # Panics
/// If the kernel refuses.
#[must_use]
pub fn unacknowledged(stream: &TcpStream) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: `count` is valid for writing and lives across the call; the descriptor is open.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    assert!(result == 0, "SIOCOUTQ: {}", io::Error::last_os_error());
    usize::try_from(count).unwrap_or_default()
}

/// Makes the end of a connection a reset, SO_LINGER of socket(7): nothing that is under way arrives.
///
/// # Panics
/// If the kernel refuses.
#[track_caller]
pub fn reset_on_close(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: `linger` lives across the call and the length is its size; the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "SO_LINGER: {}", io::Error::last_os_error());
}
