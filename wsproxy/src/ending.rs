//! What is done when a signal comes or time is up.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal as Number};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wsproxy::lifecycle::Lifecycle;
use wsproxy::{Handler, Server};

use crate::doors::Doors;
use crate::notify::Notify;
use crate::options::Running;
use crate::program;

/// Something that SIGHUP reads anew. What it complains of is logged, and what was read before stays in force.
pub type Reload = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The signals that [`Ending`] serves.
fn served() -> SigSet {
    [Number::SIGTERM, Number::SIGINT, Number::SIGHUP].into_iter().collect()
}

/// Lets signals wait until [`release_signals`]: what they would end at once leaves its files behind. No other thread may run.
pub fn hold_signals() {
    // It fails for no set.
    let _ = served().thread_block();
}

/// Delivers the signals that have come meanwhile.
pub fn release_signals() {
    let _ = served().thread_unblock();
}

/// What can end the process, and how.
pub struct Ending {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    timeout: Option<Instant>,
    idle: Option<Duration>,
    drain: Duration,
    reloads: Arc<[Reload]>,
}

impl Ending {
    /// From here on signals do what is told here. SIGHUP calls `reloads` in their order.
    ///
    /// # Errors
    /// Those of sigaction(2).
    pub fn new(running: &Running, reloads: Vec<Reload>) -> io::Result<Self> {
        Ok(Ending {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            timeout: running.timeout.map(|secs| Instant::now() + Duration::from_secs(secs)),
            idle: running.idle_timeout.map(Duration::from_secs),
            drain: Duration::from_secs(running.drain),
            reloads: reloads.into(),
        })
    }

    /// Serves signals and clocks, and looks after the program, if one was started. Ready with an exit status when the process may
    /// end: all connections have, and the program, or it was told to a second time.
    pub async fn reached<H: Handler>(
        mut self,
        server: &Server<H>,
        lifecycle: &Lifecycle,
        doors: &Doors,
        notify: &Notify,
        mut program: Option<program::Running>,
    ) -> u8 {
        let finished = server.finished();
        let idle = idle(lifecycle, self.idle);
        tokio::pin!(finished, idle);
        // When what is open is cut off.
        let mut deadline = None;
        let (mut is_finished, mut status) = (false, 0);
        // There is nothing to listen on any more: whoever started it is to know, and to start it again.
        let mut shut = false;
        let mut reloading = None;
        loop {
            if is_finished && !program.as_ref().is_some_and(program::Running::runs) {
                return status.max(u8::from(shut));
            }
            let (why, number) = tokio::select! {
                () = &mut finished, if !is_finished => {
                    is_finished = true;
                    if let Some(program) = &mut program {
                        program.finish();
                    }
                    continue;
                }
                ended = ended(&mut program) => {
                    status = ended;
                    if deadline.is_some() {
                        continue;
                    }
                    ("the program", None)
                }
                _ = self.terminate.recv() => ("SIGTERM", Some(Number::SIGTERM)),
                _ = self.interrupt.recv() => ("SIGINT", Some(Number::SIGINT)),
                // One that comes meanwhile is kept.
                _ = self.hang_up.recv(), if reloading.is_none() => {
                    notify.reloading();
                    reloading = Some(self.reload());
                    continue;
                }
                () = done(&mut reloading) => {
                    reloading = None;
                    notify.ready();
                    continue;
                }
                () = at(self.timeout), if deadline.is_none() => ("--timeout", Some(Number::SIGTERM)),
                () = &mut idle, if deadline.is_none() => ("--idle-timeout", Some(Number::SIGTERM)),
                () = doors.none_left(), if deadline.is_none() => {
                    shut = true;
                    ("no address is listened on any more", Some(Number::SIGTERM))
                }
                () = at(deadline), if !lifecycle.is_cut() => {
                    tracing::info!(open = lifecycle.open(), "cut off");
                    lifecycle.cut();
                    continue;
                }
            };
            if deadline.is_some() {
                tracing::info!(why, open = lifecycle.open(), "ending at once");
                if let Some(program) = program.as_mut().filter(|program| program.runs()) {
                    program.end(Number::SIGKILL);
                    status = program.ended().await;
                }
                return status.max(u8::from(shut));
            }
            if let (Some(program), Some(number)) = (&mut program, number) {
                program.end(number);
            }
            tracing::info!(why, open = lifecycle.open(), "ending");
            notify.stopping();
            lifecycle.drain();
            deadline = Some(Instant::now() + self.drain);
        }
    }

    /// Reads anew beside all else: who serves files may hang.
    fn reload(&self) -> JoinHandle<()> {
        let reloads = Arc::clone(&self.reloads);
        tokio::task::spawn_blocking(move || {
            let mut failed = false;
            for reload in &*reloads {
                if let Err(error) = reload() {
                    tracing::error!(error, "not read anew");
                    failed = true;
                }
            }
            if failed {
                tracing::warn!("SIGHUP: what could not be read stays as it was");
            } else {
                tracing::info!("SIGHUP: files read anew");
            }
        })
    }
}

/// Ready when what is read anew has been read.
async fn done(reloading: &mut Option<JoinHandle<()>>) {
    match reloading {
        Some(reloading) => drop(reloading.await),
        None => std::future::pending().await,
    }
}

/// Ready with the program's status when it has ended for good.
async fn ended(program: &mut Option<program::Running>) -> u8 {
    match program {
        Some(program) => program.ended().await,
        None => std::future::pending().await,
    }
}

/// Ready at that time, if there is one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn idle(lifecycle: &Lifecycle, limit: Option<Duration>) {
    match limit {
        Some(limit) => lifecycle.idle(limit).await,
        None => std::future::pending().await,
    }
}
