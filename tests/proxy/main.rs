//! The proxy as users have it: a process between a WebSocket client and a TCP server.

mod certificates;
mod clients;
mod common;
mod front;
mod pki;
mod relay;
mod ssl_target;
mod tls;
mod web;
mod web_files;
