//! The proxy as users have it: a process between a WebSocket client and a TCP server.

mod common;
mod relay;
