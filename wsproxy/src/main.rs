//! `wsproxy bridge`: the companion of one connection. Started by `libwswrapper.so`, not by hand.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(command), None) if command == "bridge" => wsproxy::bridge::run(),
        _ => {
            eprintln!("wsproxy: usage: wsproxy bridge (started by libwswrapper.so, with a connection to take over)");
            ExitCode::from(2)
        }
    }
}
