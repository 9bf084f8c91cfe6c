//! With `-v` the launcher leaves somebody behind who looks, after a few seconds, at whether the ports are open and
//! wrapped. The program does not notice.

use std::process::Command;
use std::time::{Duration, Instant};

use super::common::{Scratch, clean, output, told};
use wstests::{Mode, Server, launcher, script};

/// When it looks.
const DELAY: Duration = Duration::from_secs(5);

fn verbose(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Server {
    Server::spawn(Mode::Launched, Command::new(program).args(args).env("WSWRAP_VERBOSE", "1"))
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
    let errors = good.kill_for_stderr();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("speaks WebSocket"), "{errors}");
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
