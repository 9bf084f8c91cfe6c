//! `--record`: what passes, in files that can be played again.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wstests::{Rng, Scratch, Wire, preload, proxy, wait};

use crate::common::{Rig, refuses, talk};

/// One piece: milliseconds, whether it is the client's, its bytes.
type Piece = (u64, bool, Vec<u8>);

/// What a recording holds, as a player reads it: noVNC's takes base64 where the first piece looks like it, which the test knows.
fn pieces(path: &Path, base64: bool) -> Vec<Piece> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.strip_prefix("var VNC_frame_data = [\n").unwrap().strip_suffix("'EOF'];\n").unwrap();
    lines.lines().map(|line| piece(line.strip_prefix('\'').unwrap().strip_suffix("',").unwrap(), base64)).collect()
}

fn piece(line: &str, base64: bool) -> Piece {
    let brace = &line[..1];
    let (ms, data) = line[1..].split_once(brace).unwrap();
    let data = if base64 { STANDARD.decode(data).unwrap() } else { unescape(data) };
    (ms.parse().unwrap(), brace == "}", data)
}

/// The characters of a JavaScript string, each one a byte.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, byte == b'\\') {
            (plain, false) => plain,
            (_, true) => match rest.next().unwrap() {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            },
        });
    }
    bytes
}

fn side(pieces: &[Piece], client: bool) -> Vec<u8> {
    pieces.iter().filter(|piece| piece.1 == client).flat_map(|piece| piece.2.clone()).collect()
}

/// A session in which all bytes occur in both directions, recorded as connection `id`.
fn session(rig: &Rig, wire: Wire, up: &[u8], down: &[u8]) {
    let (mut client, mut target) = rig.connect(wire);
    target.write_all(&down[..10]).unwrap();
    assert_eq!(client.read_exact(10), &down[..10]);
    client.send(up);
    let mut got = vec![0; up.len()];
    target.read_exact(&mut got).unwrap();
    assert!(got == up, "{wire:?}");
    target.write_all(&down[10..]).unwrap();
    target.shutdown(Shutdown::Write).unwrap();
    assert!(client.read_to_end() == down[10..], "{wire:?}");
}

#[track_caller]
fn complete(path: &Path) {
    wait::until("the end of the recording", || {
        fs::read(path)
            .is_ok_and(|text| text.ends_with(b"'EOF'];\n") || text.windows(10).any(|part| part == b"\"end\":true"))
            .then_some(())
    });
}

#[test]
fn a_recording_plays_again() {
    let scratch = Scratch::new();
    let base = scratch.join("session");
    let rig = Rig::new(&["--record", base.to_str().unwrap()]);
    // What stands there already is replaced, whoever could read it.
    let old = scratch.join("session.1");
    fs::write(&old, vec![b'x'; 1 << 20]).unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o666)).unwrap();
    let mut rng = Rng::new(1);
    let bytes: Vec<u8> = (0..=255).chain(b"</script>'\\\n".iter().copied()).chain(rng.bytes(70_000)).collect();
    let (up, down) = (bytes.clone(), bytes.iter().rev().copied().collect::<Vec<u8>>());
    for (at, wire) in Wire::WEBSOCKET.into_iter().enumerate() {
        session(&rig, wire, &up, &down);
        let path = scratch.join(&format!("session.{}", at + 1));
        complete(&path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let recorded = pieces(&path, wire != Wire::Rfc6455);
        assert!(recorded.is_sorted_by_key(|piece| piece.0));
        assert_eq!(recorded[0].2, down[..10], "the order of things");
        assert!(side(&recorded, true) == up && side(&recorded, false) == down, "{wire:?}");

        // The recording takes the target's part, and the client's, of a session that is the same.
        let again = Rig::new(&[]);
        let (mut client, mut target) = again.connect(wire);
        for (_, is_clients, bytes) in &recorded {
            if *is_clients {
                client.send(bytes);
                let mut got = vec![0; bytes.len()];
                target.read_exact(&mut got).unwrap();
                assert!(got == *bytes);
            } else {
                target.write_all(bytes).unwrap();
                assert!(client.read_exact(bytes.len()) == *bytes);
            }
        }
    }
}

/// An engine of JavaScript reads the same as this test.
#[test]
fn a_recording_is_javascript() {
    let scratch = Scratch::new();
    let base = scratch.join("session");
    let rig = Rig::new(&["--record", base.to_str().unwrap()]);
    let bytes: Vec<u8> = (0..=255).collect();
    session(&rig, Wire::Rfc6455, &bytes, &bytes);
    let path = scratch.join("session.1");
    complete(&path);
    let script = scratch.join("check.js");
    let check = "
        const up = VNC_frame_data.filter(frame => frame[0] === '}');
        const bytes = up.map(frame => frame.slice(frame.indexOf('}', 1) + 1)).join('');
        console.log([...bytes].map(char => char.charCodeAt(0)).join(' ') + ' ' + VNC_frame_data.at(-1));";
    fs::write(&script, [fs::read(&path).unwrap(), check.into()].concat()).unwrap();
    let output = Command::new("node").arg(&script).output().expect("node runs");
    let expected: Vec<String> = bytes.iter().map(u8::to_string).collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{} EOF\n", expected.join(" ")));
}

#[test]
fn lines_of_json_tell_time_direction_and_bytes() {
    let scratch = Scratch::new();
    let base = scratch.join("session");
    let rig = Rig::new(&["--record", base.to_str().unwrap(), "--record-format", "jsonl"]);
    session(&rig, Wire::Hixie76, b"from the client", b"from the target");
    let path = scratch.join("session.1");
    complete(&path);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["id"], &lines[0]["dialect"]), (&1.into(), &"hixie-76".into()), "{text}");
    assert!(lines[0]["start"].as_f64().unwrap() > 1.7e9 && lines[0]["peer"].is_string() && lines[0]["path"] == "/");
    let of = |from: &str| -> Vec<u8> {
        let those = lines.iter().filter(|line| line["from"] == from);
        those.flat_map(|line| STANDARD.decode(line["data"].as_str().unwrap()).unwrap()).collect()
    };
    assert_eq!((of("client"), of("target")), (b"from the client".to_vec(), b"from the target".to_vec()));
    let times: Vec<f64> = lines[1..].iter().map(|line| line["ms"].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "{text}");
    assert_eq!(lines.last().unwrap()["end"], true);
}

#[test]
fn a_disk_that_is_full_ends_the_recording_alone() {
    let scratch = Scratch::new();
    let base = scratch.join("session");
    fs::create_dir(scratch.join("session.2")).unwrap();
    let record = ["--record", base.to_str().unwrap()];
    let rig = Rig::started(Command::new(proxy()).args(record).env("LD_PRELOAD", preload("strange_disk")));
    for why in ["No space left", "no regular file"] {
        let (mut client, target) = rig.connect(Wire::Rfc6455);
        talk(&mut client, &target);
        let log = rig.proxy.stderr_until("--record");
        assert!(log.contains(why), "{log}");
        for _ in 0..100 {
            talk(&mut client, &target);
        }
        drop((client, target));
        let rest = rig.proxy.stderr_until(" end ");
        assert!(!rest.contains("--record"), "{rest}");
    }
    session(&rig, Wire::Rfc6455, b"up", b"down, which is longer");
    complete(&scratch.join("session.3"));
}

#[test]
fn a_disk_that_takes_nothing_slows_no_session() {
    let scratch = Scratch::new();
    let base = scratch.join("session");
    let mut command = Command::new(proxy());
    command.args(["--record", base.to_str().unwrap()]).env("LD_PRELOAD", preload("strange_disk")).env("DISK", "hangs");
    let mut rig = Rig::started(&mut command);
    let (client, mut target) = rig.connect(Wire::Rfc6455);
    let (mut reader, _writer) = client.split();
    let piece = vec![7; 1 << 20];
    for _ in 0..48 {
        std::thread::scope(|scope| {
            scope.spawn(|| target.write_all(&piece).unwrap());
            assert!(reader.read_exact(piece.len()) == piece);
        });
    }
    let log = rig.proxy.stderr_until("--record");
    assert!(log.contains("too slow"), "{log}");
    // Nor does it keep the proxy from ending.
    rig.proxy.signal(libc::SIGTERM);
    assert!(rig.proxy.wait().success());
}

#[test]
fn bad_values_are_named() {
    let on = |words: &[&'static str]| [words, &["127.0.0.1:0", "127.0.0.1:9"]].concat();
    refuses(&on(&["--record", "/no/such/dir/file"]), 1, &["--record", "/no/such/dir/file"]);
    refuses(&on(&["--record", "/tmp/"]), 1, &["--record", "/tmp/"]);
    refuses(&on(&["--record", "/dev/null/file"]), 1, &["--record", "/dev/null/file"]);
    refuses(&on(&["--record", "/tmp/file", "--record-format", "xml"]), 2, &["--record-format", "xml"]);
    refuses(&on(&["--record-format", "jsonl"]), 2, &["--record-format", "--record FILE"]);
    refuses(&on(&["--traffic", "-D"]), 2, &["--traffic"]);
    refuses(&["--traffic", "--inetd", "127.0.0.1:9"], 2, &["--traffic", "--inetd"]);
    refuses(&on(&["--traffic=x"]), 2, &["--traffic", "x"]);
}

/// One thread writes them all: it must not wait for a reader that never comes, nor write to what may be anything.
#[test]
fn what_is_no_regular_file_is_not_recorded_to() {
    let scratch = Scratch::new();
    let base = scratch.join("session");
    let name = |number: u32| scratch.join(&format!("session.{number}"));
    for number in [1, 2] {
        assert!(Command::new("mkfifo").arg(name(number)).status().unwrap().success());
    }
    let _reader = fs::OpenOptions::new().read(true).write(true).open(name(2)).unwrap();
    symlink("/dev/null", name(3)).unwrap();
    fs::write(scratch.join("precious"), "x").unwrap();
    symlink("precious", name(5)).unwrap();
    symlink("nowhere", name(6)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(name(4)).unwrap();
    let rig = Rig::new(&["--record", base.to_str().unwrap()]);
    for number in 1..7 {
        let (mut client, target) = rig.connect(Wire::Rfc6455);
        talk(&mut client, &target);
        let log = rig.proxy.stderr_until("--record: this connection is not recorded");
        assert!(log.contains(&format!("session.{number} ")) && log.contains("no regular file"), "{log}");
    }
    // Another name of the file that is replaced keeps what it had.
    fs::hard_link(scratch.join("precious"), name(7)).unwrap();
    session(&rig, Wire::Rfc6455, b"from the client", b"from the target");
    complete(&name(7));
    assert_eq!(side(&pieces(&name(7), false), true), b"from the client");
    assert_eq!(fs::read(scratch.join("precious")).unwrap(), b"x");
    assert!(!scratch.join("nowhere").exists());
}
