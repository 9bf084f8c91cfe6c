//! C's stdio on wrapped descriptors: dprintf(3), fdopen(3).
//!
//! libc's own streams read and write past every hook. So fdopen(3) gives a stream of fopencookie(3), whose functions come
//! back here; all else (buffers, locks, `fprintf`, `getline`) is libc's as ever. Such a stream has no descriptor as far as
//! libc knows; it is written into the stream, so that fileno(3) answers for it.
//!
//! The streams are remembered for exit(3): libc flushes its streams after our handler has closed the connections, so the
//! handler flushes these. The list has no lock that a fork could find held, and its entries are used again.

use std::ffi::{c_char, c_void};
use std::io::IoSlice;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use libc::{FILE, c_int, size_t, ssize_t};
use wslayer::sys::{Errno, Sys};

use super::layer;
use crate::glue::{self, fail};

/// `va_list` as a parameter: a pointer in the ABIs of x86-64 (an array) and aarch64 (a struct too large for registers).
pub type VaList = *mut c_void;

/// cookie_io_functions_t of stdio.h.
#[repr(C)]
struct CookieFunctions {
    read: Option<unsafe extern "C" fn(*mut c_void, *mut c_char, size_t) -> ssize_t>,
    write: Option<unsafe extern "C" fn(*mut c_void, *const c_char, size_t) -> ssize_t>,
    seek: Option<unsafe extern "C" fn(*mut c_void, *mut i64, c_int) -> c_int>,
    close: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
}

unsafe extern "C" {
    fn vasprintf(text: *mut *mut c_char, format: *const c_char, arguments: VaList) -> c_int;
    fn __vasprintf_chk(text: *mut *mut c_char, flag: c_int, format: *const c_char, arguments: VaList) -> c_int;
    fn fopencookie(cookie: *mut c_void, mode: *const c_char, functions: CookieFunctions) -> *mut FILE;
    fn __fpending(file: *mut FILE) -> size_t;
    fn fflush_unlocked(file: *mut FILE) -> c_int;
    fn ftrylockfile(file: *mut FILE) -> c_int;
    fn funlockfile(file: *mut FILE);
}

/// vdprintf(3).
///
/// # Safety
/// As for vdprintf(3).
#[inline(never)]
pub unsafe extern "C" fn vdprintf(fd: c_int, format: *const c_char, arguments: VaList) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { print(fd, |text| vasprintf(text, format, arguments)) }
}

/// `__vdprintf_chk`, which takes no `%n` from writable memory.
///
/// # Safety
/// As for vdprintf(3).
#[inline(never)]
pub unsafe extern "C" fn vdprintf_chk(fd: c_int, flag: c_int, format: *const c_char, arguments: VaList) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { print(fd, |text| __vasprintf_chk(text, flag, format, arguments)) }
}

/// Writes what `format` makes, all of it like stdio, or fails.
///
/// # Safety
/// `format` does what vasprintf(3) does.
unsafe fn print(fd: c_int, format: impl FnOnce(*mut *mut c_char) -> c_int) -> c_int {
    let mut text = ptr::null_mut();
    let Ok(len) = usize::try_from(format(&raw mut text)) else { return -1 };
    // SAFETY: vasprintf made `text`, of this length.
    let sent = write_all(fd, unsafe { slice::from_raw_parts(text.cast(), len) });
    // SAFETY: as above; free(3) leaves errno alone.
    unsafe { libc::free(text.cast()) };
    if sent == len { len as c_int } else { -1 }
}

/// Writes all of `bytes`, or up to an error: then errno says which. Returns how many were written.
fn write_all(fd: c_int, bytes: &[u8]) -> usize {
    let mut done = 0;
    while let Some(rest @ [_, ..]) = bytes.get(done..) {
        match layer(fd, |layer| layer.send(fd, &[IoSlice::new(rest)], 0)) {
            Ok(n) => done += n,
            Err(error) => {
                fail(error);
                break;
            }
        }
    }
    done
}

/// An open stream; an entry of the list.
struct Stream {
    fd: AtomicI32,
    /// Null: not in use. [`HELD`]: being made, or being flushed at exit.
    file: AtomicPtr<FILE>,
    next: AtomicPtr<Stream>,
}

/// The first entry.
static STREAMS: AtomicPtr<Stream> = AtomicPtr::new(ptr::null_mut());

/// In the place of a stream: somebody works with the entry.
const HELD: *mut FILE = ptr::dangling_mut();

/// All entries.
fn streams() -> impl Iterator<Item = &'static Stream> {
    let mut at = &STREAMS;
    std::iter::from_fn(move || {
        // SAFETY: entries are leaked boxes, whole before they are in the list.
        let stream = unsafe { at.load(Ordering::Acquire).as_ref() }?;
        at = &stream.next;
        Some(stream)
    })
}

/// An entry for our use.
fn hold_free() -> &'static Stream {
    let free = |stream: &&Stream| {
        stream.file.compare_exchange(ptr::null_mut(), HELD, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    if let Some(stream) = streams().find(free) {
        return stream;
    }
    let stream: &'static Stream =
        Box::leak(Box::new(Stream { fd: AtomicI32::new(-1), file: AtomicPtr::new(HELD), next: AtomicPtr::default() }));
    let mut first = STREAMS.load(Ordering::Relaxed);
    loop {
        stream.next.store(first, Ordering::Relaxed);
        let this = ptr::from_ref(stream).cast_mut();
        match STREAMS.compare_exchange_weak(first, this, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return stream,
            Err(other) => first = other,
        }
    }
}

/// fdopen(3).
///
/// # Safety
/// As for fdopen(3).
#[inline(never)]
pub unsafe extern "C" fn fdopen(fd: c_int, mode: *const c_char) -> *mut FILE {
    // SAFETY: the caller's promise: a C string, read no further than its end.
    let letter = |at: usize| unsafe { *mode.add(at) } as u8;
    // libc looks at four letters behind the first, and ignores those it does not know: fopen's `b`, `e`, `x`, `c`, `m`.
    let both = (1..5).map(letter).take_while(|&letter| letter != 0).any(|letter| letter == b'+');
    let plain = match (letter(0), both) {
        (b'r', false) => c"r",
        (b'r', true) => c"r+",
        (b'w', false) => c"w",
        (b'w', true) => c"w+",
        (b'a', false) => c"a",
        (b'a', true) => c"a+",
        _ => {
            fail(Errno(libc::EINVAL));
            return ptr::null_mut();
        }
    };
    let set = layer(fd, |layer| {
        let flags = layer.sys().fcntl(fd, libc::F_GETFL, 0)?;
        if letter(0) == b'a' && flags & libc::O_APPEND == 0 {
            layer.sys().fcntl(fd, libc::F_SETFL, flags | libc::O_APPEND)?;
        }
        Ok(())
    });
    if let Err(error) = set {
        fail(error);
        return ptr::null_mut();
    }
    let stream = hold_free();
    stream.fd.store(fd, Ordering::Relaxed);
    let functions = CookieFunctions {
        read: Some(read_stream),
        write: Some(write_stream),
        seek: Some(seek_stream),
        close: Some(close_stream),
    };
    // SAFETY: the mode is a C string, and the entry lives for ever.
    let file = unsafe { fopencookie(ptr::from_ref(stream).cast_mut().cast(), plain.as_ptr(), functions) };
    if !file.is_null() {
        // SAFETY: fopencookie made it, and nobody else knows it yet.
        unsafe { set_fileno(file, fd) };
    }
    stream.file.store(file, Ordering::Release);
    file
}

/// `_fileno` in the struct _IO_FILE of libc's bits/types/struct_FILE.h on 64-bit machines: the flags, eleven pointers into
/// buffers, and two to other structs come before it.
const FILENO_OFFSET: usize = 14 * 8;

/// What a stream of fopencookie(3) has there: no descriptor, yet open.
const NO_DESCRIPTOR: c_int = -2;

/// Makes fileno(3) answer `fd`. The program sees the layout of a `FILE`, so it cannot change; if it has all the same, the mark
/// is not there, and fileno(3) fails.
///
/// # Safety
/// `file` is a fresh stream of fopencookie(3).
unsafe fn set_fileno(file: *mut FILE, fd: c_int) {
    // SAFETY: a FILE is longer than that in every libc.
    unsafe {
        let place = file.byte_add(FILENO_OFFSET).cast::<c_int>();
        if *place == NO_DESCRIPTOR {
            *place = fd;
        }
    }
}

/// The descriptor of the stream.
///
/// # Safety
/// `cookie` is that of a stream made in [`fdopen`].
unsafe fn fd_of(cookie: *mut c_void) -> c_int {
    // SAFETY: the caller's promise; entries live for ever.
    unsafe { &*cookie.cast::<Stream>() }.fd.load(Ordering::Relaxed)
}

unsafe extern "C" fn read_stream(cookie: *mut c_void, buf: *mut c_char, len: size_t) -> ssize_t {
    // SAFETY: libc's promise: the cookie is the one given, and `buf` is writable for `len` bytes.
    unsafe { super::read(fd_of(cookie), buf.cast(), len) }
}

/// libc sends what it has in one call, and takes a short count for an error.
unsafe extern "C" fn write_stream(cookie: *mut c_void, buf: *const c_char, len: size_t) -> ssize_t {
    // SAFETY: libc's promise: the cookie is the one given, and `buf` is readable for `len` bytes.
    unsafe { write_all(fd_of(cookie), &glue::buf(buf.cast(), len)) as ssize_t }
}

unsafe extern "C" fn seek_stream(_cookie: *mut c_void, _offset: *mut i64, _whence: c_int) -> c_int {
    fail(Errno(libc::ESPIPE))
}

unsafe extern "C" fn close_stream(cookie: *mut c_void) -> c_int {
    // SAFETY: libc's promise: the cookie is the one given; entries live for ever.
    let stream = unsafe { &*cookie.cast::<Stream>() };
    let fd = stream.fd.load(Ordering::Relaxed);
    let forget = |file| (file != HELD).then_some(ptr::null_mut());
    // Another thread is in exit(3) and looks at the stream, which is gone once this returns.
    while stream.file.fetch_update(Ordering::AcqRel, Ordering::Acquire, forget).is_err() {
        std::thread::yield_now();
    }
    super::close(fd)
}

/// At exit(3): what the program printed goes out before the connections end.
pub fn flush_streams() {
    for stream in streams() {
        let file = stream.file.load(Ordering::Acquire);
        let idle = !file.is_null() && file != HELD;
        if idle && stream.file.compare_exchange(file, HELD, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            // SAFETY: the stream is open: `close_stream` waits for us. If another thread is in the middle of a call on it, or
            // this one is, in a signal handler, it is left alone.
            unsafe {
                if ftrylockfile(file) == 0 {
                    if __fpending(file) > 0 {
                        fflush_unlocked(file);
                    }
                    funlockfile(file);
                }
            }
            stream.file.store(file, Ordering::Release);
        }
    }
}
