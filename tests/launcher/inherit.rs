//! `--no-inherit`: the server is wrapped, whoever starts it; what is started when the port is open has no library.

use std::process::Command;

use super::common::{LIBRARY, Scratch};
use wstests::{Client, Mode, Server, Wire, script};

/// Starts `command` through the launcher, with the option or without.
fn start(command: &mut Command, no_inherit: bool) -> Server {
    Server::start(Mode::Launched, command.env("WSWRAP_NO_INHERIT", if no_inherit { "1" } else { "0" }))
}

/// The server gives back what it gets, on a WebSocket.
fn echoes(server: &Server) {
    let mut client = Client::connect(server.addr(), Wire::Rfc6455).expect("the port is wrapped");
    client.send(b"hello");
    assert_eq!(client.read_exact(5), b"hello");
}

#[test]
fn children_of_the_server_have_no_library_however_they_get_their_environment() {
    for no_inherit in [false, true] {
        let mut command = Command::new("python3");
        command.arg(script("children.py")).arg("{port}").env("LD_PRELOAD", "libm.so.6");
        let server = start(&mut command, no_inherit);
        for way in ["inherited", "copied", "behind a shell"] {
            let line = server.stdout_line();
            let found = line.strip_prefix(way).unwrap_or_else(|| panic!("{way}: {line}"));
            if no_inherit {
                assert_eq!(found, ": LD_PRELOAD=libm.so.6", "{way}");
            } else {
                assert!(found.contains(LIBRARY) && found.contains("WSWRAP_PORT="), "{way}: {found}");
            }
        }
        echoes(&server);
    }
}

/// A script starts the server in the background, and when that is up a session, as vncserver does. The script itself has
/// been loaded before the port was open, so its environment is as it was.
#[test]
fn a_script_starts_a_wrapped_server_and_then_what_has_no_library() {
    let scratch = Scratch::new();
    let text = "#!/bin/sh\n\
        socat TCP4-LISTEN:$1,bind=127.0.0.1,reuseaddr,fork EXEC:cat &\n\
        read up\n\
        echo script: ${LD_PRELOAD:+library}\n\
        sh -c 'echo session: $LD_PRELOAD $(env | grep -c WSWRAP_); sh -c \"grep -c libwswrapper.so /proc/\\$\\$/maps\"'\n\
        wait\n";
    let program = scratch.program("start", text);
    let server = start(Command::new(program).arg("{port}"), true);
    echoes(&server);
    server.write_stdin(b"up\n");
    assert_eq!(server.stdout_line(), "script: library");
    assert_eq!(server.stdout_line(), "session: 0");
    assert_eq!(server.stdout_line(), "0", "not in the memory of its children");
}

/// A server that starts a program for each connection.
#[test]
fn a_program_for_each_connection_has_no_library() {
    for no_inherit in [false, true] {
        let address = "TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork";
        let server = start(Command::new("socat").args([address, "EXEC:env"]), no_inherit);
        let mut client = Client::connect(server.addr(), Wire::Rfc6455).expect("the port is wrapped");
        let text = String::from_utf8(client.read_to_end()).expect("text");
        assert!(text.contains("PATH="), "{text}");
        assert_eq!(text.contains(LIBRARY), !no_inherit, "{text}");
        assert_eq!(text.contains("WSWRAP_"), !no_inherit, "{text}");
    }
}

/// An inherited listener, as from systemd: whoever has it may be about to start the server, and the port is open before.
#[test]
fn who_inherits_the_listener_hands_the_library_on() {
    let server = r#"
import os, socket, subprocess, sys
listener = socket.socket(fileno=9)
connection, _ = listener.accept()
connection.sendall(connection.recv(5))
print("child:", subprocess.run(["sh", "-c", "echo $LD_PRELOAD"], stdout=subprocess.PIPE, text=True).stdout.strip(), flush=True)
sys.stdin.read()
"#;
    let activate = r#"
import os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.dup2(listener.fileno(), 9)
os.execvp(sys.argv[2], sys.argv[2:])
"#;
    let launcher = wstests::launcher();
    let words = ["--no-inherit", "{port}", "sh", "-c", "python3 -c \"$0\"; true", server];
    let mut command = Command::new("python3");
    command.args(["-c", activate, "{port}"]).arg(launcher).args(words);
    let server = Server::start(Mode::Bare, &mut command);
    echoes(&server);
    assert_eq!(server.stdout_line(), "child: ", "and it is free of the library");
}

/// A master that waits for its listener and starts who accepts, with an environment of its own making: that one gets the library and the
/// listener's queue all the same, unless it ends with the opening of the port. Nobody else does.
#[test]
fn who_is_given_the_listener_gets_the_library_whatever_its_environment() {
    let master = r#"
import select, socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
listener.setblocking(False)
listener.set_inheritable(True)
select.select([listener], [], [])
command = ["sh", "-c", "echo $(ls -l /proc/$$/fd | grep -c socket:) $LD_PRELOAD $WSWRAP_PORT $WSWRAP_DIALECTS $WSWRAP_QUEUES"]
for keep in [[listener.fileno()], []]:
    subprocess.run(command, env={"WSWRAP_DIALECTS": "hixie-75"}, close_fds=True, pass_fds=keep)
sys.stdin.read()
"#;
    for no_inherit in [false, true] {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", master, "{port}"]).env("WSWRAP_DIALECTS", "rfc6455");
        let server = start(&mut command, no_inherit);
        let _client = Client::connect(server.addr(), Wire::Rfc6455).expect("the port is wrapped");
        let line = server.stdout_line();
        let port = server.port().to_string();
        let words: Vec<&str> = line.split(' ').collect();
        if no_inherit {
            assert_eq!(words, ["1", "hixie-75"]);
        } else {
            assert!(words[1].ends_with(LIBRARY), "{line}");
            let rest = ["3", port.as_str(), "hixie-75"];
            assert_eq!(
                [words[0], words[2], words[3]],
                rest,
                "the queue's ends are there, and what the program has set"
            );
            assert_eq!(words.len(), 4, "the variable is not: {line}");
        }
        assert_eq!(server.stdout_line(), "0 hixie-75", "without the listener it is the program's affair");
    }
}
