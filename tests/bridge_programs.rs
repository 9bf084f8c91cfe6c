//! Real servers whose connections cross an exec, with real clients.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use wstests::{Client, End, Rng, Scratch, Server, Shim, Wire, twin};

/// An echo of `len` bytes that the client ends.
fn echoes(len: usize, command: impl Fn() -> Command) {
    twin(command, |server, wire, rng| {
        let mut client = Client::connect(server.addr(), wire).unwrap();
        let sent = rng.bytes(len);
        assert!(client.exchange(&sent, rng, sent.len()) == sent, "{wire:?}: other bytes");
        client.close(1000);
        assert!(client.read_to_end().is_empty());
        client.assert_pongs();
    });
}

/// A command that writes and ends by itself.
fn tells(command: impl Fn() -> Command) {
    twin(command, |server, wire, _| {
        let mut client = Client::connect(server.addr(), wire).unwrap();
        client.send(b"question\n");
        let answer = client.read_to_end();
        assert_eq!(client.end(), Some(&orderly(wire, 1000)), "{wire:?}");
        answer
    });
}

/// The end of a stream in each dialect, with `code` where it has codes.
fn orderly(wire: Wire, code: u16) -> End {
    match wire {
        Wire::Plain | Wire::Hixie75 => End::Fin,
        Wire::Hixie76 => End::Close(None, String::new()),
        Wire::Rfc6455 | Wire::Rfc6455Base64 => End::Close(Some(code), String::new()),
    }
}

/// A program that answers when it has read to the end, which is there once the client has closed.
#[test]
fn the_last_word_of_a_client_that_closes_is_answered() {
    let late = "read -r line; cat; echo heard $line";
    twin(
        || program("tcpserver", &["-H", "-R", "-l0", "127.0.0.1", "{port}", "sh", "-c", late]),
        |server, wire, _| {
            let mut client = Client::connect(server.addr(), wire).unwrap();
            client.send(b"last\nwords\n");
            match wire {
                Wire::Plain => client.shutdown_write(),
                _ => client.close(3000),
            }
            let answer = client.read_to_end();
            assert_eq!(client.end(), Some(&orderly(wire, 3000)), "{wire:?}");
            assert_eq!(answer, b"words\nheard last\n", "{wire:?}");
            answer
        },
    );
}

const LARGE: usize = 500_000;

/// What a shell makes of one line; the answer is much more than a socket holds.
const SHELL: &str = "read line && seq 100000 && echo got $line";

fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments);
    command
}

#[test]
fn invariant_5_ncat_exec() {
    // Of more it stops reading while it writes, and so does cat.
    echoes(20_000, || program("ncat", &["-l", "-k", "127.0.0.1", "{port}", "--exec", "/bin/cat"]));
    tells(|| program("ncat", &["-l", "-k", "127.0.0.1", "{port}", "--sh-exec", SHELL]));
}

#[test]
fn invariant_5_socat_exec() {
    for target in ["EXEC:cat", "EXEC:cat,nofork", "SYSTEM:cat"] {
        eprintln!("{target}");
        echoes(LARGE, || program("socat", &["TCP-LISTEN:{port},fork,reuseaddr", target]));
    }
    tells(|| {
        let target = format!("SYSTEM:'{}',nofork", SHELL.replace(':', "\\:"));
        program("socat", &["TCP-LISTEN:{port},fork,reuseaddr", &target])
    });
}

/// An inetd that starts a program of its own for each connection.
fn inetd(scratch: &Scratch, service: &str) -> Command {
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap();
    // The port is not known before it starts: a shell writes it into the configuration.
    let line = format!("127.0.0.1:$1 stream tcp nowait {} {service}", user.trim());
    let script = format!("echo \"{line}\" > \"$2\" && exec inetd -i \"$2\"");
    let file = scratch.join(&format!("inetd-{}", service.len()));
    let mut command = program("sh", &["-c", &script, "sh", "{port}"]);
    command.arg(file).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

#[test]
fn invariant_5_inetd() {
    let scratch = Scratch::new();
    echoes(LARGE, || inetd(&scratch, "/bin/cat cat"));
    let shell = scratch.join("shell");
    fs::write(&shell, format!("#!/bin/sh\n{SHELL}\n")).unwrap();
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
    let shell = shell.to_str().unwrap().to_owned();
    tells(|| inetd(&scratch, &format!("{shell} shell")));
}

/// subprocess starts children by vfork, with descriptors put in their places there.
#[test]
fn invariant_5_python_subprocess() {
    const SERVER: &str = "
import socket, subprocess, sys
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
while True:
    conn, _ = listener.accept()
    child = subprocess.Popen(sys.argv[2:], stdin=conn, stdout=conn)
    conn.close()
    child.wait()
";
    echoes(LARGE, || program("python3", &["-c", SERVER, "{port}", "cat"]));
    tells(|| program("python3", &["-c", SERVER, "{port}", "sh", "-c", SHELL]));
}

/// sshd executes itself anew for each connection, and puts the code that talks to the network into a sandbox.
#[test]
fn invariant_5_sshd() {
    // Its directory for the unprivileged part is root's to make.
    if !fs::exists("/run/sshd").unwrap() {
        fs::create_dir("/run/sshd").unwrap();
    }
    let scratch = Scratch::new();
    let path = |name: &str| scratch.join(name).to_str().unwrap().to_owned();
    for key in ["host", "own"] {
        let made = program("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]).status().unwrap();
        assert!(made.success());
    }
    fs::copy(path("own.pub"), path("authorized")).unwrap();
    let options = [
        format!("HostKey={}", path("host")),
        format!("AuthorizedKeysFile={}", path("authorized")),
        format!("PidFile={}", path("pid")),
        "ListenAddress=127.0.0.1".to_owned(),
        "StrictModes=no".to_owned(),
        "UsePAM=no".to_owned(),
        "PermitRootLogin=yes".to_owned(),
    ];
    let mut command = program("/usr/sbin/sshd", &["-D", "-e", "-f", "/dev/null", "-p", "{port}"]);
    for option in &options {
        command.args(["-o", option]);
    }
    let server = Server::wrapped(&mut command);
    let shim = Shim::start(server.addr(), Wire::Rfc6455).unwrap();
    let sent = Rng::new(9).bytes(3 << 20);
    fs::write(path("sent"), &sent).unwrap();
    let output = program("ssh", &["-T", "-F", "/dev/null", "-i", &path("own")])
        .args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
        .args(["-o", "LogLevel=ERROR", "-p", &shim.addr().port().to_string(), "127.0.0.1"])
        .arg("echo $SSH_CONNECTION >&2; cat")
        .stdin(fs::File::open(path("sent")).unwrap())
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(output.stdout == sent, "{} bytes: {told}", output.stdout.len());
    let words: Vec<&str> = told.split_whitespace().collect();
    assert_eq!((words[0], words[3]), ("127.0.0.1", server.port().to_string().as_str()), "the client's own address");
}
