//! What is counted, in the text format of Prometheus.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// One label.
type Label = [(&'static str, &'static str); 1];

/// How long WebSockets last, in seconds.
const DURATIONS: [f64; 8] = [0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0];

/// Threads that count bytes without meeting each other; more share.
const SHARES: usize = 32;

/// What one thread has counted, in a cache line of its own (two, as processors fetch them in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Share {
    up: AtomicU64,
    down: AtomicU64,
}

/// Which share is this thread's.
fn share() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.get().unwrap_or_else(|| {
        let own = NEXT.fetch_add(1, Ordering::Relaxed) % SHARES;
        OWN.set(Some(own));
        own
    })
}

/// What a server has done and does.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    connections: Counter,
    handshakes: Family<Label, Counter>,
    refusals: Family<Label, Counter>,
    target_errors: Family<Label, Counter>,
    bytes: Family<Label, Counter>,
    /// The bytes as they are counted; `bytes` follows when it is asked for.
    moved: [Share; SHARES],
    open: Gauge,
    durations: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Metrics {
            registry: Registry::with_prefix("wsproxy"),
            connections: Counter::default(),
            handshakes: Family::default(),
            refusals: Family::default(),
            target_errors: Family::default(),
            bytes: Family::default(),
            moved: Default::default(),
            open: Gauge::default(),
            durations: Histogram::new(DURATIONS),
        };
        metrics.registered()
    }
}

/// A WebSocket that is counted as open.
#[derive(Debug)]
#[must_use]
pub struct OpenSocket<'a> {
    metrics: &'a Metrics,
    since: Instant,
}

impl Drop for OpenSocket<'_> {
    fn drop(&mut self) {
        self.metrics.open.dec();
        self.metrics.durations.observe(self.since.elapsed().as_secs_f64());
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("connections", "Connections accepted", self.connections.clone());
        registry.register("handshakes", "WebSockets opened, by dialect", self.handshakes.clone());
        registry.register("refusals", "Connections that became no WebSocket, by reason", self.refusals.clone());
        registry.register(
            "target_errors",
            "Targets that could not be connected to, by reason",
            self.target_errors.clone(),
        );
        registry.register("bytes", "Payload of WebSockets, up from the clients and down to them", self.bytes.clone());
        registry.register("open", "WebSockets that are open", self.open.clone());
        registry.register("duration_seconds", "How long WebSockets were open", self.durations.clone());
        self
    }

    /// A connection was accepted.
    pub fn connection(&self) {
        self.connections.inc();
    }

    /// A WebSocket is open, until what this returns is dropped.
    pub fn opened(&self, dialect: wsproto::Dialect) -> OpenSocket<'_> {
        let dialect = match dialect {
            wsproto::Dialect::Hixie75 => "hixie-75",
            wsproto::Dialect::Hixie76 => "hixie-76",
            wsproto::Dialect::Rfc6455 => "rfc6455",
        };
        self.handshakes.get_or_create(&[("dialect", dialect)]).inc();
        self.open.inc();
        OpenSocket { metrics: self, since: Instant::now() }
    }

    /// A connection became no WebSocket.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&[("reason", reason)]).inc();
    }

    /// A target could not be connected to.
    pub fn target_failed(&self, reason: &'static str) {
        self.target_errors.get_or_create(&[("reason", reason)]).inc();
    }

    /// So much payload has been moved since this was told last.
    pub fn moved(&self, up: u64, down: u64) {
        if let Some(share) = self.moved.get(share()) {
            share.up.fetch_add(up, Ordering::Relaxed);
            share.down.fetch_add(down, Ordering::Relaxed);
        }
    }

    /// Brings a counter up to what all threads have counted.
    fn sum(&self, direction: &'static str, of: impl Fn(&Share) -> &AtomicU64) {
        let counter = self.bytes.get_or_create(&[("direction", direction)]);
        let total = self.moved.iter().map(|share| of(share).load(Ordering::Relaxed)).sum();
        // Several may ask at the same time.
        counter.inner().fetch_max(total, Ordering::Relaxed);
    }

    /// All of it.
    ///
    /// # Errors
    /// None that a `String` has.
    pub fn text(&self) -> Result<String, fmt::Error> {
        self.sum("up", |share| &share.up);
        self.sum("down", |share| &share.down);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
