//! The proxy as users have it: a process between a WebSocket client and a TCP server.

mod certificates;
mod clients;
mod common;
mod ending;
mod front;
mod hixie;
mod listening;
mod pki;
mod recording;
mod relay;
mod running;
mod ssl_target;
mod target;
mod tls;
mod tools;
mod traffic;
mod web;
mod web_files;
mod wrapping;
