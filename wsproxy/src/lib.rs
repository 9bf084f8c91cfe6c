//! WebSocket on behalf of programs in which `libwswrapper.so` cannot speak it.
//!
//! [`bridge`] is the companion process of a single connection, which the library starts by itself.

pub mod bridge;
