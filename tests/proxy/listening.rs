//! Where connections come from.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};

use wstests::{Client, Mode, Ports, Scratch, Server, TIMEOUT, Wire, proxy, wait};

use crate::common::{Target, refuses, spawn, start, talk};

#[test]
fn without_an_address_it_listens_on_ipv6_and_ipv4() {
    let target = Target::new();
    let proxy = start(&["{port}", &target.addr()]);
    for addr in
        [(Ipv4Addr::LOCALHOST, proxy.port()).into(), std::net::SocketAddr::from((Ipv6Addr::LOCALHOST, proxy.port()))]
    {
        let mut client = Client::connect(addr, Wire::Rfc6455).unwrap();
        talk(&mut client, &target.accept().0);
        // An IPv4 client is known by its own address, not by the one that it has on an IPv6 socket.
        proxy.stderr_until(&format!("peer={} ", client.local_addr()));
    }
}

#[test]
fn several_addresses_are_listened_on() {
    let target = Target::new();
    let proxy = start(&["127.0.0.1:{port}", "[::1]:{port2}", "localhost:{port3}", &target.addr()]);
    for (addr, after) in [("127.0.0.1", 0), ("::1", 1), ("127.0.0.1", 2)] {
        let mut client =
            wait::until("a listener", || Client::connect((addr, proxy.port() + after), Wire::Rfc6455).ok());
        talk(&mut client, &target.accept().0);
    }
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port() + 1)).is_err(), "IPv4, where IPv6 was asked for");
}

/// The loopback address takes a zone (RFC 4007 section 11) as a number alone.
#[test]
fn an_address_may_have_a_zone_on_both_sides() {
    let door = TcpListener::bind("[::1]:0").unwrap();
    let proxy = start(&["[::1%1]:{port}", &format!("[::1%1]:{}", door.local_addr().unwrap().port())]);
    let mut client = Client::connect(("::1", proxy.port()), Wire::Rfc6455).unwrap();
    talk(&mut client, &door.accept().unwrap().0);
}

#[test]
fn a_port_that_is_taken_is_told() {
    let held = Target::new();
    let taken = held.addr();
    refuses(&[&taken, "127.0.0.1:1"], 1, &[&taken, "in use"]);
    refuses(&["-D", &taken, "127.0.0.1:1"], 1, &[&taken, "in use"]);
    refuses(&["x:y", "127.0.0.1:1"], 2, &["PORT", "x:y"]);
    refuses(&["127.0.0.1:1"], 2, &["PORT"]);
    refuses(&["::1:80", "127.0.0.1:1"], 2, &["::1:80", "brackets"]);
}

/// A WebSocket over `stream`, with a byte each way.
#[track_caller]
fn talk_raw<S>(stream: &S, target: &Target)
where
    for<'a> &'a S: std::io::Read + std::io::Write,
{
    let mut stream = stream;
    let request = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    let (mut behind, _) = target.accept();
    stream.write_all(&[0x82, 0x81, 0, 0, 0, 0, b'x']).unwrap();
    let mut byte = [0];
    behind.read_exact(&mut byte).unwrap();
    behind.write_all(b"y").unwrap();
    let mut frame = [0; 3];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!((&byte, &frame), (b"x", &[0x82, 1, b'y']));
}

fn unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

#[test]
fn a_unix_socket_is_listened_on_and_removed_at_the_end() {
    let (scratch, target) = (Scratch::new(), Target::new());
    let path = scratch.join("proxy.sock");
    let name = path.to_str().unwrap();
    for (mode, options) in [(0o600, &[][..]), (0o666, &["--unix-listen-mode", "0666"])] {
        // What a killed process leaves is replaced. (Of a listener of this process's own, another thread could just be
        // handing a copy to a program that it starts.)
        let socat = Server::spawn(Mode::Bare, Command::new("socat").args([&format!("UNIX-LISTEN:{name}"), "PIPE"]));
        wait::until("a socket", || path.exists().then_some(()));
        drop(socat);
        assert!(path.exists());
        let mut proxy = start(&[options, &["--unix-listen", name, &target.addr()]].concat());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, mode);
        talk_raw(&unix(&path), &target);
        refuses(&["--unix-listen", name, "127.0.0.1:1"], 1, &["--unix-listen", name, "listens"]);
        talk_raw(&unix(&path), &target);
        proxy.signal(libc::SIGTERM);
        assert!(proxy.wait().success());
        assert!(!path.exists());
    }
}

#[test]
fn a_file_that_is_no_socket_is_not_replaced() {
    let scratch = Scratch::new();
    let path = scratch.join("precious");
    std::fs::write(&path, "x").unwrap();
    let name = path.to_str().unwrap();
    refuses(&["--unix-listen", name, "127.0.0.1:1"], 1, &["--unix-listen", name, "no socket"]);
    assert_eq!(std::fs::read(&path).unwrap(), b"x");
    // Somebody else's, who is slow.
    let busy = scratch.join("busy");
    let _held = crate::target::full_unix(&busy);
    let busy = busy.to_str().unwrap();
    refuses(&["--unix-listen", busy, "127.0.0.1:1"], 1, &["--unix-listen", busy, "somebody listens"]);
    assert!(!path.metadata().unwrap().file_type().is_socket());
    refuses(&["--unix-listen", "/no/such/dir/s", "127.0.0.1:1"], 1, &["--unix-listen", "/no/such/dir/s"]);
    refuses(&["--unix-listen", name, "--unix-listen-mode", "rw", "a:1"], 2, &["--unix-listen-mode", "rw"]);
}

#[test]
fn systemd_passes_sockets() {
    let target = Target::new();
    let proxy = proxy();
    let words = ["--listen=127.0.0.1:{port}", "--listen=[::1]:{port2}"];
    let mut activate = Command::new("systemd-socket-activate");
    activate.args(words).arg(proxy).arg(target.addr());
    let activate = Server::start(Mode::Bare, &mut activate);
    for (addr, port) in [("127.0.0.1", activate.port()), ("::1", activate.port() + 1)] {
        let mut client = Client::connect((addr, port), Wire::Rfc6455).unwrap();
        talk(&mut client, &target.accept().0);
    }
}

/// A proxy whose standard input is `socket`.
pub fn inetd(socket: impl Into<OwnedFd>, options: &[&str], target: &Target) -> std::process::Child {
    let socket: OwnedFd = socket.into();
    Command::new(proxy())
        .args(options)
        .args(["--inetd", &target.addr()])
        // As inetd does: all three are the socket.
        .stdout(Stdio::from(socket.try_clone().unwrap()))
        .stderr(Stdio::from(socket.try_clone().unwrap()))
        .stdin(Stdio::from(socket))
        .spawn()
        .unwrap()
}

#[test]
fn inetd_passes_a_listening_socket_of_any_family() {
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let (door, target) = (TcpListener::bind(addr).unwrap(), Target::new());
        let addr = door.local_addr().unwrap();
        // There before the proxy is, and until another has come: so it is never idle before both have gone.
        let first = Client::builder(Wire::Rfc6455).begin(addr).unwrap();
        let mut proxy = inetd(door, &["--idle-timeout", "1"], &target);
        let mut first = first.finish().unwrap();
        talk(&mut first, &target.accept().0);
        let mut second = Client::connect(addr, Wire::Rfc6455).unwrap();
        talk(&mut second, &target.accept().0);
        drop((first, second));
        // inetd listens itself again when the process has ended.
        assert!(proxy.wait().unwrap().success());
    }
}

#[test]
fn inetd_passes_a_connection() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(TIMEOUT)).unwrap();
    let target = Target::new();
    let mut proxy = inetd(theirs, &[], &target);
    talk_raw(&ours, &target);
    drop(ours);
    assert!(proxy.wait().unwrap().success());
}

#[test]
fn a_log_line_never_goes_to_the_client_of_inetd() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(TIMEOUT)).unwrap();
    let target = Target::new();
    let mut proxy = inetd(theirs, &["-v"], &target);
    (&ours).write_all(b"nonsense\r\n\r\n").unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reply = String::new();
    (&ours).read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    assert!(reply.ends_with("Malformed request line\n"), "{reply}");
    assert!(proxy.wait().unwrap().success());
}

#[test]
fn the_real_inetd_starts_it_for_each_connection() {
    let (scratch, target) = (Scratch::new(), Target::new());
    let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
    let program = proxy();
    let line = |port| {
        format!("127.0.0.1:{port} stream tcp nowait {user} {0} {0} --inetd {1}\n", program.display(), target.addr())
    };
    let config = scratch.join("inetd.conf");
    let inetd = Server::start_configured(Mode::Bare, |port| {
        std::fs::write(&config, line(port)).unwrap();
        let mut command = Command::new("/usr/sbin/inetd");
        // -d keeps it in the foreground.
        command.arg("-d").arg(&config);
        command
    });
    let mut client = Client::connect(inetd.addr(), Wire::Rfc6455).unwrap();
    talk(&mut client, &target.accept().0);
}

#[test]
fn inetd_stands_alone() {
    refuses(&["--inetd", "127.0.0.1:0", "127.0.0.1:1"], 2, &["--inetd"]);
    refuses(&["--inetd", "--daemon", "127.0.0.1:1"], 2, &["--daemon"]);
    // Standard input is a pipe here.
    let mut proxy = spawn(&["--inetd", "127.0.0.1:1"]);
    proxy.stderr_until("--inetd");
    assert_eq!(proxy.wait().code(), Some(1));
}

/// A proxy to which somebody passes `socket`, in the way that `options` say, whose descriptor 3 it is as well; and its log.
fn given(socket: &TcpListener, options: &[&str], target: &Target) -> (std::process::Child, BufReader<ChildStderr>) {
    let socket = OwnedFd::from(socket.try_clone().unwrap());
    let script = r#"LISTEN_PID=$$ exec "$@" 3<&0"#;
    let mut child = Command::new("timeout")
        .args([&TIMEOUT.as_secs().to_string(), "sh", "-c", script, "sh"])
        .arg(proxy())
        .args(options)
        .arg(target.addr())
        .stdin(Stdio::from(socket))
        .stderr(Stdio::piped())
        .env("LISTEN_FDS", if options.contains(&"--inetd") { "0" } else { "1" })
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    (child, log)
}

/// Reads a log to the first line that holds `what`.
#[track_caller]
fn log_until(log: &mut impl BufRead, what: &str) {
    assert!(log.lines().any(|line| line.unwrap().contains(what)), "no {what:?} in the log");
}

/// Shuts down a socket that others listen on as well.
fn shut(socket: &TcpListener) {
    use std::os::fd::AsRawFd as _;
    // SAFETY: plain system call on an open socket.
    assert_eq!(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) }, 0);
}

#[test]
fn a_socket_that_listens_no_more_is_the_end_if_it_is_the_last() {
    let (door, target) = (TcpListener::bind("127.0.0.1:0").unwrap(), Target::new());
    let (mut alone, mut log) = given(&door, &["--inetd"], &target);
    let mut client = Client::connect(door.local_addr().unwrap(), Wire::Rfc6455).unwrap();
    talk(&mut client, &target.accept().0);
    drop(client);
    log_until(&mut log, " end ");
    shut(&door);
    let mut told = String::new();
    log.read_to_string(&mut told).unwrap();
    assert_eq!(told.matches("listened on no more").count(), 1, "{told}");
    assert_eq!(alone.wait().unwrap().code(), Some(1), "{told}");
}

#[test]
fn a_socket_that_listens_no_more_leaves_the_others() {
    let (door, target, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), Target::new(), Ports::one());
    let (mut proxy, mut log) = given(&door, &[&other.addr().to_string()], &target);
    log_until(&mut log, "listening");
    log_until(&mut log, "listening");
    shut(&door);
    log_until(&mut log, "listened on no more");
    let mut client = Client::connect(other.addr(), Wire::Rfc6455).unwrap();
    talk(&mut client, &target.accept().0);
    // timeout(1) hands it on.
    // SAFETY: plain system call; the process has not been waited for, so the number is still its own.
    assert_eq!(unsafe { libc::kill(proxy.id() as libc::pid_t, libc::SIGTERM) }, 0);
    drop(client);
    let mut told = String::new();
    log.read_to_string(&mut told).unwrap();
    assert!(!told.contains("listened on no more") && told.contains("ended"), "{told}");
    proxy.wait().unwrap();
}
