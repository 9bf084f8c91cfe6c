//! `libwswrapper.so`: loaded into a program with `LD_PRELOAD`, it turns the program's listening TCP ports into WebSocket
//! endpoints.
//!
//! Only hooks live here, and what stands between them and C: `hooks` has one for each libc function that is
//! interposed, `ours` is what they call for a descriptor of ours, `leaving` for a connection that leaves us, `bridged` for a socket that stands for one, `glue` turns
//! pointers into slices and results into errno, `kernel` makes the layer's system calls, `companion` starts the process that
//! speaks for a connection which has left, `passing` takes one to another process with the library, `signals` keeps signal handlers out of the middle of a call,
//! `thread` is what it remembers of each thread, `start` is what happens when the library is loaded, `inherit` who gets it in turn. What a call *means* is decided in `wslayer`.
//!
//! A panic never crosses into the program, and never makes a call happen twice: `redhook` would answer a panic by calling
//! the real function again, so the glue catches first, ends the connection and reports `EIO`.

mod bridged;
mod companion;
mod glue;
mod hooks;
mod inherit;
mod kernel;
mod leaving;
mod ours;
mod passing;
mod rebind;
mod signals;
mod start;
mod thread;
