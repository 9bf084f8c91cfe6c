//! Sockets that another process has opened: systemd's, by `LISTEN_FDS`, and inetd's, on standard input.

use std::os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::{SFlag, fstat};

/// The first descriptor that systemd passes: SD_LISTEN_FDS_START of sd_listen_fds(3).
const FIRST: RawFd = 3;

/// Takes the sockets that systemd passes to this process. No other thread may run, and it is called once.
pub fn from_systemd() -> Vec<OwnedFd> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let (pid, count) = (number("LISTEN_PID"), number("LISTEN_FDS"));
    if pid != Some(std::process::id()) {
        return Vec::new();
    }
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        // What this process starts in turn does not take them for its own.
        // SAFETY: no other thread runs, so none reads the environment.
        unsafe { std::env::remove_var(name) };
    }
    let count = count.and_then(|count| RawFd::try_from(count).ok()).unwrap_or_default();
    let descriptors = (FIRST..FIRST.saturating_add(count)).map_while(|number| {
        // SAFETY: it is only told to close on exec; a number that is not open is EBADF.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        let open = fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        // SAFETY: it is open, and sd_listen_fds(3) makes it this process's own; nothing else has taken it, since nothing
        // was opened before.
        open.is_ok().then(|| unsafe { OwnedFd::from_raw_fd(number) })
    });
    descriptors.collect()
}

/// The socket on standard input, under a number of its own.
///
/// # Errors
/// Those of fcntl(2).
pub fn from_inetd() -> std::io::Result<OwnedFd> {
    std::io::stdin().as_fd().try_clone_to_owned()
}

/// Whether standard error is the socket on standard input, as inetd leaves it: what is told there is told to a client.
pub fn stderr_is_the_socket() -> bool {
    match (fstat(std::io::stdin()), fstat(std::io::stderr())) {
        (Ok(input), Ok(error)) => {
            SFlag::from_bits_truncate(input.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK
                && (input.st_dev, input.st_ino) == (error.st_dev, error.st_ino)
        }
        _ => false,
    }
}
