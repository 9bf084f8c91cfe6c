//! A desktop of TigerVNC, started as a user types it: `wswrap 5901 vncserver -geometry 640x480 :1`, with the display
//! number of a free display and a home directory of its own, so that the user's files stay as they are.

use super::DEADLINE;
use super::family::Family;
use super::output::read_until;
use super::scratch::Scratch;
use std::ffi::{CString, OsStr};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The password of the desktop; VNC authentication looks at eight characters.
pub const PASSWORD: &str = "threefox";

/// The file in the home directory that a session can write a line to and [`Desktop::line`] reads: a named pipe.
pub const PIPE: &str = "line";

/// A running desktop. Dropping it stops the server and everything that runs on it.
pub struct Desktop {
    pipe: File,
    // In this order: the processes end before the display is free, and before their files go.
    _family: Family,
    display: Display,
    home: Scratch,
}

impl Desktop {
    /// Runs `launcher PORT vncserver -geometry 640x480 :DISPLAY`, or `vncserver` alone, and waits until it has returned, the
    /// server running in the background. `session` is the shell script that starts the programs of the desktop.
    pub fn start(launcher: Option<&Path>, session: &str) -> Desktop {
        Self::start_with(launcher, &[], session)
    }

    /// The same with options of the launcher.
    pub fn start_with(launcher: Option<&Path>, options: &[&str], session: &str) -> Desktop {
        let home = Scratch::new("desktop");
        let family = Family::of(home.path());
        let vnc = home.path().join(".vnc");
        fs::create_dir(&vnc).expect("the home directory is writable");
        write_password(&vnc.join("passwd"));
        let script = vnc.join("xstartup");
        fs::write(&script, format!("#!/bin/sh\n{session}")).expect("the session script is written");
        fs::set_permissions(&script, Permissions::from_mode(0o700)).expect("it can be made executable");
        let pipe = named_pipe(&home.path().join(PIPE));

        let display = Display::reserve();
        let port = display.port().to_string();
        let name = display.name();
        let server = ["vncserver", "-geometry", "640x480", name.as_str()];
        match launcher {
            Some(launcher) => {
                let start = [options, &[port.as_str()], &server].concat();
                run(launcher.as_os_str(), &start, home.path());
            }
            None => run(OsStr::new("vncserver"), &server[1..], home.path()),
        }
        Desktop { pipe, _family: family, display, home }
    }

    /// The port of the VNC server.
    pub fn port(&self) -> u16 {
        self.display.port()
    }

    /// Waits for the next line that the session writes to [`PIPE`]; the answer ends with its line feed.
    pub fn line(&mut self) -> String {
        read_until(&mut self.pipe, Instant::now() + DEADLINE, |text| text.ends_with('\n'))
    }

    /// Stops the server as a user does, with `vncserver -kill :DISPLAY`.
    pub fn stop(self) {
        let name = self.display.name();
        run(OsStr::new("vncserver"), &["-kill", name.as_str()], self.home.path());
    }
}

/// Runs a command to its end with `home` as the home directory, and fails with its output unless it succeeds.
fn run(program: &OsStr, arguments: &[&str], home: &Path) {
    let errors = home.join("stderr");
    let mut child = Command::new(program)
        .args(arguments)
        .env("HOME", home)
        .env("TMPDIR", home)
        .env_remove("DISPLAY")
        .env_remove("XAUTHORITY")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&errors).expect("the home directory is writable"))
        .spawn()
        .unwrap_or_else(|error| panic!("{program:?} (Debian: tigervnc-standalone-server): {error}"));
    let mut output = child.stdout.take().expect("the output is piped");
    // The server and its session leave this pipe when they go to the background, so its end is the end of the command.
    let text = read_until(&mut output, Instant::now() + DEADLINE, |_| false);
    let status = child.wait().expect("the child is ours to wait for");
    let errors = fs::read_to_string(errors).unwrap_or_default();
    assert!(status.success(), "{program:?} {arguments:?}: {status}\n{text}\n{errors}");
}

/// Writes the password file that `vncserver` looks for, so that it does not ask.
fn write_password(file: &Path) {
    let mut child = Command::new("tigervncpasswd")
        .arg("-f")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tigervncpasswd starts (Debian: tigervnc-tools)");
    let mut input = child.stdin.take().expect("the input is piped");
    writeln!(input, "{PASSWORD}").expect("the password is read");
    drop(input);
    let output = child.wait_with_output().expect("the child is ours to wait for");
    assert!(output.status.success(), "tigervncpasswd: {}", output.status);
    fs::write(file, output.stdout).expect("the password file is written");
    // A password file that others may read is asked for again.
    fs::set_permissions(file, Permissions::from_mode(0o600)).expect("it can be made private");
}

/// Makes a named pipe and opens it for both directions, so that no writer waits for a reader and no reader sees an end
/// between two writers: fifo(7).
fn named_pipe(path: &Path) -> File {
    let name = CString::new(path.as_os_str().as_bytes()).expect("a path without NUL");
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    let made = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
    assert_eq!(made, 0, "mkfifo: {}", std::io::Error::last_os_error());
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).expect("the named pipe opens")
}

/// A display number that this process holds among all tests on this machine.
struct Display {
    number: u16,
    _reservation: UnixListener,
}

impl Display {
    /// Takes the first free one from 1 to 99, the numbers whose port follows from them (5900 + number).
    ///
    /// Free means what `vncserver` asks: no X server and no VNC server on it. An abstract socket name, which the kernel
    /// gives to one process at a time and takes back when it ends, keeps two tests from the same answer.
    fn reserve() -> Display {
        (1..=99)
            .find_map(|number| {
                let name = format!("wstests-display-{number}");
                let name = SocketAddr::from_abstract_name(name).expect("a short name");
                let reservation = UnixListener::bind_addr(&name).ok()?;
                let free = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
                let usable = free(5900 + number) && free(6000 + number);
                let taken = marks_of(number).iter().any(|file| file.exists());
                // The value removes the marks of its display, so it is made for a free one only.
                (usable && !taken).then(|| Display { number, _reservation: reservation })
            })
            .expect("one of 99 displays is free")
    }

    fn port(&self) -> u16 {
        5900 + self.number
    }

    fn name(&self) -> String {
        format!(":{}", self.number)
    }
}

impl Drop for Display {
    /// An X server that was killed leaves its marks, and the display would count as taken for ever.
    fn drop(&mut self) {
        for file in marks_of(self.number) {
            let _absent = fs::remove_file(file);
        }
    }
}

/// The files by which X servers and `vncserver` see that a display is taken.
fn marks_of(number: u16) -> [PathBuf; 2] {
    [format!("/tmp/.X{number}-lock"), format!("/tmp/.X11-unix/X{number}")].map(PathBuf::from)
}
