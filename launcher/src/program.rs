//! Finds the program as execvp(3) does, and tells before it starts whether the library can be loaded into it.
//!
//! A program that cannot load it would run all the same, with its port open and unwrapped: ld.so says little or nothing.
//! What cannot be read cannot be judged, and is left to the kernel and the loader.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::elf::{self, Elf};
use crate::failure::{Failure, shown};
use crate::script;
use crate::sys::{self, Ids};

/// What glibc searches when `PATH` is not set (confstr(3), `_CS_PATH`).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The file that `name` stands for: a name with a slash is a path, any other is looked up in `path`.
pub fn find(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Failure> {
    if name.is_empty() {
        return Err(Failure::not_found("the name of the program is empty: give a program after PORT".into()));
    }
    if name.as_bytes().contains(&b'/') {
        return Ok(name.into());
    }
    let mut refused = None;
    // An empty entry is the current directory, as in every shell.
    for dir in std::env::split_paths(path.unwrap_or(OsStr::new(DEFAULT_PATH))) {
        let candidate = if dir.as_os_str().is_empty() { Path::new(".").join(name) } else { dir.join(name) };
        if !candidate.is_file() {
            continue;
        }
        if sys::executable(&candidate) {
            return Ok(candidate);
        }
        refused.get_or_insert(candidate);
    }
    Err(match refused {
        Some(candidate) => not_executable(&candidate),
        None => Failure::not_found(format!("{}: not found in PATH: install it, or give its path", shown(name))),
    })
}

/// Checks that the program at `path` can start and load a library that is built for `library`; scripts are followed to
/// the program that runs them.
pub fn check(path: &Path, library: &Elf) -> Result<(), Failure> {
    let mut current = path.to_owned();
    for _ in 0..=script::NESTING {
        let meta = usable(&current)?;
        let Ok(mut file) = File::open(&current) else {
            return Ok(());
        };
        let mut head = Vec::with_capacity(script::HEAD);
        let whole = (&mut file).take(script::HEAD as u64).read_to_end(&mut head).and_then(|_| file.rewind());
        whole.map_err(|e| Failure::cannot_run(format!("{}: cannot read it: {e}", shown(&current))))?;
        if head.starts_with(elf::MAGIC) {
            return loads(&current, &meta, file, library);
        }
        let Some(script) = script::parse(&head) else {
            return Err(Failure::cannot_run(format!(
                "{}: neither an ELF program nor a script that begins with `#!`: name the program that runs it, as in \
                 `wswrap PORT sh FILE`",
                shown(&current)
            )));
        };
        let in_script = |interpreter: &OsStr, why: &str| {
            let what = format!("{}: its interpreter `{}` {why}", shown(&current), shown(interpreter));
            Failure::not_found(format!("{what}: install it, or correct the first line"))
        };
        current = match script.env_command() {
            Some(command) => {
                let path = std::env::var_os("PATH");
                find(command, path.as_deref()).map_err(|_| in_script(command, "is not in PATH"))?
            }
            None if script.interpreter.exists() => script.interpreter,
            None => return Err(in_script(script.interpreter.as_os_str(), "does not exist")),
        };
    }
    Err(Failure::cannot_run(format!(
        "{}: more than {} scripts that run each other: name the last interpreter itself",
        shown(path),
        script::NESTING
    )))
}

/// The line for a program that passed all checks and was refused by execve(2).
pub fn not_started(path: &Path, error: &io::Error) -> Failure {
    let line = format!("{}: cannot start it: {error}", shown(path));
    if error.kind() == io::ErrorKind::NotFound { Failure::not_found(line) } else { Failure::cannot_run(line) }
}

fn not_executable(path: &Path) -> Failure {
    Failure::cannot_run(format!(
        "{}: not executable: make it so with `chmod +x`, or name the program that runs it",
        shown(path)
    ))
}

/// A regular file that this process may execute.
fn usable(path: &Path) -> Result<Metadata, Failure> {
    let meta = fs::metadata(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Failure::not_found(format!("{}: no such file: check the path", shown(path))),
        _ => Failure::cannot_run(format!("{}: {e}: check the path", shown(path))),
    })?;
    if meta.is_dir() {
        return Err(Failure::cannot_run(format!("{}: a directory: name the program in it", shown(path))));
    }
    if !meta.is_file() {
        return Err(Failure::cannot_run(format!("{}: not a regular file: name a program", shown(path))));
    }
    if !sys::executable(path) {
        return Err(not_executable(path));
    }
    Ok(meta)
}

/// Can the ELF program in `file` load the library?
fn loads(path: &Path, meta: &Metadata, file: File, library: &Elf) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::cannot_run(format!("{}: {why}", shown(path))));
    let program = match elf::read(file) {
        Ok(program) => program,
        Err(why) => return refuse(format!("a damaged ELF file ({why}): install it again")),
    };
    if program.target != library.target {
        return refuse(format!(
            "built for {}, while libwswrapper.so is built for {}: use a program and a library of one kind",
            program.target, library.target
        ));
    }
    if !program.loadable {
        return refuse("an ELF file, but no program: name an executable".into());
    }
    if !program.interpreter {
        return refuse("statically linked, so no library can be loaded into it: use a dynamically linked build".into());
    }
    let owner = (meta.uid(), meta.gid());
    match secured(meta.mode(), owner, sys::has_capabilities(path), sys::ids()) {
        Some((what, who)) => {
            refuse(format!("{what}, so ld.so ignores LD_PRELOAD: start wswrap as {who}, or use a copy without"))
        }
        None => Ok(()),
    }
}

/// Why ld.so would run in secure-execution mode, where `LD_PRELOAD` is ignored (ld.so(8)), and as whom it would not;
/// `None` if it would not anyway. A set-uid program of one's own changes nothing, and root gains nothing by capabilities.
fn secured(
    mode: u32,
    (owner, group): (u32, u32),
    capabilities: bool,
    ids: Ids,
) -> Option<(&'static str, &'static str)> {
    // Without the group's execute bit, set-gid means something else (inode(7)).
    let set_gid = libc::S_ISGID | libc::S_IXGRP;
    if mode & libc::S_ISUID != 0 && owner != ids.uid {
        Some(("set-uid to another user", "that user"))
    } else if mode & set_gid == set_gid && group != ids.gid {
        Some(("set-gid to another group", "a user of that group"))
    } else if capabilities && ids.uid != 0 {
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
        let cases = [
            (0o755, (0, 0), false, user, false),
            (0o4755, (0, 0), false, user, true),
            (0o4755, (1000, 0), false, user, false),
            (0o4755, (0, 0), false, root, false),
            (0o4755, (1000, 0), false, root, true),
            (0o2755, (0, 0), false, user, true),
            (0o2755, (0, 1000), false, user, false),
            (0o2745, (0, 0), false, user, false),
            (0o755, (0, 0), true, user, true),
            (0o755, (0, 0), true, root, false),
        ];
        for (mode, owner, capabilities, ids, secure) in cases {
            let found = secured(mode, owner, capabilities, ids);
            assert_eq!(found.is_some(), secure, "{mode:o} {owner:?} {capabilities} {ids:?}: {found:?}");
        }
    }

    #[test]
    fn a_name_is_searched_for_and_a_path_is_taken() {
        let path = Some(OsStr::new("/nonexistent:/usr/bin:/bin"));
        assert_eq!(find(OsStr::new("env"), path), Ok("/usr/bin/env".into()));
        assert_eq!(find(OsStr::new("./no such"), path), Ok("./no such".into()));
        assert_eq!(find(OsStr::new("env"), None).map(|p| p.ends_with("env")), Ok(true));
        for missing in ["", "no-such-program-anywhere"] {
            assert_eq!(find(OsStr::new(missing), path).map_err(|e| e.status()), Err(127));
        }
    }
}
