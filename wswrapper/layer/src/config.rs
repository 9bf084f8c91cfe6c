//! What the environment asks for, checked before anything is wrapped.
//!
//! A bad value never becomes a silent default: [`Config::from_env`] returns the one line that says which variable holds
//! what, and the library then wraps nothing.

use std::ffi::CStr;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use wsproto::{Dialects, Policy};

/// How long a client may take for its opening handshake unless `WSWRAP_HANDSHAKE_TIMEOUT` says otherwise.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest handshake timeout that is accepted, in seconds: a day.
pub const MAX_TIMEOUT_SECS: u64 = 86_400;

/// The variables that [`Config::from_env`] reads, all of them.
pub const VARIABLES: [&CStr; 8] = [
    c"WSWRAP_PORT",
    c"WSWRAP_DIALECTS",
    c"WSWRAP_ORIGINS",
    c"WSWRAP_HANDSHAKE_TIMEOUT",
    c"WSWRAP_VERBOSE",
    c"WSWRAP_LOG",
    c"WSWRAP_NO_INHERIT",
    c"WSWRAP_REBIND",
];

/// The ports that become WebSocket ports: `WSWRAP_PORT`, and the launcher's first argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// `all`, or the variable unset: every TCP port the program listens on.
    All,
    /// `none`: the library is loaded and wraps nothing.
    None,
    /// Single ports and ranges, as written.
    List(Vec<RangeInclusive<u16>>),
}

impl Ports {
    /// Whether a listening socket on `port` is to be wrapped.
    pub fn contains(&self, port: u16) -> bool {
        match self {
            Ports::All => true,
            Ports::None => false,
            Ports::List(ranges) => ranges.iter().any(|range| range.contains(&port)),
        }
    }

    /// Whether all that is asked for is open when the ports in `open` are: each single port, and of each range one, since
    /// programs are given a range to choose from. Of `All` and `None` nobody knows.
    pub fn each_open(&self, open: &[u16]) -> bool {
        match self {
            Ports::All | Ports::None => false,
            Ports::List(ranges) => ranges.iter().all(|range| open.iter().any(|port| range.contains(port))),
        }
    }
}

/// Why a port list was not understood. Displays the offending part and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortsError {
    part: String,
}

impl fmt::Display for PortsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is no port: use a number from 1 to 65535, a list (5901,5902), a range (5900-5910), all or none",
            self.part.escape_debug()
        )
    }
}

impl std::error::Error for PortsError {}

impl FromStr for Ports {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Self, PortsError> {
        match text.trim() {
            "all" => return Ok(Ports::All),
            "none" => return Ok(Ports::None),
            _ => {}
        }
        text.split(',').map(|part| range(part.trim())).collect::<Result<_, _>>().map(Ports::List)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ports::All => f.write_str("all"),
            Ports::None => f.write_str("none"),
            Ports::List(ranges) => {
                for (i, range) in ranges.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    if range.start() == range.end() {
                        write!(f, "{comma}{}", range.start())?;
                    } else {
                        write!(f, "{comma}{}-{}", range.start(), range.end())?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// `5901` or `5900-5910`.
fn range(part: &str) -> Result<RangeInclusive<u16>, PortsError> {
    let error = || PortsError { part: part.to_owned() };
    // `u16::from_str` takes a sign; a port has none.
    let port = |digits: &str| match digits.parse::<u16>() {
        Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err(error()),
    };
    match part.split_once('-') {
        None => port(part).map(|port| port..=port),
        Some((first, last)) => {
            let (first, last) = (port(first.trim())?, port(last.trim())?);
            if first <= last { Ok(first..=last) } else { Err(error()) }
        }
    }
}

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// `WSWRAP_LOG` is unset: nothing is logged.
    Nowhere,
    /// `stderr`, for as long as descriptor 2 is what it was when the program started.
    Stderr,
    /// A file that lines are appended to.
    File(String),
}

/// Everything the library is told from outside.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which listening ports are wrapped.
    pub ports: Ports,
    /// What an opening handshake may ask for.
    pub policy: Policy,
    /// How long an opening handshake may take.
    pub handshake_timeout: Duration,
    /// Where log lines go.
    pub log: LogTarget,
    /// One line for each connection and each end, too.
    pub verbose: bool,
    /// What is started once the ports are open goes without the library.
    pub no_inherit: bool,
    /// A port that the program is to open elsewhere, for a proxy that has it.
    pub rebind: Option<Rebind>,
}

/// What bind(2) of the port `from` is made into: the port `to` of the loopback address. `WSWRAP_REBIND`, as `FROM:TO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebind {
    /// The port that the program asks for.
    pub from: u16,
    /// The port that it gets.
    pub to: u16,
}

impl FromStr for Rebind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{}' is no pair of ports: use FROM:TO, such as 5901:15901", text.escape_debug());
        let (from, to) = text.split_once(':').ok_or_else(bad)?;
        let single = |part: &str| range(part).ok().filter(|range| range.start() == range.end());
        match (single(from), single(to)) {
            (Some(from), Some(to)) => Ok(Rebind { from: *from.start(), to: *to.start() }),
            _ => Err(bad()),
        }
    }
}

impl Config {
    /// Reads the `WSWRAP_*` variables through `var`.
    ///
    /// # Errors
    /// One line without a newline: the variable, its value, and what would be right.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let ports = match var("WSWRAP_PORT") {
            None => Ports::All,
            Some(text) => text.parse().map_err(|error| format!("WSWRAP_PORT: {error}"))?,
        };
        let dialects = match var("WSWRAP_DIALECTS") {
            None => Dialects::default(),
            Some(text) => text.parse().map_err(|error| format!("WSWRAP_DIALECTS: {error}"))?,
        };
        let origins = var("WSWRAP_ORIGINS").unwrap_or_default();
        let origins = origins
            .split_whitespace()
            .map(|text| text.parse().map_err(|error| format!("WSWRAP_ORIGINS: '{}': {error}", text.escape_debug())));
        let origins = origins.collect::<Result<_, String>>()?;
        let handshake_timeout = match var("WSWRAP_HANDSHAKE_TIMEOUT") {
            None => HANDSHAKE_TIMEOUT,
            Some(text) => match text.trim().parse::<u64>() {
                Ok(secs @ 1..=MAX_TIMEOUT_SECS) => Duration::from_secs(secs),
                _ => {
                    return Err(format!(
                        "WSWRAP_HANDSHAKE_TIMEOUT: '{}' is no time: use whole seconds from 1 to {MAX_TIMEOUT_SECS}",
                        text.escape_debug()
                    ));
                }
            },
        };
        let flag = |name: &str| match var(name).as_deref() {
            None | Some("" | "0") => Ok(false),
            Some("1") => Ok(true),
            Some(text) => Err(format!("{name}: '{}' is neither 1 nor 0", text.escape_debug())),
        };
        let verbose = flag("WSWRAP_VERBOSE")?;
        let no_inherit = flag("WSWRAP_NO_INHERIT")?;
        if no_inherit && ports == Ports::All {
            return Err("WSWRAP_NO_INHERIT: it needs ports in WSWRAP_PORT, not all".to_owned());
        }
        let rebind = match var("WSWRAP_REBIND") {
            None => None,
            Some(text) => Some(text.parse().map_err(|error| format!("WSWRAP_REBIND: {error}"))?),
        };
        let log = match var("WSWRAP_LOG") {
            None if verbose => LogTarget::Stderr,
            None => LogTarget::Nowhere,
            Some(text) if text == "stderr" => LogTarget::Stderr,
            Some(text) if text.is_empty() => {
                return Err("WSWRAP_LOG: it is empty: use stderr or the path of a file".to_owned());
            }
            Some(text) => LogTarget::File(text),
        };
        let policy = Policy { dialects, origins, ..Policy::default() };
        Ok(Config { ports, policy, handshake_timeout, log, verbose, no_inherit, rebind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<Config, String> {
        Config::from_env(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn ports_are_a_number_a_list_a_range_all_or_none() {
        let ports = |text: &str| text.parse::<Ports>().unwrap();
        assert_eq!(ports("all"), Ports::All);
        assert_eq!(ports("none"), Ports::None);
        assert!(ports("5901").contains(5901) && !ports("5901").contains(5902));
        let list = ports("1, 5900-5910,65535");
        for port in [1, 5900, 5905, 5910, 65535] {
            assert!(list.contains(port), "{port}");
        }
        for port in [2, 5899, 5911, 65534] {
            assert!(!list.contains(port), "{port}");
        }
        assert_eq!(list.to_string(), "1,5900-5910,65535");
        assert_eq!(ports(&list.to_string()), list);
    }

    #[test]
    fn a_bad_port_is_named() {
        for text in ["", "0", "65536", "-1", "+1", "x", "1,,2", "5910-5900", "1-", "-", "1 2", "0-5", "1\n2"] {
            let error = text.parse::<Ports>().unwrap_err().to_string();
            assert!(error.contains("is no port: use a number"), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{text:?}");
        }
    }

    #[test]
    fn an_empty_environment_wraps_all_ports_silently() {
        let config = config(&[]).unwrap();
        assert_eq!(config.ports, Ports::All);
        assert_eq!(config.handshake_timeout, Duration::from_secs(10));
        assert_eq!(config.log, LogTarget::Nowhere);
        assert!(!config.verbose && config.policy.origins.is_empty());
    }

    #[test]
    fn verbose_without_a_log_goes_to_stderr() {
        assert_eq!(config(&[("WSWRAP_VERBOSE", "1")]).unwrap().log, LogTarget::Stderr);
        let file = config(&[("WSWRAP_VERBOSE", "1"), ("WSWRAP_LOG", "/x")]).unwrap();
        assert_eq!(file.log, LogTarget::File("/x".to_owned()));
    }

    #[test]
    fn every_bad_value_names_its_variable() {
        for (name, value) in [
            ("WSWRAP_PORT", "http"),
            ("WSWRAP_DIALECTS", "hixie-77"),
            ("WSWRAP_ORIGINS", "http://a example.org"),
            ("WSWRAP_HANDSHAKE_TIMEOUT", "0"),
            ("WSWRAP_HANDSHAKE_TIMEOUT", "1.5"),
            ("WSWRAP_HANDSHAKE_TIMEOUT", "86401"),
            ("WSWRAP_VERBOSE", "yes"),
            ("WSWRAP_NO_INHERIT", "yes"),
            ("WSWRAP_NO_INHERIT", "1"),
            ("WSWRAP_LOG", ""),
            ("WSWRAP_REBIND", "5901"),
            ("WSWRAP_REBIND", "5901:"),
            ("WSWRAP_REBIND", "1-2:3"),
            ("WSWRAP_REBIND", "0:3"),
        ] {
            let error = config(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(&format!("{name}: ")), "{error}");
        }
    }

    #[test]
    fn a_port_that_moves_is_a_pair() {
        assert_eq!(config(&[]).unwrap().rebind, None);
        let moved = config(&[("WSWRAP_PORT", "none"), ("WSWRAP_REBIND", "5901:15901")]).unwrap();
        assert_eq!(moved.rebind, Some(Rebind { from: 5901, to: 15901 }));
    }

    #[test]
    fn origins_are_separated_by_white_space() {
        let config = config(&[("WSWRAP_ORIGINS", " http://a  https://b:1 ")]).unwrap();
        assert_eq!(config.policy.origins, ["http://a", "https://b:1"].map(|origin| origin.parse().unwrap()));
    }

    #[test]
    fn every_variable_that_is_read_is_in_the_list() {
        let read = std::cell::RefCell::new(Vec::new());
        let pairs = [("WSWRAP_PORT", "5901"), ("WSWRAP_NO_INHERIT", "1")];
        let config = Config::from_env(|name| {
            read.borrow_mut().push(name.to_owned());
            pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        });
        assert!(config.unwrap().no_inherit);
        let mut read = read.into_inner();
        let mut listed = VARIABLES.map(|name| name.to_str().unwrap().to_owned());
        read.sort_unstable();
        listed.sort_unstable();
        assert_eq!(read, listed);
    }

    #[test]
    fn all_is_open_when_every_port_and_one_of_every_range_is() {
        let ports: Ports = "5901,6000-6010,7000".parse().unwrap();
        assert!(ports.each_open(&[6005, 1, 7000, 5901]));
        for open in [&[][..], &[5901, 7000], &[5901, 6000, 6001], &[5902, 6000, 7000]] {
            assert!(!ports.each_open(open), "{open:?}");
        }
        assert!(!Ports::All.each_open(&[1]) && !Ports::None.each_open(&[]));
    }
}
