//! The hooks: one for each libc function that is interposed, in the order of `docs/hooks.md`.
//!
//! Each is one expression: the layer's call, in [`crate::ours`], for a descriptor that concerns us, else the real call. That
//! takes one atomic load, and both calls are the last thing that the hook does, so that the compiler makes them jumps: a
//! frame of our own would cost every read of the program several times what the load does.

// SAFETY, for every `unsafe` below: a hook passes on the arguments that the program gave to the function of that name,
// unchanged, so the program has made the promises that the function asks for.
#![allow(clippy::undocumented_unsafe_blocks, reason = "one reason holds for all hooks, and is written above")]

/// A hook, and `next()` for the real function behind it.
///
/// redhook finds the real function (`real!`), by way of a check for the first call that takes a stack frame; `next()` is
/// a pointer that is first a function which asks redhook, and then what redhook said.
macro_rules! interpose {
    (unsafe fn $name:ident ( $($arg:ident : $type:ty),* ) -> $result:ty => $hook:ident $body:block) => {
        hook! { unsafe fn $name($($arg: $type),*) -> $result => $hook $body }

        impl $name {
            #[inline(always)]
            fn next(&self) -> unsafe extern "C" fn($($type),*) -> $result {
                unsafe { std::mem::transmute(self.place().load(std::sync::atomic::Ordering::Relaxed)) }
            }

            #[inline(always)]
            fn place(&self) -> &'static std::sync::atomic::AtomicPtr<std::ffi::c_void> {
                use std::ffi::c_void;
                use std::sync::atomic::AtomicPtr;
                unsafe extern "C" fn first($($arg: $type),*) -> $result {
                    $name.resolve();
                    unsafe { real!($name)($($arg),*) }
                }
                static NEXT: AtomicPtr<c_void> = AtomicPtr::new(first as *const c_void as *mut c_void);
                &NEXT
            }

            fn resolve(&self) {
                // redhook panics on a symbol that libc lacks, and then nobody can call it.
                if let Ok(real) = std::panic::catch_unwind(|| real!($name)) {
                    self.place().store(real as *mut std::ffi::c_void, std::sync::atomic::Ordering::Relaxed);
                }
            }
        }
    };
}

/// Looks up the real function behind each hook of a module while that is safe: not in a signal handler, not after vfork(2).
macro_rules! resolve {
    ($($name:ident)*) => {
        pub fn resolve() {
            $( $name.resolve(); )*
        }
    };
}

mod addresses;
mod descriptors;
mod listening;
mod numbers;
mod options;
mod processes;
mod raw;
mod reading;
mod sharing;
mod signals;
mod stdio;
mod waiting;
mod writing;

pub use processes::next;
pub use signals::next_sigaction;

/// Looks up every real function.
pub fn resolve() {
    addresses::resolve();
    descriptors::resolve();
    listening::resolve();
    numbers::resolve();
    options::resolve();
    processes::resolve();
    raw::resolve();
    reading::resolve();
    sharing::resolve();
    signals::resolve();
    stdio::resolve();
    waiting::resolve();
    writing::resolve();
}
