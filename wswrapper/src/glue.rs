//! Between C and the layer: pointers become slices, results become return values and errno.

use std::io::{IoSlice, IoSliceMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use libc::{c_int, c_void, iovec, size_t, sockaddr, socklen_t, ssize_t, timespec, timeval};
use once_cell::race::OnceBox;
use wslayer::Layer;
use wslayer::slots::{MAX_FDS, Slot, Slots};
use wslayer::sys::{Errno, Fd, PeerAddr, Result};

use crate::kernel::Kernel;
use crate::signals::Section;

/// Zero, so it takes no room in the file, and a page of memory only where descriptors are in use.
static WORDS: [AtomicU32; MAX_FDS] = [const { AtomicU32::new(0) }; MAX_FDS];

/// What each descriptor number stands for.
pub static SLOTS: Slots = Slots::new(&WORDS);

/// The layer of this process; absent until the library has been started, and when it is to wrap nothing.
pub static LAYER: OnceBox<Layer<Kernel>> = OnceBox::new();

/// The most bytes that one read or write moves, as in the kernel (`MAX_RW_COUNT`).
const MAX_RW: usize = 0x7fff_f000;

/// The most buffers of one call, as in the kernel (`UIO_MAXIOV`).
pub const MAX_IOV: usize = 1024;

/// Whether `fd` is a wrapped connection.
#[inline(always)]
pub fn is_conn(fd: Fd) -> bool {
    SLOTS.is_conn(fd)
}

/// Whether `fd` is anything of ours.
#[inline(always)]
pub fn concerns(fd: Fd) -> bool {
    !matches!(SLOTS.get(fd), Slot::Unknown | Slot::Plain | Slot::OtherListener)
}

/// Whether `accept` on `fd` is ours to serve.
pub fn accepts(fd: Fd) -> bool {
    SLOTS.get(fd) != Slot::OtherListener
        && LAYER.get().is_some_and(|layer| {
            let _section = Section::enter();
            layer.accepts(fd)
        })
}

/// `fd` is a number that comes or goes without us: what was known of it is void.
#[inline(always)]
pub fn fresh(fd: Fd) -> Fd {
    if SLOTS.get(fd) != Slot::Unknown {
        forget(fd);
    }
    fd
}

#[cold]
#[inline(never)]
extern "C" fn forget(fd: Fd) {
    if let (0.., Some(layer)) = (fd, LAYER.get()) {
        let _section = Section::enter();
        layer.forget(fd);
    }
}

/// Whether a wait has a descriptor of ours among its own.
pub mod watches {
    use std::slice;

    use libc::{c_int, fd_set, nfds_t, pollfd, size_t};
    use wslayer::poll::is_set;

    use super::{Fd, Kernel, LAYER, Layer, SLOTS, Section, Slot};

    /// Of select(2).
    ///
    /// # Safety
    /// Each set is null or has room for `nfds` bits, in whole words.
    pub unsafe fn sets(nfds: c_int, sets: [*mut fd_set; 3]) -> bool {
        let Some(layer) = LAYER.get() else { return false };
        let nfds = if layer.is_in_use() { clamp(nfds) } else { nfds.min(libc::FD_SETSIZE as c_int) };
        // SAFETY: the caller's promise.
        let sets = sets.map(|set| unsafe { words(nfds, set) });
        (0..nfds).any(|fd| {
            let asked = sets.iter().flatten().any(|set| is_set(set, fd as usize));
            asked && waits(layer, fd)
        })
    }

    /// How many descriptors select(2) looks at: like the kernel, no more than the process has room for, whatever the program
    /// says. Beyond that the sets may not exist.
    pub fn clamp(nfds: c_int) -> c_int {
        if nfds <= libc::FD_SETSIZE as c_int {
            return nfds;
        }
        let errno = super::errno();
        let size = crate::start::descriptor_table_size();
        super::set_errno(errno);
        nfds.min(size)
    }

    /// The words of one set.
    ///
    /// # Safety
    /// `set` is null or has room for `nfds` bits, in whole words.
    pub unsafe fn words<'a>(nfds: c_int, set: *mut fd_set) -> Option<&'a mut [u64]> {
        let count = usize::try_from(nfds).unwrap_or(0).div_ceil(u64::BITS as usize);
        // SAFETY: the caller's promise.
        (!set.is_null()).then(|| unsafe { slice::from_raw_parts_mut(set.cast(), count) })
    }

    /// Of poll(2).
    ///
    /// # Safety
    /// `fds` is null or readable for `n` entries.
    pub unsafe fn fds(fds: *const pollfd, n: nfds_t) -> bool {
        let Some(layer) = LAYER.get() else { return false };
        if fds.is_null() {
            return false;
        }
        // SAFETY: the caller's promise.
        let fds = unsafe { slice::from_raw_parts(fds, n as usize) };
        fds.iter().any(|poll| poll.fd >= 0 && waits(layer, poll.fd))
    }

    /// Whether a wait for `fd` needs a look; the first one of all finds out what it is.
    fn waits(layer: &Layer<Kernel>, fd: Fd) -> bool {
        let _section = (SLOTS.get(fd) == Slot::Unknown).then(Section::enter);
        layer.wait_concerns(fd)
    }

    /// Whether `n` entries are what `room` bytes hold, as the fortified calls check.
    pub fn fits(n: nfds_t, room: size_t) -> bool {
        room / size_of::<pollfd>() >= n as usize
    }

    /// Of epoll_ctl(2).
    pub fn registers(fd: Fd) -> bool {
        LAYER.get().is_some_and(|layer| {
            let _section = Section::enter();
            layer.epoll_ctl_concerns(fd)
        })
    }

    /// Of epoll_wait(2): any instance that is known, since another thread may register what is ours meanwhile.
    pub fn epoll(fd: Fd) -> bool {
        matches!(SLOTS.get(fd), Slot::Epoll(_))
    }
}

/// Runs a call of the layer on `fd`, in a section. On success errno is as it was before the call.
#[inline(always)]
pub fn call<T>(fd: Fd, f: impl FnOnce() -> Result<T>) -> Result<T> {
    let section = Section::enter();
    let errno = section.errno();
    // SAFETY: it is this thread's, which ends after its calls.
    let before = unsafe { errno.read() };
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => {
            // SAFETY: as above.
            unsafe { errno.write(before) };
            Ok(value)
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            // Nothing is known of the connection's state: it ends here.
            let _ = LAYER.get().map(|layer| wslayer::sys::Sys::shutdown(layer.sys(), fd, libc::SHUT_RDWR));
            Err(Errno(libc::EIO))
        }
    }
}

/// The return value of a call that counts bytes.
pub fn size(result: Result<usize>) -> ssize_t {
    match result {
        Ok(n) => n as ssize_t,
        Err(error) => fail(error) as ssize_t,
    }
}

/// The return value of a call that counts descriptors or events.
pub fn count(result: Result<usize>) -> c_int {
    match result {
        Ok(n) => n as c_int,
        Err(error) => fail(error),
    }
}

/// The return value of a call that yields a number.
pub fn int(result: Result<c_int>) -> c_int {
    result.unwrap_or_else(fail)
}

/// The return value of a call that yields nothing.
pub fn unit(result: Result<()>) -> c_int {
    int(result.map(|()| 0))
}

/// -1, with errno.
pub fn fail(error: Errno) -> c_int {
    set_errno(error.0);
    -1
}

/// errno(3).
pub fn errno() -> c_int {
    // SAFETY: __errno_location always returns this thread's errno.
    unsafe { *libc::__errno_location() }
}

/// Sets errno(3).
pub fn set_errno(value: c_int) {
    // SAFETY: as in `errno`.
    unsafe { *libc::__errno_location() = value }
}

/// The program's buffer to read into.
///
/// # Safety
/// As for read(2): `buf` is writable for `len` bytes.
pub unsafe fn buf_mut<'a>(buf: *mut c_void, len: size_t) -> IoSliceMut<'a> {
    if buf.is_null() || len == 0 {
        return IoSliceMut::new(&mut []);
    }
    // SAFETY: the caller's promise.
    IoSliceMut::new(unsafe { slice::from_raw_parts_mut(buf.cast(), len.min(MAX_RW)) })
}

/// The program's buffer to write from.
///
/// # Safety
/// As for write(2): `buf` is readable for `len` bytes.
pub unsafe fn buf<'a>(buf: *const c_void, len: size_t) -> IoSlice<'a> {
    if buf.is_null() || len == 0 {
        return IoSlice::new(&[]);
    }
    // SAFETY: the caller's promise.
    IoSlice::new(unsafe { slice::from_raw_parts(buf.cast(), len.min(MAX_RW)) })
}

/// The program's buffers to read into.
///
/// # Errors
/// `EFAULT`, `EINVAL` as the kernel has them: see [`check_iov`].
///
/// # Safety
/// As for readv(2): `count` is in range, and every entry names writable memory.
pub unsafe fn bufs_mut<'a>(iov: *const iovec, count: usize) -> Result<&'a mut [IoSliceMut<'a>]> {
    // SAFETY: the caller's promise; IoSliceMut has the layout of iovec. The layer does not write to the entries.
    unsafe {
        check_iov(iov, count)?;
        Ok(if count == 0 { &mut [] } else { slice::from_raw_parts_mut(iov.cast_mut().cast(), count) })
    }
}

/// The program's buffers to write from.
///
/// # Errors
/// As for [`bufs_mut`].
///
/// # Safety
/// As for writev(2): `count` is in range, and every entry names readable memory.
pub unsafe fn bufs<'a>(iov: *const iovec, count: usize) -> Result<&'a [IoSlice<'a>]> {
    // SAFETY: the caller's promise; IoSlice has the layout of iovec.
    unsafe {
        check_iov(iov, count)?;
        Ok(if count == 0 { &[] } else { slice::from_raw_parts(iov.cast(), count) })
    }
}

/// Refuses what cannot be a slice: `EFAULT` for no memory, `EINVAL` for lengths beyond what a call can return.
///
/// # Safety
/// `iov` is null or readable for `count` entries.
unsafe fn check_iov(iov: *const iovec, count: usize) -> Result<()> {
    if iov.is_null() {
        return if count == 0 { Ok(()) } else { Err(Errno(libc::EFAULT)) };
    }
    let mut total = 0_usize;
    // SAFETY: the caller's promise.
    for entry in unsafe { slice::from_raw_parts(iov, count) } {
        total =
            total.checked_add(entry.iov_len).filter(|len| *len <= isize::MAX as usize).ok_or(Errno(libc::EINVAL))?;
        if entry.iov_base.is_null() && entry.iov_len > 0 {
            return Err(Errno(libc::EFAULT));
        }
    }
    Ok(())
}

/// The sum of the lengths, for a call that leaves the memory alone.
///
/// # Safety
/// `iov` is null or readable for `count` entries.
pub unsafe fn iov_len(iov: *const iovec, count: usize) -> usize {
    if iov.is_null() {
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(iov, count) }.iter().fold(0, |sum, entry| entry.iov_len.saturating_add(sum))
}

/// Writes a peer's address where accept(2) has it: as much as fits, and the length it has.
///
/// # Safety
/// As for accept(2): `len`, unless `addr` is null, holds the room at `addr`.
pub unsafe fn put_addr(peer: &PeerAddr, addr: *mut sockaddr, len: *mut socklen_t) {
    if addr.is_null() || len.is_null() {
        return;
    }
    let bytes = peer.as_bytes();
    // SAFETY: the caller's promise; at most `*len` bytes are written.
    unsafe {
        let fits = bytes.len().min(*len as usize);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), addr.cast(), fits);
        *len = bytes.len() as socklen_t;
    }
}

/// A timeout in milliseconds, negative for ever.
pub fn millis(timeout: c_int) -> Option<Duration> {
    u64::try_from(timeout).ok().map(Duration::from_millis)
}

/// A timeout that may be absent, which is for ever. `Err` if it is no valid time: the kernel is to say so.
///
/// # Safety
/// `time` is null or readable.
pub unsafe fn timespec_of(time: *const timespec) -> std::result::Result<Option<Duration>, ()> {
    // SAFETY: the caller's promise.
    let Some(time) = (unsafe { time.as_ref() }) else {
        return Ok(None);
    };
    match (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec)) {
        (Ok(secs), Ok(nanos @ 0..1_000_000_000)) => Ok(Some(Duration::new(secs, nanos))),
        _ => Err(()),
    }
}

/// The same for select(2), whose microseconds may exceed a second.
///
/// # Safety
/// `time` is null or readable.
pub unsafe fn timeval_of(time: *const timeval) -> std::result::Result<Option<Duration>, ()> {
    // SAFETY: the caller's promise.
    let Some(time) = (unsafe { time.as_ref() }) else {
        return Ok(None);
    };
    match (u64::try_from(time.tv_sec), u64::try_from(time.tv_usec)) {
        (Ok(secs), Ok(micros)) => Ok(Some(Duration::from_secs(secs).saturating_add(Duration::from_micros(micros)))),
        _ => Err(()),
    }
}

/// A time as the kernel takes it.
pub fn to_timespec(time: Duration) -> timespec {
    timespec { tv_sec: time.as_secs().min(i64::MAX as u64) as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}
