//! A proxy, and a target whose every move the test makes.

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use wstests::{Client, Server, TIMEOUT, Wire, proxy};

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

    /// Nobody listens where the proxy connects to any more.
    pub fn close_door(self) -> Server {
        self.proxy
    }
}
