//! `wsproxy PORT -- PROGRAM`: the program is a WebSocket server, in place or behind the proxy.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;

use wstests::{Client, Mode, Ports, Scratch, Server, Wire, proxy, wait};

use crate::common::{refuses, spawn};
use crate::pki::tunnel;

/// A server that says who its client is, echoes, and tells of the signals that it gets. It listens on its first argument, and
/// ends with status 7 on SIGTERM, and with 3 when a client says "end". Signals are waited for, so that none comes just before a call.
const SERVER: &str = r#"
import os, signal, socket, sys, threading
signals = [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT]
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
family = socket.AF_INET6 if "6" in sys.argv[2:] else socket.AF_INET
listener = socket.socket(family)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("", int(sys.argv[1])))
listener.listen()
print("ready", os.getpid(), flush=True)
def serve():
    while True:
        client, peer = listener.accept()
        client.sendall(b"%d\n" % peer[1])
        while data := client.recv(4096):
            if data == b"end":
                os._exit(3)
            client.sendall(data)
        client.close()
threading.Thread(target=serve).start()
while True:
    number = signal.sigwait(signals)
    print("signal", int(number), flush=True)
    if number == signal.SIGTERM:
        os._exit(7)
"#;

/// Starts `wsproxy OPTIONS PORT -- python3 SERVER ARGUMENTS`, and waits until the server listens. Returns its process.
#[track_caller]
fn wrapped(options: &[&str], arguments: &[&str]) -> (Server, u32) {
    let command = [options, &["{port}", "--", "python3", "-c", SERVER], arguments].concat();
    let server = spawn(&command);
    let pid = ready(&server);
    (server, pid)
}

#[track_caller]
fn ready(server: &Server) -> u32 {
    let mut line = server.stdout_line();
    if line.contains("fingerprint") {
        line = server.stdout_line();
    }
    line.strip_prefix("ready ").unwrap_or_else(|| panic!("{line:?}")).parse().unwrap()
}

/// Whether the server sees the client's own port, which it does not behind a proxy; after an echo.
#[track_caller]
fn sees_client(server: &Server, wire: Wire) -> bool {
    sees_client_at(server.addr(), wire)
}

#[track_caller]
fn sees_client_at(addr: std::net::SocketAddr, wire: Wire) -> bool {
    let mut client = Client::connect(addr, wire).unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.extend(client.read_exact(1));
    }
    client.send(b"over and out");
    assert_eq!(client.read_exact(12), b"over and out");
    String::from_utf8_lossy(&line).trim() == client.local_addr().port().to_string()
}

fn is_gone(pid: u32) -> bool {
    !std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_program_is_wrapped_in_place() {
    for options in [&[][..], &["-v"]] {
        let (mut server, pid) = wrapped(options, &["{port}"]);
        for wire in Wire::WEBSOCKET {
            assert!(sees_client(&server, wire), "{wire:?}");
        }
        server.signal(libc::SIGTERM);
        assert_eq!(server.stdout_line(), "signal 15");
        assert_eq!(server.wait().code(), Some(7));
        assert!(is_gone(pid));
    }
}

#[test]
fn a_program_stands_behind_the_proxy_where_an_option_needs_one() {
    for family in ["4", "6"] {
        let (mut server, pid) = wrapped(&["--heartbeat", "20"], &["{port}", family]);
        for wire in Wire::WEBSOCKET {
            assert!(!sees_client(&server, wire), "{wire:?}");
        }
        server.signal(libc::SIGTERM);
        assert_eq!(server.wait().code(), Some(7));
        assert!(is_gone(pid));
    }
}

/// It is process 1 of a container, say.
#[test]
fn what_a_program_leaves_behind_is_waited_for() {
    // SAFETY: plain system call.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("only root can make process 1");
        return;
    }
    let scratch = Scratch::new();
    let pipe = scratch.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let script = "exec 3< \"$0\"; for i in 1 2 3; do (cat <&3 & exit); done; exit 5";
    let mut command = Command::new("unshare");
    command.args(["-fp", "--kill-child", "--mount-proc"]).arg(proxy()).args(["--wrap-mode", "ignore", "{port}"]);
    let mut server = Server::spawn(Mode::Bare, command.args(["--", "sh", "-c", script]).arg(&pipe));
    let writer = wait::until("the reader", || {
        std::fs::File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&pipe).ok()
    });
    server.stderr_until("the program has ended");
    let children = |pid: u32| -> Vec<u32> {
        let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    };
    let own = children(server.pid())[0];
    wait::until("the three", || (children(own).len() == 3).then_some(()));
    // The end of what they read is theirs.
    drop(writer);
    wait::until("nobody", || children(own).is_empty().then_some(()));
    server.signal(libc::SIGKILL);
    server.wait();
}

/// Nobody else could serve them.
#[test]
fn a_program_stands_behind_the_proxy_that_has_sockets_of_systemds() {
    let ports = Ports::at(&[0, 1]);
    let [given, own] = [ports.first(), ports.first() + 1].map(|port| port.to_string());
    let mut activate = Command::new("systemd-socket-activate");
    activate.arg(format!("--listen=127.0.0.1:{given}")).arg(proxy()).args([&own, "--", "python3", "-c", SERVER, &own]);
    let activate = Server::spawn(Mode::Bare, &mut activate);
    let given = (Ipv4Addr::LOCALHOST, ports.first());
    // It starts the proxy for the first client, which then waits for the program.
    wait::until("a listener", || wstests::net::is_listening(given.1).then_some(()));
    let first = TcpStream::connect(given).unwrap();
    ready(&activate);
    for port in [given.1, given.1 + 1] {
        assert!(!sees_client_at((Ipv4Addr::LOCALHOST, port).into(), Wire::Rfc6455));
    }
    drop(first);
}

#[test]
fn tls_stands_in_front_of_a_program_that_knows_nothing_of_it() {
    let (server, _) = wrapped(&["--self-signed"], &["{port}"]);
    assert!(!sees_client(&server, Wire::Rfc6455));
    assert!(!sees_client_at(tunnel(&server, "verify=0").addr(), Wire::Rfc6455));
}

/// A static program takes no library: its port is an argument, or it stays as it is and the proxy goes in front of it.
#[test]
fn a_static_program_gets_its_port_as_an_argument() {
    let scratch = Scratch::new();
    let program = scratch.join("static");
    let source = wstests::script("static_echo.c");
    let built = Command::new("cc").args(["-static", "-O1", "-o"]).arg(&program).arg(&source).status().unwrap();
    assert!(built.success());
    let program = program.to_str().unwrap();
    refuses(&["5901", "--", program, "5901"], 1, &[program, "statically linked", "{port}"]);
    // The harness puts its port in place of {port}: the shell puts together the program's own.
    let shell = "exec \"$0\" {port} -- \"$1\" \"{po\"\"rt}\"";
    let mut command = Command::new("sh");
    command.args(["-c", shell]).arg(proxy()).arg(program);
    let server = Server::spawn(Mode::Bare, &mut command);
    assert_eq!(server.stdout_line(), "ready");
    for wire in Wire::WEBSOCKET {
        let mut client = Client::connect(server.addr(), wire).unwrap();
        client.send(b"static");
        assert_eq!(client.read_exact(6), b"static");
    }
}

/// What the launcher proposes for a program that it refuses is a command that works.
#[test]
fn the_command_that_the_launcher_proposes_works() {
    let scratch = Scratch::new();
    let program = scratch.join("static");
    let source = wstests::script("static_echo.c");
    let built = Command::new("cc").args(["-static", "-O1", "-o"]).arg(&program).arg(&source).status().unwrap();
    assert!(built.success());
    // It proposes the second.
    let ports = Ports::at(&[0, 10_000]);
    let port = ports.first();
    let output = Command::new(wstests::launcher()).arg(port.to_string()).arg(&program).output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    let command = line.split("run `wsproxy ").nth(1).and_then(|rest| rest.split('`').next()).unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    let [front, target] = words[..] else { panic!("{line}") };
    let other = target.strip_prefix("localhost:").unwrap();
    let behind = Server::spawn(Mode::Bare, Command::new(&program).arg(other));
    assert_eq!(behind.stdout_line(), "ready");
    let proxy = crate::common::start(&[front, target]);
    let mut client = Client::connect(("127.0.0.1", port), Wire::Rfc6455).unwrap();
    client.send(b"as proposed");
    assert_eq!(client.read_exact(11), b"as proposed");
    drop(proxy);
}

#[test]
fn signals_reach_the_program() {
    for options in [&[][..], &["--heartbeat", "20"]] {
        let (mut server, _) = wrapped(options, &["{port}"]);
        for number in [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGQUIT] {
            server.signal(number);
            assert_eq!(server.stdout_line(), format!("signal {number}"));
        }
        server.signal(libc::SIGTERM);
        assert_eq!(server.wait().code(), Some(7));
    }
}

#[test]
fn the_proxy_ends_as_its_program_does() {
    for options in [&[][..], &["--wrap-mode", "exit", "--heartbeat", "20"]] {
        let (mut server, pid) = wrapped(options, &["{port}"]);
        let mut client = Client::connect(server.addr(), Wire::Rfc6455).unwrap();
        client.send(b"end");
        assert_eq!(server.wait().code(), Some(3));
        assert!(is_gone(pid));
    }
    let (mut server, pid) = wrapped(&[], &["{port}"]);
    // SAFETY: plain system call; the process is a child of the proxy's, which has not waited for it.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
    assert_eq!(server.wait().code(), Some(128 + libc::SIGKILL));
}

#[test]
fn an_end_that_is_ignored_leaves_the_proxy() {
    let (mut server, pid) = wrapped(&["--wrap-mode", "ignore", "--heartbeat", "20"], &["{port}"]);
    let mut client = Client::connect(server.addr(), Wire::Rfc6455).unwrap();
    client.send(b"end");
    server.stderr_until("the program has ended");
    assert!(is_gone(pid), "a zombie");
    // Nobody is there, and the client hears of it.
    let mut late = Client::connect(server.addr(), Wire::Rfc6455).unwrap();
    assert_eq!(late.read_to_end(), b"");
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_program_that_has_ended_is_started_again() {
    let (server, mut pid) = wrapped(&["--wrap-mode", "respawn"], &["{port}"]);
    for _ in 0..2 {
        Client::connect(server.addr(), Wire::Rfc6455).unwrap().send(b"end");
        let next = ready(&server);
        assert!(next != pid && is_gone(pid));
        pid = next;
    }
}

#[test]
fn a_program_that_ends_again_and_again_is_started_within_limits() {
    let mut server = spawn(&["--wrap-mode", "respawn", "{port}", "--", "sh", "-c", "exit 3"]);
    let log = server.stderr_until("--wrap-mode respawn");
    assert!(log.contains("3 times") && log.matches("program started").count() >= 3, "{log}");
    assert_eq!(server.wait().code(), Some(3));
}

/// As it would be by hand: where the proxy was started, though a daemon is elsewhere, and with the limits that were in force.
#[test]
fn a_program_is_started_each_time_as_the_first() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new();
    let (program, told) = (scratch.join("program"), scratch.join("told"));
    let script = format!("#!/bin/sh\necho $(ulimit -Sn) $(pwd) >>{}\n", told.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let shell = "ulimit -Sn 99; exec \"$0\" -D --wrap-mode respawn 127.0.0.1:0 -- ./program {port}";
    let mut command = Command::new("sh");
    command.args(["-c", shell]).arg(proxy()).current_dir(scratch.path());
    assert!(command.status().unwrap().success());
    let line = format!("99 {}\n", scratch.path().display());
    wait::until("the third start", || (std::fs::read_to_string(&told).ok()?.len() >= 3 * line.len()).then_some(()));
    assert_eq!(std::fs::read_to_string(&told).unwrap(), line.repeat(3));
}

#[test]
fn a_program_that_was_told_to_end_is_not_started_again() {
    let (mut server, _) = wrapped(&["--wrap-mode", "respawn"], &["{port}"]);
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait().code(), Some(7));
}

/// One that does not listen to SIGTERM ends with the second.
#[test]
fn a_program_that_does_not_end_is_killed_by_the_second_signal() {
    let stubborn = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [15]); print('ready 1', flush=True)\n\
        while signal.sigwait([15]): print('no', flush=True)";
    let mut server = spawn(&["{port}", "--", "python3", "-c", stubborn]);
    ready(&server);
    server.signal(libc::SIGTERM);
    assert_eq!(server.stdout_line(), "no");
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait().code(), Some(128 + libc::SIGKILL));
}

/// The connection that was the only one has ended, and the program with it.
#[test]
fn run_once_ends_the_program() {
    let (mut server, pid) = wrapped(&["--run-once"], &["{port}"]);
    assert!(!sees_client(&server, Wire::Rfc6455));
    assert_eq!(server.wait().code(), Some(7));
    wait::until("the end of the program", || is_gone(pid).then_some(()));
}

#[test]
fn bad_usage_is_told() {
    refuses(&["--wrap-mode", "often", "80", "--", "true"], 2, &["--wrap-mode", "often"]);
    refuses(&["--wrap-mode", "exit", "80", "host:1"], 2, &["--wrap-mode", "PROGRAM"]);
    refuses(&["--", "true"], 2, &["PORT"]);
    refuses(&["5901", "--", "/no/such/program"], 1, &["/no/such/program"]);
    refuses(&["--unix-listen", "/tmp/x", "--", "true"], 2, &["PORT", "{port}"]);
    refuses(&["--chroot", "/", "80", "--", "true"], 2, &["--chroot"]);
    // In place it is the program that opens the port.
    for busy in ["0.0.0.0:0", "[::1]:0"] {
        let busy = TcpListener::bind(busy).unwrap();
        let port = busy.local_addr().unwrap().port().to_string();
        for options in [&[][..], &["-D"]] {
            refuses(&[options, &[&port, "--", "python3", "-c", SERVER, &port]].concat(), 1, &[&port, "in use"]);
        }
    }
}
