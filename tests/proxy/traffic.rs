//! `--traffic`: a sign for whatever moves; and the counts of bytes, which move with it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use wstests::net::uninterrupted;
use wstests::{Rng, TIMEOUT, Wire, wait};

use crate::common::{Rig, talk};

/// The next `count` signs.
fn signs(rig: &Rig, count: usize) -> String {
    String::from_utf8(rig.proxy.read_stdout(count)).unwrap()
}

fn legend(rig: &Rig) {
    for part in ["legend", "}.", "{", ">.", "<."] {
        let line = rig.proxy.stdout_line();
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn each_frame_has_its_sign() {
    for wire in Wire::WEBSOCKET {
        let rig = Rig::new(&["--traffic"]);
        legend(&rig);
        let (mut client, mut target) = rig.connect(wire);
        talk(&mut client, &target);
        assert_eq!(signs(&rig, 4), "}>{<", "{wire:?}");
        // A frame in two pieces.
        let (frame, payload): (&[u8], &[u8]) = match wire {
            Wire::Rfc6455 => (&[0x82, 0x83, 0, 0, 0, 0, b'A', b'B', b'C'], b"ABC"),
            Wire::Rfc6455Base64 => (&[0x81, 0x84, 0, 0, 0, 0, b'Q', b'U', b'J', b'D'], b"ABC"),
            Wire::Hixie75 | Wire::Hixie76 | Wire::Plain => (b"\0QUJD\xFF", b"ABC"),
        };
        let head = frame.len() - 5;
        client.writer().raw(&frame[..head]);
        assert_eq!(signs(&rig, 2), "}.", "{wire:?}");
        client.writer().raw(&frame[head..]);
        let mut got = [0; 3];
        target.read_exact(&mut got).unwrap();
        assert_eq!(got, payload);
        assert_eq!(signs(&rig, 2), "}>", "{wire:?}");
    }
}

/// Signs are lost where nobody reads them; bytes are not.
#[test]
fn a_reader_that_stops_slows_no_session() {
    let rig = Rig::new(&["--traffic"]);
    let (mut client, mut target) = rig.connect(Wire::Rfc6455);
    let mut rng = Rng::new(2);
    let bytes = rng.bytes(4 << 20);
    let mut got = vec![0; bytes.len()];
    std::thread::scope(|scope| {
        scope.spawn(|| client.send_split(&bytes, &mut rng));
        target.read_exact(&mut got).unwrap();
    });
    assert!(got == bytes);
    target.write_all(b"x").unwrap();
    assert_eq!(client.read_exact(1), b"x");
}

#[test]
fn bytes_are_counted_while_a_connection_is_open() {
    let rig = Rig::new(&["--metrics", "127.0.0.1:{port2}"]);
    let metrics = (rig.proxy.addr().ip(), rig.proxy.port() + 1);
    let (mut client, mut target) = rig.connect(Wire::Hixie76);
    let has = |up: u64, down: u64| {
        wait::until("the counts", || {
            let mut stream = TcpStream::connect(metrics).unwrap();
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            let line = |direction, count| format!("wsproxy_bytes_total{{direction=\"{direction}\"}} {count}\n");
            (text.contains(&line("up", up)) && text.contains(&line("down", down))).then_some(())
        });
    };
    has(0, 0);
    talk(&mut client, &target);
    has(1, 1);
    client.send(&[1; 1000]);
    target.read_exact(&mut [0; 1000]).unwrap();
    has(1001, 1);
    target.write_all(&[2; 70_000]).unwrap();
    client.read_exact(70_000);
    has(1001, 70_001);
    drop(client);
    assert_eq!(uninterrupted(|| target.read(&mut [0])).unwrap(), 0);
    has(1001, 70_001);
}
