//! The launcher as its users have it: the program is the process that was started, with the library in it, and what
//! cannot be wrapped is told before it starts.

mod checkout;
mod checks;
mod common;
mod env;
mod inherit;
mod options;
mod preload;
mod process;
mod refused;
mod report;
mod sanitizer;
mod watch;
