//! The first line of a script: which program the kernel starts for it (execve(2), "Interpreter scripts"). Pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How much of a file the kernel looks at (`BINPRM_BUF_SIZE`).
pub const HEAD: usize = 256;

/// How many scripts may stand in a row, each the interpreter of the one before (execve(2): ELOOP).
pub const NESTING: usize = 5;

/// What stands behind `#!`.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// The path, taken as it stands: `PATH` is not searched.
    pub interpreter: PathBuf,
    /// All the rest of the line, one argument.
    pub argument: Option<OsString>,
}

/// Reads the first line from `head`, the first `HEAD` bytes of a file or all there are. `None` when the kernel would
/// not take the file for a script.
pub fn parse(head: &[u8]) -> Option<Script> {
    let line = head.strip_prefix(b"#!")?;
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let (line, whole) = match line.iter().position(|&b| b == b'\n') {
        Some(end) => (line.get(..end)?, true),
        None => (line, head.len() < HEAD),
    };
    let line = line.get(line.iter().position(|b| !blank(b))?..)?;
    let (path, rest) = match line.iter().position(|b| blank(b) || *b == 0) {
        Some(end) => line.split_at(end),
        // The kernel refuses a path that may go on behind the bytes it looks at.
        None if !whole => return None,
        None => (line, &[][..]),
    };
    let rest = rest.split(|&b| b == 0).next().unwrap_or_default();
    let start = rest.iter().position(|b| !blank(b));
    let argument = start.and_then(|start| {
        let end = rest.iter().rposition(|b| !blank(b))?;
        Some(OsStr::from_bytes(rest.get(start..=end)?).to_owned())
    });
    (!path.is_empty()).then(|| Script { interpreter: Path::new(OsStr::from_bytes(path)).to_owned(), argument })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(head: &[u8]) -> Option<(String, Option<String>)> {
        let script = parse(head)?;
        Some((
            script.interpreter.to_string_lossy().into_owned(),
            script.argument.map(|a| a.to_string_lossy().into_owned()),
        ))
    }

    #[test]
    fn the_line_is_read_as_the_kernel_reads_it() {
        let just = |path: &str| Some((path.to_string(), None));
        let with = |path: &str, arg: &str| Some((path.to_string(), Some(arg.to_string())));
        assert_eq!(parts(b"#!/bin/sh\necho"), just("/bin/sh"));
        assert_eq!(parts(b"#! \t/bin/sh \t\necho"), just("/bin/sh"));
        assert_eq!(parts(b"#!/usr/bin/perl -w -T \nuse strict;"), with("/usr/bin/perl", "-w -T"));
        assert_eq!(parts(b"#!/bin/sh"), just("/bin/sh"));
        assert_eq!(parts(b"#!/bin/sh\r\n"), just("/bin/sh\r"));
        assert_eq!(parts(b"#!sh\0garbage x\n"), just("sh"));
        for no_script in [&b""[..], b"#", b"#!", b"#!\n", b"#!  \t\n/bin/sh\n", b"# !/bin/sh\n", b"\x7fELF"] {
            assert_eq!(parts(no_script), None, "{no_script:?}");
        }
    }

    #[test]
    fn a_path_cut_off_by_the_kernel_s_buffer_is_no_interpreter() {
        let mut head = b"#!/".to_vec();
        head.resize(HEAD, b'x');
        assert_eq!(parts(&head), None);
        head.truncate(HEAD - 1);
        assert!(parts(&head).is_some(), "a short file ends its line");
        head.extend(b" ");
        assert!(parts(&head).is_some(), "the path is whole, the argument may be cut");
    }
}
