//! Programs at the edges of what a process may be: what the bare program survives the wrapped one survives.

use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use wstests::{Client, Mode, Server, Wire, app};

fn corner(mode: &str) -> Server {
    Server::wrapped(Command::new(app("corners")).args([mode, "{port}"]))
}

/// An opening handshake whose request comes in two pieces, then an echo of `len` bytes.
fn echoes_after_a_split_request(server: &Server, wire: Wire, len: usize) -> Client {
    let mut pending = Client::builder(wire).begin(server.addr()).unwrap();
    let left = pending.left();
    pending.advance(left / 2).unwrap();
    // Once another client was served the first half has been looked at, and nothing else is going on.
    let mut other = Client::connect(server.addr(), wire).unwrap();
    other.send(b"other");
    assert_eq!(other.read_exact(5), b"other");
    other.close(1000);
    other.read_to_end();
    let mut client = pending.finish().unwrap();
    let bytes = vec![7; len];
    client.send(&bytes);
    assert_eq!(client.read_exact(len), bytes, "{wire:?}");
    client
}

#[test]
fn an_exclusive_wait_for_the_listener_is_woken_by_the_rest_of_a_request() {
    let server = corner("exclusive");
    for wire in Wire::WEBSOCKET {
        echoes_after_a_split_request(&server, wire, 10).close(1000);
    }
}

#[test]
fn a_registration_from_before_listen_tells_of_the_rest_of_a_request() {
    for mode in ["early", "early-edge", "early-oneshot", "early-exclusive"] {
        let server = corner(mode);
        for wire in Wire::WEBSOCKET {
            echoes_after_a_split_request(&server, wire, 10).close(1000);
        }
    }
}

#[test]
fn an_inherited_registration_tells_of_the_rest_of_a_request() {
    for mode in ["inherited", "inherited-oneshot"] {
        let server = corner(mode);
        for wire in Wire::WEBSOCKET {
            echoes_after_a_split_request(&server, wire, 10).close(1000);
        }
    }
}

#[test]
fn the_smallest_stack_is_large_enough() {
    let server = corner("stack");
    for wire in Wire::WEBSOCKET {
        echoes_after_a_split_request(&server, wire, 5000).close(1000);
    }
}

#[test]
fn select_touches_no_memory_beyond_the_sets() {
    let server = corner("bigselect");
    for wire in Wire::WEBSOCKET {
        echoes_after_a_split_request(&server, wire, 20).close(1000);
    }
}

#[test]
fn exit_in_a_signal_handler_ends_the_program() {
    for _ in 0..5 {
        let mut server = corner("handler");
        let client = Client::connect(server.addr(), Wire::Rfc6455).unwrap();
        let (mut reader, mut writer) = client.split();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    if writer.try_send(&[1; 100]).is_err() {
                        break;
                    }
                }
            });
            // It is in the middle of its calls.
            reader.read_exact(10_000);
            server.signal(libc::SIGTERM);
            assert!(server.wait().success());
            over.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn invariant_1_handshakes_do_not_cost_the_program_its_descriptors() {
    let server = corner("fewfds");
    let half: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut pending = Client::builder(Wire::Rfc6455).begin(server.addr()).unwrap();
            pending.advance(20).unwrap();
            pending.stream().try_clone().unwrap()
        })
        .collect();
    let mut client = Client::connect(server.addr(), Wire::Rfc6455).unwrap();
    client.send(b"hello");
    assert_eq!(client.read_exact(5), b"hello");
    drop(half);
}

#[test]
fn a_low_water_mark_keeps_neither_requests_nor_messages_nor_the_end_from_the_program() {
    let server = corner("lowat");
    for wire in Wire::WEBSOCKET {
        let mut client = echoes_after_a_split_request(&server, wire, 10);
        client.close(1000);
        client.read_to_end();
    }
}

#[test]
fn the_librarys_own_descriptors_come_late_are_high_and_go_with_exec() {
    let [bare, wrapped] = [Mode::Bare, Mode::Wrapped]
        .map(|mode| Server::spawn(mode, Command::new("ls").arg("/proc/self/fd")).stdout_to_end());
    assert!(!bare.is_empty());
    assert_eq!(bare, wrapped, "a program that has not listened");

    let server = corner("fewfds");
    let mut pending = Client::builder(Wire::Rfc6455).begin(server.addr()).unwrap();
    pending.advance(20).unwrap();
    let mut client = Client::connect(server.addr(), Wire::Rfc6455).unwrap();
    client.send(b"hello");
    assert_eq!(client.read_exact(5), b"hello");
    let directory = format!("/proc/{}", server.pid());
    let mut own = 0;
    for entry in std::fs::read_dir(format!("{directory}/fd")).unwrap() {
        let entry = entry.unwrap();
        let (number, file) = (entry.file_name().into_string().unwrap(), std::fs::read_link(entry.path()).unwrap());
        if file.to_string_lossy().starts_with("anon_inode:") {
            own += 1;
            // With a limit of 40 the numbers from 37 on are high.
            assert!(number.parse::<u32>().unwrap() >= 37, "{number}");
            let info = std::fs::read_to_string(format!("{directory}/fdinfo/{number}")).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
            assert!(u32::from_str_radix(flags, 8).unwrap() & libc::O_CLOEXEC as u32 != 0, "{number}: {flags}");
        }
    }
    assert_eq!(own, 2, "an epoll instance and a timer");
}

/// Python starts other programs by vfork.
const STARTS_PROGRAMS: &str = "
import socket, subprocess, sys
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
while True:
    connection, _ = listener.accept()
    while data := connection.recv(1000):
        subprocess.run(['true'], check=True, close_fds=True)
        connection.sendall(data)
    connection.close()
";

#[test]
fn invariant_5_a_program_that_starts_others_keeps_its_connections() {
    let server = Server::wrapped(Command::new("python3").args(["-c", STARTS_PROGRAMS, "{port}"]));
    for wire in Wire::WEBSOCKET {
        let mut client = Client::connect(server.addr(), wire).unwrap();
        for _ in 0..5 {
            client.send(b"hello");
            assert_eq!(client.read_exact(5), b"hello");
        }
        client.close(1000);
        client.read_to_end();
    }
}

#[test]
fn children_of_a_threaded_server_do_not_inherit_a_lock_that_is_held() {
    let server = corner("fork");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let mut client = Client::connect(server.addr(), Wire::Rfc6455).unwrap();
                    for _ in 0..50 {
                        client.send(b"hello");
                        assert_eq!(client.read_exact(5), b"hello");
                    }
                    client.close(1000);
                }
            });
        }
        server.write_stdin(b"\n");
        assert_eq!(server.stdout_line(), "children ended");
        over.store(true, Ordering::Relaxed);
    });
}
