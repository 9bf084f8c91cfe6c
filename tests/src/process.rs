//! What a running process uses: looked up in `/proc`, proc(5).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::wait;

/// A process, by its number.
#[derive(Clone, Copy, Debug)]
pub struct Process(u32);

/// For how long [`Process::await_rest`] looks at a time.
const LOOK: Duration = Duration::from_secs(1);

/// What a process at rest may use of it: a few wake-ups, and nothing that goes on.
const REST: Duration = Duration::from_millis(50);

impl Process {
    /// The process `pid`.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        Self(pid)
    }

    fn path(self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.0))
    }

    fn read(self, file: &str) -> String {
        let path = self.path(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Whether it has ended. Its parent need not have taken note: a container's first process may not care for orphans.
    #[must_use]
    pub fn has_ended(self) -> bool {
        let stat = fs::read_to_string(self.path("stat")).unwrap_or_default();
        state(&stat).is_none_or(|state| matches!(state, 'Z' | 'X'))
    }

    /// Waits until each of its threads waits for something.
    ///
    /// # Panics
    /// If that does not come.
    #[track_caller]
    pub fn await_sleep(self) {
        wait::until("sleep", || {
            let tasks = fs::read_dir(self.path("task")).ok()?;
            let stats = tasks.map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
            stats.into_iter().all(|stat| stat.is_some_and(|stat| state(&stat) == Some('S'))).then_some(())
        });
    }

    /// How many descriptors it has.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn descriptors(self) -> usize {
        let path = self.path("fd");
        fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).count()
    }

    /// The memory in bytes that is there because of it, shared memory in proportion. Without the pages of files, whose share
    /// grows when another program ends that has the same library.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn memory(self) -> usize {
        let rollup = self.read("smaps_rollup");
        let kib = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{rollup}"));
            let number = line.trim().trim_end_matches(" kB");
            number.parse::<usize>().unwrap_or_else(|error| panic!("{line}: {error}"))
        };
        (kib("Pss:") - kib("Pss_File:")) * 1024
    }

    /// The processor time that it has used, user and system.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn time(self) -> Duration {
        // The name in parentheses may hold anything; utime and stime are the 12th and 13th field behind it.
        let stat = self.read("stat");
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let ticks: u64 =
            fields.map(|field| field.parse::<u64>().unwrap_or_else(|error| panic!("{stat}: {error}"))).sum();
        // USER_HZ is 100 on every architecture that Debian has.
        Duration::from_millis(ticks * 10)
    }

    /// Waits until it has `count` descriptors, as it had before.
    ///
    /// # Panics
    /// If it does not get there in time.
    #[track_caller]
    pub fn await_descriptors(self, count: usize) {
        let mut last = 0;
        let there = wait::within(wait::TIMEOUT, || {
            last = self.descriptors();
            (last == count).then_some(())
        });
        assert!(there.is_some(), "{last} descriptors, not {count}");
    }

    /// Waits until it is at rest: a while in which it uses no processor time to speak of. What is under way with the kernel may
    /// come first: connections that their clients have given up, which are shown to it a second later.
    ///
    /// # Panics
    /// If it does not come to rest in time.
    #[track_caller]
    pub fn await_rest(self) {
        let mut used = Duration::MAX;
        let rested = wait::within(wait::TIMEOUT, || {
            let before = self.time();
            wait::within::<()>(LOOK, || None);
            used = self.time() - before;
            (used <= REST).then_some(())
        });
        assert!(rested.is_some(), "{used:?} of processor time in {LOOK:?}, and no rest");
    }
}

/// What a process or thread does at the moment: the field behind its name, which may hold anything.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}
