//! A program under test: started on a port of its own, ended with the test.

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::capture::{Capture, Feed};
use crate::{Ports, Wire, launcher, library, net, wait};

/// How a program is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it is.
    Bare,
    /// With the library in `LD_PRELOAD` and, unless the command sets it, `WSWRAP_PORT` naming the server's first port.
    Wrapped,
    /// Through `wswrap PORT PROGRAM ARGS...`.
    Launched,
}

impl Mode {
    /// Bare for the plain wire, wrapped for every other.
    #[must_use]
    pub fn of(wire: Wire) -> Self {
        match wire {
            Wire::Plain => Self::Bare,
            Wire::Hixie75 | Wire::Hixie76 | Wire::Rfc6455 | Wire::Rfc6455Base64 => Self::Wrapped,
        }
    }
}

/// A running program. When it is dropped its whole process group is killed; if the test has failed, what it wrote is shown.
#[derive(Debug)]
pub struct Server {
    child: Child,
    ports: Ports,
    stdin: Mutex<Option<Feed>>,
    stdout: Capture,
    stderr: Capture,
    status: Option<ExitStatus>,
    what: String,
}

impl Server {
    /// Starts `command` without the library; see [`Server::start`].
    #[track_caller]
    pub fn bare(command: &mut Command) -> Self {
        Self::start(Mode::Bare, command)
    }

    /// Starts `command` with the library; see [`Server::start`].
    #[track_caller]
    pub fn wrapped(command: &mut Command) -> Self {
        Self::start(Mode::Wrapped, command)
    }

    /// Starts `command` and waits until its port is in the state LISTEN (IPv4; for others see [`Server::spawn`]). In its
    /// arguments and in the values of its
    /// environment `{port}`, `{port2}` and `{port3}` stand for three consecutive free ports.
    ///
    /// # Panics
    /// If it cannot be started, ends, or does not listen in time.
    #[track_caller]
    pub fn start(mode: Mode, command: &mut Command) -> Self {
        let mut server = Self::spawn(mode, command);
        server.await_listening();
        server
    }

    /// The same for a program that has its port in a file: `configure` gets the port and gives the command.
    ///
    /// # Panics
    /// As [`Server::start`].
    #[track_caller]
    pub fn start_configured(mode: Mode, configure: impl FnOnce(u16) -> Command) -> Self {
        let ports = Ports::at(&[0, 1, 2]);
        let mut command = configure(ports.first());
        let mut server = Self::spawn_on(mode, ports, &mut command);
        server.await_listening();
        server
    }

    #[track_caller]
    fn await_listening(&mut self) {
        let port = self.port();
        wait::until(&format!("{} to listen on port {port}", self.what), || {
            if let Some(status) = self.poll_exit() {
                panic!("{} has ended: {status}", self.what);
            }
            net::is_listening(port).then_some(())
        });
    }

    /// The same without waiting for anything: for programs that choose their port, say themselves when they listen, or end
    /// at once.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[track_caller]
    pub fn spawn(mode: Mode, command: &mut Command) -> Self {
        Self::spawn_on(mode, Ports::at(&[0, 1, 2]), command)
    }

    #[track_caller]
    fn spawn_on(mode: Mode, ports: Ports, command: &mut Command) -> Self {
        let port = ports.first();
        let fill = |text: &OsStr| -> OsString {
            // What is not UTF-8 holds no placeholder.
            text.to_str().map_or_else(
                || text.to_owned(),
                |text| {
                    text.replace("{port}", &port.to_string())
                        .replace("{port2}", &(port + 1).to_string())
                        .replace("{port3}", &(port + 2).to_string())
                        .into()
                },
            )
        };
        let what = format!("{mode:?} {:?}", command.get_program());
        let mut run = match mode {
            Mode::Bare | Mode::Wrapped => Command::new(command.get_program()),
            Mode::Launched => {
                let mut run = Command::new(launcher());
                run.arg(port.to_string()).arg(command.get_program());
                run
            }
        };
        run.args(command.get_args().map(fill));
        for name in [
            "WSWRAP_PORT",
            "WSWRAP_LOG",
            "WSWRAP_VERBOSE",
            "WSWRAP_HANDSHAKE_TIMEOUT",
            "WSWRAP_DIALECTS",
            "WSWRAP_ORIGINS",
            "WSWRAP_NO_INHERIT",
            "WSWRAP_REBIND",
        ] {
            run.env_remove(name);
        }
        if mode == Mode::Wrapped {
            run.env("LD_PRELOAD", library()).env("WSWRAP_PORT", port.to_string());
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => run.env(name, fill(value)),
                None => run.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            run.current_dir(directory);
        }
        let mut child = run
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{what} cannot be started: {error}"));
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            unreachable!("three pipes were asked for");
        };
        Self {
            child,
            ports,
            stdin: Mutex::new(Some(Feed::start(stdin))),
            stdout: Capture::start(stdout),
            stderr: Capture::start(stderr),
            status: None,
            what,
        }
    }

    /// The first of its ports.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.ports.first()
    }

    /// Its first port on 127.0.0.1.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives the program bytes on its standard input. Never blocks.
    pub fn write_stdin(&self, bytes: &[u8]) {
        if let Some(stdin) = &*self.stdin.lock().unwrap_or_else(PoisonError::into_inner) {
            stdin.put(bytes);
        }
    }

    /// Ends the program's standard input, after what was written.
    pub fn close_stdin(&self) {
        *self.stdin.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The next `n` bytes of its standard output.
    ///
    /// # Panics
    /// If they do not come in time.
    #[track_caller]
    pub fn read_stdout(&self, n: usize) -> Vec<u8> {
        self.stdout.take(&format!("{n} bytes of stdout of {}", self.what), |unread, _| (unread.len() >= n).then_some(n))
    }

    /// The next line of its standard output, without the line end.
    ///
    /// # Panics
    /// If none comes in time.
    #[track_caller]
    pub fn stdout_line(&self) -> String {
        line(&self.stdout, &format!("a line of stdout of {}", self.what))
    }

    /// Its standard error up to the end of the first line that holds `what`.
    ///
    /// # Panics
    /// If none comes in time.
    #[track_caller]
    pub fn stderr_until(&self, what: &str) -> String {
        let bytes = self.stderr.take(&format!("{what:?} on stderr of {}", self.what), |unread, _| {
            let text = std::str::from_utf8(unread).unwrap_or_default();
            let at = text.find(what)?;
            Some(at + text.get(at..)?.find('\n')? + 1)
        });
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The rest of its standard output.
    ///
    /// # Panics
    /// If it does not end in time.
    #[track_caller]
    pub fn stdout_to_end(&self) -> Vec<u8> {
        self.stdout.take(&format!("the end of stdout of {}", self.what), |unread, ended| ended.then_some(unread.len()))
    }

    /// The next line of its standard error, without the line end.
    ///
    /// # Panics
    /// If none comes in time.
    #[track_caller]
    pub fn stderr_line(&self) -> String {
        line(&self.stderr, &format!("a line of stderr of {}", self.what))
    }

    /// Kills the program and returns the rest of its standard error.
    ///
    /// # Panics
    /// If it has ended before, or a child of it keeps its standard error open.
    #[track_caller]
    pub fn kill_for_stderr(&mut self) -> String {
        self.signal(libc::SIGKILL);
        let rest = self
            .stderr
            .take(&format!("the end of stderr of {}", self.what), |unread, ended| ended.then_some(unread.len()));
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Waits for the end of the program.
    ///
    /// # Panics
    /// If it does not end in time.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.what);
        wait::until(&what, || self.poll_exit())
    }

    /// Sends a signal to the program alone.
    ///
    /// # Panics
    /// If it has ended.
    #[track_caller]
    pub fn signal(&mut self, signal: i32) {
        assert_eq!(self.poll_exit(), None, "{} has ended", self.what);
        // SAFETY: plain system call; the process has not been waited for, so the number is still its own.
        let result = unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
        assert_eq!(result, 0, "{}: {}", self.what, std::io::Error::last_os_error());
    }

    fn poll_exit(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            // A process that cannot be waited for is as good as gone.
            self.status = self.child.try_wait().unwrap_or(Some(ExitStatus::from_raw(0xFF00)));
        }
        self.status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: plain system call. The group is the child's own (process_group above). It is killed also when the child
        // itself has ended: its children may live on; a group that is empty gives ESRCH.
        unsafe { libc::kill(-(self.child.id() as libc::pid_t), libc::SIGKILL) };
        let status = self.poll_exit().or_else(|| self.child.wait().ok());
        if std::thread::panicking() {
            eprintln!("{} ended: {status:?}", self.what);
            for (name, capture) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
                let bytes = capture.all();
                let shown = &bytes[..bytes.len().min(4000)];
                eprintln!("{name}, {} bytes: {}", bytes.len(), String::from_utf8_lossy(shown));
            }
        }
    }
}

#[track_caller]
fn line(capture: &Capture, what: &str) -> String {
    let bytes = capture.take(what, |unread, ended| match unread.iter().position(|&byte| byte == b'\n') {
        Some(at) => Some(at + 1),
        None => (ended && !unread.is_empty()).then_some(unread.len()),
    });
    String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned()
}
