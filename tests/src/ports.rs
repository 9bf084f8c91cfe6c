//! Ports that are free, and stay so for whoever has asked.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

/// Ports that nobody uses, kept from the other tests (of this process and of others) while this lives. Nobody listens there
/// unless the test has somebody do so.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    _locks: Vec<UnixListener>,
}

impl Ports {
    /// One port.
    ///
    /// # Panics
    /// If none is free.
    #[must_use]
    pub fn one() -> Self {
        Self::at(&[0])
    }

    /// A port, and those that follow it at these distances, in ascending order.
    ///
    /// They are below the range that the kernel takes ports from by itself, so that no outgoing connection gets in the way
    /// between this call and the program's `bind`.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn at(distances: &[u16]) -> Self {
        const LOW: u16 = 10_000;
        const HIGH: u16 = 32_000;
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let reach = distances.last().map_or(0, |last| last + 1);
        // Processes begin at different places; going on from the last port leaves finished connections time to be forgotten.
        let start = (std::process::id() * 97 % u32::from(HIGH - LOW)) as u16;
        for _ in LOW..HIGH {
            let offset = NEXT.fetch_add(distances.len() as u16, Ordering::Relaxed) % (HIGH - LOW);
            let first = LOW + (start + offset) % (HIGH - LOW - reach);
            let locks: Vec<UnixListener> = distances
                .iter()
                .map_while(|distance| {
                    let port = first + distance;
                    let name = format!("wstests-port-{port}");
                    let name = SocketAddr::from_abstract_name(name).ok()?;
                    // A name in the abstract namespace has one owner and goes with the process: a lock without a file.
                    let lock = UnixListener::bind_addr(&name).ok()?;
                    // Only the owner of the lock may try the port: the attempt itself occupies it for a moment.
                    is_free(port).then_some(lock)
                })
                .collect();
            if locks.len() == distances.len() {
                return Self { first, _locks: locks };
            }
        }
        panic!("no free ports {distances:?} between {LOW} and {HIGH}");
    }

    /// The lowest of them.
    #[must_use]
    pub fn first(&self) -> u16 {
        self.first
    }

    /// The lowest of them on 127.0.0.1.
    #[must_use]
    pub fn addr(&self) -> std::net::SocketAddr {
        (Ipv4Addr::LOCALHOST, self.first).into()
    }
}

/// A question of [`is_free`], and where its answer goes.
type Question = (u16, Sender<bool>);

/// Whether a program could bind `port` without SO_REUSEADDR: std's listeners set it and would not notice the remains of
/// finished connections.
///
/// A thread with a descriptor table of its own tries. In a table that all share, each program that another test starts takes
/// a copy of the socket along from the clone to the exec, and on a busy machine that is long enough for the port to be
/// taken when it is wanted.
fn is_free(port: u16) -> bool {
    static PROBE: LazyLock<Sender<Question>> = LazyLock::new(|| {
        let (ask, questions) = channel::<Question>();
        thread::spawn(move || {
            // SAFETY: plain system call. The table that it empties is this thread's alone from then on (close_range(2)), and
            // none of the descriptors in it was this thread's.
            let emptied = unsafe { libc::close_range(0, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE as libc::c_int) };
            assert_eq!(emptied, 0, "close_range: {}", io::Error::last_os_error());
            for (port, answer) in questions {
                // Whoever has asked waits for it.
                let _ = answer.send(binds(port));
            }
        });
        ask
    });
    let (answer, answered) = channel();
    let asked = PROBE.send((port, answer));
    assert!(asked.is_ok(), "the thread that tries ports has ended");
    answered.recv().unwrap_or_else(|_| panic!("the thread that tries ports has ended"))
}

fn binds(port: u16) -> bool {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: libc::INADDR_ANY },
        sin_zero: [0; 8],
    };
    // SAFETY: plain system call.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "socket: {}", io::Error::last_os_error());
    // SAFETY: socket(2) has just made the descriptor and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: `address` is a socket address of the given size and lives across the call.
    let result = unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_in>() as libc::socklen_t)
    };
    result == 0
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_free_port_can_be_bound_at_once_whatever_is_started_meanwhile() {
        thread::scope(|scope| {
            let start = || (0..300).for_each(|_| assert!(Command::new("true").status().unwrap().success()));
            let starters = [start; 4].map(|start| scope.spawn(start));
            let mut held = Vec::new();
            while !starters.iter().all(|starter| starter.is_finished()) {
                let port = Ports::one();
                if !is_free(port.first()) {
                    held.push(port.first());
                }
            }
            assert_eq!(held, [], "ports that were free, and are held");
        });
    }
}
