//! What the hooks call for connections that leave the code we sit in.

use std::ffi::CStr;
use std::ptr;

use libc::{c_char, c_int, c_uint, cmsghdr, mmsghdr, msghdr, ssize_t};
use wslayer::Layer;
use wslayer::bridge::Why;
use wslayer::sys::Fd;

use crate::glue::{self, LAYER, call, errno, is_conn, set_errno};
use crate::hooks::next;
use crate::inherit;
use crate::kernel::Kernel;

/// The array of strings that C calls `char *const []`.
pub type Strings = *const *const c_char;

/// Something to be done with connections before the program does something else.
fn before(f: impl FnOnce(&Layer<Kernel>)) {
    if let Some(layer) = LAYER.get().filter(|layer| layer.is_in_use()) {
        // What fails is told in the log; the program's own call goes on.
        let _ = call(-1, || {
            f(layer);
            Ok(())
        });
    }
}

/// One of the exec functions, whose new program is to get the environment `envp`: `real` is given the one that it does get, and
/// returns if it fails.
///
/// # Safety
/// `envp` is null or an array of C strings that ends with null.
#[inline(never)]
pub unsafe fn exec(envp: Strings, real: impl FnOnce(Strings) -> c_int) -> c_int {
    let mut given = None;
    before(|layer| {
        // SAFETY: the caller's promise.
        let listed = unsafe { listed(envp) };
        layer.before_exec(listed);
        given = inherit::gives().then(|| layer.give_exec(listed));
    });
    // SAFETY: the caller's promise.
    let result = unsafe { inherit::carry(given.as_ref(), envp, real) };
    let errno = errno();
    before(|layer| {
        layer.after_failed_exec();
        given.iter().for_each(|given| layer.after_giving(given));
    });
    set_errno(errno);
    result
}

/// How many descriptors from 3 on the new program is told of: `LISTEN_FDS`, sd_listen_fds(3).
///
/// # Safety
/// As for [`exec`].
unsafe fn listed(envp: Strings) -> Fd {
    if envp.is_null() {
        return 0;
    }
    // SAFETY: the caller's promise: the array ends with null, and what stands before that are C strings.
    let mut strings = unsafe {
        (0..).map(|index| *envp.add(index)).take_while(|string| !string.is_null()).map(|string| CStr::from_ptr(string))
    };
    let count = strings.find_map(|string| string.to_bytes().strip_prefix(b"LISTEN_FDS="));
    count.and_then(|count| std::str::from_utf8(count).ok()?.parse::<u16>().ok()).map_or(0, Fd::from)
}

/// environ(7).
pub fn environ() -> Strings {
    unsafe extern "C" {
        static environ: Strings;
    }
    // SAFETY: the program's own variable, read as glibc's exec functions do.
    unsafe { environ }
}

/// posix_spawn(3), whose child is to get the environment `envp`: `real` is given the one that it does get.
///
/// # Safety
/// As for [`exec`].
#[inline(never)]
pub unsafe fn spawn(envp: Strings, real: impl FnOnce(Strings) -> c_int) -> c_int {
    let mut given = None;
    before(|layer| {
        layer.before_spawn();
        given = inherit::gives().then(|| layer.give_spawn());
    });
    // SAFETY: the caller's promise.
    let result = unsafe { inherit::carry(given.as_ref(), envp, real) };
    before(|layer| given.iter().for_each(|given| layer.after_giving(given)));
    result
}

/// vfork(2): the child finds what is ready to be accepted, and has no descriptors but its own to make something ready for it.
pub extern "C" fn before_vfork() {
    before(Layer::before_vfork);
}

/// system(3), popen(3).
#[inline(never)]
pub fn before_spawn() {
    before(Layer::before_spawn);
}

/// posix_spawn_file_actions_adddup2(3): a descriptor that a child is to get under a number of its choice is meant for it.
#[inline(never)]
pub fn before_spawn_with(fd: c_int) {
    if is_conn(fd) {
        before(|layer| layer.before_passing(fd, Why::Spawn));
    } else {
        before(|layer| layer.meant_for_child(fd));
    }
}

/// prctl(2) `PR_SET_SECCOMP`, seccomp(2).
#[inline(never)]
pub fn before_sandbox() {
    // Also where there is no connection yet: a wait must not look at what it waits for any more.
    if let Some(layer) = LAYER.get() {
        let _ = call(-1, || {
            layer.before_sandbox();
            Ok(())
        });
    }
}

/// Whether a message has control data.
///
/// # Safety
/// As for sendmsg(2); a null `msg` is the kernel's to refuse.
#[inline(always)]
pub unsafe fn has_control(msg: *const msghdr) -> bool {
    // SAFETY: the caller's promise.
    unsafe { msg.as_ref() }.is_some_and(|msg| msg.msg_controllen > 0)
}

/// sendmsg(2) of a message with control data.
///
/// # Safety
/// As for sendmsg(2), which `real` is.
#[cold]
#[inline(never)]
pub unsafe extern "C" fn sendmsg(
    fd: c_int,
    msg: *const msghdr,
    flags: c_int,
    real: unsafe extern "C" fn(c_int, *const msghdr, c_int) -> ssize_t,
) -> ssize_t {
    // SAFETY: the caller's promise. The real call is the last thing here: a thread may be cancelled in it.
    unsafe {
        before_sendmsg(msg);
        real(fd, msg, flags)
    }
}

/// Descriptors in the control data of a message go to another process, unix(7).
///
/// # Safety
/// As for sendmsg(2), with `msg` null or a message: the control data, unless null, is readable for its length.
#[inline(never)]
pub unsafe fn before_sendmsg(msg: *const msghdr) {
    // SAFETY: the caller's promise; the macros of cmsg(3) stay within the control data.
    let Some(msg) = (unsafe { msg.as_ref() }).filter(|msg| !msg.msg_control.is_null()) else { return };
    // SAFETY: as above.
    let mut header: *const cmsghdr = unsafe { libc::CMSG_FIRSTHDR(msg) };
    // SAFETY: as above: a header that CMSG_FIRSTHDR or CMSG_NXTHDR yields is within the control data.
    while let Some(cmsg) = unsafe { header.as_ref() } {
        let end = msg.msg_control as usize + msg.msg_controllen;
        // SAFETY: as above.
        let data: *const c_int = unsafe { libc::CMSG_DATA(cmsg) }.cast();
        let len = (cmsg.cmsg_len).min(end - ptr::from_ref(cmsg) as usize);
        let bytes = len.saturating_sub(data as usize - ptr::from_ref(cmsg) as usize);
        if (cmsg.cmsg_level, cmsg.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            for index in 0..bytes / size_of::<c_int>() {
                // SAFETY: within the control data by the length checked; it may stand at any address.
                let fd = unsafe { data.add(index).read_unaligned() };
                if is_conn(fd) {
                    before(|layer| layer.before_passing(fd, Why::Passed));
                }
            }
        }
        if cmsg.cmsg_len < size_of::<cmsghdr>() {
            break;
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(msg, cmsg) };
    }
}

/// The same for each of the messages of sendmmsg(2).
///
/// # Safety
/// As for sendmmsg(2); a null `messages` is the kernel's to refuse.
#[inline(always)]
pub unsafe fn before_sendmmsg(messages: *const mmsghdr, n: c_uint) {
    if messages.is_null() {
        return;
    }
    // The kernel takes no more than this at a time.
    for index in 0..(n as usize).min(glue::MAX_IOV) {
        // SAFETY: the caller's promise: there are `n` messages.
        unsafe {
            let message = &raw const (*messages.add(index)).msg_hdr;
            if has_control(message) {
                before_sendmsg(message);
            }
        }
    }
}

/// The arguments of a variadic function: those in registers, then those that the caller has on its stack.
#[derive(Clone, Copy)]
struct Arguments {
    registers: *const *const c_char,
    stack: *const *const c_char,
}

/// How many arguments are in registers.
#[cfg(target_arch = "x86_64")]
const REGISTERS: usize = 6;
#[cfg(target_arch = "aarch64")]
const REGISTERS: usize = 8;

/// Arguments that need no allocation: a vfork(2) child should not make one.
const USUAL: usize = 128;

impl Arguments {
    /// The argument at `index`.
    ///
    /// # Safety
    /// The caller of the variadic function has passed so many.
    unsafe fn get(self, index: usize) -> *const c_char {
        // SAFETY: the caller's promise.
        unsafe {
            match index.checked_sub(REGISTERS) {
                None => *self.registers.add(index),
                Some(index) => *self.stack.add(index),
            }
        }
    }

    /// Calls `f` with the first argument, the array of those from the second to the one that is null, and the one behind that.
    ///
    /// # Safety
    /// As execl(3) has it: one of the arguments is null; `f` makes nothing of the last unless it was passed.
    unsafe fn split(self, f: impl FnOnce(*const c_char, *const *const c_char, usize) -> c_int) -> c_int {
        // SAFETY: the caller's promise.
        unsafe {
            let path = self.get(0);
            let count = (1..).take_while(|index| !self.get(*index).is_null()).count();
            let mut usual = [ptr::null(); USUAL];
            let mut many = Vec::new();
            let argv = if count < USUAL {
                &mut usual[..]
            } else {
                many.resize(count + 1, ptr::null());
                &mut many[..]
            };
            for (index, place) in argv.iter_mut().take(count).enumerate() {
                *place = self.get(index + 1);
            }
            f(path, argv.as_ptr(), count + 2)
        }
    }
}

/// execl(3).
///
/// # Safety
/// `registers` and `stack` hold the arguments, as execl(3) has them.
pub unsafe extern "C" fn execl(registers: *const *const c_char, stack: *const *const c_char) -> c_int {
    let env = environ();
    // SAFETY: the caller's promise.
    unsafe {
        let run = |path, argv, _| exec(env, |envp| next::execve(path, argv, envp));
        Arguments { registers, stack }.split(run)
    }
}

/// execlp(3).
///
/// # Safety
/// As for [`execl`].
pub unsafe extern "C" fn execlp(registers: *const *const c_char, stack: *const *const c_char) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        let run = |file, argv, _| exec(environ(), |envp| next::execvpe(file, argv, envp));
        Arguments { registers, stack }.split(run)
    }
}

/// execle(3): the environment stands behind the null.
///
/// # Safety
/// As for [`execl`].
pub unsafe extern "C" fn execle(registers: *const *const c_char, stack: *const *const c_char) -> c_int {
    let arguments = Arguments { registers, stack };
    // SAFETY: the caller's promise.
    unsafe {
        arguments.split(|path, argv, behind| exec(arguments.get(behind).cast(), |envp| next::execve(path, argv, envp)))
    }
}
