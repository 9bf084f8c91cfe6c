//! With `-v` the launcher leaves somebody behind who looks, after a few seconds, at whether the ports are open and
//! wrapped. The program does not notice.

use std::process::Command;
use std::time::{Duration, Instant};

use super::common::{Scratch, clean, output, told};
use wstests::{Client, Mode, Server, Wire, launcher, net, script};

/// When it looks.
const DELAY: Duration = Duration::from_secs(5);

fn verbose(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Server {
    Server::spawn(Mode::Launched, Command::new(program).args(args).env("WSWRAP_VERBOSE", "1"))
}

/// A server through `wswrap -v PORTS COMMAND`, which has its port open.
fn listed(ports: &str, command: &[&str]) -> Server {
    Server::bare(Command::new(launcher()).args(["-v", ports]).args(command))
}

/// The next line of the look, without its beginning.
fn found(server: &Server) -> String {
    loop {
        let line = server.stderr_line();
        if let Some(at) = line.find("port ").filter(|_| line.contains("is not open") || line.contains("not wrapped")) {
            return line[at..].to_owned();
        }
    }
}

fn not_open(port: u16) -> String {
    format!("port {port} is not open after 5 s: is it the right port?")
}

/// One test, for all of it takes the real time.
#[test]
fn a_port_that_is_not_open_or_not_wrapped_is_told_and_no_other() {
    let scratch = Scratch::new();
    let open = scratch.built("cc", "open", &script("accepts.c"), &["-pthread"]);
    let hidden = scratch.built("cc", "hidden", &script("accepts.c"), &["-pthread", "-static"]);
    let start = format!("{} poll 4 \"$1\"; true", hidden.display());
    let mut good = verbose(&open, &["poll", "4", "{port}"]);
    let none = verbose("sleep", &["60"]);
    let other = verbose(&open, &["poll", "4", "{port2}"]);
    let unwrapped = verbose("sh", &["-c", &start, "sh", "{port}"]);
    // Of a list each port is to be open, and of a range one.
    let first = [&*open.to_string_lossy(), "poll", "4", "{port}"];
    let list = listed("{port},{port2}", &first);
    let range = listed("{port3},{port}-{port2}", &first);

    let said = |server: &Server, what: &str| {
        let line = server.stderr_line();
        assert!(line.starts_with(&format!("wswrap[{}]: ", server.pid())) && line.contains(what), "{line}");
        line
    };
    let line = said(&none, &format!("port {} is not open after 5 s", none.port()));
    assert!(!line.contains("listens on"), "{line}");
    said(&other, &format!("the program listens on {}", other.port() + 1));
    let line = said(&unwrapped, &format!("port {} is open and not wrapped", unwrapped.port()));
    assert!(line.contains("(hidden)"), "{line}");
    assert_eq!(found(&list), not_open(list.port() + 1));
    assert_eq!(found(&range), not_open(range.port() + 2));
    let errors = good.kill_for_stderr();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("speaks WebSocket"), "{errors}");
}

/// A server for one client closes its port when the client has come. A second port, which is never open, shows when the look
/// is over.
#[test]
fn a_port_whose_listener_has_gone_for_a_client_is_open() {
    let serve = |command: &[&str], wire| {
        let server = listed("{port2},{port}", command);
        let client = Client::connect(server.addr(), wire).expect("served");
        (server, client)
    };
    let mut good = [
        serve(&["nc.traditional", "-l", "-p", "{port}"], Wire::Rfc6455),
        serve(&["nc.traditional", "-l", "-p", "{port}", "-e", "/bin/cat"], Wire::Rfc6455),
    ];
    let script = "env -u LD_PRELOAD nc.traditional -l -p $0; true";
    let (bad, _client) = serve(&["sh", "-c", script, "{port}"], Wire::Plain);
    for server in good.iter().map(|(server, _)| server).chain([&bad]) {
        assert_eq!(found(server), not_open(server.port() + 1));
        assert!(!net::is_listening(server.port()), "or this shows nothing");
    }
    let line = found(&bad);
    assert!(line.starts_with(&format!("port {} is open and not wrapped: process ", bad.port())), "{line}");
    for (server, _) in &mut good {
        let errors = server.kill_for_stderr();
        assert!(!errors.contains("not wrapped"), "{errors}");
    }
}

#[test]
fn the_one_who_looks_ends_with_the_program() {
    let start = Instant::now();
    let ended = output(clean(launcher()).args(["-v", "1", "true"]));
    // It has the standard error of the program, whose end was waited for.
    assert!(start.elapsed() < DELAY, "{:?}", start.elapsed());
    assert!(ended.status.success() && ended.stderr.is_empty());
}

#[test]
fn the_program_has_no_child_no_signal_and_no_descriptor_of_it() {
    let look = r#"
        sub lines { open my $file, '<', "/proc/$$/$_[0]" or die; grep { /$_[1]/ } <$file> }
        opendir my $fds, "/proc/$$/fd" or die;
        print lines("task/$$/children", '.'), "|", join(' ', sort readdir $fds), "|", lines('status', '^(Sig[^Q]|Shd)');
    "#;
    // SIGCHLD blocked: whatever ends leaves it pending.
    let run = |words: &[&str]| {
        let block = "use POSIX; sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGCHLD)); exec @ARGV or die";
        told(clean("perl").args(["-e", block]).args(words).args(["perl", "-e", look]))
    };
    let program = launcher();
    let watched = run(&[&program.to_string_lossy(), "-v", "1"]);
    assert!(watched.starts_with('|') && watched.contains("ShdPnd:\t0000000000000000\n"), "{watched}");
    assert_eq!(watched, run(&[&program.to_string_lossy(), "1"]));
    let adopted = told(clean(&program).args(["-v", "1", "perl", "-e", "print wait()"]));
    assert_eq!(adopted, "-1", "no child to wait for");
}
