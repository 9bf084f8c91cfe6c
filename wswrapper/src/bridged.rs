//! What the hooks call for a socket that stands for a connection which has been bridged. Nothing is remembered of it: the name of the other
//! end tells, so that it is the same in whatever program has the socket ([`wslayer::bridged`]).

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::slice;

use libc::{c_int, c_void, sockaddr, sockaddr_un, socklen_t};
use wslayer::bridged::question::{LONGEST, Message, Question, decode_answer};
use wslayer::bridged::{Addresses, Name};
use wslayer::sys::{Fd, PeerAddr};

use crate::glue::{self, LAYER, errno, set_errno};
use crate::passing;

/// getpeername(2) and getsockname(2), of which `real` makes the plain call.
///
/// # Safety
/// As for getpeername(2).
#[inline(never)]
pub unsafe fn address(
    fd: c_int,
    addr: *mut sockaddr,
    len: *mut socklen_t,
    which: fn(&Addresses) -> SocketAddr,
    real: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: the caller's promise; the kernel refuses null.
    let room = unsafe { len.as_ref() }.copied();
    let result = real();
    let (0, Some(room @ 2..), false) = (result, room, addr.is_null()) else { return result };
    // SAFETY: the kernel has written the family where it succeeded and there is room for it.
    if unsafe { addr.cast::<libc::sa_family_t>().read_unaligned() } != libc::AF_UNIX as libc::sa_family_t {
        return result;
    }
    if let Some(addresses) = bridged(fd) {
        // SAFETY: the caller's promise: `addr` has `room` bytes.
        unsafe {
            *len = room;
            glue::put_addr(&PeerAddr::from(which(&addresses)), addr, len);
        }
    }
    result
}

/// getsockopt(2), which came to `result`: a bridged connection is TCP to who asks for its kind, and its companion tells of options of TCP
/// and IP.
///
/// # Safety
/// As for getsockopt(2).
#[inline(never)]
pub unsafe fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
    result: c_int,
) -> c_int {
    let of_unix = (level, result) == (libc::SOL_SOCKET, 0) && matches!(name, libc::SO_DOMAIN | libc::SO_PROTOCOL);
    let of_internet = result != 0 && is_of_internet(level) && errno() == libc::EOPNOTSUPP;
    if !of_unix && !of_internet {
        return result;
    }
    let before = errno();
    // What the kernel checks of the arguments it checks behind the kind of the socket.
    // SAFETY: the caller's promise.
    let room = match unsafe { len.as_ref() } {
        Some(len) if len.cast_signed() < 0 => Err(libc::EINVAL),
        Some(len) if !value.is_null() || *len == 0 => Ok(*len as usize),
        Some(_) | None => Err(libc::EFAULT),
    };
    let mut answer = [0; Message::MAX];
    let told = match bridged(fd) {
        None => None,
        Some(_) if of_internet && let Err(error) = room => Some(Err(error)),
        Some(addresses) if of_unix => {
            let (domain, protocol) = (family(&addresses), libc::IPPROTO_TCP);
            let told = if name == libc::SO_DOMAIN { domain } else { protocol }.to_ne_bytes();
            answer.first_chunk_mut().map(|place| *place = told).map(|()| Ok(told.len()))
        }
        Some(_) => ask(fd, Question::Get { level, name, room: room.unwrap_or(0) }, &mut answer).or_else(|| {
            // The companion has it on.
            let (on, nodelay) = (1_i32.to_ne_bytes(), (level, name) == (libc::IPPROTO_TCP, libc::TCP_NODELAY));
            answer.first_chunk_mut().filter(|_| nodelay).map(|place| *place = on).map(|()| Ok(on.len()))
        }),
    };
    match told {
        Some(Ok(told)) => {
            let told = answer.get(..told.min(room.unwrap_or(0))).unwrap_or_default();
            // SAFETY: there is room for so many bytes, and the length was read above.
            unsafe {
                value.cast::<u8>().copy_from_nonoverlapping(told.as_ptr(), told.len());
                *len = told.len() as socklen_t;
            }
            0
        }
        Some(Err(error)) => refused(error),
        None => {
            set_errno(before);
            result
        }
    }
}

/// setsockopt(2), which came to `result`: what a program asks of TCP or IP its companion does. Where that does not answer,
/// it is granted and does nothing, as most programs take such an option for a hint.
///
/// # Safety
/// As for setsockopt(2).
#[inline(never)]
pub unsafe fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: socklen_t,
    result: c_int,
) -> c_int {
    let before = errno();
    if result == 0 || !is_of_internet(level) || before != libc::EOPNOTSUPP || bridged(fd).is_none() {
        return result;
    }
    let value: &[u8] = match len.cast_signed() {
        ..0 => return refused(libc::EINVAL),
        1.. if value.is_null() => return refused(libc::EFAULT),
        0 => &[],
        // No option is longer; the kernel looks at the front as well.
        // SAFETY: the caller's promise.
        _ => unsafe { slice::from_raw_parts(value.cast(), (len as usize).min(LONGEST)) },
    };
    match ask(fd, Question::Set { level, name, value }, &mut [0; Message::MAX]) {
        Some(Err(error)) => refused(error),
        Some(Ok(_)) | None => 0,
    }
}

/// What C returns of a call that failed with `error`.
fn refused(error: c_int) -> c_int {
    set_errno(error);
    -1
}

/// Whether options of this level are those of the client's socket.
fn is_of_internet(level: c_int) -> bool {
    matches!(level, libc::IPPROTO_TCP | libc::IPPROTO_IP | libc::IPPROTO_IPV6)
}

fn family(addresses: &Addresses) -> c_int {
    match addresses.peer {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    }
}

/// Asks the companion at the other end of `fd`. Returns how long the value is that stands in front in `answer`, or errno; `None` if it does
/// not answer. In a sandbox it is not asked: that would take other system calls than the program's own.
fn ask(fd: Fd, question: Question<'_>, answer: &mut [u8; Message::MAX]) -> Option<Result<usize, c_int>> {
    LAYER.get().filter(|layer| !layer.is_sandboxed())?;
    let mut message = [0; Message::MAX];
    let len = passing::ask(name(fd)?.of_questions().as_bytes(), question.encode()?.as_slice(), &mut message).ok()?;
    Some(decode_answer(message.get(..len)?)?.map(|value| {
        answer.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
        value.len()
    }))
}

/// The addresses of the connection that `fd` stands for, if it is the program's end of a bridge.
fn bridged(fd: Fd) -> Option<Addresses> {
    Addresses::parse(name(fd)?.as_bytes())
}

/// The name of the companion's end, if `fd` is the program's end of a bridge. It is believed if it was made by this user or by root, since anybody can take such a name.
fn name(fd: Fd) -> Option<Name> {
    LAYER.get()?;
    let mut addr = MaybeUninit::<sockaddr_un>::zeroed();
    let mut len = size_of::<sockaddr_un>() as socklen_t;
    let mut maker = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut maker_len = size_of::<libc::ucred>() as socklen_t;
    use syscalls::{Sysno, syscall};
    // SAFETY: `addr` and `maker` have room for the bytes that their lengths say.
    unsafe {
        syscall!(Sysno::getpeername, fd, addr.as_mut_ptr(), &raw mut len).ok()?;
        let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
        syscall!(Sysno::getsockopt, fd, level, name, &raw mut maker, &raw mut maker_len).ok()?;
    }
    // SAFETY: the storage was zeroed, so all of it is initialized.
    let addr = unsafe { addr.assume_init() };
    // SAFETY: no memory is involved.
    let own = unsafe { libc::geteuid() };
    if c_int::from(addr.sun_family) != libc::AF_UNIX || (maker.uid != 0 && maker.uid != own) {
        return None;
    }
    let len = (len as usize).checked_sub(std::mem::offset_of!(sockaddr_un, sun_path))?;
    let (zero, name) = addr.sun_path.get(..len)?.split_first()?;
    let mut bytes = [0; size_of::<sockaddr_un>()];
    for (to, from) in bytes.iter_mut().zip(name) {
        [*to] = from.to_ne_bytes();
    }
    if *zero == 0 { Name::parse(bytes.get(..name.len())?) } else { None }
}
