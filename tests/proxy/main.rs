//! The proxy as users have it: a process between a WebSocket client and a TCP server.

mod auth;
mod certificates;
mod clients;
mod common;
mod ending;
mod front;
mod hixie;
mod listening;
mod nginx;
mod options;
mod peers;
mod pki;
mod recording;
mod relay;
mod running;
mod ssl_target;
mod stress;
mod target;
mod tls;
mod token_services;
mod tokens;
mod tools;
mod traffic;
mod web;
mod web_files;
mod wrapping;
