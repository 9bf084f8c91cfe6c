//! What the command line asks for, checked: a `Config` holds no illegal combination.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use nix::unistd::{Gid, Group, Uid, User};
use wsproto::Origin;
use wsproxy::address::{Listen, Target};
use wsproxy::auth;
use wsproxy::dial::{Destination, Dialer};
use wsproxy::token;
use wsproxy::trust::Trusted;

use crate::failure::Failure;
use crate::options::tls::TlsOptions;
use crate::options::watching::WatchOptions;
use crate::options::web::WebOptions;
use crate::options::wrapping::Program;
use crate::options::{Clients, LogFormat, Options, Running};

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// Print this text (`--help`, `--version`).
    Tell(String),
    /// Start the proxy.
    Start(Box<Config>),
}

/// All that is needed to start.
#[derive(Debug)]
pub struct Config {
    /// TCP addresses to listen on.
    pub listen: Vec<Listen>,
    /// A Unix socket to listen on, and its permissions.
    pub unix_listen: Option<(PathBuf, u32)>,
    /// Standard input is a socket.
    pub inetd: bool,
    /// Where connections go.
    pub towards: Towards,
    /// How.
    pub dialer: Dialer,
    /// Whose word on clients is taken.
    pub trusted: Trusted,
    /// See [`Options`].
    pub clients: Clients,
    /// The origins whose pages may come in; empty: all.
    pub origins: Vec<Origin>,
    /// Who may come in. Files are read at the start.
    pub auth: auth::Settings,
    /// See [`Options`].
    pub running: Running,
    /// TLS, towards clients and towards the target. Files are read at the start.
    pub tls: TlsOptions,
    /// The web side. Its directory is opened at the start.
    pub web: WebOptions,
    /// Who looks at what passes.
    pub watching: WatchOptions,
    /// Who to become.
    pub identity: Identity,
    /// Where and what is logged.
    pub log: Log,
}

/// Where connections go.
#[derive(Debug)]
pub enum Towards {
    /// To one target.
    One(Destination),
    /// To that which a token stands for. Files are read at the start.
    Tokens(token::Settings),
    /// To a program that is started.
    Program(Program),
}

impl Towards {
    /// Why no connection could ever go there from `source`.
    fn out_of_reach(&self, source: IpAddr) -> Option<&'static str> {
        const UNIX: &str = "the target is a Unix socket, which is connected to from no address";
        const FAMILY: &str = "the target is an address of the other family";
        match self {
            Towards::One(Destination::Unix(_)) => Some(UNIX),
            Towards::Tokens(settings) if settings.kind == token::Kind::UnixDomainSocketDirectory => Some(UNIX),
            Towards::One(Destination::Tcp(target)) => {
                let target: IpAddr = target.host.parse().ok()?;
                (target.is_ipv4() != source.is_ipv4()).then_some(FAMILY)
            }
            Towards::Tokens(_) | Towards::Program(_) => None,
        }
    }
}

/// Who to become when all is opened.
#[derive(Debug, Default)]
pub struct Identity {
    /// A user, its groups, its own group.
    pub user: Option<User>,
    /// A user that has no entry.
    pub uid: Option<Uid>,
    /// A group instead of the user's own.
    pub gid: Option<Gid>,
    /// A root directory.
    pub chroot: Option<PathBuf>,
}

/// Where and what is logged.
#[derive(Debug)]
pub struct Log {
    /// More than usual.
    pub verbose: bool,
    /// A file, by its absolute path.
    pub file: Option<PathBuf>,
    /// A syslog server.
    pub syslog: Option<Syslog>,
    /// The form of lines.
    pub format: LogFormat,
}

/// A syslog server.
#[derive(Debug, PartialEq, Eq)]
pub enum Syslog {
    /// A Unix socket.
    Path(PathBuf),
    /// UDP.
    Udp(Target),
}

/// Parses the command line, its first element being the program's own name. `inherited` counts the sockets that systemd
/// passes.
pub fn parse(args: Vec<OsString>, inherited: usize) -> Result<Request, Failure> {
    let matches = Options::command().try_get_matches_from(args);
    match matches.and_then(|matches| Ok((Options::from_arg_matches(&matches)?, matches))) {
        Ok((options, matches)) => check(options, &matches, inherited).map(|config| Request::Start(Box::new(config))),
        Err(error) if error.use_stderr() => Err(Failure::usage(one_line(&error))),
        Err(error) => Ok(Request::Tell(error.to_string())),
    }
}

/// Clap's message without its decoration, in one line.
fn one_line(error: &clap::Error) -> String {
    if let (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(missing))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    {
        return format!("missing {}; see `wsproxy --help`", missing.join(" "));
    }
    let text = error.to_string();
    // A value may hold line ends itself, which are escaped when they are shown; those before a list of values are clap's.
    let what = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
    format!("{}; see `wsproxy --help`", what.replace("\n  [", " ["))
}

fn check(options: Options, matches: &ArgMatches, inherited: usize) -> Result<Config, Failure> {
    let Options {
        mut addresses,
        listening,
        target,
        clients,
        tokens,
        auth,
        tls,
        web,
        mut watching,
        wrapping,
        running,
        logging,
    } = options;
    if let Some(missing) = tls.missing().or_else(|| web.missing(auth.asks())) {
        return Err(missing);
    }
    let is_given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
    if is_given("unix_listen_mode") && listening.unix_listen.is_none() {
        return Err(Failure::needs("--unix-listen-mode", "--unix-listen FILE"));
    }
    if is_given("record_format") && !watching.records() {
        return Err(Failure::needs("--record-format", "--record FILE"));
    }
    watching.check(running.daemon, listening.inetd)?;
    let tokens = tokens.settings(Duration::from_secs(clients.handshake_timeout))?;
    let given = matches.ids().map(clap::Id::as_str);
    let given = given.filter(|name| is_given(name));
    // Groups of options are among them by the names of their types.
    let given = given.filter(|name| !name.starts_with(char::is_uppercase));
    let program = wrapping.program(
        given,
        target.unix_target.as_ref(),
        tokens.is_some(),
        running.chroot.as_ref(),
        &listening,
        inherited > 0,
    )?;
    let source = target.source_addr;
    let towards = match (program, target.unix_target, tokens) {
        (Some(program), ..) => Towards::Program(program),
        (None, Some(_), Some(_)) => {
            return Err(Failure::usage("--unix-target: tokens tell the targets, so no other is given"));
        }
        (None, None, Some(tokens)) => Towards::Tokens(tokens),
        (None, Some(path), None) => {
            // The daemon's directory is another one.
            let path =
                std::path::absolute(&path).map_err(|why| Failure::value("--unix-target", path.display(), why))?;
            Towards::One(Destination::Unix(path))
        }
        (None, None, None) => {
            let last = addresses.pop().ok_or_else(|| Failure::usage("missing HOST:PORT; see `wsproxy --help`"))?;
            let parsed = last.parse().map_err(|why| Failure::value("HOST:PORT", &last, why))?;
            Towards::One(Destination::Tcp(parsed))
        }
    };
    if let (Some(source), Some(why)) = (source, source.and_then(|source| towards.out_of_reach(source))) {
        return Err(Failure::value("--source-addr", source, why));
    }
    let listen = addresses
        .iter()
        .map(|text| text.parse().map_err(|why| Failure::value("[ADDRESS:]PORT", text, why)))
        .collect::<Result<Vec<Listen>, Failure>>()?;
    let sources = listen.len() + inherited + usize::from(listening.unix_listen.is_some());
    match (listening.inetd, sources) {
        (false, 0) => return Err(Failure::usage("missing [ADDRESS:]PORT; see `wsproxy --help`")),
        (true, 1..) => return Err(Failure::usage("--inetd: standard input is the one socket, so no other is given")),
        (true, 0) | (false, 1..) => {}
    }
    let only_unix = listen.is_empty() && inherited == 0 && !listening.inetd;
    if clients.max_per_ip.is_some() && only_unix && clients.trust_proxy.is_empty() {
        // They have no address of their own, and nobody is believed who tells one.
        return Err(Failure::needs("--max-per-ip", "--trust-proxy unix, where all clients come by --unix-listen"));
    }
    if listening.inetd && running.daemon {
        return Err(Failure::usage("--daemon: inetd waits for the process that it has started"));
    }
    let file = logging.log_file.map(|path| {
        // The daemon's directory is another one.
        std::path::absolute(&path).map_err(|why| Failure::value("--log-file", path.display(), why))
    });
    let syslog = logging.syslog.map(|server| match server.contains('/') {
        true => std::path::absolute(&server).map(Syslog::Path).map_err(|why| Failure::value("--syslog", &server, why)),
        false => server.parse().map(Syslog::Udp).map_err(|why| Failure::value("--syslog", &server, why)),
    });
    Ok(Config {
        listen,
        unix_listen: listening.unix_listen.map(|path| (path, listening.unix_listen_mode)),
        inetd: listening.inetd,
        towards,
        dialer: Dialer {
            source,
            timeout: Duration::from_secs(target.connect_timeout),
            proxy_protocol: target.proxy_protocol,
            tls: None,
        },
        origins: auth.origin.clone(),
        auth: auth.settings(tls.verifies_clients(), Duration::from_secs(clients.handshake_timeout))?,
        trusted: clients.trust_proxy.iter().copied().collect(),
        tls,
        web,
        watching,
        identity: identity(&running)?,
        clients,
        running,
        log: Log {
            verbose: logging.verbose,
            file: file.transpose()?,
            syslog: syslog.transpose()?,
            format: logging.log_format,
        },
    })
}

/// Looks up who to become.
fn identity(running: &Running) -> Result<Identity, Failure> {
    let mut identity = Identity::default();
    if let Some(name) = &running.user {
        let fail = |why: &dyn std::fmt::Display| Failure::value("--user", name, why);
        identity.user = match name.parse().map(Uid::from_raw) {
            Ok(uid) => {
                identity.uid = Some(uid);
                User::from_uid(uid)
            }
            Err(_) => User::from_name(name),
        }
        .map_err(|error| fail(&error))?;
        if identity.user.is_none() && (identity.uid.is_none() || running.group.is_none()) {
            // A number without an entry has no group of its own.
            return Err(fail(&"there is no such user"));
        }
    }
    if let Some(name) = &running.group {
        let fail = |why: &dyn std::fmt::Display| Failure::value("--group", name, why);
        identity.gid = match name.parse().map(Gid::from_raw) {
            Ok(gid) => Some(gid),
            Err(_) => Group::from_name(name).map_err(|error| fail(&error))?.map(|group| group.gid),
        };
        if identity.gid.is_none() {
            return Err(fail(&"there is no such group"));
        }
    }
    if let Some(path) = &running.chroot {
        if !path.is_dir() {
            return Err(Failure::value("--chroot", path.display(), "there is no such directory"));
        }
        identity.chroot = Some(path.clone());
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Request, Failure> {
        parse([&["wsproxy"], words].concat().into_iter().map(OsString::from).collect(), 0)
    }

    fn config(words: &[&str]) -> Config {
        match parsed(words) {
            Ok(Request::Start(config)) => *config,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    fn refusal(words: &[&str]) -> String {
        let failure = parsed(words).expect_err("bad usage");
        assert_eq!(failure.status(), 2);
        let line = failure.to_string();
        assert!(!line.contains(['\n', '\\']) && !line.is_empty(), "{line:?}");
        line
    }

    #[test]
    fn the_last_address_is_the_target() {
        let several = config(&["80", "[::1]:81", "host:5900"]);
        assert_eq!(several.listen.len(), 2);
        let target = |config: Config| match config.towards {
            Towards::One(destination) => destination.to_string(),
            Towards::Tokens(settings) => settings.kind.to_string(),
            Towards::Program(program) => panic!("{program:?}"),
        };
        assert_eq!(target(several), "host:5900");
        let unix = config(&["80", "--unix-target", "/run/x"]);
        assert_eq!((unix.listen.len(), target(unix)), (1, "unix:/run/x".to_owned()));
        let here = std::env::current_dir().unwrap().join("x");
        assert_eq!(target(config(&["80", "--unix-target", "x"])), format!("unix:{}", here.display()));
        let tokens = config(&["--token-plugin", "TokenFile", "--token-source", "/x", "80", "81"]);
        assert_eq!((tokens.listen.len(), target(tokens)), (2, "TokenFile".to_owned()));
        let inetd = config(&["--inetd", "host:5900"]);
        assert!(inetd.inetd && inetd.listen.is_empty());
    }

    #[test]
    fn a_program_stands_behind_the_proxy_where_an_option_needs_one() {
        for (words, behind) in [
            (&["80", "--", "x", "--cert"][..], false),
            (&["-v", "-D", "--wrap-mode", "ignore", "80", "--", "x"], false),
            (&["--heartbeat", "30", "80", "--", "x"], true),
            (&["--self-signed", "80", "--", "x"], true),
            (&["--traffic", "80", "--", "x"], true),
        ] {
            match config(words).towards {
                Towards::Program(program) => assert_eq!(program.behind, behind, "{words:?}"),
                _ => panic!("{words:?}"),
            }
        }
    }

    #[test]
    fn bad_usage_is_one_line_that_names_what_is_wrong() {
        for (words, names) in [
            (&[][..], &["HOST:PORT"][..]),
            (&["host:1"], &["PORT"]),
            (&["80", "81"], &["HOST:PORT", "81"]),
            (&["x", "host:1"], &["PORT", "x"]),
            (&["--frob", "80", "host:1"], &["--frob"]),
            (&["--inetd", "80", "host:1"], &["--inetd"]),
            (&["--unix-listen-mode", "0600", "80", "host:1"], &["--unix-listen-mode", "--unix-listen FILE"]),
            (&["--record-format", "js", "80", "host:1"], &["--record-format", "--record FILE"]),
            (&["--max-per-ip", "1", "--unix-listen", "/x", "host:1"], &["--max-per-ip", "--trust-proxy"]),
            (&["--inetd", "-D", "host:1"], &["--daemon"]),
            (&["--unix-listen-mode", "0888", "80", "host:1"], &["--unix-listen-mode", "0888"]),
            (&["--unix-listen-mode", "01777", "80", "host:1"], &["--unix-listen-mode", "01777"]),
            (&["--wrap-mode", "often", "80", "--", "x"], &["--wrap-mode", "often"]),
            (&["--wrap-mode", "exit", "80", "host:1"], &["--wrap-mode", "PROGRAM"]),
            (&["--unix-target", "/x", "80", "--", "x"], &["--unix-target"]),
            (&["--chroot", "/", "80", "--", "x"], &["--chroot"]),
            (&["--inetd", "--", "x"], &["--inetd"]),
            (&["--", "x"], &["PORT"]),
            (&["--syslog", "nowhere", "80", "host:1"], &["--syslog", "nowhere"]),
            (&["--user", "no-such-user", "80", "host:1"], &["--user", "no-such-user"]),
            (&["--user", "4000000000", "80", "host:1"], &["--user", "4000000000"]),
            (&["--group", "no-such-group", "80", "host:1"], &["--group", "no-such-group"]),
            (&["--chroot", "/no/such/dir", "80", "host:1"], &["--chroot", "/no/such/dir"]),
        ] {
            let line = refusal(words);
            for name in names {
                assert!(line.contains(name), "{words:?}: {line}");
            }
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (option, values) in [
            ("--connect-timeout", &["0", "-1", "soon", "1.5"][..]),
            ("--handshake-timeout", &["0", "x"]),
            ("--heartbeat", &["-1", "x"]),
            ("--timeout", &["0", "x"]),
            ("--idle-timeout", &["0", "x"]),
            ("--drain", &["-1", "x"]),
            ("--max-connections", &["0", "x"]),
            ("--max-per-ip", &["0", "x"]),
            ("--source-addr", &["localhost", "1.2.3"]),
            ("--proxy-protocol", &["v3", "1"]),
            ("--trust-proxy", &["10.0.0.0/33", "host"]),
            ("--metrics", &["x", ":1"]),
            ("--log-format", &["xml"]),
        ] {
            for value in values {
                let word = format!("{option}={value}");
                let line = refusal(&[&word, "80", "host:1"]);
                assert!(line.contains(option) && line.contains(value), "{word}: {line}");
            }
        }
    }
}
