//! `wswrap`: starts a program with its listening port turned into a WebSocket endpoint.
//!
//! The process that is started *becomes* the program: the settings go into the environment, `libwswrapper.so` into
//! `LD_PRELOAD`, and `execve(2)` does the rest, so that PID, signals, exit status, terminal and descriptors are the
//! program's. All that can be known to fail is checked before, because a library that is not loaded is silent.
//!
//! Exit status when the program does not start, as `env` and `timeout` have it: 2 bad usage, 125 failure of wswrap
//! itself, 126 a program that cannot be run or wrapped, 127 program not found.
#![cfg_attr(not(test), no_main)]

mod cli;
mod elf;
mod failure;
mod library;
mod program;
mod script;
mod sys;

use std::ffi::OsString;
use std::io::Write;

use failure::Failure;

/// The C entry point. Rust's own would ignore SIGPIPE and open closed standard descriptors first, and the program
/// would inherit that.
///
/// # Safety
/// `argv` points to `argc` pointers to NUL-terminated strings.
#[cfg(not(test))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(argc: libc::c_int, argv: *const *const libc::c_char) -> libc::c_int {
    // SAFETY: the C runtime calls this with its arguments, which are what `arguments` asks for.
    let args = unsafe { sys::arguments(argc, argv) };
    match run(args) {
        Ok(()) => 0,
        Err(failure) => {
            // With standard error closed there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "wswrap: {failure}");
            failure.status()
        }
    }
}

/// Does what `args` (the program name first) ask for. Returns `Ok` only after `--help` and `--version`.
#[cfg_attr(test, allow(dead_code, reason = "called by the C entry point, which a test binary has not"))]
fn run(args: Vec<OsString>) -> Result<(), Failure> {
    let config = match cli::parse(args)? {
        cli::Request::Tell(text) => {
            let mut out = std::io::stdout();
            return out
                .write_all(text.as_bytes())
                .and_then(|()| out.flush())
                .map_err(|e| Failure::own(format!("cannot write to standard output: {e}")));
        }
        cli::Request::Start(config) => config,
    };
    let library = library::Library::find()?;
    let program = program::find(&config.program, std::env::var_os("PATH").as_deref())?;
    program::check(&program, &library.elf)?;

    let mut changes = config.environment();
    changes.push(("LD_PRELOAD", library.preload(std::env::var_os("LD_PRELOAD").as_deref())?));
    let mut argv = vec![config.program];
    argv.extend(config.args);
    let error = sys::exec(&program, &argv, &changes);
    Err(program::not_started(&program, &error))
}
