//! The library gets into the program, from wherever it is installed.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::common::{LIBRARY, Scratch, clean, refusal, told, wswrap};
use wstests::{launcher, library};

#[test]
fn the_library_is_in_the_program_and_in_its_children() {
    assert!(told(&mut wswrap(["cat", "/proc/self/maps"])).contains(LIBRARY));
    assert!(told(&mut wswrap(["sh", "-c", "cat /proc/self/maps; true"])).contains(LIBRARY));
    assert!(!told(clean("cat").arg("/proc/self/maps")).contains(LIBRARY));
}

#[test]
fn a_path_that_the_loader_would_split_does_no_harm() {
    let scratch = Scratch::new();
    for dir in ["a b", "c:d", "e$LIB", " :$ORIGIN: "] {
        let program = scratch.installed(dir);
        let seen =
            told(clean(&program).args(["none", "sh", "-c", "echo $LD_PRELOAD; cd /; cat /proc/self/maps; true"]));
        assert!(seen.contains(&*scratch.path(dir).join(LIBRARY).to_string_lossy()), "{dir}: {seen}");
        let preload = Path::new(seen.lines().next().expect("the variable"));
        assert!(!preload.as_os_str().as_bytes().iter().any(|b| b" :$".contains(b)), "{preload:?}");
        // The next start takes the same link.
        let again = told(clean(&program).args(["none", "sh", "-c", "echo $LD_PRELOAD"]));
        assert_eq!(Path::new(again.trim()), preload);
    }
}

#[test]
fn what_is_preloaded_already_is_kept_behind_ours() {
    let print = ["sh", "-c", "echo $LD_PRELOAD"];
    let alone = told(&mut wswrap(print)).trim().to_string();
    assert_eq!(alone, library().canonicalize().expect("there").to_string_lossy());
    let kept = told(wswrap(print).env("LD_PRELOAD", "libm.so.6 libdl.so.2"));
    assert_eq!(kept.trim(), format!("{alone}:libm.so.6:libdl.so.2"));
    let again = launcher();
    let nested = [again.as_os_str(), "none".as_ref(), "sh".as_ref(), "-c".as_ref(), "echo $LD_PRELOAD".as_ref()];
    assert_eq!(told(&mut wswrap(nested)).trim(), alone);
}

#[test]
fn the_library_is_found_beside_the_launcher_and_in_lib() {
    let scratch = Scratch::new();
    let program = scratch.installed("bin");
    fs::create_dir(scratch.path("lib")).expect("made");
    let placed =
        |program: &Path| told(clean(program).args(["none", "sh", "-c", "echo $LD_PRELOAD"])).trim().to_string();
    assert_eq!(Path::new(&placed(&program)), scratch.path("bin").join(LIBRARY));
    fs::rename(scratch.path("bin").join(LIBRARY), scratch.path("lib").join(LIBRARY)).expect("moved");
    assert_eq!(Path::new(&placed(&program)), scratch.path("lib").join(LIBRARY));
    symlink(&program, scratch.path("link")).expect("linked");
    assert_eq!(Path::new(&placed(&scratch.path("link"))), scratch.path("lib").join(LIBRARY));
    fs::write(scratch.path("lib").join(LIBRARY), "INPUT(-lc)\n").expect("written");
    assert!(refusal(clean(&program).args(["1", "true"]), 1).contains(LIBRARY));
    fs::remove_file(scratch.path("lib").join(LIBRARY)).expect("removed");
    let line = refusal(clean(&program).args(["1", "true"]), 1);
    assert!(line.contains("libwswrapper.so not found") && line.contains("cargo build"), "{line}");
}
