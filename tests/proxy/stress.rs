//! Ends that cross each other, sides that do not read, crowds, and a signal in the middle of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wstests::{Client, Mode, Ports, Process, Rng, Scratch, Server, TIMEOUT, Wire, net, proxy, wait};

use crate::common::{Rig, Target, talk};

const MIB: usize = 1 << 20;

/// Close races, unless `STRESS_RACES` says how many.
const RACES: u64 = 10_000;

/// Races at a time.
const RACERS: usize = 8;

/// What fits into the buffers on the way: who closes on unread bytes takes back what has not left its own.
const SHORT: usize = 4096;

/// Idle connections, unless `STRESS_IDLE` says how many.
const IDLE: u64 = 5000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// How a side ends.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// It ends its half and listens on.
    Gently,
    /// It closes at once, whatever has come for it.
    Abruptly,
}

/// One race: both sides speak at the same time, and one ends. What that one has said arrives; all does if it listens on.
fn race(client: Client, mut target: TcpStream, seed: u64) {
    let mut rng = Rng::new(seed);
    let (client_ends, way) = (rng.one_in(2), if rng.one_in(2) { Way::Gently } else { Way::Abruptly });
    let limit = if matches!(way, Way::Gently) { 64 * 1024 } else { SHORT };
    let (up_len, down_len) = (rng.length(limit), rng.length(limit));
    let (up, down) = (rng.bytes(up_len), rng.bytes(down_len));
    let what = format!("race {seed}: the {} ends {way:?}", if client_ends { "client" } else { "target" });
    let (mut reader, mut writer) = client.split();
    thread::scope(|scope| {
        let (up, down, what) = (&up, &down, &what);
        let target = scope.spawn(move || {
            let written = target.write_all(down);
            match (client_ends, way) {
                (false, Way::Abruptly) => {
                    written.unwrap_or_else(|error| panic!("{what}: {error}"));
                    return;
                }
                (false, Way::Gently) => target.shutdown(Shutdown::Write).unwrap_or_else(|e| panic!("{what}: {e}")),
                // It ends when it has heard all.
                (true, _) => {}
            }
            let mut got = vec![0; up.len()];
            target.read_exact(&mut got).unwrap_or_else(|error| panic!("{what}: the target: {error}"));
            assert!(&got == up, "{what}: the target got something else");
        });
        let sent = writer.try_send(up);
        match (client_ends, way) {
            (true, Way::Abruptly) => {
                sent.unwrap_or_else(|error| panic!("{what}: {error}"));
                drop((reader, writer));
            }
            (true, Way::Gently) => {
                writer.close(1000);
                let got = reader.read_to_end();
                assert!(&got == down, "{what}: the client got {} of {} bytes", got.len(), down.len());
            }
            (false, _) => {
                let got = reader.try_read_exact(down.len());
                let got = got.unwrap_or_else(|error| panic!("{what}: the client: {error}"));
                assert!(&got == down, "{what}: the client got something else");
            }
        }
        target.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn last_bytes_arrive_whoever_ends_first_and_however() {
    let rig = Mutex::new(Rig::new(&["--log-file", "/dev/null"]));
    let (next, races) = (AtomicU64::new(0), number("STRESS_RACES", RACES));
    thread::scope(|scope| {
        for _ in 0..RACERS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= races {
                        return;
                    }
                    // One after the other, so that it is known which connection is whose.
                    let (client, target) = rig.lock().unwrap().connect(Wire::Rfc6455);
                    race(client, target, seed);
                }
            });
        }
    });
}

#[test]
fn a_client_that_ends_its_half_hears_the_answer() {
    let rig = Rig::new(&[]);
    for wire in Wire::WEBSOCKET {
        let (mut client, mut target) = rig.connect(wire);
        client.send(b"question");
        client.shutdown_write();
        let mut got = Vec::new();
        target.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"question", "{wire:?}");
        target.write_all(b"answer").unwrap();
        drop(target);
        assert_eq!(client.read_to_end(), b"answer", "{wire:?}");
    }
}

#[test]
fn what_a_client_said_before_its_reset_reaches_a_slow_target() {
    let rig = Rig::new(&[]);
    let process = Process::new(rig.proxy.pid());
    let (mut client, mut target) = rig.connect(Wire::Rfc6455);
    talk(&mut client, &target);
    process.await_rest();
    // Without the connection's two.
    let descriptors = process.descriptors() - 2;
    // The client reads nothing of what fills every buffer on the way to it.
    target.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    while target.write(&[0; 65536]).is_ok() {}
    // As much as all queues on the way to the target hold, the last of them that from which the proxy reads.
    let (reader, mut writer) = client.split();
    let (mut rng, mut words) = (Rng::new(11), Vec::new());
    loop {
        let chunk = rng.bytes(16384);
        writer.send(&chunk);
        let out =
            wait::within(Duration::from_millis(500), || (net::unacknowledged(reader.stream()) == 0).then_some(()));
        if out.is_none() {
            break;
        }
        words.extend(chunk);
    }
    drop((reader, writer));
    // A target that wants to be heard before it reads on, and is busy for longer than last words may take elsewhere.
    target.set_write_timeout(Some(TIMEOUT)).unwrap();
    target.write_all(&vec![0; 16 * MIB]).unwrap();
    let given_up = wait::within(Duration::from_secs(6), || (process.descriptors() == descriptors).then_some(()));
    assert!(given_up.is_none(), "the proxy did not wait");
    let mut got = vec![0; words.len()];
    target.read_exact(&mut got).unwrap();
    assert!(got == words, "the target got something else");
    process.await_descriptors(descriptors);
}

#[test]
fn a_target_that_does_not_read_does_not_grow_the_proxy() {
    let rig = Rig::new(&["--heartbeat", "0"]);
    let process = Process::new(rig.proxy.pid());
    for wire in Wire::WEBSOCKET {
        let (client, _target) = rig.connect(wire);
        let (reader, mut writer) = client.split();
        reader.stream().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        // Until every buffer on the way is full and nothing has moved for a while.
        let chunk = vec![0; MIB];
        let mut sent = 0;
        while writer.try_send(&chunk).is_ok() {
            sent += MIB;
            // In the loop: a proxy that grows takes whatever is sent.
            assert!(process.memory() < 16 * MIB, "{wire:?}: {} bytes, {sent} unread", process.memory());
        }
    }
}

#[test]
fn a_crowd_of_idle_and_slow_clients_does_not_slow_others() {
    net::raise_descriptor_limit();
    let rig = Rig::new(&["--heartbeat", "0", "--handshake-timeout", "3600", "--log-file", "/dev/null"]);
    let process = Process::new(rig.proxy.pid());
    let (mut client, target) = rig.connect(Wire::Rfc6455);
    talk(&mut client, &target);
    let (before, idle) = (process.memory(), number("STRESS_IDLE", IDLE));
    let crowd: Vec<_> = (0..idle).map(|_| rig.connect(Wire::Rfc6455)).collect();
    let each = process.memory().saturating_sub(before) / crowd.len();
    assert!(each <= 10 * 1024, "{each} bytes for an idle connection");
    let mut slow: Vec<_> = (0..300).map(|_| Client::builder(Wire::Rfc6455).begin(rig.proxy.addr()).unwrap()).collect();
    let worked = process.time();
    for _ in 0..10 {
        for pending in &mut slow {
            pending.advance(1).unwrap();
        }
        // One that is there is answered, and one that comes is let in.
        talk(&mut client, &target);
        let (mut other, other_target) = rig.connect(Wire::Rfc6455);
        talk(&mut other, &other_target);
    }
    // 3000 bytes and 20 conversations: nothing of it is done for all who are there.
    let worked = process.time() - worked;
    assert!(worked < Duration::from_secs(1), "{worked:?}");
    // Nothing is done for those who do nothing.
    process.await_rest();
    for (client, target) in crowd.into_iter().rev().take(10) {
        let mut client = client;
        talk(&mut client, &target);
    }
}

#[test]
fn a_target_that_is_not_there_is_told_in_the_log() {
    let nobody = Ports::one();
    let addr = nobody.addr().to_string();
    let proxy = crate::common::start(&["127.0.0.1:{port}", &addr]);
    let mut client = Client::connect(proxy.addr(), Wire::Rfc6455).unwrap();
    assert_eq!(client.read_to_end(), b"");
    let told = proxy.stderr_until("cannot be reached");
    assert!(told.contains(&addr) && told.contains("refused"), "{told}");
}

#[test]
fn sigterm_in_the_middle_of_everything_leaves_nothing() {
    let scratch = Scratch::new();
    let (pid_file, socket) = (scratch.join("pid"), scratch.join("socket"));
    let door = Target::new();
    let mut command = std::process::Command::new(proxy());
    command.arg("--pid-file").arg(&pid_file).arg("--unix-listen").arg(&socket);
    command.args(["--drain", "0", "127.0.0.1:{port}", &door.addr()]);
    let mut proxy = Server::spawn(Mode::Bare, &mut command);
    proxy.stderr_until("listening");
    wait::until("the files", || (pid_file.exists() && socket.exists()).then_some(()));
    let addr = proxy.addr();
    let flood = |write: &mut dyn FnMut(&[u8]) -> std::io::Result<()>| while write(&[0; 8192]).is_ok() {};
    let _slow: Vec<_> = (0..20).map(|_| Client::builder(Wire::Rfc6455).begin(addr).unwrap()).collect();
    thread::scope(|scope| {
        let flood = &flood;
        for _ in 0..10 {
            let client = Client::connect(addr, Wire::Rfc6455).unwrap();
            let (mut target, _) = door.accept();
            let (reader, mut writer) = client.split();
            let (from, to) = (reader.stream().try_clone().unwrap(), target.try_clone().unwrap());
            scope.spawn(move || flood(&mut |bytes| writer.try_send(bytes)));
            scope.spawn(move || flood(&mut |bytes| target.write_all(bytes)));
            for mut stream in [from, to] {
                // Its end may be a reset.
                scope.spawn(move || drop(std::io::copy(&mut stream, &mut std::io::sink())));
            }
        }
        // Whoever comes meanwhile, and is refused or cut off.
        scope.spawn(|| while TcpStream::connect(addr).and_then(|mut stream| stream.write_all(b"GET ")).is_ok() {});
        let begun = Instant::now();
        proxy.signal(libc::SIGTERM);
        assert_eq!(proxy.wait().code(), Some(0));
        assert!(begun.elapsed() < TIMEOUT, "{:?}", begun.elapsed());
    });
    assert!(!pid_file.exists() && !socket.exists());
}
