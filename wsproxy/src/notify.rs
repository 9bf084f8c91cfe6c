//! Tells systemd how far the start or the end is: sd_notify(3).

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::time::{ClockId, clock_gettime};

/// The manager's socket, connected before the file system may be out of reach.
#[derive(Debug, Default)]
pub struct Notify(Option<UnixDatagram>);

impl Notify {
    /// That of `NOTIFY_SOCKET`. Without it, or if nobody is there, nothing is told.
    pub fn from_environment() -> Self {
        let connect = || {
            let name = std::env::var_os("NOTIFY_SOCKET")?;
            let addr = match name.as_bytes().split_first() {
                Some((b'@', name)) => SocketAddr::from_abstract_name(name),
                _ => SocketAddr::from_pathname(&name),
            };
            let socket = UnixDatagram::unbound().ok()?;
            socket.connect_addr(&addr.ok()?).ok()?;
            Some(socket)
        };
        Notify(connect())
    }

    /// Connections are accepted. In the background the process is another one than the one that was started.
    pub fn ready(&self) {
        self.tell(&format!("READY=1\nMAINPID={}", std::process::id()));
    }

    /// Files are read anew; [`Notify::ready`] follows.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
        let now = now.map_or(0, |now| i128::from(now.tv_sec()) * 1_000_000 + i128::from(now.tv_nsec()) / 1000);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// It ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.0 {
            // A manager that does not listen has no need of it.
            let _ = socket.send(state.as_bytes());
        }
    }
}
