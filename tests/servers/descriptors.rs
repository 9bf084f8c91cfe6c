//! What a server and its children hold open, as `/proc` shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use wstests::{Server, wait};

/// For each process of a server what it holds besides files: sockets, pipes, epoll instances, timers. Files are left out, for
/// programs keep some open by themselves, and no connection is one.
#[derive(Debug)]
pub(crate) struct Held(BTreeMap<u32, Vec<String>>);

impl Held {
    /// Waits until no process of the server has a connection of its port open, and looks.
    #[track_caller]
    pub fn when_idle(server: &Server) -> Self {
        wait::until("the server to have closed its connections", || {
            let held = Self::look(server.pid());
            held.connections(server.port()).is_empty().then_some(held)
        })
    }

    /// Leaves out the processes that were not there in `earlier`: they may not have all that they work with yet.
    pub fn of_those_in(mut self, earlier: &Self) -> Self {
        self.0.retain(|pid, _| earlier.0.contains_key(pid));
        self
    }

    /// Waits until the server is idle again and none of the processes that lived before holds more than it did.
    ///
    /// # Panics
    /// If that does not come true in time; with both views.
    #[track_caller]
    pub fn until_no_more(&self, server: &Server) {
        let mut last = None;
        let done = wait::within(wstests::TIMEOUT, || {
            let held = Self::look(server.pid());
            let same = held.connections(server.port()).is_empty()
                && held.0.iter().all(|(pid, links)| self.0.get(pid).is_none_or(|before| links.len() <= before.len()));
            last = Some(held);
            same.then_some(())
        });
        assert!(done.is_some(), "descriptors are left: {last:#?}\nbefore: {self:#?}");
    }

    fn look(root: u32) -> Self {
        Self(tree(root).into_iter().map(|pid| (pid, links(pid))).collect())
    }

    /// The descriptors that are connections of a server's port.
    fn connections(&self, port: u16) -> Vec<&str> {
        let sockets = sockets_of(port);
        self.0.values().flatten().map(String::as_str).filter(|&link| sockets.contains(link)).collect()
    }
}

/// A process and its descendants.
fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end between the two looks.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // proc(5): pid (name) state ppid; the name may hold anything.
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        if let Some(parent) = fields.split(' ').nth(1).and_then(|parent| parent.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut all = vec![root];
    let mut next = 0;
    while let Some(pid) = all.get(next) {
        all.extend(children.get(pid).into_iter().flatten().copied().collect::<Vec<_>>());
        next += 1;
    }
    all
}

fn links(pid: u32) -> Vec<String> {
    // One that has ended, or ends while it is looked at, holds nothing.
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let targets = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter_map(|target| target.to_str().map(str::to_owned)).filter(|target| !target.starts_with('/')).collect()
}

/// The connections of a local port as links of `/proc/PID/fd` name them.
fn sockets_of(port: u16) -> BTreeSet<String> {
    const LISTEN: &str = "0A";
    let mut sockets = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // A kernel without IPv6 has no table of it.
        let table = fs::read_to_string(table).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let &[_, local, _, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { continue };
            if state != LISTEN && local.ends_with(&format!(":{port:04X}")) {
                sockets.insert(format!("socket:[{inode}]"));
            }
        }
    }
    sockets
}
