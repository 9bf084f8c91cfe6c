//! Proxies in front of a server: ours, and the peers that are found on the machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a proxy may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A proxy that we can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Wsproxy,
    /// websockify of PyPI.
    Websockify,
    /// websockify of the npm registry.
    WebsockifyJs,
    /// websocat of crates.io.
    Websocat,
    /// mod_wstunnel of lighttpd.
    Lighttpd,
}

impl Kind {
    /// All of them, ours first.
    pub const ALL: [Kind; 5] = [Kind::Wsproxy, Kind::Websockify, Kind::WebsockifyJs, Kind::Websocat, Kind::Lighttpd];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Wsproxy => "wsproxy",
            Kind::Websockify => "websockify",
            Kind::WebsockifyJs => "websockify.js",
            Kind::Websocat => "websocat",
            Kind::Lighttpd => "lighttpd",
        }
    }

    /// Its program, if it is here: ours beside the benchmark, a peer where the environment says (`WSBENCH_WEBSOCAT` and so
    /// on), or else in PATH.
    fn program(self) -> Option<PathBuf> {
        let (variable, name) = match self {
            Kind::Wsproxy => return std::env::current_exe().ok()?.parent().map(|dir| dir.join("wsproxy")),
            Kind::Websockify => ("WSBENCH_WEBSOCKIFY", "websockify"),
            // It has the same name as the one in Python, so it is never looked for in PATH.
            Kind::WebsockifyJs => return std::env::var_os("WSBENCH_WEBSOCKIFY_JS").map(PathBuf::from),
            Kind::Websocat => ("WSBENCH_WEBSOCAT", "websocat"),
            Kind::Lighttpd => ("WSBENCH_LIGHTTPD", "lighttpd"),
        };
        if let Some(path) = std::env::var_os(variable) {
            return Some(path.into());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        // lighttpd is among the system's programs.
        std::env::split_paths(&path).chain(["/usr/sbin".into()]).map(|dir| dir.join(name)).find(|file| file.is_file())
    }

    /// Whether it can be started.
    pub fn is_here(self) -> bool {
        self.program().is_some_and(|program| program.is_file())
    }

    fn command(self, port: u16, target: SocketAddr, cpus: &[usize]) -> io::Result<Command> {
        let program = self.program().ok_or(io::ErrorKind::NotFound)?;
        let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
        let listen = format!("127.0.0.1:{port}");
        // From its first thread on, it may use all of them; this process has only one.
        let mut command = Command::new("taskset");
        command.arg("-c").arg(cpus.join(",")).arg(program);
        match self {
            Kind::Wsproxy | Kind::Websockify | Kind::WebsockifyJs => command.args([listen, target.to_string()]),
            Kind::Websocat => command.args(["-b".into(), format!("ws-l:{listen}"), format!("tcp:{target}")]),
            Kind::Lighttpd => {
                let config = std::env::temp_dir().join(format!("wsbench-lighttpd-{port}.conf"));
                std::fs::write(
                    &config,
                    format!(
                        "server.document-root = \"/\"\nserver.bind = \"127.0.0.1\"\nserver.port = {port}\n\
                         server.max-fds = 4096\nserver.modules = ( \"mod_wstunnel\" )\n\
                         wstunnel.frame-type = \"binary\"\n\
                         wstunnel.server = ( \"\" => (( \"host\" => \"127.0.0.1\", \"port\" => {} )))\n",
                        target.port()
                    ),
                )?;
                command.arg("-D").arg("-f").arg(config)
            }
        };
        Ok(command)
    }
}

/// A running proxy; it ends with this value.
pub struct Front {
    child: Child,
    at: SocketAddr,
}

impl Front {
    /// Starts a proxy in front of `target`, on any of `cpus`, and waits until it listens.
    pub fn start(kind: Kind, target: SocketAddr, cpus: &[usize]) -> io::Result<Self> {
        // Free a moment ago; who takes it in between makes the start fail, and the benchmark with it.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = kind.command(port, target, cpus)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut front = Self { child: command.spawn()?, at: (Ipv4Addr::LOCALHOST, port).into() };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(front.at).is_err() {
            if let Some(status) = front.child.try_wait()? {
                return Err(io::Error::other(format!("{} ended: {status}", kind.name())));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{} does not listen", kind.name())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(front)
    }

    /// Where it listens.
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Both fail only for a proxy that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
