//! How a program is wrapped: by the library, which the launcher `wswrap` puts into it, or behind the proxy, on another port.

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::process::Command;

use wsproxy::address::{Listen, Target};
use wsproxy::dial::Destination;

use crate::config::Config;
use crate::failure::Failure;
use crate::options::wrapping::Program;

/// Where the launcher may be, seen from the directory of this program: beside it, or in the other profile of the build tree.
const PLACES: [&str; 3] = [".", "../release", "../debug"];

/// What stands in an argument for the port behind the proxy.
const PLACEHOLDER: &[u8] = b"{port}";

/// How a program is started.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is run.
    pub words: Vec<OsString>,
    /// What its environment has besides.
    pub environment: Option<(&'static str, String)>,
    /// Where it listens then.
    pub destination: Destination,
    /// It is reached through the proxy; else it is a WebSocket server itself.
    pub behind: bool,
}

impl Plan {
    /// Looks at the program and finds the way.
    ///
    /// # Errors
    /// There is none, or no launcher.
    pub fn of(program: &Program, config: &Config) -> Result<Plan, Failure> {
        if program.words.iter().any(|word| position(word.as_bytes()).is_some()) {
            let port = free_port()?;
            let words = program.words.iter().map(|word| filled(word, port)).collect();
            return Ok(Plan { words, environment: None, destination: inner(port), behind: true });
        }
        let launcher = launcher()?;
        let Some(&Listen { port: outer @ 1.., .. }) = config.listen.first() else {
            return Err(Failure::usage(
                "PROGRAM: without the PORT that it listens on nothing can be moved: name that, or put {port} in its arguments",
            ));
        };
        let in_place = (!program.behind).then(|| plain_ports(&config.listen)).flatten();
        check(&launcher, in_place.as_deref().unwrap_or("none"), program)?;
        let mut words = vec![launcher.into_os_string()];
        if let Some(ports) = in_place {
            words.extend(config.log.verbose.then(|| "-v".into()));
            if let Some(file) = &config.log.file {
                words.extend(["--log".into(), file.clone().into_os_string()]);
            }
            words.push(ports.into());
            words.extend(program.words.iter().cloned());
            return Ok(Plan { words, environment: None, destination: inner(outer), behind: false });
        }
        let port = free_port()?;
        words.push("none".into());
        words.extend(program.words.iter().cloned());
        let environment = Some(("WSWRAP_REBIND", format!("{outer}:{port}")));
        Ok(Plan { words, environment, destination: inner(port), behind: true })
    }
}

/// The launcher's argument for ports that are open to all addresses, as the library leaves them to the program.
fn plain_ports(listen: &[Listen]) -> Option<String> {
    let ports = listen.iter().map(|listen| (listen.host.is_none() && listen.port > 0).then(|| listen.port.to_string()));
    ports.collect::<Option<Vec<String>>>().map(|ports| ports.join(","))
}

fn launcher() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|why| Failure::system("where wsproxy is", why))?;
    let home = own.parent().unwrap_or(&own);
    let found = PLACES.iter().map(|place| home.join(place).join("wswrap")).find(|path| path.is_file());
    found.ok_or_else(|| {
        let why = "no such file: install it beside wsproxy, or put {port} in the program's arguments";
        Failure::system(home.join("wswrap").display(), why)
    })
}

/// Asks the launcher whether the library can be loaded into the program.
fn check(launcher: &PathBuf, ports: &str, program: &Program) -> Result<(), Failure> {
    let output = Command::new(launcher).args(["--check", ports]).args(&program.words).output();
    let output = output.map_err(|why| Failure::system(launcher.display(), why))?;
    if output.status.success() {
        return Ok(());
    }
    let (verdict, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let last = verdict.lines().last().and_then(|line| line.strip_prefix("verdict: cannot be wrapped: "));
    let why = last.unwrap_or_else(|| complaint.trim());
    // What it proposes is a proxy, which is here already.
    let why = why.split_once(": let it listen on").map_or(why, |(why, _)| why);
    let why = why.split_once(", or let it listen on").map_or(why, |(why, _)| why);
    let why = why.split_once(": run `wsproxy").map_or(why, |(why, _)| why);
    Err(Failure::system("PROGRAM", format!("{why}; or put {{port}} where its arguments name its port")))
}

/// A port of the loopback address that is free at the moment.
fn free_port() -> Result<u16, Failure> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    port.map(|addr| addr.port()).map_err(|why| Failure::system("a port for PROGRAM", why))
}

fn inner(port: u16) -> Destination {
    Destination::Tcp(Target { host: Ipv4Addr::LOCALHOST.to_string(), port })
}

fn position(word: &[u8]) -> Option<usize> {
    word.windows(PLACEHOLDER.len()).position(|part| part == PLACEHOLDER)
}

/// The word with the port in place of each placeholder.
fn filled(word: &OsStr, port: u16) -> OsString {
    let (mut rest, mut out) = (word.as_bytes(), Vec::new());
    while let Some((before, behind)) = position(rest).and_then(|at| rest.split_at_checked(at)) {
        out.extend_from_slice(before);
        out.extend_from_slice(port.to_string().as_bytes());
        rest = behind.get(PLACEHOLDER.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_placeholder_is_filled() {
        for (word, expected) in [
            ("{port}", "80"),
            ("127.0.0.1:{port},[::1]:{port}/", "127.0.0.1:80,[::1]:80/"),
            ("{ports}{", "{ports}{"),
            ("", ""),
        ] {
            assert_eq!(filled(OsStr::new(word), 80), OsStr::new(expected));
        }
    }

    #[test]
    fn ports_with_an_address_are_not_the_librarys() {
        let ports = |words: &[&str]| plain_ports(&words.iter().map(|word| word.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(ports(&["80", "81"]), Some("80,81".to_owned()));
        assert_eq!(ports(&["80", "127.0.0.1:81"]), None);
        assert_eq!(ports(&["0"]), None);
    }
}
