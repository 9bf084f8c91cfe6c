//! The program that the proxy has started: its signals, its end, its next start.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal as Number, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::daemon::DescriptorLimit;
use crate::failure::Failure;
use crate::options::wrapping::Mode;
use crate::wrap::Plan;

/// A program that has ended so many times within that time is not started again.
const ENDS: usize = 3;
const WITHIN: Duration = Duration::from_secs(10);

/// What a shell adds to the number of the signal that has ended a program.
const BY_SIGNAL: i32 = 128;

/// When the program has ended.
#[derive(Default)]
struct Ends(VecDeque<Instant>);

impl Ends {
    /// Notes an end; whether it is one too many.
    fn too_many_with(&mut self, end: Instant) -> bool {
        self.0.push_back(end);
        while self.0.front().is_some_and(|&earlier| end.duration_since(earlier) > WITHIN) {
            self.0.pop_front();
        }
        self.0.len() >= ENDS
    }
}

/// A program, from its first start to its last end.
pub struct Running {
    plan: Plan,
    mode: Mode,
    /// Standard input and output are not the program's.
    silent: bool,
    limit: DescriptorLimit,
    /// Where it is started each time: a daemon goes elsewhere.
    directory: Option<PathBuf>,
    child: Option<Child>,
    ends: Ends,
    /// It has been told to end, so it is not started again.
    told: bool,
    children: Signal,
    hang_up: Signal,
    quit: Signal,
    user1: Signal,
    user2: Signal,
}

impl Running {
    /// Starts the program, in the directory of this moment and with `limit`; in a runtime, which is to wait for it. From here on
    /// signals are handed on to it.
    ///
    /// # Errors
    /// Those of fork(2), execve(2) and sigaction(2).
    pub fn start(plan: Plan, mode: Mode, silent: bool, limit: DescriptorLimit) -> Result<Self, Failure> {
        let failed = |why| Failure::system("signals", why);
        let mut running = Running {
            children: signal(SignalKind::child()).map_err(failed)?,
            hang_up: signal(SignalKind::hangup()).map_err(failed)?,
            quit: signal(SignalKind::quit()).map_err(failed)?,
            user1: signal(SignalKind::user_defined1()).map_err(failed)?,
            user2: signal(SignalKind::user_defined2()).map_err(failed)?,
            plan,
            mode,
            silent,
            limit,
            directory: std::env::current_dir().ok(),
            child: None,
            ends: Ends::default(),
            told: false,
        };
        let name = running.name();
        running.spawn().map_err(|why| Failure::system(name, why))?;
        Ok(running)
    }

    fn name(&self) -> String {
        self.plan.words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn spawn(&mut self) -> io::Result<()> {
        let mut words = self.plan.words.iter();
        let mut command = Command::new(words.next().ok_or(io::ErrorKind::InvalidInput)?);
        command.args(words).envs(self.plan.environment.clone());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        self.limit.give_to(&mut command);
        if self.silent {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        }
        let child = command.spawn()?;
        let (pid, target) = (child.id(), &self.plan.destination);
        if self.plan.behind {
            tracing::info!(pid, %target, "program started behind the proxy");
        } else {
            tracing::info!(pid, %target, "program started, a WebSocket server itself");
        }
        self.child = Some(child);
        Ok(())
    }

    /// Ready with an exit status when the program has ended, unless that is ignored or it is started again. Meanwhile signals
    /// that mean nothing to the proxy are handed on. It can be dropped and called anew.
    pub async fn ended(&mut self) -> u8 {
        loop {
            let number = tokio::select! {
                status = exit(&mut self.child) => {
                    self.child = None;
                    self.reap();
                    match self.after(status) {
                        Some(status) => return status,
                        None => continue,
                    }
                }
                _ = self.children.recv() => {
                    self.reap();
                    continue;
                }
                _ = self.hang_up.recv() => Number::SIGHUP,
                _ = self.quit.recv() => Number::SIGQUIT,
                _ = self.user1.recv() => Number::SIGUSR1,
                _ = self.user2.recv() => Number::SIGUSR2,
            };
            self.signal(number);
        }
    }

    /// Waits for those that have ended and are nobody else's to wait for: process 1 of a container inherits what its program leaves
    /// behind. The program's own end is tokio's to see, and whoever has ended behind it has his turn then. Nobody else starts processes,
    /// and this is the thread that starts the program.
    fn reap(&self) {
        let own = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Some(ended) =
            waitid(Id::All, look).ok().and_then(|status| status.pid()).filter(|&pid| Some(pid) != own)
        {
            if waitpid(ended, Some(WaitPidFlag::WNOHANG)).is_err() {
                return;
            }
        }
    }

    /// The program has ended: what the proxy ends with, if it does.
    fn after(&mut self, status: io::Result<ExitStatus>) -> Option<u8> {
        let status = status.unwrap_or_else(|_| ExitStatus::from_raw(0));
        let code = status.code().or_else(|| status.signal().map(|number| BY_SIGNAL + number)).unwrap_or(1);
        let code = u8::try_from(code).unwrap_or(u8::MAX);
        tracing::info!(%status, "the program has ended");
        match self.mode {
            _ if self.told => Some(code),
            Mode::Exit => Some(code),
            Mode::Ignore => None,
            Mode::Respawn => {
                if self.ends.too_many_with(Instant::now()) {
                    tracing::error!("--wrap-mode respawn: the program has ended {ENDS} times within {WITHIN:?}");
                    return Some(code);
                }
                let started = self.spawn();
                started
                    .map_err(|error| tracing::error!(%error, "the program cannot be started again"))
                    .err()
                    .map(|()| 1)
            }
        }
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Hands a signal on.
    pub fn signal(&self, number: Number) {
        // Its number is its own until it has been waited for.
        let pid = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid {
            let _ = kill(Pid::from_raw(pid), number);
        }
    }

    /// Nobody needs it any more: tells it to end, unless it has been told.
    pub fn finish(&mut self) {
        if !self.told {
            self.end(Number::SIGTERM);
        }
    }

    /// Tells it to end by this signal: what comes then is the last end.
    pub fn end(&mut self, number: Number) {
        self.told = true;
        self.signal(number);
    }
}

/// The end of the child; never, if there is none.
async fn exit(child: &mut Option<Child>) -> io::Result<ExitStatus> {
    match child {
        Some(child) => child.wait().await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ends_within_ten_seconds_are_too_many() {
        let start = Instant::now();
        for (seconds, too_many) in [
            (&[0.0, 0.0, 0.0][..], &[false, false, true][..]),
            (&[0.0, 5.0, 10.0], &[false, false, true]),
            (&[0.0, 5.0, 10.1, 15.1, 20.0], &[false, false, false, false, true]),
            (&[0.0, 60.0, 120.0], &[false, false, false]),
        ] {
            let mut ends = Ends::default();
            let told = seconds.iter().map(|&seconds| ends.too_many_with(start + Duration::from_secs_f64(seconds)));
            assert_eq!(told.collect::<Vec<_>>(), too_many, "{seconds:?}");
        }
    }
}
