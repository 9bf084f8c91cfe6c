//! What the process leaves behind: none of the files that stand for it.

use std::fs;
use std::process::Command;

use wstests::{Scratch, proxy, wait};

use crate::common::{spawn, start};
use crate::tools::finish;

/// From the first file on, signals wait until they are served.
#[test]
fn a_signal_at_the_start_leaves_no_file() {
    let scratch = Scratch::new();
    let [socket, pid] = ["socket", "pid"].map(|name| scratch.join(name));
    let files = ["--unix-listen", socket.to_str().unwrap(), "--pid-file", pid.to_str().unwrap()];
    for first in [&socket, &pid].repeat(8) {
        let mut proxy = spawn(&[&files[..], &["127.0.0.1:1"]].concat());
        wait::until("the file", || first.symlink_metadata().is_ok().then_some(()));
        proxy.signal(libc::SIGHUP);
        proxy.signal(libc::SIGTERM);
        assert_eq!(proxy.wait().code(), Some(0));
        assert!(!socket.exists() && !pid.exists());
    }
}

#[test]
fn a_root_directory_is_no_reason_to_leave_files() {
    // SAFETY: plain system call.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("only root can change its root");
        return;
    }
    let scratch = Scratch::new();
    let [real, link] = ["real", "link"].map(|name| scratch.join(name));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let (pid, socket) = (link.join("pid"), real.join("socket"));
    let files = ["--pid-file", pid.to_str().unwrap(), "--unix-listen", socket.to_str().unwrap()];
    for root in [&real, &link] {
        let mut proxy = start(&[&files[..], &["--chroot", root.to_str().unwrap(), "127.0.0.1:1"]].concat());
        assert!(pid.exists() && socket.exists());
        proxy.signal(libc::SIGTERM);
        assert!(proxy.wait().success());
        assert_eq!(fs::read_dir(&real).unwrap().count(), 0);
    }
}

#[test]
fn a_file_of_the_process_id_that_cannot_be_written_is_not_left_empty() {
    let scratch = Scratch::new();
    let pid = scratch.join("pid");
    // A limit on the size of files stands for a full disk.
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" --pid-file \"$1\" 127.0.0.1:0 127.0.0.1:1";
    let output = finish(Command::new("sh").args(["-c", script]).arg(proxy()).arg(&pid));
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("--pid-file") && told.contains("File too large"), "{told}");
    assert!(!pid.exists());
}

#[test]
fn what_is_no_file_is_not_removed_after_a_process_id() {
    let scratch = Scratch::new();
    let pipe = scratch.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _reader = fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let mut proxy = start(&["--pid-file", pipe.to_str().unwrap(), "127.0.0.1:{port}", "127.0.0.1:1"]);
    proxy.signal(libc::SIGTERM);
    assert!(proxy.wait().success());
    assert!(pipe.exists());
}
