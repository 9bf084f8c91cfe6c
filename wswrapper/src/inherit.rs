//! `WSWRAP_NO_INHERIT`: who still gets the library, once the ports are open.
//!
//! A program is often started by way of others: a script that starts the server, and the server, or the script, then starts
//! what has nothing to do with the port: the applications of a desktop, the shells of a login. Nothing says beforehand
//! which of them will open the port. So the library goes along until the ports are open, and is then taken out of the
//! environment in two places: in the process that has opened the last of them, for what it starts; and in each
//! process that is loaded and finds them open elsewhere, for what that starts. Such a process is wrapped all the same: if the
//! other goes, and this one is the next to open the port, it is right that it is.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use wslayer::config::{Config, VARIABLES};
use wslayer::procfs::{Listening, listening};

/// The file name by which the library is known in `LD_PRELOAD`, as the launcher puts it there.
const NAME: &str = "libwswrapper.so";

/// Takes this library and its variables out of the environment that children get.
///
/// The program may have other threads, which read the environment at any time. So nothing here walks `environ`, unsetenv(3)
/// and setenv(3) have glibc's lock against each other, and neither frees anything. What remains is what a program risks
/// that calls them itself: a getenv(3) in another thread at this very moment may miss a variable that is there.
pub fn disinherit() {
    // SAFETY: C strings all; the value of the variable is not kept, and is copied before the variable is changed.
    unsafe {
        let value = libc::getenv(PRELOAD.as_ptr());
        if !value.is_null() {
            let rest = without_library(CStr::from_ptr(value).to_bytes());
            match CString::new(rest) {
                Ok(rest) if !rest.is_empty() => libc::setenv(PRELOAD.as_ptr(), rest.as_ptr(), 1),
                _ => libc::unsetenv(PRELOAD.as_ptr()),
            };
        }
        for name in VARIABLES {
            libc::unsetenv(name.as_ptr());
        }
    }
}

const PRELOAD: &CStr = c"LD_PRELOAD";

/// The list of ld.so(8) without this library.
fn without_library(list: &[u8]) -> Vec<u8> {
    let is_ours = |name: &&[u8]| Path::new(OsStr::from_bytes(name)).file_name() == Some(OsStr::new(NAME));
    let others = list.split(|b| b" :".contains(b)).filter(|name| !name.is_empty() && !is_ours(name));
    others.collect::<Vec<_>>().join(&b':')
}

/// Whether all that `config` asks for is open already, and not by a descriptor of this process: an inherited listener
/// makes it the server, or one that will start the server.
pub fn is_open_elsewhere(config: &Config) -> bool {
    let table = |name: &str| File::open(name).map(|file| listening(BufReader::new(file))).unwrap_or_default();
    let mut sockets = table("/proc/self/net/tcp");
    sockets.extend(table("/proc/self/net/tcp6"));
    sockets.retain(|socket| config.ports.contains(socket.port));
    let ports: Vec<u16> = sockets.iter().map(|socket| socket.port).collect();
    config.ports.each_open(&ports) && !has_one_of(&sockets)
}

fn has_one_of(sockets: &[Listening]) -> bool {
    let links: Vec<String> = sockets.iter().map(Listening::link).collect();
    let own = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    own.filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| links.iter().any(|link| target == Path::new(link)))
}
