//! The file `wswrap` of a checkout: it builds once, stays out of the way, and becomes the launcher.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::common::{LIBRARY, Scratch, clean, install, output, refusal, told};
use wstests::{companion, launcher, library};

/// The file under test.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../wswrap");

/// A directory that has nothing but the file, as a checkout before its first build.
fn checkout(scratch: &Scratch, name: &str) -> PathBuf {
    let dir = scratch.path(name);
    fs::create_dir(&dir).expect("made");
    install(Path::new(FILE), &dir.join("wswrap"));
    dir
}

/// A command that has just these tools in its `PATH`.
fn with_tools(program: &Path, tools: &Path) -> Command {
    if !tools.exists() {
        fs::create_dir(tools).expect("made");
        for tool in ["sh", "readlink", "mkdir", "cp", "cat"] {
            let real = ["/bin", "/usr/bin"].iter().map(|dir| Path::new(dir).join(tool));
            let real = real.into_iter().find(|path| path.exists()).expect("every system has it");
            symlink(real, tools.join(tool)).expect("linked");
        }
    }
    let mut command = clean(program);
    command.env("PATH", tools).env_remove("CARGO_TARGET_DIR");
    command
}

#[test]
fn what_is_built_is_started_from_anywhere() {
    let scratch = Scratch::new();
    let root = checkout(&scratch, "a check out");
    let release = root.join("target/release");
    fs::create_dir_all(&release).expect("made");
    install(&launcher(), &release.join("wswrap"));
    install(&library(), &release.join(LIBRARY));
    install(&companion(), &release.join("wsproxy-bridge"));
    symlink("a check out/wswrap", scratch.path("first")).expect("linked");
    symlink(scratch.path("first"), scratch.path("second link")).expect("linked");
    let tools = scratch.path("tools");
    for (dir, name) in [
        ("/", root.join("wswrap")),
        ("/", scratch.path("second link")),
        (&*root.to_string_lossy(), PathBuf::from("./wswrap")),
        (&*scratch.0.to_string_lossy(), PathBuf::from("./first")),
    ] {
        let mut command = with_tools(&name, &tools);
        // A relative program of `Command` is looked up before the directory is changed: the shell starts it.
        let started = told(
            clean("sh")
                .args(["-c", "cd \"$1\" && shift && exec \"$@\"", "sh", dir])
                .arg(command.get_program())
                .args(["none", "sh", "-c", "echo $$ \"$1\"", "sh", "a  b"])
                .env_remove("CARGO_TARGET_DIR"),
        );
        assert!(started.trim_end().ends_with(" a  b"), "{name:?}: {started}");
        if name.is_absolute() {
            assert_eq!(told(command.arg("--version")).split(' ').next(), Some("wswrap"));
        }
    }
}

#[test]
fn without_cargo_it_says_so() {
    let scratch = Scratch::new();
    let root = checkout(&scratch, "new");
    let mut command = with_tools(&root.join("wswrap"), &scratch.path("tools"));
    let line = refusal(command.args(["5901", "true"]), 1);
    assert!(line.contains("cargo is not in PATH"), "{line}");
}

#[test]
fn the_first_use_builds_and_leaves_the_program_s_input_and_output_alone() {
    let scratch = Scratch::new();
    let root = checkout(&scratch, "new");
    let tools = scratch.path("tools");
    let run = |target: Option<&str>, words: &[&str]| {
        let mut command = with_tools(&root.join("wswrap"), &tools);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(target) = target {
            command.env("CARGO_TARGET_DIR", target);
        }
        let mut child = command.spawn().expect("started");
        let mut input = child.stdin.take().expect("piped");
        std::io::Write::write_all(&mut input, b"for the program").expect("written");
        drop(input);
        let output = child.wait_with_output().expect("ended");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    with_tools(&root, &tools);
    // Stands in for cargo: reads its input and talks, as a careless one would, and "builds" into its target directory.
    let cargo = |build: &str| {
        let script = format!("#!/bin/sh\ncat\necho building \"$@\" in \"$PWD\"\n{build}\n");
        scratch.program("tools/cargo", script);
    };

    cargo("exit 101");
    let (status, printed, errors) = run(None, &["none", "cat"]);
    assert_eq!((status, &*printed), (Some(1), ""), "{errors}");
    assert!(errors.contains("the build in") && errors.contains("failed"), "{errors}");

    cargo("");
    let (status, _, errors) = run(None, &["none", "cat"]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("nothing in"), "{errors}");

    let release = |target: &str| root.join(target).join("release");
    for (variable, target) in [(None, "target"), (Some("else where"), "else where")] {
        cargo(&format!(
            "mkdir -p '{to}' && cp '{}' '{}' '{}' '{to}'",
            launcher().display(),
            library().display(),
            companion().display(),
            to = release(target).display()
        ));
        let (status, printed, errors) = run(variable, &["none", "cat"]);
        assert_eq!((status, &*printed), (Some(0), "for the program"), "{errors}");
        let target = root.join(target);
        for part in ["--locked", "--release", "-p wswrapper -p launcher -p wsbridge", &target.to_string_lossy()] {
            assert!(errors.contains(part), "{part}: {errors}");
        }
        let (status, printed, errors) = run(variable, &["none", "cat"]);
        assert_eq!((status, &*printed), (Some(0), "for the program"));
        assert!(!errors.contains("building"), "{errors}");
    }
}

#[test]
fn the_shell_has_no_objection() {
    let checked = output(clean("sh").args(["-n", FILE]));
    assert!(checked.status.success() && checked.stderr.is_empty());
}
