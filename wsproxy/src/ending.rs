//! What is done when a signal comes or time is up.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use wsproxy::lifecycle::Lifecycle;
use wsproxy::{Handler, Server};

use crate::notify::Notify;
use crate::options::Running;

/// Something that SIGHUP reads anew. What it complains of is logged, and what was read before stays in force.
pub type Reload = Box<dyn Fn() -> Result<(), String>>;

/// What can end the process, and how.
pub struct Ending {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    timeout: Option<Instant>,
    idle: Option<Duration>,
    drain: Duration,
    reloads: Vec<Reload>,
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
            reloads,
        })
    }

    /// Serves signals and clocks. Ready when the process may end: all connections have, or it was told to a second time.
    pub async fn reached<H: Handler>(mut self, server: &Server<H>, lifecycle: &Lifecycle, notify: &Notify) {
        let finished = server.finished();
        let idle = idle(lifecycle, self.idle);
        tokio::pin!(finished, idle);
        // When what is open is cut off.
        let mut deadline = None;
        loop {
            let why = tokio::select! {
                () = &mut finished => return,
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hang_up.recv() => {
                    self.reload(notify);
                    continue;
                }
                () = at(self.timeout), if deadline.is_none() => "--timeout",
                () = &mut idle, if deadline.is_none() => "--idle-timeout",
                () = at(deadline), if !lifecycle.is_cut() => {
                    tracing::info!(open = lifecycle.open(), "cut off");
                    lifecycle.cut();
                    continue;
                }
            };
            if deadline.is_some() {
                tracing::info!(why, open = lifecycle.open(), "ending at once");
                return;
            }
            tracing::info!(why, open = lifecycle.open(), "ending");
            notify.stopping();
            lifecycle.drain();
            deadline = Some(Instant::now() + self.drain);
        }
    }

    fn reload(&self, notify: &Notify) {
        notify.reloading();
        for reload in &self.reloads {
            if let Err(error) = reload() {
                tracing::error!(error, "not read anew");
            }
        }
        tracing::info!("SIGHUP: files read anew");
        notify.ready();
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
