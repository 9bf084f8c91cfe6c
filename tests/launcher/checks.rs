//! What cannot be run or wrapped is told in one line and not started.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::common::{Scratch, clean, mode, refusal, told, wswrap};

#[test]
fn a_program_is_found_as_execvp_finds_it() {
    let scratch = Scratch::new();
    for dir in ["first", "second"] {
        fs::create_dir(scratch.path(dir)).expect("made");
        scratch.program(&format!("{dir}/hello"), format!("#!/bin/sh\necho {dir} $0\n"));
    }
    let path = format!("/nonexistent:{0}/first:{0}/second:/usr/bin:/bin", scratch.0.display());
    let said = |path: &str| told(wswrap(["hello"]).current_dir(scratch.path("first")).env("PATH", path));
    assert!(said(&path).starts_with("first "));
    assert!(said(":/usr/bin:/bin").starts_with("first "), "an empty entry is the current directory");
    mode(&scratch.path("first/hello"), 0o644);
    assert!(said(&path).starts_with("second "), "what cannot be executed is passed over");
    mode(&scratch.path("second/hello"), 0o644);
    let line = refusal(wswrap(["hello"]).env("PATH", &path), 126);
    assert!(line.contains("first/hello: not executable"), "{line}");
    refusal(wswrap(["hello"]).env("PATH", "/nonexistent"), 127);
}

#[test]
fn what_cannot_be_run_or_wrapped_is_told_and_not_started() {
    let scratch = Scratch::new();
    let dynamic = fs::read(scratch.compiled("dynamic", &[])).expect("read");
    told(&mut wswrap([scratch.path("dynamic")]));
    let mut foreign = dynamic.clone();
    // e_machine (elf(5)): 0xfeed is no machine.
    foreign[18..20].copy_from_slice(&[0xed, 0xfe]);
    let cases: [(PathBuf, i32, &str); 11] = [
        (scratch.path("nothing"), 127, "no such file"),
        (scratch.0.clone(), 126, "a directory"),
        ("/dev/null".into(), 126, "not a regular file"),
        (scratch.path("main.c"), 126, "not executable"),
        (scratch.program("text", "echo hello\n"), 126, "neither an ELF program nor a script"),
        (scratch.program("empty", ""), 126, "neither an ELF program nor a script"),
        (scratch.program("short", &dynamic[..80]), 126, "damaged ELF file"),
        (scratch.program("foreign", foreign), 1, "built for ELF machine 65261"),
        (scratch.compiled("static", &["-static"]), 1, "statically linked"),
        (scratch.compiled("static-pie", &["-static-pie"]), 1, "statically linked"),
        (scratch.program("object", fs::read(scratch.compiled("main.o", &["-c"])).expect("read")), 126, "no program"),
    ];
    for (path, status, why) in cases {
        let line = refusal(&mut wswrap([&path]), status);
        assert!(line.contains(&*path.to_string_lossy()) && line.contains(why), "{line}");
    }
    assert!(refusal(&mut wswrap([scratch.path("static/x")]), 126).contains("Not a directory"));
    assert!(refusal(&mut wswrap(["a\nb"]), 127).contains("a\\nb"));
    assert!(refusal(&mut wswrap([""]), 127).contains("empty"));
}

#[test]
fn a_set_uid_program_of_another_user_is_told() {
    let scratch = Scratch::new();
    // SAFETY: geteuid(2) has no arguments and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let other = if root {
        let path = scratch.compiled("other", &[]);
        std::os::unix::fs::chown(&path, Some(65534), None).expect("root may");
        mode(&path, 0o4755);
        path
    } else {
        PathBuf::from("/usr/bin/passwd")
    };
    assert_ne!(fs::metadata(&other).expect("there").mode() & libc::S_ISUID, 0);
    let line = refusal(&mut wswrap([other]), 1);
    assert!(line.contains("set-uid to another user"), "{line}");
    let own = scratch.compiled("own", &[]);
    mode(&own, 0o4755);
    told(&mut wswrap([own]));
}

#[test]
fn scripts_are_followed_to_the_program_that_runs_them() {
    let scratch = Scratch::new();
    let path = |name: &str| scratch.path(name).display().to_string();
    let script = |name: &str, first: &str| scratch.program(name, format!("{first}\n"));
    scratch.compiled("static", &["-static"]);
    for (name, first) in
        [("sh", "#! /bin/sh -e"), ("env", "#!/usr/bin/env sh"), ("split", "#!/usr/bin/env -S A=b sh -e")]
    {
        told(&mut wswrap([script(name, first)]));
    }
    let cases = [
        ("interpreter", format!("#!{} -x", path("static")), 1, "statically linked"),
        ("nested", format!("#!{}", path("interpreter")), 1, "statically linked"),
        ("gone", "#!/no/such/interpreter".to_string(), 127, "`/no/such/interpreter` does not exist"),
        ("dos", "#!/bin/sh\r".to_string(), 127, "`/bin/sh\\r` does not exist"),
        ("unknown", "#!/usr/bin/env no-such-program-anywhere".to_string(), 127, "is not in PATH"),
        ("folder", format!("#!{}", scratch.0.display()), 126, "a directory"),
    ];
    for (name, first, status, why) in cases {
        let line = refusal(&mut wswrap([script(name, &first)]), status);
        assert!(line.contains(why), "{name}: {line}");
    }
}

#[test]
fn scripts_nest_as_deep_as_the_kernel_lets_them() {
    let scratch = Scratch::new();
    let mut interpreter = PathBuf::from("/bin/true");
    for depth in 1..=7 {
        interpreter = scratch.program(&depth.to_string(), format!("#!{}\n", interpreter.display()));
        match clean(&interpreter).status() {
            Ok(status) => {
                assert!(status.success());
                told(&mut wswrap([&interpreter]));
            }
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
                let line = refusal(&mut wswrap([&interpreter]), 126);
                assert!(line.contains("more than 5 scripts"), "{line}");
            }
        }
    }
}
