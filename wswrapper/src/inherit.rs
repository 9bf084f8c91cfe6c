//! Who gets the library of what a wrapped program starts: all that inherit its environment, and all that inherit a listener of ours,
//! with its queue, whatever environment it makes for them; with `WSWRAP_NO_INHERIT` nobody any more, once the ports are open.
//!
//! A program is often started by way of others: a script that starts the server, and the server, or the script, then starts
//! what has nothing to do with the port: the applications of a desktop, the shells of a login. Nothing says beforehand
//! which of them will open the port. So the library goes along until the ports are open, and is then taken out of the
//! environment in two places: in the process that has opened the last of them, for what it starts; and in each
//! process that is loaded and finds them open elsewhere, for what that starts. Such a process is wrapped all the same: if the
//! other goes, and this one is the next to open the port, it is right that it is.

use std::env;
use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use once_cell::race::OnceBox;
use wslayer::config::{Config, VARIABLES};
use wslayer::given::{Given, QUEUES};
use wslayer::procfs::{Socket, listening};

use crate::glue::LAYER;
use crate::leaving::Strings;

/// The file name by which the library is known in `LD_PRELOAD`, as the launcher puts it there.
const NAME: &str = "libwswrapper.so";

/// Takes this library and its variables out of the environment that children get.
///
/// The program may have other threads, which read the environment at any time. So nothing here walks `environ`, unsetenv(3)
/// and setenv(3) have glibc's lock against each other, and neither frees anything. What remains is what a program risks
/// that calls them itself: a getenv(3) in another thread at this very moment may miss a variable that is there.
pub fn disinherit() {
    GIVEN_UP.store(true, Ordering::Relaxed);
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

/// Nothing that is started from here on gets the library from us.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// What this process was started with; absent where the library has come in another way than by the environment.
static OWN: OnceBox<Own> = OnceBox::new();

struct Own {
    /// `LD_PRELOAD=` and the name of this library, as the loader was told it.
    preload: CString,
    /// `NAME=value`, of the library's variables.
    variables: Vec<CString>,
}

/// Notes what [`carry`] needs: at the time of an exec there may be no allocation. Called once, when the library is loaded.
pub fn remember() {
    let assignment = |name: &[u8], value: &[u8]| CString::new([name, b"=", value].concat()).ok();
    let list = env::var_os("LD_PRELOAD").unwrap_or_default();
    let Some(library) = names(list.as_bytes()).find(|name| is_library(name)) else { return };
    let Some(preload) = assignment(PRELOAD.to_bytes(), library) else { return };
    let present = |name: &CStr| {
        let value = env::var_os(OsStr::from_bytes(name.to_bytes()))?;
        assignment(name.to_bytes(), value.as_bytes())
    };
    let variables = VARIABLES.into_iter().chain([c"WSWRAP_COMPANION"]).filter_map(present).collect();
    let _ = OWN.set(Box::new(Own { preload, variables }));
}

/// Strings of an environment, and bytes of its `LD_PRELOAD`, that need no allocation: a vfork(2) child should not make one.
const USUAL_STRINGS: usize = 256;
const USUAL_BYTES: usize = 1024;

/// Whether a program that gets a listener of ours gets the library as well.
pub fn gives() -> bool {
    !GIVEN_UP.load(Ordering::Relaxed)
}

/// Before the program: the queues of listeners that it has got. What it starts in turn is told of them anew.
pub fn adopt_queues() {
    if let (Some(layer), Some(value)) = (LAYER.get(), env::var_os(OsStr::from_bytes(QUEUES.to_bytes()))) {
        layer.adopt_queues(&value.to_string_lossy());
        // SAFETY: a C string; nothing else of the program runs yet.
        unsafe { libc::unsetenv(QUEUES.as_ptr()) };
    }
}

/// Calls `f` with the environment for a program that gets what `given` says: `envp`, and with a listener of ours the library if that has
/// been lost, and what tells of the listener's queue.
///
/// Some servers start the programs that accept with an environment of their own making, as dovecot and postfix do. The port
/// would then be open, and speak plain TCP.
///
/// # Safety
/// `envp` is null or an array of C strings that ends with null.
pub unsafe fn carry<R>(given: Option<&Given>, envp: Strings, f: impl FnOnce(Strings) -> R) -> R {
    match given.filter(|given| given.has_listener()) {
        // SAFETY: the caller's promise.
        Some(given) => unsafe { carry_along(given, envp, f) },
        None => f(envp),
    }
}

/// The same where there is a listener.
///
/// # Safety
/// As for [`carry`].
#[cold]
#[inline(never)]
unsafe fn carry_along<R>(given: &Given, envp: Strings, f: impl FnOnce(Strings) -> R) -> R {
    // To the kernel, too, null is an empty environment.
    let array = (!envp.is_null()).then_some(envp).into_iter();
    // SAFETY: the caller's promise: nothing is read behind the null, and what stands before it are C strings.
    let strings = array.flat_map(|first| unsafe {
        let string = move |index| *first.add(index);
        (0..).map(string).take_while(|string| !string.is_null()).map(|string| CStr::from_ptr(string))
    });
    // Of two, the loader takes the second.
    let others = strings.clone().filter_map(|string| value(string, PRELOAD)).last().unwrap_or_default();
    let own = OWN.get().filter(|_| !names(others).any(is_library));
    let queues = given.assignment();
    let (mut few, mut many) = ([0; USUAL_BYTES], Vec::new());
    let colon: &[u8] = if others.is_empty() { b"" } else { b":" };
    let preload = own.map(|own| joined(&[own.preload.to_bytes(), colon, others, b"\0"], &mut few, &mut many));
    let missing = own.into_iter().flat_map(|own| &own.variables).map(CString::as_c_str).filter(|own| {
        let name = own.to_bytes().split_inclusive(|byte| *byte == b'=').next().unwrap_or_default();
        !strings.clone().any(|string| string.to_bytes().starts_with(name))
    });
    let replaced =
        |string: &CStr| value(string, QUEUES).is_some() || preload.is_some() && value(string, PRELOAD).is_some();
    let kept = strings.clone().filter(|string| !replaced(string));
    let made = preload.map(|preload| preload.as_ptr().cast());
    let made = made.into_iter().chain(queues.iter().map(|queues| queues.as_c_str().as_ptr()));
    let all = kept.chain(missing).map(CStr::as_ptr).chain(made).chain([ptr::null()]);
    let (mut few, mut many) = ([ptr::null(); USUAL_STRINGS], Vec::new());
    let places = room(&mut few, &mut many, ptr::null(), all.clone().count());
    places.iter_mut().zip(all).for_each(|(place, string)| *place = string);
    f(places.as_ptr())
}

/// The value of an assignment to `name`.
fn value<'a>(assignment: &'a CStr, name: &CStr) -> Option<&'a [u8]> {
    assignment.to_bytes().strip_prefix(name.to_bytes())?.strip_prefix(b"=")
}

/// The parts, one behind the other.
fn joined<'a>(parts: &[&[u8]], few: &'a mut [u8], many: &'a mut Vec<u8>) -> &'a [u8] {
    let places = room(few, many, 0, parts.iter().map(|part| part.len()).sum());
    places.iter_mut().zip(parts.iter().copied().flatten()).for_each(|(place, byte)| *place = *byte);
    places
}

/// `len` places: of `few`, if there are so many.
fn room<'a, T: Copy>(few: &'a mut [T], many: &'a mut Vec<T>, zero: T, len: usize) -> &'a mut [T] {
    if len <= few.len() {
        return few.get_mut(..len).unwrap_or_default();
    }
    many.resize(len, zero);
    many
}

/// The names in a list of ld.so(8).
fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| b" :".contains(byte)).filter(|name| !name.is_empty())
}

/// Whether one of them is this library's.
fn is_library(name: &[u8]) -> bool {
    Path::new(OsStr::from_bytes(name)).file_name() == Some(OsStr::new(NAME))
}

/// The list without this library.
fn without_library(list: &[u8]) -> Vec<u8> {
    names(list).filter(|name| !is_library(name)).collect::<Vec<_>>().join(&b':')
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

fn has_one_of(sockets: &[Socket]) -> bool {
    let links: Vec<String> = sockets.iter().map(Socket::link).collect();
    let own = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    own.filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| links.iter().any(|link| target == Path::new(link)))
}
