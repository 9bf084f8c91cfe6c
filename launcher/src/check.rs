//! `wswrap --check`: what would happen, and why, without starting anything.
//!
//! The hooks are read from the library that would be loaded, so this knows them as they are.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::File;
use std::path::Path;

use crate::cli::Config;
use crate::elf::{self, Symbols};
use crate::env::Around;
use crate::failure::{Failure, shown};
use crate::library::{self, Library};
use crate::loader::{self, Listing};
use crate::program::{self, Program};
use crate::sanitizer;

/// Calls that pass the library by unless it has a hook for them: a name, or the beginning of one with `*`; and what they are.
const BYPASSES: [(&str, &str); 24] = [
    ("io_uring_*", "io_uring"),
    ("syscall", "system calls made directly"),
    ("aio_read", "POSIX AIO"),
    ("aio_read64", "POSIX AIO"),
    ("aio_write", "POSIX AIO"),
    ("aio_write64", "POSIX AIO"),
    ("lio_listio", "POSIX AIO"),
    ("lio_listio64", "POSIX AIO"),
    ("io_submit", "Linux AIO"),
    ("fdopen", "C stdio"),
    ("dprintf", "C stdio"),
    ("vdprintf", "C stdio"),
    ("__dprintf_chk", "C stdio"),
    ("__vdprintf_chk", "C stdio"),
    ("sendfile", "file to socket"),
    ("sendfile64", "file to socket"),
    ("splice", "pipe to socket"),
    ("sendmmsg", "many messages"),
    ("recvmmsg", "many messages"),
    ("preadv2", "positioned I/O"),
    ("preadv64v2", "positioned I/O"),
    ("pwritev2", "positioned I/O"),
    ("pwritev64v2", "positioned I/O"),
    ("dlmopen", "libraries in a namespace of their own"),
];

/// Parts of the C library, which call each other without symbols that could be hooked, and which use no connection of
/// the program's.
const LIBC_PARTS: [&str; 9] =
    ["ld-", "ld64.", "libc.", "libdl.", "libm.", "libpthread.", "libresolv.", "librt.", "libwswrapper."];

/// What is told.
#[derive(Debug)]
pub struct Report {
    /// Lines for the user; the last one is the verdict.
    pub text: String,
    /// The verdict.
    pub can_be_wrapped: bool,
}

/// Looks at the program that `config` names.
///
/// # Errors
/// The library is not there, or is broken.
pub fn report(config: &Config) -> Result<Report, Failure> {
    let library = Library::find()?;
    let mut text = String::new();
    let verdict = describe(config, &library, &mut text);
    let can_be_wrapped = verdict.is_ok();
    let line = verdict.map_or_else(|failure| format!("cannot be wrapped: {failure}"), |()| "can be wrapped".into());
    // A string takes what is written to it.
    let _ = writeln!(text, "verdict: {line}");
    Ok(Report { text, can_be_wrapped })
}

fn describe(config: &Config, library: &Library, text: &mut String) -> Result<(), Failure> {
    let mut say = |key: &str, what: &str| {
        let _ = writeln!(text, "{key}: {what}");
    };
    let var = |name| std::env::var(name).unwrap_or_default();
    let changes = crate::changes(config, library)?;
    let (_, program) = program::check(config, Around::with(&changes), &library.elf)?;
    for script in &program.scripts {
        say("script", &shown(script));
    }
    let Program { path, elf: Some(elf), .. } = &program else {
        say("program", &format!("{}, which cannot be read", shown(&program.path)));
        return Ok(());
    };
    let interpreter = elf.interpreter.as_deref().unwrap_or(Path::new("none"));
    say("program", &format!("{}, {}, {}, loaded by {}", shown(path), elf.target, elf.libc, shown(interpreter)));

    let preload = library.preload(std::env::var_os("LD_PRELOAD").as_deref())?;
    let listing = loader::list(interpreter, path, &preload)
        .map_err(|e| Failure::cannot_run(format!("{}: {e}", shown(interpreter))))?;
    preloaded(path, &listing)?;
    let hooks = File::open(library.path()).map_err(|e| e.to_string()).and_then(elf::symbols);
    let hooks = hooks.map_err(|e| Failure::own(format!("{}: {e}", shown(library.path()))))?.exports;
    let hooks: BTreeSet<&str> = hooks.iter().map(String::as_str).collect();
    let mut listens = false;
    for object in [path.as_path()].into_iter().chain(listing.loaded.iter().map(|p| p.as_path())).filter(|p| !is_libc(p))
    {
        let Ok(symbols) = File::open(object).map_err(|e| e.to_string()).and_then(elf::symbols) else {
            say("not read", &shown(object));
            continue;
        };
        listens |= symbols.imports.iter().any(|name| name == "listen" || name.starts_with("accept"));
        for (key, what) in findings(&symbols, &hooks) {
            say(key, &format!("{}: {what}", shown(object)));
        }
    }
    if let Some(hint) = sanitizer::hint(elf, &var("LD_PRELOAD"), &var("ASAN_OPTIONS")) {
        say("note", &hint);
    }
    if !listens {
        say(
            "note",
            "it opens no port by itself, unless in a library that it loads later; what it starts is not looked at",
        );
    }
    Ok(())
}

/// The loader must have taken the library, which it does only where it has found everything.
fn preloaded(path: &Path, listing: &Listing) -> Result<(), Failure> {
    if listing.loaded.iter().any(|path| path.file_name().is_some_and(|name| name == library::NAME)) {
        return Ok(());
    }
    let why = listing.complaint.as_deref().unwrap_or("it does not load libwswrapper.so");
    Err(Failure::cannot_wrap(format!("{}: its dynamic loader fails: {}", shown(path), shown(why))))
}

fn is_libc(object: &Path) -> bool {
    let name = object.file_name().unwrap_or_default().to_string_lossy();
    LIBC_PARTS.iter().any(|part| name.starts_with(part)) || sanitizer::is_runtime(object)
}

/// What is worth telling of one object.
fn findings(symbols: &Symbols, hooks: &BTreeSet<&str>) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let hooked: BTreeSet<&str> =
        symbols.imports.iter().map(String::as_str).filter(|name| hooks.contains(name)).collect();
    if !hooked.is_empty() {
        found.push(("hooked", words(hooked)));
    }
    for (name, what) in BYPASSES {
        let is = |import: &&String| name.strip_suffix('*').map_or(*import == name, |start| import.starts_with(start));
        if let Some(import) = symbols.imports.iter().find(is).filter(|import| !hooks.contains(import.as_str())) {
            found.push(("not hooked", format!("{import} ({what}): fine unless it is used for a connection")));
        }
    }
    let own: BTreeSet<&str> = symbols.exports.iter().map(String::as_str).filter(|name| hooks.contains(name)).collect();
    if !own.is_empty() {
        found.push(("note", format!("has functions of these names itself: {}", words(own))));
    }
    if symbols.imports.iter().any(|name| name == "dlopen") {
        found
            .push(("note", "loads libraries later (dlopen): not looked at, and with RTLD_DEEPBIND not wrapped".into()));
    }
    if symbols.no_open {
        found.push((
            "note",
            "marked `-z nodlopen` (DF_1_NOOPEN): no obstacle, nothing is loaded into it by dlopen".into(),
        ));
    }
    found
}

fn words(names: BTreeSet<&str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(imports: &[&str], exports: &[&str]) -> Vec<String> {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let symbols = Symbols { imports: own(imports), exports: own(exports), no_open: false };
        let hooks = ["accept", "read", "sendfile"].into();
        findings(&symbols, &hooks).into_iter().map(|(key, what)| format!("{key}: {what}")).collect()
    }

    #[test]
    fn a_call_is_hooked_or_passes_by_or_does_not_matter() {
        assert_eq!(found(&["printf", "malloc"], &["main"]), [""; 0]);
        assert_eq!(found(&["read", "accept", "getpid"], &[]), ["hooked: accept read"]);
        assert_eq!(found(&["sendfile"], &[]), ["hooked: sendfile"], "a bypass that has a hook is none");
        for call in ["syscall", "io_uring_queue_init", "aio_read64", "fdopen", "io_submit", "dlmopen"] {
            let lines = found(&[call], &[]);
            assert!(matches!(&lines[..], [line] if line.starts_with(&format!("not hooked: {call} ("))), "{lines:?}");
        }
        assert_eq!(found(&[], &["read"]), ["note: has functions of these names itself: read"]);
        assert!(matches!(&found(&["dlopen"], &[])[..], [line] if line.contains("RTLD_DEEPBIND")));
    }
}
