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
    argument: Option<OsString>,
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

/// What an env(1) in the first line goes on with.
#[derive(Debug, PartialEq, Eq)]
pub struct EnvCommand<'a> {
    /// The command, which env looks up in `PATH`.
    pub name: &'a OsStr,
    /// The option that takes `LD_PRELOAD` out of the environment, if there is one.
    pub drops: Option<&'a OsStr>,
}

impl Script {
    /// The command that env(1) goes on with, when the interpreter is env: `#!/usr/bin/env NAME`, or
    /// `#!/usr/bin/env -S [OPTIONS] [NAME=VALUE] NAME [ARGS]`, where NAME may be another env. `None` for other
    /// interpreters and for a line with quotes, escapes, variables or a `PATH` of its own, which only env itself can read.
    pub fn env_command(&self) -> Option<EnvCommand<'_>> {
        if !is_env(self.interpreter.as_os_str()) {
            return None;
        }
        let argument = self.argument.as_deref()?;
        let bytes = argument.as_bytes();
        let split = [&b"-S"[..], b"-vS", b"--split-string="].iter().find_map(|option| bytes.strip_prefix(*option));
        let Some(split) = split else {
            let plain = !bytes.starts_with(b"-") && !bytes.contains(&b'=');
            return plain.then_some(EnvCommand { name: argument, drops: None });
        };
        if split.iter().any(|b| b"\"'\\$#".contains(b)) {
            return None;
        }
        let mut drops = None;
        let mut words = split.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            let shown = Some(OsStr::from_bytes(word));
            match word {
                b"-u" | b"--unset" => {
                    if words.next()? == b"LD_PRELOAD" {
                        drops = shown;
                    }
                }
                b"-C" | b"--chdir" => {
                    words.next()?;
                }
                b"-" | b"-i" | b"--ignore-environment" | b"-uLD_PRELOAD" | b"--unset=LD_PRELOAD" => drops = shown,
                _ if word.starts_with(b"PATH=") => return None,
                _ if word.starts_with(b"LD_PRELOAD=") => drops = shown,
                _ if word.starts_with(b"-") || word.contains(&b'=') => {}
                name if is_env(OsStr::from_bytes(name)) => {}
                name => return Some(EnvCommand { name: OsStr::from_bytes(name), drops }),
            }
        }
        None
    }
}

fn is_env(name: &OsStr) -> bool {
    Path::new(name).file_name().is_some_and(|name| name == "env")
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

    #[test]
    fn env_names_its_command() {
        let command = |line: &str| {
            let script = parse(line.as_bytes()).expect("a script");
            let command = script.env_command()?;
            Some(command.name.to_string_lossy().into_owned() + if command.drops.is_some() { ", without" } else { "" })
        };
        assert_eq!(command("#!/usr/bin/env python3\n").as_deref(), Some("python3"));
        assert_eq!(command("#!/bin/env python3 -u\n").as_deref(), Some("python3 -u"));
        assert_eq!(command("#!/usr/bin/env -S python3 -u\n").as_deref(), Some("python3"));
        assert_eq!(command("#!/usr/bin/env -S -v -u HOME A=b perl -w\n").as_deref(), Some("perl"));
        assert_eq!(command("#!/usr/bin/env -S env -C / /bin/env perl -i\n").as_deref(), Some("perl"));
        for word in ["-i", "-", "-u LD_PRELOAD", "-uLD_PRELOAD", "LD_PRELOAD=x", "env -i"] {
            let line = format!("#!/usr/bin/env -S {word} perl\n");
            assert_eq!(command(&line).as_deref(), Some("perl, without"), "{line}");
        }
        assert_eq!(command("#!/usr/bin/env --split-string=perl -w\n").as_deref(), Some("perl"));
        for unknown in [
            "#!/usr/bin/env\n",
            "#!/usr/bin/env -i\n",
            "#!/usr/bin/env A=b\n",
            "#!/usr/bin/env -S \"a b\"\n",
            "#!/usr/bin/env -S PATH=/x a\n",
        ] {
            assert_eq!(command(unknown), None, "{unknown}");
        }
        assert_eq!(command("#!/usr/bin/perl python3\n"), None);
    }
}
