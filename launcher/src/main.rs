//! `wswrap`: starts a program with its listening port turned into a WebSocket endpoint.
//!
//! The process that is started *becomes* the program: the settings go into the environment, `libwswrapper.so` into
//! `LD_PRELOAD`, and `execve(2)` does the rest, so that PID, signals, exit status, terminal and descriptors are the
//! program's. All that can be known to fail is checked before, because a library that is not loaded is silent.
//!
//! Exit status when the program does not start: 1 a program that cannot be wrapped, or a failure of wswrap itself; 2 bad
//! usage; 126 a program that cannot be run and 127 none, as in every shell.
#![cfg_attr(not(test), no_main)]

mod check;
mod cli;
mod elf;
mod env;
mod failure;
mod instead;
mod library;
mod loader;
mod program;
mod sanitizer;
mod script;
mod secure;
mod sys;
mod watch;

use std::ffi::OsString;
use std::io::Write;

use env::Around;
use failure::{Failure, shown};

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
        Ok(status) => status,
        Err(failure) => {
            tell(&failure.to_string());
            failure.status()
        }
    }
}

/// Does what `args` (the program name first) ask for. Returns the exit status, and only if no program has been started.
#[cfg_attr(test, allow(dead_code, reason = "called by the C entry point, which a test binary has not"))]
fn run(args: Vec<OsString>) -> Result<i32, Failure> {
    match cli::parse(args)? {
        cli::Request::Tell(text) => print(&text).map(|()| 0),
        cli::Request::Check(config) => {
            let report = check::report(&config)?;
            print(&report.text)?;
            Ok(i32::from(!report.can_be_wrapped))
        }
        cli::Request::Start(config) => start(config),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| Failure::own(format!("cannot write to standard output: {e}")))
}

fn start(config: cli::Config) -> Result<i32, Failure> {
    let library = library::Library::find()?;
    let changes = changes(&config, &library)?;
    let (path, program) = program::check(&config, Around::with(&changes), &library.elf)?;
    let var = |name| std::env::var(name).unwrap_or_default();
    if let Some(hint) = program.elf.and_then(|elf| sanitizer::hint(&elf, &var("LD_PRELOAD"), &var("ASAN_OPTIONS"))) {
        tell(&format!("{}: {hint}", shown(&program.path)));
    }
    if config.is_verbose() {
        watch::start(&config);
    }
    let mut argv = vec![config.program];
    argv.extend(config.args);
    let error = sys::exec(&path, &argv, &changes);
    Err(program::not_started(&path, &error))
}

/// What the program finds changed in its environment.
fn changes(config: &cli::Config, library: &library::Library) -> Result<Vec<(&'static str, OsString)>, Failure> {
    let mut changes = config.environment();
    changes.push(("LD_PRELOAD", library.preload(std::env::var_os("LD_PRELOAD").as_deref())?));
    Ok(changes)
}

/// One line on standard error. With that closed there is nobody left to tell.
#[cfg_attr(test, allow(dead_code, reason = "called by the C entry point, which a test binary has not"))]
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "wswrap: {line}");
}
