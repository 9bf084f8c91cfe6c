//! Clients whose targets take their time.

use std::fs;
use std::io::Read as _;
use std::process::Command;
use std::time::Duration;

use wstests::{Client, End, Rng, Scratch, Server, TIMEOUT, Wire, net, preload, proxy, wait};

use crate::common::{Target, start};
use crate::target::full;
use crate::tokens::reaches;

/// A proxy in front of a target that does not answer, for one client at a time.
fn patient(target: &str) -> Server {
    start(&["--connect-timeout", "600", "--max-connections", "1", "127.0.0.1:{port}", target])
}

#[test]
fn a_client_that_leaves_before_its_target_answers_leaves_its_place() {
    let (door, _waiting) = full();
    let proxy = patient(&door.local_addr().unwrap().to_string());
    let next = |wire| wait::until("a place", || Client::connect(proxy.addr(), wire).ok());
    for wire in Wire::WEBSOCKET {
        drop(next(wire));
        next(wire).abort();
        if matches!(wire, Wire::Rfc6455 | Wire::Rfc6455Base64) {
            let mut client = next(wire);
            client.close(1000);
            assert_eq!(client.read_to_end(), b"");
            assert_eq!(client.end(), Some(&End::Close(Some(1000), String::new())));
        }
    }
    drop(next(Wire::Rfc6455));
    let log = proxy.stderr_until("left before the target answered");
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn what_a_client_says_before_its_target_answers_is_for_the_target_all_the_same() {
    // What is all read by then, and what is more than is kept.
    let (few, many) = (Rng::new(5).bytes(100), Rng::new(6).bytes(300_000));
    for (wire, words) in Wire::WEBSOCKET.into_iter().flat_map(|wire| [(wire, &few), (wire, &many)]) {
        let (door, waiting) = full();
        let proxy = patient(&door.local_addr().unwrap().to_string());
        let mut client = Client::connect(proxy.addr(), wire).unwrap();
        client.send(&words[..3]);
        client.send(&words[3..]);
        drop(client);
        // The proxy has seen all of that by then, and does nothing.
        assert_eq!(wait::within(Duration::from_millis(500), || None::<()>), None);
        for _ in &waiting {
            door.accept().unwrap();
        }
        // The kernel tries again by itself.
        door.set_nonblocking(true).unwrap();
        let (mut target, _) = wait::until("the connection to the target", || door.accept().ok());
        target.set_nonblocking(false).unwrap();
        target.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut got = Vec::new();
        target.read_to_end(&mut got).unwrap();
        assert!(got == *words, "{wire:?}: {} of {} bytes", got.len(), words.len());
    }
}

/// More clients than the 512 threads that a runtime lends, of which there is one for each processor.
#[test]
fn names_that_nobody_answers_for_do_not_hold_up_files() {
    net::raise_descriptor_limit();
    let (scratch, target) = (Scratch::new(), Target::new());
    let tokens = scratch.join("tokens").to_str().unwrap().to_owned();
    fs::write(&tokens, format!("hangs: hangs.test:1\nanswers: {}\n", target.addr())).unwrap();
    let processor: String = fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap()
        .trim()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let options = ["--connect-timeout", "600", "--target-config", &tokens, "127.0.0.1:{port}"];
    let proxy = Server::bare(
        Command::new("taskset")
            .args(["-c", &processor])
            .arg(proxy())
            .args(options)
            .env("LD_PRELOAD", preload("hanging_resolver")),
    );
    let held: Vec<Client> =
        (0..540).map(|_| Client::builder(Wire::Rfc6455).path("/?token=hangs").connect(proxy.addr()).unwrap()).collect();
    reaches(&proxy, "/?token=answers", &target);
    drop(held);
}
