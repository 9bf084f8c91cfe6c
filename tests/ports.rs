//! Which ports become WebSocket ports: `WSWRAP_PORT`, every family, listeners whose port the kernel chooses.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;

use wstests::{Client, Mode, Server, Wire, app};

fn accepts(way: &str, family: &str, ports: &[&str]) -> Command {
    let mut command = Command::new(app("accepts"));
    command.args([way, family]).args(ports);
    command
}

/// Whether the port echoes to a client of `wire`, and with which peer the program says that it did.
fn echoes(server: &Server, addr: SocketAddr, wire: Wire) {
    let mut client = Client::connect(addr, wire).unwrap_or_else(|error| panic!("{wire:?} at {addr}: {error}"));
    client.send(b"hello");
    assert_eq!(client.read_exact(5), b"hello", "{wire:?} at {addr}");
    let mut peer = client.local_addr().ip().to_string();
    let accepted = server.stdout_line();
    if accepted.contains("::ffff:") {
        peer = format!("::ffff:{peer}");
    }
    assert_eq!(accepted, format!("accepted {peer} {}", client.local_addr().port()));
    client.close(1000);
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(server.stdout_line(), "ended");
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Starts `accepts` on three ports with `WSWRAP_PORT` set to `value` and says which of them are WebSocket ports; the
/// others are plain. The standard error comes along.
fn wrapped_of_three(value: &str) -> ([bool; 3], String) {
    let mut command = accepts("poll", "4", &["{port}", "{port2}", "{port3}"]);
    command.env("WSWRAP_PORT", value);
    let mut server = Server::wrapped(&mut command);
    let ports = [0, 1, 2].map(|offset| server.port() + offset);
    for port in ports {
        assert_eq!(server.stdout_line(), format!("listening {port}"));
    }
    let wrapped = ports.map(|port| {
        // On a plain port the request is echoed, which is no reply to it.
        let wrapped = Client::connect(local(port), Wire::Rfc6455).is_ok();
        assert!(server.stdout_line().starts_with("accepted "));
        assert_eq!(server.stdout_line(), "ended");
        if !wrapped {
            echoes(&server, local(port), Wire::Plain);
        }
        wrapped
    });
    (wrapped, server.kill_for_stderr())
}

#[test]
fn the_ports_of_wswrap_port_are_websocket_ports_and_no_others() {
    for (value, expected) in [
        ("{port}", [true, false, false]),
        ("{port2}", [false, true, false]),
        ("{port},{port3}", [true, false, true]),
        ("{port2}-{port3}", [false, true, true]),
        ("{port},{port2}-{port3}", [true, true, true]),
        ("all", [true, true, true]),
        ("none", [false, false, false]),
    ] {
        let (wrapped, stderr) = wrapped_of_three(value);
        assert_eq!(wrapped, expected, "WSWRAP_PORT={value}");
        assert_eq!(stderr, "", "WSWRAP_PORT={value}");
    }
}

#[test]
fn a_bad_wswrap_port_is_one_line_on_stderr_and_no_wrapping() {
    for value in ["x", "0", "65536", "{port}x", "-", "{port}-", "{port3}-{port}", "{port},,x", "-1"] {
        let (wrapped, stderr) = wrapped_of_three(value);
        assert_eq!(wrapped, [false; 3], "WSWRAP_PORT={value}");
        assert_eq!(stderr.lines().count(), 1, "WSWRAP_PORT={value}: {stderr:?}");
        assert!(stderr.contains("WSWRAP_PORT"), "WSWRAP_PORT={value}: {stderr:?}");
    }
}

#[test]
fn without_wswrap_port_a_listener_on_port_0_is_a_websocket_port() {
    for way in ["block", "nonblock", "poll", "select", "epoll", "edge"] {
        let server = Server::spawn(Mode::Wrapped, accepts(way, "4", &["0"]).env_remove("WSWRAP_PORT"));
        let line = server.stdout_line();
        let port: u16 = line.strip_prefix("listening ").unwrap().parse().unwrap();
        for wire in Wire::WEBSOCKET {
            echoes(&server, local(port), wire);
        }
    }
}

#[test]
fn listeners_of_ipv6_and_of_both_families_are_wrapped() {
    for (family, hosts) in [
        ("6", vec![Ipv6Addr::LOCALHOST.into()]),
        ("dual", vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]),
    ] {
        let server = Server::spawn(Mode::Wrapped, &mut accepts("poll", family, &["{port}"]));
        assert_eq!(server.stdout_line(), format!("listening {}", server.port()));
        for host in hosts {
            for wire in Wire::WEBSOCKET {
                echoes(&server, SocketAddr::new(host, server.port()), wire);
            }
        }
    }
}

/// Several listeners, each on a port of its own, waited for together.
#[test]
fn a_program_may_have_several_wrapped_listeners() {
    for way in ["poll", "select", "epoll", "edge"] {
        let mut command = accepts(way, "4", &["{port}", "{port2}", "{port3}"]);
        let server = Server::wrapped(command.env("WSWRAP_PORT", "all"));
        for offset in 0..3 {
            assert_eq!(server.stdout_line(), format!("listening {}", server.port() + offset));
        }
        for offset in [2, 0, 1] {
            for wire in Wire::WEBSOCKET {
                echoes(&server, local(server.port() + offset), wire);
            }
        }
    }
}
