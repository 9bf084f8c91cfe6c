//! The kernel's TCP sockets: who listens, what waits in the queues, which ports are free.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::wait;

/// The state LISTEN of `/proc/net/tcp` (proc(5), include/net/tcp_states.h).
pub const LISTEN: u8 = 0x0A;
/// The state ESTABLISHED.
pub const ESTABLISHED: u8 = 0x01;
/// The state CLOSE_WAIT: the peer has ended its direction.
pub const CLOSE_WAIT: u8 = 0x08;

const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// One line of `/proc/net/tcp` or `/proc/net/tcp6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The local port.
    pub local: u16,
    /// The port of the peer, 0 for a listener.
    pub remote: u16,
    /// The state as the kernel numbers it, such as [`LISTEN`].
    pub state: u8,
    /// Bytes sent or waiting to be sent that the peer has not acknowledged.
    pub unsent: u64,
    /// Bytes received that the program has not read; for a listener the connections that wait for `accept`.
    pub unread: u64,
}

/// The sockets of one table, listeners first. Read line by line: after a run of many connections the tables are long, and
/// whoever has found what it looks for need not read on.
fn sockets(table: &str) -> impl Iterator<Item = Socket> {
    // A kernel without IPv6 has no second table.
    File::open(table)
        .into_iter()
        .flat_map(|table| BufReader::new(table).lines().skip(1))
        .map(|line| {
            let line = line.unwrap_or_else(|error| panic!("a TCP table cannot be read: {error}"));
            parse(&line).unwrap_or_else(|| panic!("not a line of a TCP table: {line}"))
        })
}

fn parse(line: &str) -> Option<Socket> {
    let mut fields = line.split_whitespace().skip(1);
    let port = |field: &str| u16::from_str_radix(field.rsplit(':').next()?, 16).ok();
    let local = port(fields.next()?)?;
    let remote = port(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let (unsent, unread) = fields.next()?.split_once(':')?;
    Some(Socket {
        local,
        remote,
        state,
        unsent: u64::from_str_radix(unsent, 16).ok()?,
        unread: u64::from_str_radix(unread, 16).ok()?,
    })
}

/// Whether any socket listens on `port`.
///
/// # Panics
/// If `/proc/net/tcp` cannot be understood.
#[must_use]
pub fn is_listening(port: u16) -> bool {
    TABLES.into_iter().any(|table| {
        sockets(table)
            .take_while(|socket| socket.state == LISTEN)
            .any(|socket| socket.local == port)
    })
}

/// Waits until the socket of the connection from `client` to `server` (ports), seen from the server's side, satisfies
/// `condition`.
///
/// # Panics
/// If it does not within [`crate::TIMEOUT`].
#[track_caller]
pub fn until_socket(server: u16, client: u16, what: &str, condition: impl Fn(&Socket) -> bool) {
    wait::until(what, || {
        TABLES
            .into_iter()
            .flat_map(sockets)
            .any(|socket| socket.local == server && socket.remote == client && condition(&socket))
            .then_some(())
    });
}

/// Consecutive ports that nobody uses, kept from the other tests (of this process and of others) while this lives.
#[derive(Debug)]
pub(crate) struct Ports {
    first: u16,
    _locks: Vec<UnixListener>,
}

impl Ports {
    /// Finds `count` free ports below the range that the kernel takes ports from by itself, so that no outgoing connection
    /// gets in the way between this call and the program's `bind`.
    pub(crate) fn free(count: u16) -> Self {
        const LOW: u16 = 10_000;
        const HIGH: u16 = 32_000;
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Processes begin at different places; going on from the last port leaves finished connections time to be forgotten.
        let start = (std::process::id() * 97 % u32::from(HIGH - LOW)) as u16;
        for _ in LOW..HIGH {
            let offset = NEXT.fetch_add(count, Ordering::Relaxed) % (HIGH - LOW);
            let first = LOW + (start + offset) % (HIGH - LOW - count);
            let ports = first..first + count;
            // A name in the abstract namespace has one owner and goes with the process: a lock without a file.
            let locks: Vec<UnixListener> = ports
                .map_while(|port| {
                    let name = format!("wstests-port-{port}");
                    let name = SocketAddr::from_abstract_name(name).ok()?;
                    let lock = UnixListener::bind_addr(&name).ok()?;
                    // Only the owner of the lock may try the port: the attempt itself occupies it for a moment.
                    is_free(port).then_some(lock)
                })
                .collect();
            if locks.len() == usize::from(count) {
                return Self {
                    first,
                    _locks: locks,
                };
            }
        }
        panic!("no {count} free ports between {LOW} and {HIGH}");
    }

    /// The lowest of them.
    pub(crate) fn first(&self) -> u16 {
        self.first
    }
}

/// Lets this process, and the servers it starts, have as many descriptors as it may: tests with many connections need them.
///
/// # Panics
/// If the kernel refuses.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for writing and lives across the call.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` holds the limits just read and lives across the call.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    assert!(
        got == 0 && set == 0,
        "RLIMIT_NOFILE: {}",
        std::io::Error::last_os_error()
    );
}

/// Whether a program could bind `port` without SO_REUSEADDR: std's listeners set it and would not notice the remains of
/// finished connections.
fn is_free(port: u16) -> bool {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: libc::INADDR_ANY,
        },
        sin_zero: [0; 8],
    };
    // SAFETY: plain system call.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "socket: {}", std::io::Error::last_os_error());
    // SAFETY: socket(2) has just made the descriptor and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: `address` is a socket address of the given size and lives across the call.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_in>() as libc::socklen_t,
        )
    };
    result == 0
}
