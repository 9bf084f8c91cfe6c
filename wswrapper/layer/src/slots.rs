//! What is known of each descriptor number, and the objects behind the numbers.
//!
//! Invariant 4: a number that is not ours costs one atomic load. A slot is one word per possible descriptor; the
//! objects live in [`Pool`]s whose memory is never given back, so a reader needs no lock to reach one: it takes a
//! reference, then looks whether the slot still names the object.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

use once_cell::race::OnceBox;

use crate::sys::Fd;
use wslock::{Mutex, MutexGuard};

/// How many descriptor numbers are tracked: Linux's default `fs.nr_open`. No wrapped connection gets a higher number.
pub const MAX_FDS: usize = 1 << 20;

/// What a descriptor number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Nobody has looked yet.
    Unknown,
    /// Looked at while waiting: no listening socket of ours.
    Plain,
    /// A listening socket, but not on a port of ours.
    OtherListener,
    /// A descriptor of the library's own; the program must not know it.
    Private,
    /// A wrapped connection in the pool of connections.
    Conn(u32),
    /// A wrapped listening socket in the pool of listeners.
    Listener(u32),
    /// An epoll instance in the pool of those.
    Epoll(u32),
}

impl Slot {
    fn pack(self) -> u32 {
        match self {
            Slot::Unknown => 0,
            Slot::Plain => 4,
            Slot::OtherListener => 8,
            Slot::Private => 12,
            Slot::Conn(index) => index << 2 | 1,
            Slot::Listener(index) => index << 2 | 2,
            Slot::Epoll(index) => index << 2 | 3,
        }
    }

    fn unpack(word: u32) -> Self {
        match (word & 3, word >> 2) {
            (1, index) => Slot::Conn(index),
            (2, index) => Slot::Listener(index),
            (3, index) => Slot::Epoll(index),
            (_, 1) => Slot::Plain,
            (_, 2) => Slot::OtherListener,
            (_, 3) => Slot::Private,
            (_, _) => Slot::Unknown,
        }
    }
}

/// The slots of all descriptor numbers.
#[derive(Clone, Copy, Debug)]
pub struct Slots(&'static [AtomicU32]);

impl Slots {
    /// `words` must be zero and used for nothing else.
    pub const fn new(words: &'static [AtomicU32]) -> Self {
        Slots(words)
    }

    /// What `fd` stands for. Numbers out of range are never ours.
    #[inline]
    pub fn get(self, fd: Fd) -> Slot {
        match self.word(fd) {
            Some(word) => Slot::unpack(word.load(Ordering::Acquire)),
            None => Slot::Plain,
        }
    }

    /// Whether `fd` is a wrapped connection: the one question of the data calls.
    #[inline]
    pub fn is_conn(self, fd: Fd) -> bool {
        self.word(fd).is_some_and(|word| word.load(Ordering::Acquire) & 3 == 1)
    }

    /// Whether `fd` is the wrapped connection at `index`.
    #[inline(always)]
    pub fn is_conn_at(self, fd: Fd, index: u32) -> bool {
        self.word(fd).is_some_and(|word| word.load(Ordering::Acquire) == Slot::Conn(index).pack())
    }

    /// Stores `slot` and returns what was there; `None` if the number is out of range.
    pub fn replace(self, fd: Fd, slot: Slot) -> Option<Slot> {
        self.word(fd).map(|word| Slot::unpack(word.swap(slot.pack(), Ordering::AcqRel)))
    }

    /// Stores `new` if `current` is still there.
    pub fn exchange(self, fd: Fd, current: Slot, new: Slot) -> bool {
        self.word(fd).is_some_and(|word| {
            word.compare_exchange(current.pack(), new.pack(), Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }

    #[inline]
    fn word(self, fd: Fd) -> Option<&'static AtomicU32> {
        self.0.get(fd as usize)
    }
}

/// Objects of a chunk. Small, so that a program with one connection pays for few.
const CHUNK: usize = 64;

struct Entry<T> {
    /// 0: free. Else 1 for the table (while any descriptor names it) plus the references in use.
    refs: AtomicU32,
    /// Where it is in the pool.
    index: u32,
    value: T,
}

/// Objects that are made together, when the first of them is needed.
type Chunk<T> = [Entry<T>; CHUNK];

/// Reusable objects at stable places.
pub struct Pool<T> {
    chunks: Box<[OnceBox<Chunk<T>>]>,
    free: Mutex<Free>,
}

/// Which indices can be given out.
pub struct Free {
    recycled: Vec<u32>,
    /// Indices from here on have never been used.
    fresh: u32,
}

/// A reference to an object in a pool; the object is not reused while it lives. Two words, which a function returns in
/// registers.
pub struct Ref<'a, T: Recycle> {
    pool: &'a Pool<T>,
    entry: &'a Entry<T>,
}

/// An object that can be used again.
pub trait Recycle: Default {
    /// Drops what the object holds, under each of its locks. Called when the last reference is gone.
    fn recycle(&self);
}

impl<T: Recycle> Pool<T> {
    /// An empty pool for up to `capacity` objects (rounded up to whole chunks).
    pub fn new(capacity: usize) -> Self {
        let chunks = (0..capacity.div_ceil(CHUNK)).map(|_| OnceBox::new()).collect();
        Pool { chunks, free: Mutex::new(Free { recycled: Vec::new(), fresh: 0 }) }
    }

    /// Takes a free object. The caller's reference is the table's: see [`Ref::keep`]. `None` when the pool is
    /// exhausted.
    pub fn allocate(&self) -> Option<Ref<'_, T>> {
        let index = {
            let mut free = self.free.lock();
            match free.recycled.pop() {
                Some(index) => index,
                None => {
                    let index = free.fresh;
                    self.make_chunk(index)?;
                    free.fresh += 1;
                    index
                }
            }
        };
        let entry = self.entry(index)?;
        entry.refs.store(1, Ordering::Release);
        Some(Ref { pool: self, entry })
    }

    /// A reference to the object at `index`, if it is in use.
    #[inline(always)]
    pub fn acquire(&self, index: u32) -> Option<Ref<'_, T>> {
        let entry = self.entry(index)?;
        entry
            .refs
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |refs| (refs > 0).then_some(refs + 1))
            .ok()
            .map(|_| Ref { pool: self, entry })
    }

    /// The object at `index` without a reference, for who holds one of its locks meanwhile. It may be another one's before the lock is
    /// taken, so whether a slot still names it is to be asked then; it is not reused as long as the lock is held, for
    /// [`Recycle::recycle`] takes it too.
    #[inline(always)]
    pub fn unreferenced(&self, index: u32) -> Option<&T> {
        self.entry(index).map(|entry| &entry.value)
    }

    /// Gives up the table's reference to `index`.
    pub fn release(&self, index: u32) {
        if let Some(entry) = self.entry(index) {
            drop(Ref { pool: self, entry });
        }
    }

    /// Whether `object`, to which the caller has a reference, is the one at `index`.
    #[inline(always)]
    pub fn is_at(&self, index: u32, object: &T) -> bool {
        self.entry(index).is_some_and(|entry| std::ptr::eq(&raw const entry.value, object))
    }

    /// References to all objects in use.
    pub fn in_use(&self) -> impl Iterator<Item = Ref<'_, T>> {
        let used = self.free.lock().fresh;
        (0..used).filter_map(|index| self.acquire(index))
    }

    /// The pool's own lock, for fork(2).
    pub fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock()
    }

    /// The last reference to `entry` is gone.
    #[cold]
    #[inline(never)]
    fn recycle(&self, entry: &Entry<T>) {
        entry.value.recycle();
        self.free.lock().recycled.push(entry.index);
    }

    fn make_chunk(&self, index: u32) -> Option<()> {
        let chunk = index as usize / CHUNK;
        let first = (chunk * CHUNK) as u32;
        let make = || {
            let entry = |index| Entry { refs: AtomicU32::new(0), index, value: T::default() };
            // By way of a Vec: an array would be put together on the stack, which may be small.
            (first..).take(CHUNK).map(entry).collect::<Vec<_>>().into_boxed_slice().try_into().map_err(drop)
        };
        self.chunks.get(chunk)?.get_or_try_init(make).ok().map(drop)
    }

    #[inline(always)]
    fn entry(&self, index: u32) -> Option<&Entry<T>> {
        self.chunks.get(index as usize / CHUNK)?.get()?.get(index as usize % CHUNK)
    }
}

impl<'a, T: Recycle> Ref<'a, T> {
    /// The object, whose memory lives as long as the pool's.
    pub fn get(&self) -> &'a T {
        &self.entry.value
    }

    /// Where the object is: what a [`Slot`] names it by.
    pub fn index(&self) -> u32 {
        self.entry.index
    }

    /// Leaves this reference to the table; [`Pool::release`] ends it.
    pub fn keep(self) -> u32 {
        let index = self.index();
        std::mem::forget(self);
        index
    }
}

impl<T: Recycle> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.entry.value
    }
}

impl<T: Recycle> Drop for Ref<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.entry.refs.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.pool.recycle(self.entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[derive(Default)]
    struct Thing(AtomicBool);

    impl Recycle for Thing {
        fn recycle(&self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn every_slot_survives_its_word() {
        for slot in [
            Slot::Unknown,
            Slot::Plain,
            Slot::OtherListener,
            Slot::Private,
            Slot::Conn(0),
            Slot::Conn(MAX_FDS as u32),
            Slot::Listener(7),
            Slot::Epoll(1),
        ] {
            assert_eq!(Slot::unpack(slot.pack()), slot);
        }
    }

    #[test]
    fn a_number_out_of_range_is_never_ours() {
        let slots = Slots::new(Box::leak(Box::new([const { AtomicU32::new(0) }; 4])));
        assert_eq!(slots.get(-1), Slot::Plain);
        assert_eq!(slots.get(4), Slot::Plain);
        assert_eq!(slots.replace(4, Slot::Private), None);
        assert!(!slots.is_conn(-1));
    }

    #[test]
    fn an_object_is_reused_only_when_the_last_reference_is_gone() {
        let pool = Pool::<Thing>::new(100);
        let index = pool.allocate().unwrap().keep();
        let held = pool.acquire(index).unwrap();
        pool.release(index);
        assert!(!held.0.load(Ordering::Relaxed));
        assert_ne!(pool.allocate().unwrap().keep(), index);
        drop(held);
        assert!(pool.acquire(index).is_none());
        assert_eq!(pool.allocate().unwrap().index(), index);
    }
}
