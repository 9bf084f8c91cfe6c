//! The servers of the benchmark: plain C programs, compiled here, started with the library or without it.

use std::cell::{OnceCell, RefCell};
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::measure::{By, Place, Side};
use crate::proxies::Front;
use crate::sys;

/// The environment of the library: what the caller's shell holds must not change a measurement.
const VARIABLES: [&str; 8] = [
    "LD_PRELOAD",
    "WSWRAP_PORT",
    "WSWRAP_HANDSHAKE_TIMEOUT",
    "WSWRAP_LOG",
    "WSWRAP_VERBOSE",
    "WSWRAP_DIALECTS",
    "WSWRAP_ORIGINS",
    "WSWRAP_COMPANION",
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
            sys::pin(0, &[*client])?;
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
    /// The library's log, which names the companion, where there is to be one.
    log: Option<RefCell<BufReader<ChildStderr>>>,
    companion: OnceCell<u32>,
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
        if matches!(side.by, By::Library | By::Companion) {
            command.env("LD_PRELOAD", &site.library);
        }
        if side.by == By::Companion {
            command.arg("exec").env("WSWRAP_LOG", "stderr").env("WSWRAP_VERBOSE", "1").stderr(Stdio::piped());
        }
        let (child, at) = (command.spawn()?, (Ipv4Addr::LOCALHOST, 0).into());
        let mut server = Self { child, front: None, at, log: None, companion: OnceCell::new() };
        server.log = server.child.stderr.take().map(|log| RefCell::new(BufReader::new(log)));
        let mut line = String::new();
        if let Some(output) = server.child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let port = line.trim().parse().map_err(|_| io::Error::other("the server did not start"))?;
        server.at.set_port(port);
        // A child starts on its parent's CPU.
        match (side.place, site.cpus.get(1)) {
            (Place::Apart, Some(cpu)) => sys::pin(server.child.id(), &[*cpu])?,
            (Place::Anywhere, _) => sys::pin(server.child.id(), &site.cpus)?,
            (Place::Apart, None) | (Place::Together, _) => {}
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

    /// Seconds of CPU time that its process and its companion, if it has one, have used.
    pub fn cpu_seconds(&self) -> io::Result<f64> {
        let own = cpu_seconds(self.child.id())?;
        Ok(own + self.companion()?.map_or(Ok(0.0), cpu_seconds)?)
    }

    /// The companion of its connection, as the log tells.
    fn companion(&self) -> io::Result<Option<u32>> {
        let Some(log) = &self.log else { return Ok(None) };
        if let Some(companion) = self.companion.get() {
            return Ok(Some(*companion));
        }
        for line in log.borrow_mut().by_ref().lines() {
            if let Some((_, rest)) = line?.split_once("bridged by process ") {
                let digits = rest.split(':').next().unwrap_or_default();
                let companion = digits.parse().map_err(|_| io::Error::other("the log names no process"))?;
                return Ok(Some(*self.companion.get_or_init(|| companion)));
            }
        }
        Err(io::Error::other("the connection was not bridged"))
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

/// Seconds of CPU time, user and system, that the (only) thread of a process has used: the first field of
/// /proc/PID/schedstat, nanoseconds.
fn cpu_seconds(process: u32) -> io::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/schedstat"))?;
    let spent = stat.split(' ').next().and_then(|field| field.parse::<f64>().ok());
    spent.map(|nanoseconds| nanoseconds / 1e9).ok_or_else(|| io::Error::other("schedstat"))
}
