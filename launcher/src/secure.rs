//! Would ld.so run a program in secure-execution mode, where it ignores `LD_PRELOAD` (ld.so(8))?
//!
//! The kernel decides by the ids before and after (`cap_bprm_creds_from_file` in security/commoncap.c): effective ids that
//! are not the real ones, or capabilities that a user other than root gains. Root that starts a set-uid-root program, a user
//! who starts a set-uid program of his own, and a program on a `nosuid` mount change nothing.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::sys::{self, Ids};

/// What a file asks for, and what the process that starts it may get.
#[derive(Clone, Copy, Debug)]
struct Case {
    mode: u32,
    owner: u32,
    group: u32,
    capabilities: FileCapabilities,
    ids: Ids,
    /// The mount has `nosuid`: nothing of the file counts.
    nosuid: bool,
    /// `PR_SET_NO_NEW_PRIVS`: no ids change, and no capabilities are gained.
    no_new_privs: bool,
}

/// What the attribute `security.capability` of a file holds (capabilities(7), "File capabilities").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCapabilities {
    /// The effective bit.
    pub effective: bool,
    /// There are permitted capabilities.
    pub permitted: bool,
}

impl FileCapabilities {
    /// Reads `struct vfs_cap_data` (linux/capability.h), of any revision: little-endian words, the first of which holds
    /// the flags, then permitted and inheritable by turns. Too short for that: none.
    pub fn parse(attribute: &[u8]) -> Self {
        let mut words = attribute.chunks_exact(4).filter_map(|word| Some(u32::from_le_bytes(word.try_into().ok()?)));
        let Some(magic) = words.next() else {
            return Self::default();
        };
        let (low, high) = (words.next(), words.nth(1));
        Self { effective: magic & 1 != 0, permitted: low.unwrap_or(0) | high.unwrap_or(0) != 0 }
    }
}

/// Why ld.so would ignore `LD_PRELOAD` in the program at `path`, and who could start it otherwise; `None` if it would not.
pub fn reason(path: &Path, meta: &Metadata) -> Option<(&'static str, &'static str)> {
    decide(Case {
        mode: meta.mode(),
        owner: meta.uid(),
        group: meta.gid(),
        capabilities: FileCapabilities::parse(&sys::attribute(path, c"security.capability")),
        ids: sys::ids(),
        nosuid: sys::is_nosuid(path),
        no_new_privs: sys::no_new_privs(),
    })
}

fn decide(case: Case) -> Option<(&'static str, &'static str)> {
    let Case { mode, owner, group, capabilities, ids, nosuid, no_new_privs } = case;
    // Without the group's execute bit, set-gid means something else (inode(7)).
    let set_gid = libc::S_ISGID | libc::S_IXGRP;
    let sets_ids = !nosuid && !no_new_privs;
    // Without new privileges nothing is gained, but the effective bit alone is enough for the kernel.
    let gains = !nosuid && (capabilities.effective || capabilities.permitted && !no_new_privs);
    if sets_ids && mode & libc::S_ISUID != 0 && owner != ids.uid {
        Some(("set-uid to another user", "that user"))
    } else if sets_ids && mode & set_gid == set_gid && group != ids.gid {
        Some(("set-gid to another group", "a user of that group"))
    } else if gains && ids.uid != 0 {
        Some(("it has file capabilities", "root"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secure_execution_is_foreseen() {
        let user = Ids { uid: 1000, gid: 1000, euid: 1000 };
        let root = Ids { uid: 0, gid: 0, euid: 0 };
        let effective = FileCapabilities { effective: true, permitted: true };
        let permitted = FileCapabilities { effective: false, permitted: true };
        let none = FileCapabilities::default();
        // Mode, owner and group, capabilities, who; then whether it is secure, and whether it still is with no_new_privs.
        let cases = [
            (0o755, (0, 0), none, user, false, false),
            (0o4755, (0, 0), none, user, true, false),
            (0o4755, (1000, 0), none, user, false, false),
            (0o4755, (0, 0), none, root, false, false),
            (0o4755, (1000, 0), none, root, true, false),
            (0o2755, (0, 0), none, user, true, false),
            (0o2755, (0, 1000), none, user, false, false),
            (0o2745, (0, 0), none, user, false, false),
            (0o755, (0, 0), effective, user, true, true),
            (0o755, (0, 0), permitted, user, true, false),
            (0o755, (0, 0), effective, root, false, false),
        ];
        for (mode, (owner, group), capabilities, ids, secure, still) in cases {
            let case = Case { mode, owner, group, capabilities, ids, nosuid: false, no_new_privs: false };
            assert_eq!(decide(case).is_some(), secure, "{case:?}");
            assert_eq!(decide(Case { no_new_privs: true, ..case }).is_some(), still, "{case:?}");
            assert_eq!(decide(Case { nosuid: true, ..case }), None, "{case:?}");
        }
    }

    #[test]
    fn the_attribute_is_read_as_the_kernel_reads_it() {
        let words =
            |words: &[u32]| FileCapabilities::parse(&words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>());
        let found = |effective, permitted| FileCapabilities { effective, permitted };
        assert_eq!(FileCapabilities::parse(&[]), found(false, false));
        assert_eq!(FileCapabilities::parse(&[1, 0]), found(false, false));
        assert_eq!(words(&[0x0200_0001, 1 << 13, 0, 0, 0]), found(true, true));
        assert_eq!(words(&[0x0200_0000, 1 << 13, 0, 0, 0]), found(false, true));
        assert_eq!(words(&[0x0200_0000, 0, 1 << 13, 0, 0]), found(false, false));
        assert_eq!(words(&[0x0300_0000, 0, 0, 1, 0, 1000]), found(false, true));
    }
}
