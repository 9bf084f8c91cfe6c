//! Sides that take their time: they are waited for, and those that are gone are not.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use wstests::{Client, Mode, Ports, Process, Rng, Server, Wire, http, wait};

use crate::common::{Rig, Target, closed, start, talk};
use crate::pki::Pki;

const MIB: usize = 1 << 20;

/// Longer than the proxy waits for a Close, or for the answers to three pings a second apart.
const LONG: Duration = Duration::from_secs(9);

/// Nothing is expected to happen for that time.
fn pass(time: Duration) {
    assert_eq!(wait::within(time, || None::<()>), None);
}

#[test]
fn a_client_that_reads_late_gets_all_that_the_target_said_before_its_end() {
    let rig = Rig::new(&["--heartbeat", "0"]);
    let (mut client, mut target) = rig.connect(Wire::Rfc6455);
    talk(&mut client, &target);
    // What the client does not read is on its way, of which the kernel holds most on the proxy's side.
    let words = Rng::new(3).bytes(MIB);
    target.write_all(&words).unwrap();
    target.shutdown(Shutdown::Write).unwrap();
    pass(LONG);
    // What it says in front of all that takes nothing of it back.
    for _ in 0..3 {
        client.send(b"still here");
        pass(Duration::from_millis(100));
    }
    let got = client.read_to_end();
    assert!(got == words, "{} of {} bytes", got.len(), words.len());
    assert_eq!(client.end(), Some(&closed(Wire::Rfc6455, 1000)));
}

/// What cannot be read at once, as from a file server that is away, holds up neither others nor the end.
#[test]
fn what_hangs_when_it_is_read_anew_holds_up_nothing() {
    let (pki, target) = (Pki::new(), Target::new());
    let (secret, certificate) = (pki.file("secret"), pki.local("local"));
    let auth = ["--auth-plugin", "BasicHTTPAuth", "--auth-source-file", &secret];
    // A file that changes is read without being told to.
    let tls = ["--cert", &certificate, "--key-password-file", &secret];
    for (options, tell) in [(auth, true), (tls, false)] {
        std::fs::write(&secret, "ann:secret\n").unwrap();
        let ports = Ports::one();
        let metrics = ports.addr().to_string();
        let rest = ["--metrics", &metrics, "127.0.0.1:{port}", &target.addr()];
        let mut proxy = start(&[&options[..], &rest].concat());
        std::fs::remove_file(&secret).unwrap();
        assert!(Command::new("mkfifo").arg(&secret).status().unwrap().success());
        if tell {
            proxy.signal(libc::SIGHUP);
        }
        // It has been opened to be read, and has nothing to say.
        let _writer = wait::until("the reader", || {
            std::fs::File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&secret).ok()
        });
        let reply = http(&metrics, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        assert_eq!(reply.status, 200);
        proxy.signal(libc::SIGTERM);
        assert!(proxy.wait().success());
        std::fs::remove_file(&secret).unwrap();
    }
}

#[test]
fn a_client_is_not_given_up_while_nobody_listens_to_it() {
    let rig = Rig::new(&["--heartbeat", "1"]);
    let (client, mut target) = rig.connect(Wire::Rfc6455);
    let (reader, mut writer) = client.split();
    let words = Rng::new(4).bytes(24 * MIB);
    thread::scope(|scope| {
        scope.spawn(|| {
            writer.send(&words);
            writer
        });
        // The target takes nothing, so neither does the proxy, and an answer to a ping would not be seen.
        pass(LONG);
        let mut got = vec![0; words.len()];
        target.read_exact(&mut got).unwrap();
        assert!(got == words);
    });
    drop(reader);
}

#[test]
fn a_client_that_reads_slowly_is_not_given_up() {
    let rig = Rig::new(&["--heartbeat", "1"]);
    let (mut client, mut target) = rig.connect(Wire::Rfc6455);
    let words = Rng::new(5).bytes(24 * MIB);
    thread::scope(|scope| {
        scope.spawn(|| target.write_all(&words).unwrap());
        // Its first ping lies behind what is on the way.
        let mut got = Vec::new();
        for _ in 0..LONG.as_secs() * 10 {
            got.extend(client.read_exact(MIB / 10));
            pass(Duration::from_millis(100));
        }
        got.extend(client.read_exact(words.len() - got.len()));
        assert!(got == words);
    });
}

/// The end of TLS is a message, too, which such a target does not take.
#[test]
fn a_session_ends_though_its_target_of_tls_does_not_read() {
    let pki = Pki::new();
    let certificate = pki.local("target");
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-naccept", "1", "-cert", &certificate, "-accept", "127.0.0.1:{port}"]);
    let mut target = Server::start(Mode::Bare, &mut command);
    let addr = format!("localhost:{}", target.port());
    let ca = pki.file("ca.pem");
    let proxy = start(&["--heartbeat", "1", "--ssl-target", "--ssl-target-ca", &ca, "127.0.0.1:{port}", &addr]);
    let process = Process::new(proxy.pid());
    process.await_rest();
    let descriptors = process.descriptors();
    let client = Client::connect(proxy.addr(), Wire::Rfc6455).unwrap();
    let (reader, mut writer) = client.split();
    proxy.stderr_until(" open ");
    target.signal(libc::SIGSTOP);
    reader.stream().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let chunk = vec![0; MIB];
    while writer.try_send(&chunk).is_ok() {}
    drop((reader, writer));
    proxy.stderr_until(" end ");
    process.await_descriptors(descriptors);
    target.signal(libc::SIGCONT);
}
