//! A real browser and a real desktop for the VNC tests: Chromium driven through `chromedriver`, the noVNC page served
//! by Python's `http.server`, and a TigerVNC desktop started with `vncserver`.
//!
//! Contract: every process started here carries the path of the test's own directory in its environment or its command
//! line and is killed by [`family::Family`] when the test ends, however it ends. Nothing outside that directory is
//! written, and ports and displays are chosen when they are needed. Every wait is a wait for the event itself (bytes on
//! a descriptor, the end of a process, a picture in the canvas) with [`DEADLINE`] as its bound.

pub mod desktop;
pub mod family;
pub mod novnc;
pub mod output;
pub mod scratch;
pub mod webdriver;

use std::time::Duration;

/// The bound of every wait. A desktop and a browser start within a few seconds on an idle machine; the rest is for
/// loaded ones.
pub const DEADLINE: Duration = Duration::from_secs(60);
