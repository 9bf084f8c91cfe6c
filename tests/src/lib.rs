//! The harness of the black-box tests: a WebSocket client, servers to run it against, and the comparison of the two worlds.
//!
//! - [`Client`] speaks plain TCP or any of the dialects ([`Wire`]). It is written from the specifications alone and shares
//!   no code with the library under test; whatever the server sends is checked, not just decoded.
//! - [`Server`] runs a real program bare, with the library preloaded, or through the launcher, on a port of its own.
//! - [`twin()`] runs one script against the bare program with a plain client and against the wrapped program in every
//!   dialect, and compares what the script observed.
//! - [`Shim`] lets ordinary TCP clients reach a wrapped server.
//!
//! Contract: nothing here waits without a deadline ([`TIMEOUT`]), nothing sleeps for a guessed time, every port is free and
//! reserved, every started process ends with the test. A failure panics with what was expected and what came.

mod capture;
mod client;
mod decode;
mod encode;
mod http;
pub mod net;
mod open;
mod paths;
mod ports;
mod process;
mod reader;
mod rng;
mod scratch;
mod server;
mod shim;
mod twin;
pub mod wait;
mod wire;
mod writer;

pub use client::Client;
pub use decode::End;
pub use http::{Reply, http};
pub use open::{Builder, Pending};
pub use paths::{app, companion, example, launcher, library, preload, proxy, script, unpacked};
pub use ports::Ports;
pub use process::Process;
pub use reader::Reader;
pub use rng::Rng;
pub use scratch::Scratch;
pub use server::{Mode, Server};
pub use shim::Shim;
pub use twin::twin;
pub use wait::TIMEOUT;
pub use wire::Wire;
pub use writer::Writer;
