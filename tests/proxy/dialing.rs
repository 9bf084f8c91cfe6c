//! Clients whose targets take their time.

use std::fs;
use std::process::Command;

use wstests::{Client, Scratch, Server, Wire, net, preload, proxy};

use crate::common::Target;
use crate::tokens::reaches;

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
