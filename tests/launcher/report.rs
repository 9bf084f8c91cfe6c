//! `wswrap --check`: what is told, and that nothing is started.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::common::{LIBRARY, Scratch, clean, output, refusal, told};
use wstests::{launcher, library, script};

/// What `--check` says, and its status.
fn check<S: AsRef<std::ffi::OsStr>>(words: impl IntoIterator<Item = S>) -> (Option<i32>, String) {
    let output = output(clean(launcher()).arg("--check").args(words));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

/// The rest of the lines that begin with `key`.
fn lines<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).collect()
}

#[test]
fn the_way_from_a_script_to_the_calls_is_told() {
    let scratch = Scratch::new();
    let program = scratch.built("cc", "server", &script("accepts.c"), &[]);
    let name = scratch.program("start", format!("#!/usr/bin/env -S A=b {} poll\n", program.display()));
    let (status, text) = check(["5901".as_ref(), name.as_os_str(), "4".as_ref()]);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(lines(&text, "script"), [name.to_string_lossy()]);
    let [line] = lines(&text, "program")[..] else { panic!("{text}") };
    assert_eq!(line, format!("{}, x86-64 64-bit, glibc, loaded by /lib64/ld-linux-x86-64.so.2", program.display()));
    assert_eq!(lines(&text, "verdict"), ["can be wrapped"]);

    // The calls of the program that have a hook, found in another way.
    let symbols = |args: &[&str], file: &Path| {
        let text = told(Command::new("nm").args(["-D", "--format=just-symbols"]).args(args).arg(file));
        text.lines().map(|name| name.split('@').next().unwrap_or(name).to_owned()).collect::<Vec<_>>()
    };
    let hooks = symbols(&["--defined-only"], &library());
    let mut calls = symbols(&["--undefined-only"], &program);
    calls.retain(|call| hooks.contains(call));
    calls.sort_unstable();
    assert!(calls.len() > 5, "{calls:?}");
    assert_eq!(lines(&text, "hooked"), [format!("{}: {}", program.display(), calls.join(" "))]);
}

/// A library that is found by `$ORIGIN` alone, and does what passes hooks by.
#[test]
fn libraries_are_found_as_the_loader_finds_them_and_looked_into() {
    let scratch = Scratch::new();
    let source = |name: &str, text: &str| {
        let path = scratch.path(name);
        fs::write(&path, text).expect("written");
        path
    };
    fs::create_dir(scratch.path("deep")).expect("made");
    let ring = source("ring.c", "long syscall(long, ...); void io_uring_submit(void) { syscall(0); }\n");
    scratch.built("cc", "deep/libring.so", &ring, &["-shared", "-fPIC", "-Wl,-z,nodlopen"]);
    let main = source("user.c", "void io_uring_submit(void); int main(void) { io_uring_submit(); return 0; }\n");
    let flags = ["-Ldeep", "-lring", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/deep"];
    let program = scratch.built("cc", "user", &main, &flags);
    let (status, text) = check(["5901".as_ref(), program.as_os_str()]);
    assert_eq!(status, Some(0), "{text}");
    let passing = lines(&text, "not hooked");
    let ring = scratch.path("deep/libring.so").display().to_string();
    assert!(passing.iter().any(|line| line.starts_with(&format!("{}: io_uring_submit (io_uring)", program.display()))));
    assert!(text.contains("DF_1_NOOPEN") && text.contains(&ring), "{text}");
    assert!(lines(&text, "note").iter().any(|line| line.contains("opens no port by itself")), "{text}");

    fs::remove_file(scratch.path("deep/libring.so")).expect("removed");
    let (status, text) = check(["5901".as_ref(), program.as_os_str()]);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        lines(&text, "verdict")[0].contains("its dynamic loader fails: ") && text.contains("libring.so: cannot open")
    );
}

#[test]
fn a_refusal_is_the_verdict() {
    let scratch = Scratch::new();
    let program = scratch.compiled("static", &["-static"]);
    let (status, text) = check(["5901".as_ref(), program.as_os_str()]);
    assert_eq!(status, Some(1));
    let line = refusal(clean(launcher()).arg("5901").arg(&program), 1);
    assert_eq!(text, line.replacen("wswrap: ", "verdict: cannot be wrapped: ", 1));
    assert_eq!(check(["5901", "no-such-program"]).0, Some(1));
    refusal(clean(launcher()).args(["--check", "5901"]), 2);
    refusal(clean(launcher()).args(["--check", "http", "true"]), 2);
}

#[test]
fn nothing_is_started() {
    let scratch = Scratch::new();
    let mark = scratch.path("mark");
    let start = ["5901".as_ref(), "touch".as_ref(), mark.as_os_str()];
    assert_eq!(check(start).0, Some(0));
    assert!(!mark.exists());
    told(clean(launcher()).args(start));
    assert!(mark.exists());
}

/// The loader itself is asked: what it does not take is told in its own words.
#[test]
fn a_library_that_the_loader_does_not_take_is_told() {
    let scratch = Scratch::new();
    let wswrap = scratch.installed("bin");
    // Needs a library that does not exist: sound, and of no use.
    let source = scratch.path("empty.c");
    fs::write(&source, "void gone(void);\nvoid start(void) { gone(); }\n").expect("written");
    fs::write(scratch.path("gone.c"), "void gone(void) {}\n").expect("written");
    scratch.built("cc", "libgone.so", &scratch.path("gone.c"), &["-shared", "-fPIC"]);
    scratch.built("cc", &format!("bin/{LIBRARY}"), &source, &["-shared", "-fPIC", "-L.", "-lgone"]);
    let checked = output(clean(wswrap).args(["--check", "5901", "cat"]));
    assert_eq!(checked.status.code(), Some(1));
    let text = String::from_utf8_lossy(&checked.stdout);
    let verdict = lines(&text, "verdict");
    assert!(matches!(verdict[..], [line] if line.contains("libgone.so")), "{text}");
}
