//! The proxy as users have it: a process between a WebSocket client and a TCP server.

mod certificates;
mod clients;
mod common;
mod ending;
mod front;
mod hixie;
mod listening;
mod pki;
mod relay;
mod running;
mod ssl_target;
mod stress;
mod target;
mod tls;
mod tools;
mod web;
mod web_files;
