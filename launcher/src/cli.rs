//! The command line. The fields of `Options` are the one table of options: parsing and `--help` come from it, and so can
//! whatever clap derives from a command.
//!
//! Parsing does nothing but parse. A `Config` holds checked values only.

use std::ffi::OsString;

use clap::Parser;
use clap::builder::{OsStringValueParser, RangedU64ValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use wslayer::config::Ports;
use wsproto::{Dialects, Origin};

use crate::failure::{Failure, shown};
use crate::sys;

/// The log target that is no file.
pub const STDERR: &str = "stderr";

/// The longest handshake timeout that the library takes, in seconds.
use wslayer::config::MAX_TIMEOUT_SECS as MAX_TIMEOUT;

#[derive(Debug, Parser)]
#[command(
    name = "wswrap",
    version,
    about = "Starts PROGRAM with its listening TCP port turned into a WebSocket endpoint.",
    args_override_self = true,
    override_usage = "wswrap [OPTIONS] PORT[,PORT...] PROGRAM [ARGS...]",
    after_help = "\
Everything after PROGRAM belongs to PROGRAM. An option that is not given leaves the
variable in parentheses as it is in the environment.

Examples:
  wswrap 5901 vncserver -geometry 640x480 :1
  wswrap -v --origin https://example.org 8080 nc -l -p 8080
  wswrap --check 5901 vncserver -geometry 640x480 :1

Exit status: PROGRAM's own. If it does not start: 1 PROGRAM cannot be wrapped, or wswrap
itself fails; 2 bad usage; 126 PROGRAM cannot be run; 127 PROGRAM not found."
)]
struct Options {
    /// Start nothing: tell what would happen and why
    #[arg(long)]
    check: bool,

    /// Log each connection, refusal and end, and a port that stays unwrapped (WSWRAP_VERBOSE)
    #[arg(short, long)]
    verbose: bool,

    /// Append the log to this file; default stderr (WSWRAP_LOG)
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(log))]
    log: Option<OsString>,

    /// Of hixie-75,hixie-76,rfc6455 speak these; default all (WSWRAP_DIALECTS)
    #[arg(long, value_name = "LIST")]
    dialect: Option<Dialects>,

    /// Accept pages of this origin only; repeatable; default any (WSWRAP_ORIGINS)
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<Origin>,

    /// Time for an opening handshake; default 10 (WSWRAP_HANDSHAKE_TIMEOUT)
    #[arg(long, value_name = "SECS", value_parser = RangedU64ValueParser::<u64>::new().range(1..=MAX_TIMEOUT))]
    handshake_timeout: Option<u64>,

    /// What PROGRAM starts runs without the library once the ports are open (WSWRAP_NO_INHERIT)
    #[arg(long)]
    no_inherit: bool,

    /// 5901, a list 5901,5902, a range 5900-5910, all or none (WSWRAP_PORT)
    #[arg(value_name = "PORT")]
    port: Ports,

    // One argument for clap, so that it looks at nothing behind the program's name.
    /// The program to start, and its arguments
    #[arg(value_name = "PROGRAM", required = true, trailing_var_arg = true)]
    program: Vec<OsString>,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// Print this text (`--help`, `--version`).
    Tell(String),
    /// Tell whether a program can be wrapped (`--check`).
    Check(Config),
    /// Start a program.
    Start(Config),
}

/// All that is needed to start a program.
#[derive(Debug)]
pub struct Config {
    /// The program as the user names it, which is also its `argv[0]`.
    pub program: OsString,
    /// The program's own arguments.
    pub args: Vec<OsString>,
    /// The ports to be wrapped.
    pub ports: Ports,
    verbose: bool,
    log: Option<OsString>,
    dialects: Option<Dialects>,
    origins: Vec<Origin>,
    handshake_timeout: Option<u64>,
    no_inherit: bool,
}

/// Parses the command line, its first element being the launcher's own name.
pub fn parse(args: Vec<OsString>) -> Result<Request, Failure> {
    let options = match Options::try_parse_from(args) {
        Ok(options) => options,
        Err(e) if e.use_stderr() => return Err(Failure::usage(one_line(&e))),
        Err(e) => return Ok(Request::Tell(e.to_string())),
    };
    let mut words = options.program.into_iter();
    let Some(program) = words.next() else {
        return Err(Failure::usage("PROGRAM is missing; see `wswrap --help`".into()));
    };
    if options.no_inherit && options.port == Ports::All {
        return Err(Failure::usage("--no-inherit wants to know when the ports are open: name them, not `all`".into()));
    }
    let config = Config {
        program,
        args: words.collect(),
        ports: options.port,
        verbose: options.verbose,
        log: options.log,
        dialects: options.dialect,
        origins: options.origin,
        handshake_timeout: options.handshake_timeout,
        no_inherit: options.no_inherit,
    };
    Ok(if options.check { Request::Check(config) } else { Request::Start(config) })
}

impl Config {
    /// Whether the program's library logs more than ports.
    pub fn is_verbose(&self) -> bool {
        self.verbose || std::env::var_os("WSWRAP_VERBOSE").is_some_and(|value| value == "1")
    }

    /// Where the log goes: `STDERR`, or a file.
    pub fn log_target(&self) -> OsString {
        self.log.clone().or_else(|| std::env::var_os("WSWRAP_LOG")).unwrap_or_else(|| STDERR.into())
    }

    /// The variables that tell the library. What no option sets stays as the environment has it, but for the log: who
    /// starts a program by hand sees it on standard error.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut set = vec![("WSWRAP_PORT", self.ports.to_string().into())];
        if self.verbose {
            set.push(("WSWRAP_VERBOSE", "1".into()));
        }
        if self.log.is_some() || std::env::var_os("WSWRAP_LOG").is_none() {
            set.push(("WSWRAP_LOG", self.log_target()));
        }
        if let Some(dialects) = &self.dialects {
            set.push(("WSWRAP_DIALECTS", dialects.to_string().into()));
        }
        if !self.origins.is_empty() {
            let origins: Vec<_> = self.origins.iter().map(Origin::to_string).collect();
            set.push(("WSWRAP_ORIGINS", origins.join(" ").into()));
        }
        if let Some(seconds) = self.handshake_timeout {
            set.push(("WSWRAP_HANDSHAKE_TIMEOUT", seconds.to_string().into()));
        }
        if self.no_inherit {
            set.push(("WSWRAP_NO_INHERIT", "1".into()));
        }
        set
    }
}

/// `stderr`, or a file that can be written, by its absolute path: the program may change its directory.
fn log(value: OsString) -> Result<OsString, String> {
    if value == STDERR {
        return Ok(value);
    }
    let path = std::path::absolute(&value).map_err(|e| format!("{e}: name a file, or stderr"))?;
    if path.to_str().is_none() {
        return Err("the path is not UTF-8: name another file".into());
    }
    let can = if path.exists() {
        !path.is_dir() && sys::writable(&path)
    } else {
        path.parent().is_some_and(|dir| dir.is_dir() && sys::writable(dir))
    };
    if can { Ok(path.into()) } else { Err("cannot write there: name a file in a directory of yours, or stderr".into()) }
}

/// Clap's message without its decoration, in one line.
fn one_line(error: &clap::Error) -> String {
    if let (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(missing))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    {
        return format!("missing {}; see `wswrap --help`", missing.join(" "));
    }
    let text = error.to_string();
    let what = text.trim_start_matches("error: ").lines().next().unwrap_or_default();
    format!("{}; see `wswrap --help`", shown(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn request(words: &[&str]) -> Result<Request, Failure> {
        parse([&["wswrap"], words].concat().into_iter().map(OsString::from).collect())
    }

    fn config(words: &[&str]) -> Config {
        match request(words) {
            Ok(Request::Start(config)) => config,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    fn refusal(words: &[&str]) -> String {
        let failure = request(words).expect_err("bad usage");
        assert_eq!(failure.status(), 2);
        let line = failure.to_string();
        assert!(!line.contains('\n') && !line.is_empty(), "{line:?}");
        line
    }

    #[test]
    fn the_table_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn all_behind_the_program_belongs_to_it() {
        let cases: [(&[&str], &str, &[&str]); 6] = [
            (&["5901", "vncserver", "-geometry", "640x480", ":1"], "vncserver", &["-geometry", "640x480", ":1"]),
            (&["-v", "5901", "nc", "-v", "--help", "--log"], "nc", &["-v", "--help", "--log"]),
            (&["5901", "nc", "--", "-v"], "nc", &["--", "-v"]),
            (&["--", "5901", "nc", "-v", "--"], "nc", &["-v", "--"]),
            (&["5901", "--", "-odd", "-v"], "-odd", &["-v"]),
            (&["5901", "nc", ""], "nc", &[""]),
        ];
        for (words, program, args) in cases {
            let config = config(words);
            assert_eq!((config.program.to_str(), config.args.len()), (Some(program), args.len()), "{words:?}");
            assert!(config.args.iter().eq(args), "{words:?}: {:?}", config.args);
        }
        assert!(config(&["-v", "-v", "5901", "nc"]).verbose);
        assert!(!config(&["5901", "nc", "-v"]).verbose);
    }

    #[test]
    fn the_environment_says_what_the_options_say() {
        let config = config(&[
            "--verbose",
            "--log=x.log",
            "--dialect",
            "rfc6455,hixie-75",
            "--origin",
            "http://a",
            "--origin=null",
            "--handshake-timeout",
            "3",
            "--no-inherit",
            "5901,6000-6010",
            "nc",
        ]);
        let log = std::env::current_dir().expect("a directory").join("x.log").into_os_string();
        let expected = [
            ("WSWRAP_PORT", OsString::from("5901,6000-6010")),
            ("WSWRAP_VERBOSE", "1".into()),
            ("WSWRAP_LOG", log),
            ("WSWRAP_DIALECTS", "hixie-75,rfc6455".into()),
            ("WSWRAP_ORIGINS", "http://a null".into()),
            ("WSWRAP_HANDSHAKE_TIMEOUT", "3".into()),
            ("WSWRAP_NO_INHERIT", "1".into()),
        ];
        assert_eq!(config.environment(), expected);
    }

    #[test]
    fn bad_usage_is_one_line() {
        for port in ["0", "65536", "http", "", "5901-", "7-6", "+80", "1,,2", "-1"] {
            assert!(refusal(&[port, "nc"]).contains(port), "{port}");
        }
        assert!(refusal(&[]).contains("PORT"));
        assert!(refusal(&["5901"]).contains("PROGRAM"));
        assert!(refusal(&["--frob", "5901", "nc"]).contains("--frob"));
        assert!(refusal(&["5901", "-geometry", "nc"]).contains("-g"));
        assert!(refusal(&["--no-inherit", "all", "nc"]).contains("--no-inherit"));
        assert!(refusal(&["--check", "5901"]).contains("PROGRAM"));
        assert!(refusal(&["--dialect", "hybi", "5901", "nc"]).contains("hybi"));
        assert!(refusal(&["--dialect", "", "5901", "nc"]).contains("--dialect"));
        assert!(refusal(&["--origin", "http://a http://b", "5901", "nc"]).contains("SCHEME://HOST"));
        assert!(refusal(&["--log", "", "5901", "nc"]).contains("--log"));
        assert!(refusal(&["--log", "/", "5901", "nc"]).contains("cannot write"));
        assert!(refusal(&["--log", "/no/such/dir/x", "5901", "nc"]).contains("cannot write"));
        for secs in ["0", "-1", "soon", "86401", "1.5"] {
            assert!(refusal(&["--handshake-timeout", secs, "5901", "nc"]).contains(secs), "{secs}");
        }
    }

    #[test]
    fn help_and_version_are_told() {
        for (option, text) in
            [("--help", "wswrap [OPTIONS] PORT"), ("-V", "wswrap "), ("--version", env!("CARGO_PKG_VERSION"))]
        {
            match request(&[option]) {
                Ok(Request::Tell(told)) => assert!(told.contains(text), "{told}"),
                other => panic!("{option}: {other:?}"),
            }
        }
    }
}
