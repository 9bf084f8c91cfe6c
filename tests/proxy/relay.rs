//! Bytes and ends, both ways.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

use wstests::net::uninterrupted;
use wstests::{Client, Ports, Process, Rng, Wire};

use crate::common::{Rig, closed, start};

const MIB: usize = 1 << 20;

#[test]
fn megabytes_go_both_ways_at_once() {
    let rig = Rig::new(&[]);
    for wire in Wire::WEBSOCKET {
        let (mut client, mut target) = rig.connect(wire);
        let (up, down) = (Rng::new(1).bytes(3 * MIB), Rng::new(2).bytes(3 * MIB));
        thread::scope(|scope| {
            let (mut writer, down) = (target.try_clone().unwrap(), &down);
            scope.spawn(move || writer.write_all(down).unwrap());
            let reader = scope.spawn(|| {
                let mut got = vec![0; up.len()];
                target.read_exact(&mut got).unwrap();
                got
            });
            let got = client.exchange(&up, &mut Rng::new(3), down.len());
            assert!(&got == down, "{wire:?}: the client got something else");
            assert!(reader.join().unwrap() == up, "{wire:?}: the target got something else");
        });
        client.assert_pongs();
    }
}

#[test]
fn a_target_that_speaks_first_is_heard() {
    let rig = Rig::new(&[]);
    for wire in Wire::WEBSOCKET {
        let (mut client, mut target) = rig.connect(wire);
        target.write_all(b"RFB 003.008\n").unwrap();
        assert_eq!(client.read_exact(12), b"RFB 003.008\n");
        client.send(b"x");
        let mut byte = [0];
        target.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }
}

#[test]
fn the_last_words_of_a_target_come_before_close_1000() {
    let rig = Rig::new(&[]);
    for wire in Wire::WEBSOCKET {
        let (mut client, mut target) = rig.connect(wire);
        let words = Rng::new(7).bytes(MIB);
        let sent = words.clone();
        let target = thread::spawn(move || {
            target.write_all(&sent).unwrap();
            target.shutdown(Shutdown::Write).unwrap();
            target
        });
        assert!(client.read_to_end() == words, "{wire:?}");
        assert_eq!(client.end(), Some(&closed(wire, 1000)), "{wire:?}");
        // What the client sends before its own Close still arrives.
        client.send(b"last");
        if wire.is_rfc6455() {
            client.close(1000);
        } else {
            client.shutdown_write();
        }
        let mut got = Vec::new();
        target.join().unwrap().read_to_end(&mut got).unwrap();
        assert_eq!(got, b"last", "{wire:?}");
    }
}

#[test]
fn the_clients_close_ends_the_targets_input_and_its_last_words_are_heard() {
    let rig = Rig::new(&[]);
    let (mut client, mut target) = rig.connect(Wire::Rfc6455);
    client.send(b"question");
    client.close(1001);
    let mut got = Vec::new();
    target.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"question");
    target.write_all(b"answer").unwrap();
    drop(target);
    assert_eq!(client.read_to_end(), b"answer");
    assert_eq!(client.end(), Some(&closed(Wire::Rfc6455, 1001)));
}

#[test]
fn a_client_that_leaves_ends_the_targets_input() {
    let rig = Rig::new(&[]);
    for wire in Wire::WEBSOCKET {
        let (mut client, mut target) = rig.connect(wire);
        client.send(b"bye");
        drop(client);
        let mut got = Vec::new();
        target.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"bye", "{wire:?}");
    }
}

#[test]
fn a_target_that_fails_is_a_close_1011() {
    let rig = Rig::new(&[]);
    let (mut client, target) = rig.connect(Wire::Rfc6455);
    client.send(b"unread");
    uninterrupted(|| target.peek(&mut [0])).unwrap();
    // Unread bytes make this a reset.
    drop(target);
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(client.end(), Some(&closed(Wire::Rfc6455, 1011)));
}

#[test]
fn a_target_that_is_not_there_is_a_close_1013() {
    let nobody = Ports::one();
    let proxy = start(&["127.0.0.1:{port}", &nobody.addr().to_string()]);
    let mut client = Client::connect(proxy.addr(), Wire::Rfc6455).unwrap();
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(client.end(), Some(&closed(Wire::Rfc6455, 1013)));
}

#[test]
fn a_broken_rule_ends_both_sides() {
    let rig = Rig::new(&[]);
    let (mut client, mut target) = rig.connect(Wire::Rfc6455);
    client.send(b"good");
    // A reserved bit.
    client.raw(&[0xc2, 0x81, 0, 0, 0, 0, b'x']);
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(client.end(), Some(&closed(Wire::Rfc6455, 1002)));
    let mut got = Vec::new();
    target.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"good");
}

#[test]
fn a_client_that_does_not_read_does_not_grow_the_proxy() {
    let rig = Rig::new(&[]);
    let (client, mut target) = rig.connect(Wire::Rfc6455);
    target.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    // Until every buffer on the way is full and nothing has moved for a while.
    let chunk = vec![0; MIB];
    let mut sent = 0;
    let process = Process::new(rig.proxy.pid());
    while let Ok(count) = target.write(&chunk) {
        sent += count;
        // In the loop: a proxy that grows takes whatever is sent.
        assert!(process.memory() < 16 * MIB, "{} bytes after {sent} that nobody reads", process.memory());
    }
    drop(client);
}

#[test]
fn a_silent_client_is_pinged_and_given_up_only_when_it_does_not_answer() {
    let rig = Rig::new(&["--heartbeat", "1"]);
    let (mut hixie, mut hixie_target) = rig.connect(Wire::Hixie76);
    let (mut lively, mut lively_target) = rig.connect(Wire::Rfc6455);
    let (mut silent, mut silent_target) = rig.connect(Wire::Rfc6455);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let sender = thread::spawn(move || {
        // More often than it would be pinged.
        while stopped.recv_timeout(Duration::from_millis(500)).is_err_and(|error| error == RecvTimeoutError::Timeout) {
            lively.send(b"x");
        }
        lively
    });
    // The harness does not answer pings by itself.
    assert_eq!(silent.read_to_end(), b"");
    assert_eq!(silent.end(), Some(&closed(Wire::Rfc6455, 1011)));
    assert_eq!(silent_target.read_to_end(&mut Vec::new()).unwrap(), 0);
    drop(stop);
    // These two are as old.
    let mut lively = sender.join().unwrap();
    for (client, target) in [(&mut lively, &mut lively_target), (&mut hixie, &mut hixie_target)] {
        target.write_all(b"there?").unwrap();
        assert_eq!(client.read_exact(6), b"there?");
    }
}
