//! Groups of the option table.

pub mod tls;
pub mod web;
