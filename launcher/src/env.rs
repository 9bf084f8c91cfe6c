//! What env(1) goes on with: its command line, read as GNU env reads it. Pure.
//!
//! BusyBox and others know a part of the same options, and end by themselves at what they do not know.

mod split;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::failure::shown;

/// How often `-S` may bring in another one: a variable may hold its own name, and env would not end.
const SPLITS: usize = 8;

/// What a program finds when it starts.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Its environment.
    pub vars: BTreeMap<OsString, OsString>,
    /// Its directory, seen from the one of this process.
    pub dir: PathBuf,
}

impl Around {
    /// What a program finds that this process becomes with `changes` made to its environment.
    pub fn with(changes: &[(&str, OsString)]) -> Self {
        let changes = changes.iter().map(|(name, value)| (OsString::from(name), value.clone()));
        Self { vars: std::env::vars_os().chain(changes).collect(), dir: PathBuf::new() }
    }

    /// The value of a variable.
    pub fn var(&self, name: &str) -> Option<&OsStr> {
        self.vars.get(OsStr::new(name)).map(OsString::as_os_str)
    }
}

/// What is started.
#[derive(Debug)]
pub struct Command {
    /// The command, looked up in `PATH` unless it has a slash.
    pub name: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// What it finds.
    pub around: Around,
    /// The word that takes `LD_PRELOAD` out of the environment or sets it, if one does.
    pub preload: Option<OsString>,
}

/// Why nothing is started.
#[derive(Debug, PartialEq, Eq)]
pub enum Nothing {
    /// There is no command: env prints something.
    NoCommand,
    /// env refuses this, or it is not known what it makes of it.
    Bad(String),
}

/// What an option does that matters here.
#[derive(Clone, Copy)]
enum Effect {
    None,
    Ignore,
    Null,
    Unset,
    Chdir,
    Split,
    Print,
}

/// Whether an option has a value: `Maybe` stands behind `=` alone.
#[derive(Clone, Copy)]
enum Takes {
    No,
    Maybe,
    Value,
}

/// Long name, letter, value, effect: all options of env in coreutils 9.
const OPTIONS: [(&str, u8, Takes, Effect); 13] = [
    ("argv0", b'a', Takes::Value, Effect::None),
    ("block-signal", 0, Takes::Maybe, Effect::None),
    ("chdir", b'C', Takes::Value, Effect::Chdir),
    ("debug", b'v', Takes::No, Effect::None),
    ("default-signal", 0, Takes::Maybe, Effect::None),
    ("help", 0, Takes::No, Effect::Print),
    ("ignore-environment", b'i', Takes::No, Effect::Ignore),
    ("ignore-signal", 0, Takes::Maybe, Effect::None),
    ("list-signal-handling", 0, Takes::No, Effect::None),
    ("null", b'0', Takes::No, Effect::Null),
    ("split-string", b'S', Takes::Value, Effect::Split),
    ("unset", b'u', Takes::Value, Effect::Unset),
    ("version", 0, Takes::No, Effect::Print),
];

/// Whether this is the name of env.
pub fn is_env(path: &Path) -> bool {
    path.file_name() == Some(OsStr::new("env"))
}

/// What env goes on with that has `args` behind its name and finds `around`.
pub fn read(args: Vec<OsString>, around: &Around) -> Result<Command, Nothing> {
    let mut line =
        Line { words: args.into(), around, splits: 0, ignore: None, unset: Vec::new(), dir: None, null: false };
    line.options()?;
    line.command()
}

/// The words that are left, and what the options before them have asked for.
struct Line<'a> {
    words: VecDeque<OsString>,
    around: &'a Around,
    splits: usize,
    /// The option that empties the environment.
    ignore: Option<OsString>,
    unset: Vec<OsString>,
    dir: Option<OsString>,
    null: bool,
}

impl Line<'_> {
    /// getopt_long(3) with a `+`: options end at the first word that is none, and at `--`.
    fn options(&mut self) -> Result<(), Nothing> {
        while let Some(word) = self.next_if(|word| word.len() > 1 && word.as_bytes().starts_with(b"-")) {
            match word.as_bytes() {
                b"--" => break,
                [b'-', b'-', long @ ..] => self.long(long)?,
                cluster => self.cluster(cluster.get(1..).unwrap_or_default())?,
            }
        }
        Ok(())
    }

    fn next_if(&mut self, wanted: impl FnOnce(&OsStr) -> bool) -> Option<OsString> {
        if wanted(self.words.front()?) { self.words.pop_front() } else { None }
    }

    fn long(&mut self, word: &[u8]) -> Result<(), Nothing> {
        let (name, value) = match word.iter().position(|b| *b == b'=') {
            Some(at) => (word.get(..at).unwrap_or_default(), word.get(at + 1..)),
            None => (word, None),
        };
        let is = |what: &str| Nothing::Bad(format!("`--{}` {what}", shown(OsStr::from_bytes(name))));
        let mut found = OPTIONS.iter().filter(|(long, ..)| long.as_bytes().starts_with(name));
        let &(long, _, takes, effect) = match (OPTIONS.iter().find(|(long, ..)| long.as_bytes() == name), found.next())
        {
            (Some(exact), _) => exact,
            (None, Some(only)) if found.next().is_none() => only,
            (None, Some(_)) => return Err(is("is ambiguous")),
            (None, None) => return Err(is("is no option of env")),
        };
        let value = match (takes, value) {
            (Takes::No, Some(_)) => return Err(is("takes no value")),
            (Takes::Value, None) => self.words.pop_front().ok_or_else(|| is("lacks its value"))?,
            (_, value) => OsStr::from_bytes(value.unwrap_or_default()).to_owned(),
        };
        self.apply(effect, &format!("--{long}"), value)
    }

    fn cluster(&mut self, mut letters: &[u8]) -> Result<(), Nothing> {
        while let Some((&letter, rest)) = letters.split_first() {
            let written = format!("-{}", shown(OsStr::from_bytes(&[letter])));
            let is = |what: &str| Nothing::Bad(format!("`{written}` {what}"));
            let Some(&(.., takes, effect)) = OPTIONS.iter().find(|(_, own, ..)| *own == letter) else {
                return Err(match letter {
                    // The kernel gives all that stands behind env as one word.
                    b' ' | b'\t' => Nothing::Bad("several words, which it splits behind `-S` alone".into()),
                    _ => is("is no option of env"),
                });
            };
            letters = rest;
            let mut value = OsString::new();
            if let Takes::Value = takes {
                letters = &[];
                value = if rest.is_empty() {
                    self.words.pop_front().ok_or_else(|| is("lacks its value"))?
                } else {
                    OsStr::from_bytes(rest).to_owned()
                };
            }
            self.apply(effect, &written, value)?;
        }
        Ok(())
    }

    fn apply(&mut self, effect: Effect, written: &str, value: OsString) -> Result<(), Nothing> {
        match effect {
            Effect::None => {}
            Effect::Ignore => self.ignore = Some(written.into()),
            Effect::Null => self.null = true,
            Effect::Unset => self.unset.push(value),
            Effect::Chdir => self.dir = Some(value),
            Effect::Print => return Err(Nothing::NoCommand),
            Effect::Split => {
                self.splits += 1;
                if self.splits > SPLITS {
                    return Err(Nothing::Bad(format!("more than {SPLITS} `-S` that bring each other in")));
                }
                for word in split::words(value.as_bytes(), self.around).map_err(Nothing::Bad)?.into_iter().rev() {
                    self.words.push_front(word);
                }
            }
        }
        Ok(())
    }

    /// `[-] [NAME=VALUE]... COMMAND [ARG]...`
    fn command(mut self) -> Result<Command, Nothing> {
        if let Some(mere) = self.next_if(|word| word == "-") {
            self.ignore = Some(mere);
        }
        let mut around = self.around.clone();
        let mut preload = None;
        if self.ignore.is_some() {
            around.vars.clear();
            preload.clone_from(&self.ignore);
        } else {
            for name in &self.unset {
                if name == "LD_PRELOAD" {
                    preload = Some("-u LD_PRELOAD".into());
                }
                around.vars.remove(name);
            }
        }
        while let Some(word) = self.next_if(|word| word.as_bytes().contains(&b'=')) {
            let mut parts = word.as_bytes().splitn(2, |b| *b == b'=').map(|part| OsStr::from_bytes(part).to_owned());
            let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            if name == "LD_PRELOAD" {
                preload = Some(word);
            }
            around.vars.insert(name, value);
        }
        if let Some(dir) = &self.dir {
            around.dir.push(dir);
        }
        let name = self.words.pop_front().ok_or(Nothing::NoCommand)?;
        if self.null {
            return Err(Nothing::Bad("`-0` with a command".into()));
        }
        Ok(Command { name, args: self.words.into(), around, preload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Around {
        let vars = [("LD_PRELOAD", "ours"), ("PATH", "/bin"), ("OPTION", "-iS"), ("SELF", "-S${SELF}"), ("V", "a b")];
        Around { vars: vars.map(|(name, value)| (name.into(), value.into())).into(), dir: "at".into() }
    }

    fn command(words: &[&str]) -> Result<Command, Nothing> {
        read(words.iter().map(OsString::from).collect(), &around())
    }

    /// The command and its arguments.
    fn words(args: &[&str]) -> Result<Vec<String>, Nothing> {
        let command = command(args)?;
        Ok([command.name].into_iter().chain(command.args).map(|word| word.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn options_are_read_as_getopt_reads_them() {
        for args in [
            &["run", "-i"][..],
            &["-v", "--", "run", "-i"],
            &["-vC/tmp", "-uX", "-u", "Y", "--unset=Z", "--unset", "W", "A=b", "run", "-i"],
            &["--ch=/", "--deb", "--block", "--default-signal=PIPE", "--ignore-s", "--list", "run", "-i"],
            &["-a", "x", "--argv0", "y", "-vSrun -i"],
            &["-S-vS'-S run -i'"],
            &["--split-string=run", "-i"],
            &["-S", "-S 'run' -i"],
        ] {
            assert_eq!(words(args), Ok(vec!["run".into(), "-i".into()]), "{args:?}");
        }
        for bad in [
            &["-x"][..],
            &["-v run"],
            &["--i", "run"],
            &["--de", "run"],
            &["--none", "run"],
            &["--null=1", "run"],
            &["-0", "run"],
            &["-u"],
            &["--chdir"],
            &["-S", "'run"],
            &["-S", "${SELF}"],
        ] {
            assert!(matches!(command(bad), Err(Nothing::Bad(_))), "{bad:?}");
        }
        for none in [&[][..], &["-i"], &["A=b"], &["--help", "run"], &["--vers"], &["-S", "#run"], &["-u", "run"]] {
            assert_eq!(words(none), Err(Nothing::NoCommand), "{none:?}");
        }
    }

    #[test]
    fn who_takes_or_sets_the_library_is_named() {
        for (args, blamed) in [
            (&["-S", "-i run"][..], "-i"),
            (&["-iS", "run"], "-i"),
            (&["-S", "-vi run"], "-i"),
            (&["-S", "\"-i\" run"], "-i"),
            (&["-S${OPTION}run"], "-i"),
            (&["--ignore-env", "run"], "--ignore-environment"),
            (&["-S", "- run"], "-"),
            (&["--", "-", "run"], "-"),
            (&["-vuLD_PRELOAD", "run"], "-u LD_PRELOAD"),
            (&["-S", "--unse LD_PRELOAD run"], "-u LD_PRELOAD"),
            (&["-i", "LD_PRELOAD=x=y", "run"], "LD_PRELOAD=x=y"),
            (&["-S", "LD_PRELOAD=${LD_PRELOAD}:x run"], "LD_PRELOAD=ours:x"),
        ] {
            let preload = command(args).expect("a command").preload;
            assert_eq!(preload.as_deref(), Some(OsStr::new(blamed)), "{args:?}");
        }
        for args in [&["run", "-i"][..], &["-u", "X", "A=LD_PRELOAD=", "run"], &["-S", "'-S' run -i"]] {
            assert_eq!(command(args).expect("a command").preload, None, "{args:?}");
        }
    }

    #[test]
    fn the_command_finds_what_env_has_made() {
        let found = |args: &[&str]| {
            let Around { vars, dir } = command(args).expect("a command").around;
            let var = |name: &str| vars.get(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned());
            (var("PATH"), var("V"), dir)
        };
        let path = |path: &str| Some(path.to_string());
        assert_eq!(found(&["-u", "V", "run"]), (path("/bin"), None, "at".into()));
        assert_eq!(found(&["-i", "PATH=/a=b", "run"]), (path("/a=b"), None, "at".into()));
        assert_eq!(found(&["-C", "in", "V=", "run"]), (path("/bin"), Some(String::new()), "at/in".into()));
        assert_eq!(found(&["-C", "x", "-C", "/in", "PATH=1", "PATH=2", "run"]).2, Path::new("/in"));
        assert_eq!(found(&["-S", "V=${PATH}", "run"]).1, path("/bin"), "as it was before");
    }
}
