//! A proxy, and a target whose every move the test makes.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

use wstests::{Client, End, Mode, Server, TIMEOUT, Wire, proxy};

/// A proxy and its target, which is this test.
pub struct Rig {
    /// The proxy.
    pub proxy: Server,
    door: TcpListener,
}

impl Rig {
    /// A proxy that is started with `options` in front of its addresses.
    #[track_caller]
    pub fn new(options: &[&str]) -> Self {
        Self::started(Command::new(proxy()).args(options))
    }

    /// The same with a command of the test's own, to which the addresses are added.
    #[track_caller]
    pub fn started(command: &mut Command) -> Self {
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = door.local_addr().unwrap().to_string();
        let proxy = Server::bare(command.args(["127.0.0.1:{port}", &target]));
        Rig { proxy, door }
    }

    /// A client through the proxy, and the connection that the target gets.
    #[track_caller]
    pub fn connect(&self, wire: Wire) -> (Client, TcpStream) {
        let client = Client::connect(self.proxy.addr(), wire).unwrap();
        (client, self.accept())
    }

    /// The next connection that the target gets.
    #[track_caller]
    pub fn accept(&self) -> TcpStream {
        let (target, _) = self.door.accept().unwrap();
        target.set_read_timeout(Some(TIMEOUT)).unwrap();
        target.set_write_timeout(Some(TIMEOUT)).unwrap();
        target
    }
}

/// A target alone, for a proxy that is started in another way.
#[derive(Debug)]
pub struct Target(TcpListener);

impl Target {
    /// Listens on a port of its own.
    #[track_caller]
    pub fn new() -> Self {
        Target(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// Its address, as the proxy's command line has it.
    pub fn addr(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    /// The next connection, and from where it comes.
    #[track_caller]
    pub fn accept(&self) -> (TcpStream, std::net::SocketAddr) {
        let (stream, from) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        (stream, from)
    }
}

/// Starts a proxy with these arguments and waits until it says that it listens.
#[track_caller]
pub fn start(args: &[&str]) -> Server {
    let server = spawn(args);
    server.stderr_until("listening");
    server
}

/// Starts a proxy with these arguments.
#[track_caller]
pub fn spawn(args: &[&str]) -> Server {
    Server::spawn(Mode::Bare, Command::new(proxy()).args(args))
}

/// What a proxy with these arguments, which ends by itself, has to say.
#[track_caller]
pub fn run(args: &[&str]) -> Output {
    Command::new(proxy()).args(args).output().unwrap()
}

/// A proxy with these arguments does not start: it says so in one line that holds all of `words`, and ends with `status`.
#[track_caller]
pub fn refuses(args: &[&str], status: i32, words: &[&str]) {
    let output = run(args);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
    for word in [&["wsproxy: "], words].concat() {
        assert!(text.contains(word), "{args:?}: {word:?} is not in {text}");
    }
}

/// A byte goes each way.
#[track_caller]
pub fn talk(client: &mut Client, mut target: &TcpStream) {
    client.send(b"x");
    let mut byte = [0];
    target.read_exact(&mut byte).unwrap();
    target.write_all(b"y").unwrap();
    assert_eq!((&byte, &client.read_exact(1)[..]), (b"x", &b"y"[..]));
}

/// What ends a stream of this dialect in good order.
pub fn closed(wire: Wire, code: u16) -> End {
    match wire {
        Wire::Hixie75 | Wire::Plain => End::Fin,
        Wire::Hixie76 => End::Close(None, String::new()),
        Wire::Rfc6455 | Wire::Rfc6455Base64 => End::Close(Some(code), String::new()),
    }
}
