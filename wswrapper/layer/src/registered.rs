//! What a program has registered with an epoll instance, as far as it is ours.
//!
//! The kernel knows a registration by the open file and the number that it was made under, epoll(7). A file that lives on under another
//! number keeps its registration, and a file that gets the number then has one of its own beside it.

use rustc_hash::FxHashMap;

use crate::slots::Slot;
use crate::sys::Fd;

/// The registrations of one instance. One stays after its descriptor was closed, as the kernel's own does while the connection lives on
/// elsewhere; the number's next registration takes its place.
#[derive(Default)]
pub struct Registered {
    /// The latest of each number.
    latest: FxHashMap<Fd, Registration>,
    /// Those whose places were taken, and whose files live on.
    displaced: Vec<(Fd, Registration)>,
}

/// One registration of the program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// What the descriptor stood for;
    pub target: Slot,
    /// and which use of that place it was, of 256: see [`crate::conn::Conn::use_count`].
    pub use_count: u8,
    /// What the program waits for;
    pub events: u32,
    /// and by what name.
    pub data: u64,
    /// As in the token; there is one of these for each connection, so it is kept small.
    pub generation: u16,
    /// It is a one-shot one, and its event was given.
    pub spent: bool,
}

impl Registered {
    /// The latest registration of each number.
    pub fn latest(&self) -> impl Iterator<Item = (Fd, Registration)> {
        self.latest.iter().map(|(fd, registration)| (*fd, *registration))
    }

    /// The latest registration of `fd`.
    pub fn get(&self, fd: Fd) -> Option<&Registration> {
        self.latest.get(&fd)
    }

    /// [`Registered::get`], to be changed.
    pub fn get_mut(&mut self, fd: Fd) -> Option<&mut Registration> {
        self.latest.get_mut(&fd)
    }

    /// The registration that was made under `fd` in that generation.
    #[inline(always)]
    pub fn find(&self, fd: Fd, generation: u32) -> Option<Registration> {
        match self.latest.get(&fd) {
            Some(latest) if u32::from(latest.generation) == generation => Some(*latest),
            _ => self.find_displaced(fd, generation),
        }
    }

    #[cold]
    fn find_displaced(&self, fd: Fd, generation: u32) -> Option<Registration> {
        let mut displaced = self.displaced.iter();
        displaced.find(|(number, r)| (*number, u32::from(r.generation)) == (fd, generation)).map(|(_, r)| *r)
    }

    /// A registration was made or changed. `lives` tells whether the file of another one does.
    pub fn insert(&mut self, fd: Fd, registration: Registration, lives: impl Fn(&Registration) -> bool) {
        let target = registration.target;
        let before = self.latest.insert(fd, registration);
        self.displaced.retain(|(number, other)| (*number, other.target) != (fd, target) && lives(other));
        if let Some(before) = before.filter(|before| before.target != target && lives(before)) {
            self.displaced.push((fd, before));
        }
    }

    /// The registration of `fd`, which stands for `target`, was taken back.
    pub fn remove(&mut self, fd: Fd, target: Slot) {
        match self.displaced.iter().position(|(number, other)| (*number, other.target) == (fd, target)) {
            Some(index) => drop(self.displaced.swap_remove(index)),
            None => drop(self.latest.remove(&fd)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(target: u32, generation: u16) -> Registration {
        let target = Slot::Conn(target);
        Registration { target, use_count: 0, events: 1, data: 0, generation, spent: false }
    }

    #[test]
    fn a_file_that_lives_on_keeps_its_registration() {
        let mut registered = Registered::default();
        registered.insert(7, registration(1, 1), |_| true);
        registered.insert(7, registration(2, 2), |_| true);
        assert_eq!(registered.find(7, 1), Some(registration(1, 1)));
        assert_eq!(registered.find(7, 2), Some(registration(2, 2)));
        assert_eq!((registered.find(7, 3), registered.find(8, 1)), (None, None));
        // The number names the first file again, and that is what is changed.
        registered.insert(7, registration(1, 3), |_| true);
        assert_eq!(registered.find(7, 1), None);
        assert_eq!(registered.find(7, 2), Some(registration(2, 2)));
        registered.remove(7, Slot::Conn(2));
        assert_eq!((registered.find(7, 2), registered.find(7, 3)), (None, Some(registration(1, 3))));
        registered.remove(7, Slot::Conn(1));
        assert_eq!(registered.latest().count(), 0);
    }

    #[test]
    fn a_file_that_is_gone_leaves_nothing() {
        let mut registered = Registered::default();
        for generation in 0..100 {
            registered.insert(7, registration(generation.into(), generation), |other| other.generation % 10 == 0);
        }
        assert_eq!(registered.displaced.len(), 10);
        registered.insert(8, registration(0, 500), |_| false);
        assert!(registered.displaced.is_empty());
        registered.insert(8, registration(0, 501), |_| true);
        assert!(registered.displaced.is_empty(), "a change displaces nothing");
    }
}
