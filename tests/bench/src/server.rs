//! The servers of the benchmark: plain C programs, compiled here, started with the library or without it.

use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::measure::{By, Place, Side};
use crate::proxies::Front;
use crate::sys;

/// The environment of the library: what the caller's shell holds must not change a measurement.
const VARIABLES: [&str; 7] = [
    "LD_PRELOAD",
    "WSWRAP_PORT",
    "WSWRAP_HANDSHAKE_TIMEOUT",
    "WSWRAP_LOG",
    "WSWRAP_VERBOSE",
    "WSWRAP_DIALECTS",
    "WSWRAP_ORIGINS",
];

/// The two programs.
#[derive(Clone, Copy, Debug)]
pub enum App {
    /// `apps/blocking.c`
    Blocking,
    /// `apps/epoll.c`
    Epoll,
}

/// Where everything is that a server needs.
#[derive(Clone)]
pub struct Site {
    blocking: PathBuf,
    epoll: PathBuf,
    library: PathBuf,
    /// Those that this process may use.
    pub cpus: Vec<usize>,
}

impl Site {
    /// Compiles the servers, and puts this process on the first CPU it may use.
    /// The library is the one beside the benchmark's own executable; without it: `NotFound`.
    pub fn prepare() -> io::Result<Self> {
        let own = std::env::current_exe()?;
        let beside = own.parent().unwrap_or(Path::new("."));
        let library = beside.join("libwswrapper.so");
        if !library.is_file() {
            let what = format!("{} is missing: cargo build --release -p wswrapper", library.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, what));
        }
        let apps = beside.join("wsbench-apps");
        std::fs::create_dir_all(&apps)?;
        let cpus = sys::cpus()?;
        if let Some(client) = cpus.first() {
            sys::pin(0, *client)?;
        }
        Ok(Self { blocking: compile(&apps, "blocking")?, epoll: compile(&apps, "epoll")?, library, cpus })
    }
}

fn compile(into: &Path, name: &str) -> io::Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("apps").join(format!("{name}.c"));
    let program = into.join(name);
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-Werror", "-o"]).arg(&program).arg(&source);
    if !cc.status()?.success() {
        return Err(io::Error::other(format!("{} does not compile", source.display())));
    }
    Ok(program)
}

/// A running server; it ends with this value.
pub struct Server {
    child: Child,
    /// What stands in front of it.
    front: Option<Front>,
    at: SocketAddr,
}

impl Server {
    /// Starts a server, as `side` says, and waits until it listens.
    pub fn start(site: &Site, app: App, side: Side) -> io::Result<Self> {
        let mut command = Command::new(match app {
            App::Blocking => &site.blocking,
            App::Epoll => &site.epoll,
        });
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        for name in VARIABLES {
            command.env_remove(name);
        }
        if side.by == By::Library {
            command.env("LD_PRELOAD", &site.library);
        }
        let mut server = Self { child: command.spawn()?, front: None, at: (Ipv4Addr::LOCALHOST, 0).into() };
        let mut line = String::new();
        if let Some(output) = server.child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let port = line.trim().parse().map_err(|_| io::Error::other("the server did not start"))?;
        server.at.set_port(port);
        // A child starts on its parent's CPU.
        if let (Place::Apart, Some(cpu)) = (side.place, site.cpus.get(1)) {
            sys::pin(server.child.id(), *cpu)?;
        }
        if let By::Proxy(kind) = side.by {
            server.front = Some(Front::start(kind, server.at, &site.cpus)?);
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn at(&self) -> SocketAddr {
        self.front.as_ref().map_or(self.at, Front::at)
    }

    /// The process whose memory is of interest.
    fn process(&self) -> u32 {
        self.front.as_ref().map_or(self.child.id(), Front::process)
    }

    /// Seconds of CPU time, user and system, that its (only) thread has used: the first field of
    /// /proc/PID/schedstat, nanoseconds.
    pub fn cpu_seconds(&self) -> io::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/schedstat", self.child.id()))?;
        let spent = stat.split(' ').next().and_then(|field| field.parse::<f64>().ok());
        spent.map(|nanoseconds| nanoseconds / 1e9).ok_or_else(|| io::Error::other("schedstat"))
    }

    /// Bytes of memory that count as its own: Pss of /proc/PID/smaps_rollup (proc_pid_smaps(5)).
    pub fn memory(&self) -> io::Result<f64> {
        let maps = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.process()))?;
        let line = maps.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|field| field.parse::<f64>().ok());
        kib.map(|kib| kib * 1024.0).ok_or_else(|| io::Error::other("no Pss in smaps_rollup"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a server that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
