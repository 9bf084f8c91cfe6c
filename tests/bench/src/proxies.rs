//! Proxies in front of a server: ours, and the peers that are found on the machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::slice;
use std::time::{Duration, Instant};

use crate::tls::Pair;

/// How long a proxy may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A proxy that we can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Wsproxy,
    /// Ours on one CPU alone, the last.
    Bound,
    /// `apps/relay.c`, which knows no WebSockets.
    Relay,
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
    /// Those of others.
    pub const PEERS: [Kind; 4] = [Kind::Websockify, Kind::WebsockifyJs, Kind::Websocat, Kind::Lighttpd];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Wsproxy | Kind::Bound => "wsproxy",
            Kind::Relay => "plain relay",
            Kind::Websockify => "websockify",
            Kind::WebsockifyJs => "websockify.js",
            Kind::Websocat => "websocat",
            Kind::Lighttpd => "lighttpd",
        }
    }

    /// Whether it works in processes that come and go with the connections, so that the CPU time of none of them tells much.
    fn forks(self) -> bool {
        self == Kind::Websockify
    }

    /// Its program, if it is here: ours beside the benchmark, a peer where the environment says (`WSBENCH_WEBSOCAT` and so
    /// on), or else in PATH.
    fn program(self) -> Option<PathBuf> {
        let (variable, name) = match self {
            Kind::Wsproxy | Kind::Bound => return beside("wsproxy"),
            Kind::Relay => return beside("wsbench-apps/relay"),
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

    /// What starts it. `pair` is where the TLS clients' certificate and its key are.
    fn command(self, port: u16, target: SocketAddr, cpus: &[usize], pair: Option<&Pair>) -> io::Result<Command> {
        let program = self.program().ok_or(io::ErrorKind::NotFound)?;
        let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
        let listen = format!("127.0.0.1:{port}");
        // From its first thread on, it may use all of them; this process has only one.
        let mut command = Command::new("taskset");
        command.arg("-c").arg(cpus.join(",")).arg(program);
        match (self, pair) {
            (Kind::Wsproxy | Kind::Bound | Kind::Websockify | Kind::WebsockifyJs, pair) => {
                if let Some(Pair { certificate, key }) = pair {
                    command.arg("--cert").arg(certificate).arg("--key").arg(key);
                }
                command.args([listen, target.to_string()])
            }
            (Kind::Relay, None) => command.args([port.to_string(), target.port().to_string()]),
            (Kind::Websocat, None) => command.args(["-b".into(), format!("ws-l:{listen}"), format!("tcp:{target}")]),
            (Kind::Relay | Kind::Websocat, Some(_)) => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "no TLS with a certificate of PEM files"));
            }
            (Kind::Lighttpd, pair) => {
                let config = beside("wsbench-apps/lighttpd.conf").ok_or(io::ErrorKind::NotFound)?;
                std::fs::write(&config, lighttpd(port, target, pair))?;
                command.arg("-D").arg("-f").arg(config)
            }
        };
        Ok(command)
    }
}

/// A file in the directory of the benchmark's own program.
fn beside(name: &str) -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.join(name))
}

/// The configuration of lighttpd.
fn lighttpd(port: u16, target: SocketAddr, pair: Option<&Pair>) -> String {
    let tls = pair.map_or(String::new(), |Pair { certificate, key }| {
        format!(
            "server.modules += ( \"mod_openssl\" )\nssl.engine = \"enable\"\nssl.pemfile = \"{}\"\nssl.privkey = \"{}\"\n",
            certificate.display(),
            key.display()
        )
    });
    format!(
        "server.document-root = \"/\"\nserver.bind = \"127.0.0.1\"\nserver.port = {port}\nserver.max-fds = 4096\n\
         server.modules = ( \"mod_wstunnel\" )\n{tls}wstunnel.frame-type = \"binary\"\n\
         wstunnel.server = ( \"\" => (( \"host\" => \"127.0.0.1\", \"port\" => {} )))\n",
        target.port()
    )
}

/// A running proxy; it ends with this value.
pub struct Front {
    kind: Kind,
    child: Child,
    at: SocketAddr,
}

impl Front {
    /// Starts a proxy in front of `target`, on any of `cpus`, and waits until it listens: for TLS clients with `pair`.
    pub fn start(kind: Kind, target: SocketAddr, cpus: &[usize], pair: Option<&Pair>) -> io::Result<Self> {
        let cpus = match (kind, cpus) {
            (Kind::Bound, [.., last]) => slice::from_ref(last),
            _ => cpus,
        };
        // Free a moment ago; who takes it in between makes the start fail, and the benchmark with it.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = kind.command(port, target, cpus, pair)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut front = Self { kind, child: command.spawn()?, at: (Ipv4Addr::LOCALHOST, port).into() };
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

    /// Whether the CPU time of its process is that of its work.
    pub fn is_one_process(&self) -> bool {
        !self.kind.forks()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Both fail only for a proxy that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
