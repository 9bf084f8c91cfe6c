//! The proxy as users have it: a process between a WebSocket client and a TCP server.

mod certificates;
mod common;
mod front;
mod hixie;
mod pki;
mod relay;
mod ssl_target;
mod tls;
mod tools;
mod web;
mod web_files;
