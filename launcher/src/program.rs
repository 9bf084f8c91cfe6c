//! Finds the program as execvp(3) does, and tells before it starts whether the library can be loaded into it.
//!
//! A program that cannot load it would run all the same, with its port open and unwrapped: ld.so says little or nothing.
//! What cannot be read cannot be judged, and is left to the kernel and the loader.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cli::Config;
use crate::elf::{self, Elf, Libc};
use crate::env::{self, Around, Command, Nothing};
use crate::failure::{Failure, shown};
use crate::instead::instead;
use crate::script::{self, Script};
use crate::{library, secure, sys};

/// What glibc searches when `PATH` is not set (confstr(3), `_CS_PATH`).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// How many programs may start each other by way of env, which the kernel does not count.
const ENV_NESTING: usize = 8;

/// A program that can load the library.
#[derive(Debug)]
pub struct Program {
    /// The scripts on the way, the first of which is what the user named.
    pub scripts: Vec<PathBuf>,
    /// The program that runs.
    pub path: PathBuf,
    /// What its file says; `None` if it cannot be read.
    pub elf: Option<Elf>,
}

/// The file that `name` stands for: a name with a slash is a path, any other is looked up in `PATH`.
fn find(name: &OsStr, around: &Around) -> Result<PathBuf, Failure> {
    if name.is_empty() {
        return Err(Failure::not_found("the name of the program is empty: give a program after PORT".into()));
    }
    if name.as_bytes().contains(&b'/') {
        return Ok(around.dir.join(name));
    }
    let mut refused = None;
    // An empty entry is the current directory, as in every shell.
    for dir in std::env::split_paths(around.var("PATH").unwrap_or(OsStr::new(DEFAULT_PATH))) {
        let dir = around.dir.join(dir);
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

/// Finds the program that `config` names, follows scripts and env(1) to the program that they run, and checks that it can
/// start and load the library, whose headers are `library`. `around` is what is to be found by what is named. Returns its
/// path, too.
pub fn check(config: &Config, mut around: Around, library: &Elf) -> Result<(PathBuf, Program), Failure> {
    let instead = &instead(&config.ports);
    let path = find(&config.program, &around)?;
    let mut scripts = Vec::new();
    let (mut current, mut args) = (path.clone(), config.args.clone());
    // Of the scripts, how many the kernel takes as one row.
    let (mut row, mut envs) = (0, 0);
    loop {
        let meta = usable(&current)?;
        let Ok(mut file) = File::open(&current) else {
            // No script, then: its interpreter could not read it either.
            privileged(&current, &meta, instead)?;
            return Ok((path, Program { scripts, path: current, elf: None }));
        };
        let mut head = Vec::with_capacity(script::HEAD);
        let whole = (&mut file).take(script::HEAD as u64).read_to_end(&mut head).and_then(|_| file.rewind());
        whole.map_err(|e| Failure::cannot_run(format!("{}: cannot read it: {e}", shown(&current))))?;
        if head.starts_with(elf::MAGIC) {
            if env::is_env(&current) {
                let line = scripts.last().map(PathBuf::as_path);
                if let Some(next) = follow_env(line, env::read(args.clone(), &around))? {
                    (current, args, around) = next;
                    (row, envs) = (0, envs + 1);
                    nests_well(&path, envs, ENV_NESTING)?;
                    continue;
                }
            }
            let elf = loads(&current, &meta, file, library, instead)?;
            return Ok((path, Program { scripts, path: current, elf: Some(elf) }));
        }
        let Some(script) = script::parse(&head) else {
            return Err(Failure::cannot_run(format!(
                "{}: neither an ELF program nor a script that begins with `#!`: name the program that runs it, as in \
                 `wswrap PORT sh FILE`",
                shown(&current)
            )));
        };
        row += 1;
        nests_well(&path, row, script::NESTING)?;
        let next = interpreter(&current, &script, &around)?;
        args.insert(0, current.clone().into_os_string());
        args.splice(0..0, script.argument);
        scripts.push(std::mem::replace(&mut current, next));
    }
}

fn nests_well(path: &Path, depth: usize, limit: usize) -> Result<(), Failure> {
    if depth <= limit {
        return Ok(());
    }
    let line = format!("{}: more than {limit} scripts that run each other", shown(path));
    Err(Failure::cannot_run(format!("{line}: name the last interpreter itself")))
}

/// The line for a program that passed all checks and was refused by execve(2).
pub fn not_started(path: &Path, error: &io::Error) -> Failure {
    let line = format!("{}: cannot start it: {error}", shown(path));
    if error.kind() == io::ErrorKind::NotFound { Failure::not_found(line) } else { Failure::cannot_run(line) }
}

fn interpreter(path: &Path, script: &Script, around: &Around) -> Result<PathBuf, Failure> {
    let interpreter = around.dir.join(&script.interpreter);
    if interpreter.exists() {
        return Ok(interpreter);
    }
    Err(bad_line(path, script.interpreter.as_os_str(), "does not exist"))
}

/// Where env goes on, which runs in the first line of `script`, or in the user's own command. `None`: nowhere.
fn follow_env(
    script: Option<&Path>,
    command: Result<Command, Nothing>,
) -> Result<Option<(PathBuf, Vec<OsString>, Around)>, Failure> {
    let Command { name, args, around, preload } = match (command, script) {
        (Ok(command), _) => command,
        (Err(Nothing::NoCommand), None) => return Ok(None),
        (Err(why), _) => {
            let why = match why {
                Nothing::NoCommand => "no command".into(),
                Nothing::Bad(why) => why,
            };
            return Err(Failure::cannot_run(match script {
                Some(script) => format!(
                    "{}: its first line gives env {why}: correct it, or name the interpreter: `wswrap PORT PROGRAM FILE`",
                    shown(script)
                ),
                None => format!("env is given {why}: correct that, or name the program itself"),
            }));
        }
    };
    let kept = around.var("LD_PRELOAD").is_some_and(library::is_in);
    if let Some(word) = preload.filter(|_| !kept) {
        let (word, name) = (shown(word), shown(name));
        return Err(Failure::cannot_wrap(match script {
            Some(script) => format!(
                "{}: its first line runs `env {word}`, which takes LD_PRELOAD away: remove that, or name the interpreter: \
                 `wswrap PORT {name} FILE`",
                shown(script)
            ),
            None => {
                format!("`env {word}` takes LD_PRELOAD away: let it start wswrap: `env {word} wswrap PORT {name}`")
            }
        }));
    }
    let path = find(&name, &around).map_err(|failure| match script {
        Some(script) if failure.status() == 127 => bad_line(script, &name, "is not in PATH"),
        _ => failure,
    })?;
    Ok(Some((path, args, around)))
}

fn bad_line(path: &Path, interpreter: &OsStr, why: &str) -> Failure {
    let what = format!("{}: its interpreter `{}` {why}", shown(path), shown(interpreter));
    Failure::not_found(format!("{what}: install it, or correct the first line"))
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

/// Refuses a program in which ld.so ignores `LD_PRELOAD`.
fn privileged(path: &Path, meta: &Metadata, instead: &str) -> Result<(), Failure> {
    let Some((what, who)) = secure::reason(path, meta) else {
        return Ok(());
    };
    let line = format!("{}: {what}, so ld.so ignores LD_PRELOAD", shown(path));
    Err(Failure::cannot_wrap(format!("{line}: start wswrap as {who}, use a copy without, or {instead}")))
}

/// Can the ELF program in `file` load the library?
fn loads(path: &Path, meta: &Metadata, file: File, library: &Elf, instead: &str) -> Result<Elf, Failure> {
    let line = |why: String| format!("{}: {why}", shown(path));
    let refused = |why: String| Err(Failure::cannot_wrap(line(why)));
    let broken = |why: String| Err(Failure::cannot_run(line(why)));
    let program = match elf::read(file) {
        Ok(program) => program,
        Err(why) => return broken(format!("a damaged ELF file ({why}): install it again")),
    };
    if program.target != library.target {
        return refused(format!(
            "built for {}, while libwswrapper.so is built for {}: use a program and a library of one kind, or {instead}",
            program.target, library.target
        ));
    }
    if !program.loadable {
        return broken("an ELF file, but no program: name an executable".into());
    }
    let Some(loader) = &program.interpreter else {
        return refused(match program.libc {
            Libc::Go => format!("a Go program, statically linked, so no library can be loaded into it: {instead}"),
            Libc::Glibc | Libc::Musl => format!(
                "statically linked with {}, so no library can be loaded into it: use a dynamically linked build, or \
                 {instead}",
                program.libc
            ),
            Libc::Unknown => format!(
                "statically linked, so no library can be loaded into it: use a dynamically linked build, or {instead}"
            ),
        });
    };
    match program.libc {
        Libc::Go => {
            return refused(format!(
                "a Go program, which makes its system calls itself, past every library: {instead}"
            ));
        }
        libc @ (Libc::Glibc | Libc::Musl) if library.libc != Libc::Unknown && libc != library.libc => {
            return refused(format!(
                "linked with {libc}, while libwswrapper.so is built for {}: use a build for {0}, or {instead}",
                library.libc
            ));
        }
        Libc::Glibc | Libc::Musl | Libc::Unknown => {}
    }
    if !loader.exists() {
        let why = format!("its dynamic loader `{}` does not exist: install the libc that has it", shown(loader));
        return Err(Failure::not_found(line(why)));
    }
    privileged(path, meta, instead)?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_searched_for_and_a_path_is_taken() {
        let around = |path: Option<&str>, dir: &str| Around {
            vars: path.map(|path| ("PATH".into(), path.into())).into_iter().collect(),
            dir: dir.into(),
        };
        let path = around(Some("/nonexistent:/usr/bin:/bin"), "");
        assert_eq!(find(OsStr::new("env"), &path), Ok("/usr/bin/env".into()));
        assert_eq!(find(OsStr::new("./no such"), &path), Ok("./no such".into()));
        assert_eq!(find(OsStr::new("./no such"), &around(None, "/in")), Ok("/in/./no such".into()));
        assert_eq!(find(OsStr::new("env"), &around(None, "")).map(|p| p.ends_with("env")), Ok(true));
        assert_eq!(find(OsStr::new("env"), &around(Some("bin"), "/usr")), Ok("/usr/bin/env".into()));
        assert_eq!(find(OsStr::new("env"), &around(Some(""), "/usr/bin")), Ok("/usr/bin/env".into()));
        for missing in ["", "no-such-program-anywhere"] {
            assert_eq!(find(OsStr::new(missing), &path).map_err(|e| e.status()), Err(127));
        }
    }
}
