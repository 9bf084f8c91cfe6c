//! What the process leaves behind: none of the files that stand for it.

use std::fs;

use wstests::{Scratch, wait};

use crate::common::{spawn, start};

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
