#![deny(unsafe_code)]
//! `wsproxy [OPTIONS] [ADDRESS:]PORT... HOST:PORT`, and `wsproxy bridge`, which the library starts.

mod config;
#[allow(unsafe_code, reason = "it forks, before there is a second thread, and does something between fork and exec")]
mod daemon;
mod doors;
mod ending;
mod failure;
#[allow(unsafe_code, reason = "it takes over descriptors that are only known by their numbers")]
mod inherited;
mod logging;
mod notify;
mod options;
mod program;
mod run;
mod syslog;
mod wrap;

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use config::Request;
use failure::Failure;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if let (Some(command), None) = (arguments.next(), arguments.next())
        && command == "bridge"
    {
        return bridge();
    }
    match begin() {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            if !inherited::stderr_is_the_socket() {
                // Where nobody listens there is still the status.
                let _ = writeln!(std::io::stderr(), "wsproxy: {failure}");
            }
            ExitCode::from(failure.status())
        }
    }
}

/// The companion of one connection, in a smaller program where that is installed beside this one.
fn bridge() -> ExitCode {
    if let Ok(own) = std::env::current_exe() {
        // It returns only where there is none, and then this process does the same.
        let _ = Command::new(own.with_file_name("wsproxy-bridge")).arg0("wsproxy").arg("bridge").exec();
    }
    wsbridge::run()
}

fn begin() -> Result<u8, Failure> {
    let descriptors = inherited::from_systemd();
    match config::parse(std::env::args_os().collect(), descriptors.len())? {
        Request::Tell(text) => {
            let told = std::io::stdout().write_all(text.as_bytes());
            told.map(|()| 0).map_err(|why| Failure::system("standard output", why))
        }
        Request::Start(config) => run::start(&config, descriptors),
    }
}
