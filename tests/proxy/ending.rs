//! How it ends: signals, clocks, and what becomes of those who are connected.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use wstests::net::uninterrupted;
use wstests::{Client, End, Mode, Rng, Scratch, Server, TIMEOUT, Wire, http, proxy, wait};

use crate::common::{Rig, Target, closed, refuses, start, talk};
use crate::listening::inetd;
use crate::target::full;

#[test]
fn what_is_open_may_finish() {
    let mut rig = Rig::new(&["--drain", "60"]);
    let (mut client, target) = rig.connect(Wire::Rfc6455);
    // A request that has not begun is no reason to wait.
    let _silent = TcpStream::connect(rig.proxy.addr()).unwrap();
    rig.proxy.signal(libc::SIGTERM);
    wait::until("the end of listening", || TcpStream::connect(rig.proxy.addr()).is_err().then_some(()));
    talk(&mut client, &target);
    drop(target);
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(client.end(), Some(&End::Close(Some(1000), String::new())));
    drop(client);
    assert_eq!(rig.proxy.wait().code(), Some(0));
}

#[test]
fn what_does_not_finish_is_cut_off_with_close_1001() {
    for (options, signal) in [(["--drain", "0"], libc::SIGTERM), (["--drain", "1"], libc::SIGINT)] {
        let mut rig = Rig::new(&options);
        let mut pairs = Wire::WEBSOCKET.map(|wire| (wire, rig.connect(wire)));
        for (_, (client, target)) in &mut pairs {
            talk(client, target);
        }
        rig.proxy.signal(signal);
        for (wire, (client, _)) in &mut pairs {
            assert_eq!(client.read_to_end(), b"", "{wire:?}");
            assert_eq!(client.end(), Some(&closed(*wire, 1001)), "{wire:?}");
        }
        drop(pairs);
        assert_eq!(rig.proxy.wait().code(), Some(0));
    }
    refuses(&["--drain=-1", "1", "a:1"], 2, &["--drain", "'-1'"]);
}

#[test]
fn a_frame_that_has_begun_is_ended_before_close_1001() {
    let mut rig = Rig::new(&["--drain", "0"]);
    let (mut client, mut target) = rig.connect(Wire::Rfc6455);
    talk(&mut client, &target);
    target.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let bytes = Rng::new(5).bytes(1 << 20);
    // Until all is full: the proxy holds a frame of which a part is out.
    while target.write(&bytes).is_ok() {}
    rig.proxy.signal(libc::SIGTERM);
    rig.proxy.stderr_until("cut off");
    // The client checks each frame, and that none is missing its end.
    assert!(!client.read_to_end().is_empty());
    assert_eq!(client.end(), Some(&End::Close(Some(1001), String::new())));
    client.close(1001);
    drop(client);
    assert_eq!(rig.proxy.wait().code(), Some(0));
}

/// The end waits no longer for those who are on their way in than for others.
#[test]
fn what_has_not_become_a_websocket_is_cut_off_as_well() {
    let rest = ["--self-signed", "--trust-proxy", "127.0.0.1"];
    for (options, begun) in [
        (&rest[..0], &b"GET / HT"[..]),
        (&rest[..1], b"\x16\x03\x01"),
        (&rest[1..], b""),
        (&rest[1..], b"PROXY TCP4 "),
        (&rest[1..], b"PROXY UNKNOWN\r\nGET / HT"),
    ] {
        let mut rig = Rig::new(&[options, &["--drain", "0", "--handshake-timeout", "3600"]].concat());
        let mut stream = TcpStream::connect(rig.proxy.addr()).unwrap();
        stream.write_all(begun).unwrap();
        // It is in the hands of the proxy when one that came later is.
        let (mut client, target) = rig.connect(Wire::Rfc6455);
        talk(&mut client, &target);
        drop((client, target));
        rig.proxy.signal(libc::SIGTERM);
        let signalled = Instant::now();
        assert_eq!(rig.proxy.wait().code(), Some(0));
        // Those who do not end by themselves have five seconds.
        assert!(signalled.elapsed() < Duration::from_secs(4), "{}: {:?}", begun.escape_ascii(), signalled.elapsed());
    }
}

#[test]
fn a_client_whose_target_does_not_answer_is_cut_off_with_close_1001() {
    let (door, _waiting) = full();
    let mut proxy = start(&["--drain", "0", "127.0.0.1:{port}", &door.local_addr().unwrap().to_string()]);
    let mut client = Client::connect(proxy.addr(), Wire::Rfc6455).unwrap();
    proxy.signal(libc::SIGTERM);
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(client.end(), Some(&End::Close(Some(1001), String::new())));
    drop(client);
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    for second in [libc::SIGTERM, libc::SIGINT] {
        let mut rig = Rig::new(&["--drain", "3600"]);
        let (_client, _target) = rig.connect(Wire::Rfc6455);
        rig.proxy.signal(libc::SIGTERM);
        rig.proxy.stderr_until("ending");
        rig.proxy.signal(second);
        assert_eq!(rig.proxy.wait().code(), Some(0));
    }
}

#[test]
fn run_once_serves_one_websocket() {
    let mut rig = Rig::new(&["--run-once"]);
    // A web request is none.
    assert_eq!(http(rig.proxy.addr(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().status, 400);
    let waiting = Client::builder(Wire::Rfc6455).begin(rig.proxy.addr()).unwrap();
    let (mut client, target) = rig.connect(Wire::Rfc6455);
    talk(&mut client, &target);
    assert!(waiting.finish().is_err(), "a second WebSocket");
    talk(&mut client, &target);
    drop((client, target));
    assert_eq!(rig.proxy.wait().code(), Some(0));
}

#[test]
fn it_ends_when_its_time_is_over() {
    let mut rig = Rig::new(&["--timeout", "1", "--drain", "0"]);
    let (mut client, _target) = rig.connect(Wire::Rfc6455);
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(client.end(), Some(&End::Close(Some(1001), String::new())));
    drop(client);
    assert_eq!(rig.proxy.wait().code(), Some(0));
    refuses(&["--timeout", "0", "1", "a:1"], 2, &["--timeout", "'0'"]);
}

#[test]
fn it_ends_when_nobody_is_there() {
    let (door, target) = (TcpListener::bind("127.0.0.1:0").unwrap(), Target::new());
    // There before the proxy is: it may take its time to start.
    let client = Client::builder(Wire::Rfc6455).begin(door.local_addr().unwrap()).unwrap();
    let mut proxy = inetd(door, &["--idle-timeout", "1"], &target);
    let mut client = client.finish().unwrap();
    let (stream, _) = target.accept();
    let began = Instant::now();
    // Somebody is there for longer than that.
    assert_eq!(wait::within(Duration::from_millis(1500), || None::<()>), None);
    talk(&mut client, &stream);
    drop((client, stream));
    assert!(proxy.wait().unwrap().success());
    assert!(began.elapsed() >= Duration::from_millis(2500));
    refuses(&["--idle-timeout", "x", "1", "a:1"], 2, &["--idle-timeout", "'x'"]);
}

#[test]
fn systemd_is_told_how_far_it_is() {
    let (scratch, target) = (Scratch::new(), Target::new());
    let path = scratch.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let told = || {
        let mut state = [0; 256];
        let len = uninterrupted(|| socket.recv(&mut state)).unwrap();
        String::from_utf8_lossy(&state[..len]).into_owned()
    };
    let addr = target.addr();
    let mut command = Command::new(proxy());
    command.args(["127.0.0.1:{port}", &addr]).env("NOTIFY_SOCKET", &path);
    let mut proxy = Server::spawn(Mode::Bare, &mut command);
    let ready = format!("READY=1\nMAINPID={}", proxy.pid());
    assert_eq!(told(), ready);
    // It is: nothing is to be waited for.
    drop(Client::connect(proxy.addr(), Wire::Rfc6455).unwrap());
    proxy.signal(libc::SIGHUP);
    let reloading = told();
    let (state, time) = reloading.split_once("\nMONOTONIC_USEC=").unwrap();
    assert_eq!(state, "RELOADING=1");
    assert!(time.parse::<u64>().unwrap() > 0);
    assert_eq!(told(), ready);
    proxy.signal(libc::SIGTERM);
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn metrics_and_health_are_served() {
    let target = Target::new();
    let metrics = "127.0.0.1:{port2}";
    let mut proxy = start(&["--metrics", metrics, "--drain", "60", "127.0.0.1:{port}", &target.addr()]);
    let monitor = ("127.0.0.1", proxy.port() + 1);
    let get = |path: &str| {
        http(monitor, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap()
    };
    assert_eq!((get("/healthz").status, get("/healthz").body), (200, b"ok\n".to_vec()));
    assert_eq!(get("/").status, 404);
    let post = http(monitor, b"POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(post.unwrap().status, 405);
    let mut client = Client::connect(proxy.addr(), Wire::Hixie76).unwrap();
    let (stream, _) = target.accept();
    talk(&mut client, &stream);
    drop((client, stream));
    proxy.stderr_until(" end ");
    assert_eq!(http(proxy.addr(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().status, 400);
    let mut client = Client::connect(proxy.addr(), Wire::Rfc6455).unwrap();
    let (stream, _) = target.accept();
    talk(&mut client, &stream);
    let expected = [
        "wsproxy_connections_total 3",
        "wsproxy_handshakes_total{dialect=\"hixie-76\"} 1",
        "wsproxy_handshakes_total{dialect=\"rfc6455\"} 1",
        "wsproxy_refusals_total{reason=\"not_websocket\"} 1",
        "wsproxy_bytes_total{direction=\"up\"} 2",
        "wsproxy_bytes_total{direction=\"down\"} 2",
        "wsproxy_open 1",
        "wsproxy_duration_seconds_count 1",
    ];
    wait::until("the counts", || {
        let text = String::from_utf8(get("/metrics").body).unwrap();
        expected.iter().all(|line| text.lines().any(|is| is == *line)).then_some(())
    });
    // Who balances load is told to go elsewhere.
    proxy.signal(libc::SIGTERM);
    wait::until("503", || (get("/healthz").status == 503).then_some(()));
    drop((client, stream));
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn a_bad_address_for_metrics_is_told() {
    refuses(&["--metrics", "x", "127.0.0.1:0", "a:1"], 2, &["--metrics", "'x'"]);
    let held = Target::new();
    let taken = held.addr();
    refuses(&["--metrics", &taken, "127.0.0.1:0", "a:1"], 1, &["--metrics", &taken, "in use"]);
}
