//! `wsproxy bridge` in a program of its own.
//!
//! Each bridged connection has such a process. What a proxy is made of, TLS and a runtime among it, would be most of its memory:
//! the loader touches every page that has an address to be set, and the kernel maps what lies around each page that is used.

fn main() -> std::process::ExitCode {
    wsbridge::run()
}
