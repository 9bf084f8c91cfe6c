//! Programs that the library cannot get into: each is told for what it is, with the proxy that serves it instead.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::common::{Scratch, clean, mode, output, refusal, told, wswrap};
use wstests::launcher;

/// nobody and nogroup, in every Debian.
const NOBODY: u32 = 65534;

/// A group that neither root nor nobody is in.
const DAEMON: u32 = 1;

fn is_root() -> bool {
    // SAFETY: geteuid(2) has no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// `wswrap 5901 PROGRAM` is refused, and the line says why and what to do instead.
#[track_caller]
fn refused(program: &Path, why: &str) {
    let line = refusal(clean(launcher()).arg("5901").arg(program), 1);
    assert!(line.contains(&*program.to_string_lossy()) && line.contains(why), "{line}");
    assert!(line.contains("run `wsproxy 5901 localhost:15901`"), "{line}");
}

fn go(scratch: &Scratch, name: &str, import: &str) -> PathBuf {
    let (source, path) = (scratch.path(&format!("{name}.go")), scratch.path(name));
    fs::write(&source, format!("package main\nimport _ \"{import}\"\nfunc main() {{}}\n")).expect("written");
    let mut command = Command::new("go");
    command.args(["build", "-o"]).arg(&path).arg(&source).env("HOME", &scratch.0);
    command.envs([("GOPROXY", "off"), ("CGO_ENABLED", "1")]).env("GOCACHE", scratch.path("cache"));
    assert!(command.status().expect("go runs (Debian: golang-go)").success());
    path
}

#[test]
fn static_programs_are_told_apart() {
    let scratch = Scratch::new();
    let source = scratch.path("main.c");
    refused(&scratch.compiled("glibc", &["-static"]), "statically linked with glibc");
    refused(&scratch.compiled("pie", &["-static-pie"]), "statically linked with glibc");
    refused(&scratch.built("musl-gcc", "musl", &source, &["-static"]), "statically linked with musl");
    refused(&scratch.built("musl-gcc", "bare", &source, &["-static", "-s"]), "statically linked, so");
}

#[test]
fn go_programs_are_refused_whether_static_or_not() {
    let scratch = Scratch::new();
    refused(&go(&scratch, "static", "fmt"), "a Go program, statically linked");
    let dynamic = go(&scratch, "dynamic", "net");
    let interpreter = told(Command::new("readelf").arg("-lW").arg(&dynamic)).contains("Requesting program interpreter");
    assert!(interpreter, "package net brings in the C library");
    refused(&dynamic, "a Go program, which makes its system calls itself");
}

#[test]
fn programs_of_another_libc_or_machine_are_refused() {
    let scratch = Scratch::new();
    let dynamic = fs::read(scratch.compiled("dynamic", &[])).expect("read");
    let source = scratch.path("main.c");
    refused(
        &scratch.built("musl-gcc", "musl", &source, &[]),
        "linked with musl, while libwswrapper.so is built for glibc",
    );
    let i386 = scratch.built("cc", "i386", &source, &["-m32", "-nostdlib", "-Wl,-e,main"]);
    refused(&i386, "built for i386 32-bit, while libwswrapper.so is built for x86-64 64-bit");
    let mut foreign = dynamic;
    // e_machine (elf(5)): EM_AARCH64.
    foreign[18..20].copy_from_slice(&[183, 0]);
    refused(&scratch.program("foreign", foreign), "built for AArch64 64-bit");
}

#[test]
fn a_missing_dynamic_loader_is_named() {
    let scratch = Scratch::new();
    let program = scratch.compiled("program", &["-Wl,--dynamic-linker=/no/such/ld-linux.so"]);
    let line = refusal(&mut wswrap([program]), 127);
    assert!(line.contains("its dynamic loader `/no/such/ld-linux.so` does not exist"), "{line}");
}

/// What the kernel makes of a program, asked of the program itself: the oracle of this test.
const SECURE: &str = r#"
#include <stdio.h>
#include <sys/auxv.h>
int main(void) { printf("%lu\n", getauxval(AT_SECURE)); return 0; }
"#;

/// Every combination of file, user and `no_new_privs` is refused exactly where the kernel sets `AT_SECURE`.
#[test]
fn what_the_kernel_makes_secure_is_refused_and_nothing_else() {
    if !is_root() {
        eprintln!("only root can give files away: not tested");
        return;
    }
    let scratch = Scratch::new();
    mode(&scratch.0, 0o755);
    let wswrap = scratch.installed("bin");
    let source = scratch.path("secure.c");
    fs::write(&source, SECURE).expect("written");
    let file = |name: &str, owner: u32, group: u32, bits: u32, capabilities: Option<&str>| {
        let path = scratch.built("cc", name, &source, &[]);
        chown(&path, Some(owner), Some(group)).expect("root may");
        mode(&path, bits);
        if let Some(capabilities) = capabilities {
            let status = Command::new("setcap").arg(capabilities).arg(&path).status();
            assert!(status.expect("setcap runs (Debian: libcap2-bin)").success());
        }
        path
    };
    let files = [
        (file("plain", 0, 0, 0o755, None), ""),
        (file("root's", 0, 0, 0o4755, None), "set-uid to another user"),
        (file("nobody's", NOBODY, 0, 0o4755, None), "set-uid to another user"),
        (file("unreadable", NOBODY, 0, 0o4711, None), "set-uid to another user"),
        (file("group", 0, NOBODY, 0o2755, None), "set-gid to another group"),
        (file("root group", 0, 0, 0o2755, None), "set-gid to another group"),
        (file("no group", 0, DAEMON, 0o2745, None), ""),
        (file("effective", 0, 0, 0o755, Some("cap_net_raw+ep")), "file capabilities"),
        (file("permitted", 0, 0, 0o755, Some("cap_net_raw+p")), "file capabilities"),
        (file("inheritable", 0, 0, 0o755, Some("cap_net_raw+i")), ""),
    ];
    let mut seen = [0, 0];
    for (user, privileges) in [(0, true), (0, false), (NOBODY, true), (NOBODY, false)] {
        let as_user = |command: &mut Command| {
            command.uid(user).gid(user);
            if !privileges {
                // SAFETY: prctl(2) is safe between fork and exec.
                unsafe {
                    command.pre_exec(|| {
                        let result = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
                    });
                }
            }
        };
        for (path, why) in &files {
            let case = format!("{} by {user}, new privileges: {privileges}", path.display());
            let (mut bare, mut wrapped) = (clean(path), clean(&wswrap));
            as_user(&mut bare);
            as_user(&mut wrapped);
            wrapped.arg("5901").arg(path);
            let secure = told(&mut bare).trim() == "1";
            seen[usize::from(secure)] += 1;
            if secure {
                let line = refusal(&mut wrapped, 1);
                assert!(!why.is_empty() && line.contains(why) && line.contains("wsproxy"), "{case}: {line}");
            } else {
                assert!(output(&mut wrapped).status.success(), "{case}");
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}
