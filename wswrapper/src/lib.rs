//! `libwswrapper.so`: loaded into a program with `LD_PRELOAD`, it turns the program's listening TCP ports into WebSocket
//! endpoints.
//!
//! Only hooks live here, and what stands between them and C: `hooks` has one for each libc function that is
//! interposed, `ours` is what they call for a descriptor of ours, `glue` turns pointers into slices and results into
//! errno, `kernel` makes the layer's system calls, `start` is what happens when the library is loaded,
//! `inherit` who gets it in turn. What a call *means* is decided in `wslayer`.
//!
//! A panic never crosses into the program, and never makes a call happen twice: `redhook` would answer a panic by calling
//! the real function again, so the glue catches first, ends the connection and reports `EIO`.

mod glue;
mod hooks;
mod inherit;
mod kernel;
mod ours;
mod start;
