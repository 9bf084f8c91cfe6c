//! The proxy as users have it: a process between a WebSocket client and a TCP server.

mod clients;
mod common;
mod ending;
mod listening;
mod relay;
mod running;
mod target;
