//! A server built with a sanitizer: what has to be set is told, and with that it works.

use std::process::Command;

use super::common::{Scratch, clean, output};
use wstests::{Client, Mode, Server, Wire, launcher, script};

fn build(scratch: &Scratch, sanitizer: &str) -> Command {
    let flag = format!("-fsanitize={sanitizer}");
    let program = scratch.built("cc", "server", &script("accepts.c"), &["-g", "-pthread", &flag]);
    let mut command = Command::new(program);
    command.args(["poll", "4", "{port}"]);
    command
}

/// The server is wrapped and echoes in every dialect.
fn works(command: &mut Command) {
    let server = Server::start(Mode::Launched, command);
    for wire in Wire::WEBSOCKET {
        let mut client = Client::connect(server.addr(), wire).expect("the opening handshake");
        client.send(b"hello");
        assert_eq!(client.read_exact(5), b"hello", "{wire:?}");
        client.close(1000);
        assert_eq!(client.read_to_end(), b"");
    }
}

#[test]
fn address_sanitizer_needs_a_setting_and_gets_a_hint() {
    let scratch = Scratch::new();
    let mut command = build(&scratch, "address");
    let refused = output(clean(launcher()).args(["5901"]).arg(command.get_program()).args(["poll", "4", "0"]));
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && errors.contains("does not come first"), "{errors}");
    let hint = errors.lines().next().unwrap_or_default();
    assert!(hint.starts_with("wswrap: ") && hint.contains("ASAN_OPTIONS=verify_asan_link_order=0"), "{hint}");
    let runtime = hint.rsplit_once("LD_PRELOAD=").expect("the other way").1.to_owned();

    works(command.env("ASAN_OPTIONS", "verify_asan_link_order=0"));
    works(command.env("ASAN_OPTIONS", "").env("LD_PRELOAD", runtime));
}

#[test]
fn thread_and_undefined_behaviour_sanitizers_need_nothing() {
    for sanitizer in ["thread", "undefined"] {
        let scratch = Scratch::new();
        let mut command = build(&scratch, sanitizer);
        let server = Server::start(Mode::Launched, &mut command);
        assert!(server.stderr_line().contains("speaks WebSocket"), "{sanitizer}: no hint");
        drop(server);
        works(&mut command);
    }
}
