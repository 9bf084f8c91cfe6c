//! The servers of the benchmark: plain C programs, compiled here, started with the library or without it.

use std::cell::{OnceCell, RefCell};
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::measure::{By, Side};
use crate::proxies::Front;
use crate::sys;
use crate::tls::Pair;
use crate::wire::Wire;

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

/// Files that a process may have open besides those of its connections.
const OTHERS: u64 = 100;

/// The programs.
#[derive(Clone, Copy, Debug)]
pub enum App {
    /// `apps/blocking.c`
    Blocking,
    /// The same, with a process for each connection.
    Forking,
    /// `apps/epoll.c`
    Epoll,
}

/// Where everything is that a server needs.
#[derive(Clone)]
pub struct Site {
    blocking: PathBuf,
    epoll: PathBuf,
    library: PathBuf,
    pair: Pair,
    /// Those that this process may use.
    pub cpus: Vec<usize>,
    /// How many files a process may have open.
    files: u64,
}

impl Site {
    /// Compiles the programs, makes a certificate, lets this process and its children open as many files as they may, and
    /// puts it on the first CPU it may use. The library is the one beside the benchmark's own executable; without it: `NotFound`.
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
        let pair = Pair::make(&apps)?;
        let (cpus, files) = (sys::cpus()?, sys::raise_file_limit()?);
        if let Some(client) = cpus.first() {
            sys::pin(0, &[*client])?;
        }
        // It is found there by its name.
        compile(&apps, "relay")?;
        let (blocking, epoll) = (compile(&apps, "blocking")?, compile(&apps, "epoll")?);
        Ok(Self { blocking, epoll, library, pair, cpus, files })
    }

    /// `wanted` connections, or as many as a proxy can hold, which has two files open for each.
    pub fn connections(&self, wanted: u64) -> u64 {
        wanted.min(self.files.saturating_sub(OTHERS) / 2)
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
            App::Blocking | App::Forking => &site.blocking,
            App::Epoll => &site.epoll,
        });
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        for name in VARIABLES {
            command.env_remove(name);
        }
        if matches!(side.by, By::Library | By::Companion) {
            command.env("LD_PRELOAD", &site.library);
        }
        if matches!(app, App::Forking) {
            command.arg("fork");
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
        sys::pin(server.child.id(), side.place.of_server(&site.cpus))?;
        if let By::Proxy(kind) = side.by {
            let pair = (side.wire == Wire::Wss).then_some(&site.pair);
            server.front = Some(Front::start(kind, server.at, side.place.of_proxy(&site.cpus), pair)?);
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

    /// Seconds of CPU time that its process and its companion or its front, if it has one, have used; none if they cannot be
    /// told.
    pub fn cpu_seconds(&self) -> io::Result<Option<f64>> {
        if self.front.as_ref().is_some_and(|front| !front.is_one_process()) {
            return Ok(None);
        }
        let other = match &self.front {
            Some(front) => Some(front.process()),
            None => self.companion()?,
        };
        let own = cpu_seconds(self.child.id())?;
        Ok(Some(own + other.map_or(Ok(0.0), cpu_seconds)?))
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

/// Seconds of CPU time, user and system, that the threads of a process have used: the first fields of
/// /proc/PID/task/TID/schedstat, nanoseconds.
fn cpu_seconds(process: u32) -> io::Result<f64> {
    let mut seconds = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // One of a pool may have ended just now.
        let Ok(stat) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let spent = stat.split(' ').next().and_then(|field| field.parse::<f64>().ok());
        seconds += spent.ok_or_else(|| io::Error::other("schedstat"))? / 1e9;
    }
    Ok(seconds)
}
