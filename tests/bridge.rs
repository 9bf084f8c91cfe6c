//! Connections that leave the code that the library sits in: a new program, a child, another process, a sandbox.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use wstests::{Client, End, Process, Rng, Scratch, Server, Wire, app, proxy, twin, wait};

/// The server of `tests/apps/bridge.c`.
fn server(mode: &str) -> Command {
    let mut command = Command::new(app("bridge"));
    command.args(["{port}", mode]);
    command
}

/// A connection of which the server has read and echoed `first` bytes itself, and goes to hand on the rest.
#[track_caller]
fn handed_on(server: &Server, wire: Wire, first: &[u8]) -> Client {
    let mut client = Client::connect(server.addr(), wire).unwrap();
    client.send(first);
    server.write_stdin(&[first.len() as u8]);
    assert_eq!(client.read_exact(first.len()), first, "{wire:?}");
    client
}

/// The end as the client asked for it, or as a server gives it.
#[track_caller]
fn ends_well(client: &Client, wire: Wire) {
    let expected = match wire {
        Wire::Plain | Wire::Hixie75 => End::Fin,
        Wire::Hixie76 => End::Close(None, String::new()),
        Wire::Rfc6455 | Wire::Rfc6455Base64 => End::Close(Some(1000), String::new()),
    };
    assert_eq!(client.end(), Some(&expected), "{wire:?}");
}

/// Whoever gets the connection echoes: bytes before, bytes after, and the end.
fn echoes(command: impl Fn() -> Command, first: &[u8]) {
    twin(command, |server, wire, rng| {
        let mut client = handed_on(server, wire, first);
        let sent = rng.bytes(200_000);
        let received = client.exchange(&sent, rng, sent.len());
        assert!(received == sent, "{wire:?}: other bytes");
        client.close(1000);
        assert!(client.read_to_end().is_empty());
        client.assert_pongs();
        ends_well(&client, wire);
        server.stdout_line()
    });
}

#[test]
fn invariant_5_a_program_that_is_executed_gets_the_stream() {
    let names = ["execl", "execlp", "execle", "execv", "execve", "execvp", "execvpe", "fexecve", "execveat"];
    for name in names.into_iter().chain(["raw_execve", "raw_execveat"]) {
        eprintln!("{name}");
        echoes(|| server(name), b"before");
    }
}

#[test]
fn invariant_4_a_file_that_libc_put_in_the_connection_s_place_is_left_alone() {
    echoes(|| server("terminal"), b"before");
}

#[test]
fn invariant_5_a_connection_stays_bridged_when_an_exec_fails() {
    echoes(|| server("retry"), b"");
    echoes(|| server("failed"), b"before");
}

#[test]
fn invariant_5_a_child_of_vfork_takes_the_stream() {
    echoes(|| server("vfork"), b"before");
}

#[test]
fn invariant_5_a_spawned_child_gets_the_stream() {
    echoes(|| server("spawn"), b"before");
}

#[test]
fn invariant_5_commands_of_system_and_popen_get_the_stream() {
    echoes(|| server("system"), b"before");
    echoes(|| server("popen"), b"before");
}

#[test]
fn invariant_5_another_process_gets_the_stream() {
    for mode in ["pass", "pass:sendmmsg", "pass:raw_sendmsg", "pass:raw_sendmmsg"] {
        eprintln!("{mode}");
        echoes(|| server(mode), b"before");
    }
}

#[test]
fn invariant_5_events_go_on_after_a_connection_was_passed() {
    echoes(|| server("watched"), b"before");
}

#[test]
fn a_sandboxed_program_makes_no_further_system_calls() {
    echoes(|| server("strict"), b"before");
    echoes(|| server("filter"), b"before");
}

#[test]
fn a_sandbox_that_forbids_to_ask_for_limits_is_left_in_peace() {
    echoes(|| server("limits"), b"before");
    // A handshake that has to wait takes a descriptor of which the program has enough.
    let server = Server::wrapped(&mut server("limits"));
    let mut half = TcpStream::connect(server.addr()).unwrap();
    half.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut client = handed_on(&server, Wire::Rfc6455, b"before");
    client.close(1000);
    assert!(client.read_to_end().is_empty());
    ends_well(&client, Wire::Rfc6455);
}

/// stdio reaches the socket past the symbols of read and write.
#[test]
fn invariant_5_a_program_that_uses_stdio_gets_the_stream() {
    twin(
        || server("stdio"),
        |server, wire, _| {
            let mut client = handed_on(server, wire, b"");
            for line in ["one\n", "two\n", "three\n"] {
                client.send(line.as_bytes());
                assert_eq!(client.read_until(b'\n'), line.as_bytes());
            }
            client.close(1000);
            assert!(client.read_to_end().is_empty());
            ends_well(&client, wire);
        },
    );
}

/// Where the client's frames, or the server's reads, are cut does not matter: whatever the state is, it goes along.
#[test]
fn invariant_5_nothing_is_lost_wherever_the_stream_is_cut() {
    for wire in Wire::selected() {
        let server = Server::wrapped(&mut server("pass"));
        for read in [0_usize, 1, 5] {
            let first = match (read, wire) {
                (0, _) => 0,
                (_, Wire::Rfc6455) => 6 + read,
                (_, Wire::Rfc6455Base64) => 6 + read.div_ceil(3) * 4,
                (_, Wire::Plain | Wire::Hixie75 | Wire::Hixie76) => 1 + read.div_ceil(3) * 4,
            };
            for cut in first.. {
                let mut client = Client::connect(server.addr(), wire).unwrap();
                let payload: Vec<u8> = (0..40).map(|place| place * 3 + 1).collect();
                let mut bytes = client.writer().message(&payload[..23]);
                bytes.extend(client.writer().message(&payload[23..]));
                client.raw(&bytes[..cut]);
                server.write_stdin(&[read as u8]);
                assert_eq!(client.read_exact(read), payload[..read]);
                assert_eq!(server.stdout_line(), "handed on");
                client.raw(&bytes[cut..]);
                assert_eq!(client.read_exact(40 - read), payload[read..], "{wire:?}: {read} read, cut at {cut}");
                client.close(1000);
                assert!(client.read_to_end().is_empty());
                ends_well(&client, wire);
                if cut == bytes.len() {
                    break;
                }
            }
        }
    }
}

/// The program has written until the kernel took no more: a frame is open, or a rest waits. Its successor fills it.
#[test]
fn invariant_3_an_open_frame_is_filled_by_the_next_program() {
    let pattern = |place: usize| (place * 31 + (place >> 8) * 7 + 11) as u8;
    twin(
        || server("fill"),
        |server, wire, _| {
            let mut client = Client::connect(server.addr(), wire).unwrap();
            client.ping(b"in front");
            server.write_stdin(&[0]);
            assert_eq!(server.stdout_line(), "full");
            client.ping(b"behind");
            let received = client.read_to_end();
            assert!(received.len() > 1 << 20, "{} bytes", received.len());
            assert!((0..received.len()).all(|place| received[place] == pattern(place)), "{wire:?}: other bytes");
            client.assert_pongs();
            ends_well(&client, wire);
            server.stdout_line()
        },
    );
}

/// shutdown(2) in the new program is the end of what it says, and not of what it hears.
#[test]
fn half_a_connection_goes_on() {
    twin(
        || server("half"),
        |server, wire, rng| {
            let mut client = handed_on(server, wire, b"");
            assert_eq!(client.read_to_end(), b"bye");
            ends_well(&client, wire);
            client.send_split(&rng.bytes(300_000), rng);
            client.close(1000);
            server.stdout_line()
        },
    );
}

#[test]
fn a_bridged_connection_tells_the_client_s_address_and_its_options() {
    twin(
        || server("address"),
        |server, wire, _| {
            let mut client = handed_on(server, wire, b"");
            let own = client.local_addr().to_string();
            let told: Vec<String> = (0..4)
                .map(|_| String::from_utf8(client.read_until(b'\n')).unwrap())
                .map(|line| line.replace(&own, "CLIENT").replace(&server.addr().to_string(), "SERVER"))
                .collect();
            client.close(1000);
            assert!(client.read_to_end().is_empty());
            assert_eq!(told[..2], ["peer: CLIENT\n", "local: SERVER\n"]);
            told
        },
    );
}

/// The log of a server, and the companions that it tells of.
struct Log {
    _directory: Scratch,
    path: PathBuf,
}

impl Log {
    fn new() -> Self {
        let directory = Scratch::new();
        let path = directory.join("log");
        Log { _directory: directory, path }
    }

    fn of<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("WSWRAP_VERBOSE", "1").env("WSWRAP_LOG", &self.path)
    }

    /// The first line that has `part`.
    #[track_caller]
    fn line(&self, part: &str) -> String {
        wait::until(&format!("{part:?} in the log"), || {
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
            text.lines().find(|line| line.contains(part)).map(str::to_owned)
        })
    }

    /// The companion's process.
    #[track_caller]
    fn companion(&self) -> u32 {
        let line = self.line("bridged by process ");
        let number: String = line.split("process ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
        number.parse().unwrap()
    }
}

#[test]
fn a_companion_is_small_has_no_more_than_it_needs_and_ends_with_the_connection() {
    // The one that the library finds, and the proxy by its name, which is the same program in the end.
    let named = [None, Some(proxy())];
    for (wire, named) in Wire::selected().into_iter().flat_map(|wire| named.iter().map(move |named| (wire, named))) {
        let log = Log::new();
        let mut command = server("execl");
        if let Some(path) = named {
            command.env("WSWRAP_COMPANION", path);
        }
        let server = Server::wrapped(log.of(&mut command));
        let mut client = handed_on(&server, wire, b"before");
        let mut rng = Rng::new(3);
        let sent = rng.bytes(3 << 20);
        assert!(client.exchange(&sent, &mut rng, sent.len()) == sent);
        let pid = log.companion();
        let companion = Path::new("/proc").join(pid.to_string());
        let command = std::fs::read(companion.join("cmdline")).unwrap();
        assert!(command.ends_with(b"bridge\0"), "{}", String::from_utf8_lossy(&command));
        let mut fds: Vec<String> = companion
            .join("fd")
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        fds.sort();
        assert_eq!(fds, ["0", "1", "2", "3"]);
        let memory = std::fs::read_to_string(companion.join("smaps_rollup")).unwrap();
        let kib = |name: &str| -> usize {
            let line = memory.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        eprintln!("{wire:?}: PSS {} KiB, private {} KiB", kib("Pss:"), kib("Private_Dirty:"));
        assert!(kib("Pss:") < 2048, "{memory}");
        let environment = std::fs::read(companion.join("environ")).unwrap();
        assert!(!String::from_utf8_lossy(&environment).contains("LD_PRELOAD"));
        client.close(1000);
        client.read_to_end();
        wait::until("the companion's end", || Process::new(pid).has_ended().then_some(()));
        let end = log.line(&format!("wswrap[{pid}]"));
        let bytes = sent.len() + 6;
        assert!(end.contains(&format!("{bytes} bytes in, {bytes} bytes out")), "{end}");
    }
}

#[test]
fn a_client_that_vanishes_ends_program_and_companion() {
    let log = Log::new();
    let server = Server::wrapped(log.of(&mut server("execl")));
    let client = handed_on(&server, Wire::Rfc6455, b"before");
    let companion = Process::new(log.companion());
    client.abort();
    assert_eq!(server.stdout_line(), "child: 0");
    wait::until("the companion's end", || companion.has_ended().then_some(()));
}

#[test]
fn without_a_companion_the_connection_ends_and_the_log_says_what_to_do() {
    let log = Log::new();
    let mut command = server("execl");
    let server = Server::wrapped(log.of(command.env("WSWRAP_COMPANION", "/nonexistent/wsproxy")));
    let mut client = handed_on(&server, Wire::Rfc6455, b"before");
    assert!(client.read_to_end().is_empty());
    assert_eq!(client.end(), Some(&End::Close(Some(1011), String::new())));
    for why in ["becomes a standard descriptor", "goes to a new program"] {
        let line = log.line(&format!("cannot be bridged ({why})"));
        assert!(line.contains("WSWRAP_COMPANION"), "{line}");
    }
    assert_eq!(server.stdout_line(), "child: 0");
}
