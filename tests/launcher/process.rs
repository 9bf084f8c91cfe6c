//! The program takes the place of the launcher: what it inherits and what is seen of it from outside.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use super::common::{Scratch, clean, output, refusal, told, wswrap};
use wstests::launcher;

/// The variables of the library in the output of env(1).
fn variables(text: &str) -> Vec<&str> {
    let mut found: Vec<_> = text.lines().filter(|line| line.starts_with("WSWRAP_")).collect();
    found.sort_unstable();
    found
}

#[test]
fn the_program_is_the_process_that_was_started() {
    let child = wswrap(["sh", "-c", "echo $$"]).stdout(Stdio::piped()).spawn().expect("started");
    let pid = child.id();
    let output = child.wait_with_output().expect("ended");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), pid.to_string());
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn exit_status_and_signals_are_the_program_s() {
    assert_eq!(output(&mut wswrap(["sh", "-c", "exit 7"])).status.code(), Some(7));
    let killed = output(&mut wswrap(["sh", "-c", "kill -s USR1 $$"]));
    assert_eq!(killed.status.signal(), Some(libc::SIGUSR1));
}

#[test]
fn arguments_arrive_untouched() {
    let args = ["-v", "--help", "--", "--log", "a b", "", "-geometry"].map(OsString::from);
    let strange = [OsStr::from_bytes(b"\xff\n").to_owned()];
    let print = ["sh", "-c", "printf '<%s>' \"$0\" \"$@\""].map(OsString::from);
    let words: Vec<_> = print.iter().chain(&args).chain(&strange).collect();
    let bare = output(clean(words[0]).args(&words[1..])).stdout;
    assert_eq!(output(&mut wswrap(&words)).stdout, bare);
    assert!(bare.starts_with(b"<-v><--help><--><--log><a b><><-geometry>"));
}

/// Runs `script` bare and wrapped; both must print the same. `before` is done by the shell that starts them.
#[track_caller]
fn same_as_bare(before: &str, script: &[&str]) -> String {
    let run = format!("{before}; exec \"$@\"");
    let bare = told(clean("sh").args(["-c", &run, "sh"]).args(script));
    let wrapped = told(clean("sh").args(["-c", &run, "sh"]).arg(launcher()).arg("none").args(script));
    assert_eq!(wrapped, bare);
    bare
}

#[test]
fn signal_dispositions_are_handed_on() {
    let look = ["grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status"];
    let plain = same_as_bare(":", &look);
    let ignoring = same_as_bare("trap '' PIPE HUP", &look);
    assert_ne!(plain, ignoring);
    // Bit 12 is SIGPIPE, which Rust programs ignore unless they take care.
    let ignored = plain.lines().last().and_then(|line| line.split('\t').nth(1)).expect("SigIgn");
    assert_eq!(u64::from_str_radix(ignored, 16).expect("hex") & (1 << (libc::SIGPIPE - 1)), 0);
}

#[test]
fn descriptors_are_handed_on_and_no_other_is_added() {
    let look = ["sh", "-c", "for n in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$n ] && echo $n; done; true"];
    assert_eq!(same_as_bare("exec 7</dev/null", &look), "0\n1\n2\n7\n");
    // Rust's own start would open /dev/null in place of a closed one.
    assert_eq!(same_as_bare("exec 0<&- 2>&-", &look), "1\n");
}

#[test]
fn options_become_variables() {
    let log = Scratch::new();
    let file = log.path("log");
    let mut command = clean(launcher());
    command.current_dir(&log.0).args(["-v", "--log", "log", "--dialect", "rfc6455"]);
    command.args(["--origin", "http://a", "--origin", "null", "--handshake-timeout", "3", "--no-inherit"]);
    let all = told(command.args(["5901,7000-7010", "env"]));
    let expected = [
        "WSWRAP_DIALECTS=rfc6455".to_string(),
        "WSWRAP_HANDSHAKE_TIMEOUT=3".into(),
        format!("WSWRAP_LOG={}", file.display()),
        "WSWRAP_NO_INHERIT=1".into(),
        "WSWRAP_ORIGINS=http://a null".into(),
        "WSWRAP_PORT=5901,7000-7010".into(),
        "WSWRAP_VERBOSE=1".into(),
    ];
    assert_eq!(variables(&all), expected);
}

#[test]
fn without_options_the_environment_decides() {
    let plain = told(&mut wswrap(["env"]));
    assert_eq!(variables(&plain), ["WSWRAP_LOG=stderr", "WSWRAP_PORT=none"]);
    let mut command = wswrap(["env"]);
    command.envs([("WSWRAP_LOG", "/dev/null"), ("WSWRAP_DIALECTS", "hixie-75"), ("WSWRAP_PORT", "80")]);
    let given = told(&mut command);
    assert_eq!(variables(&given), ["WSWRAP_DIALECTS=hixie-75", "WSWRAP_LOG=/dev/null", "WSWRAP_PORT=none"]);
}

#[test]
fn version_goes_to_standard_output() {
    let version = told(clean(launcher()).arg("--version"));
    assert_eq!(version, concat!("wswrap ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn bad_usage_is_one_line_and_status_2() {
    let cases: [&[&str]; 7] = [
        &[],
        &["5901"],
        &["http", "true"],
        &["65536", "true"],
        &["--frob", "1", "true"],
        &["--dialect", "x", "1", "true"],
        &["--handshake-timeout", "0", "1", "true"],
    ];
    for words in cases {
        let line = refusal(clean(launcher()).args(words), 2);
        assert!(line.contains("wswrap --help"), "{line}");
    }
}
