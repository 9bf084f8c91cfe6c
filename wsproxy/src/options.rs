//! The table of options. `--help`, the man page and the completions come from it; parsing does nothing but parse.

pub mod auth;
pub mod tls;
pub mod tokens;
pub mod watching;
pub mod web;
pub mod wrapping;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgAction, Parser, ValueEnum};
use wsproxy::proxy_protocol::Version;
use wsproxy::trust::Network;

/// Turns WebSockets into connections to a TCP server.
#[derive(Debug, Parser)]
#[command(
    name = "wsproxy",
    version,
    about = "Turns WebSockets into connections to a TCP server.",
    override_usage = "wsproxy [OPTIONS] [ADDRESS:]PORT... HOST:PORT\n       \
                      wsproxy [OPTIONS] --unix-target FILE [ADDRESS:]PORT...\n       \
                      wsproxy [OPTIONS] --token-plugin PLUGIN --token-source ARG [ADDRESS:]PORT...\n       \
                      wsproxy [OPTIONS] [ADDRESS:]PORT... -- PROGRAM [ARGS...]",
    disable_help_flag = true,
    disable_version_flag = true,
    args_override_self = true,
    next_line_help = false,
    after_help = "\
Without an ADDRESS it listens on all, IPv6 and IPv4; an IPv6 address stands in brackets.
Sockets that systemd passes (LISTEN_FDS) are listened on as well.

SIGTERM and SIGINT end it once its connections have ended, see --drain; a second one at
once. SIGHUP opens the log file anew and reads certificates, tokens and passwords.

Examples:
  wsproxy 6080 localhost:5901
  wsproxy 5901 -- vncserver -geometry 640x480 :1
  wsproxy -D --pid-file /run/wsproxy.pid --user nobody 443 [::1]:80 vnc.example.org:5900

Exit status: 0 ended as asked, 1 it cannot start or listens no more, 2 bad usage; PROGRAM's own,
or 128 and the number of the signal that ended it."
)]
pub struct Options {
    /// Where to listen, [ADDRESS:]PORT, one or several; the last is the target, HOST:PORT
    #[arg(value_name = "ADDRESS", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub addresses: Vec<String>,

    #[command(flatten)]
    pub listening: Listening,

    #[command(flatten)]
    pub target: Towards,

    #[command(flatten)]
    pub clients: Clients,

    #[command(flatten)]
    pub tokens: tokens::TokenOptions,

    #[command(flatten)]
    pub auth: auth::AuthOptions,

    #[command(flatten)]
    pub tls: tls::TlsOptions,

    #[command(flatten)]
    pub web: web::WebOptions,

    #[command(flatten)]
    pub watching: watching::WatchOptions,

    #[command(flatten)]
    pub wrapping: wrapping::WrapOptions,

    #[command(flatten)]
    pub running: Running,

    #[command(flatten)]
    pub logging: Logging,
}

/// Where connections come from.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Listening")]
pub struct Listening {
    /// Listen on a Unix socket, too, or alone
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub unix_listen: Option<PathBuf>,

    /// Permissions of that socket, in octal
    #[arg(long, value_name = "MODE", default_value = "0600", value_parser = mode)]
    pub unix_listen_mode: u32,

    /// Standard input is the listening socket (inetd's wait) or a connection (nowait)
    #[arg(long)]
    pub inetd: bool,
}

/// Where connections go.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Target")]
pub struct Towards {
    /// Connect to a Unix socket
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub unix_target: Option<PathBuf>,

    /// Connect from this address
    #[arg(long, value_name = "ADDRESS")]
    pub source_addr: Option<IpAddr>,

    /// Tell the target the client's address: v1 or v2 of the PROXY protocol
    #[arg(long, value_name = "VERSION")]
    pub proxy_protocol: Option<Version>,

    /// Time for a connection to the target
    #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = seconds())]
    pub connect_timeout: u64,
}

/// Who may connect, how many, for how long.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Clients")]
pub struct Clients {
    /// Believe proxies in this network, or "unix": X-Forwarded-For, X-Forwarded-Proto and the PROXY protocol; repeatable
    #[arg(long, value_name = "CIDR")]
    pub trust_proxy: Vec<Network>,

    /// Time for an opening handshake
    #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = seconds())]
    pub handshake_timeout: u64,

    /// Ping a silent client every so many seconds, and give it up after three without an answer; 0 never
    #[arg(long, value_name = "SECS", default_value_t = 30, value_parser = seconds_or_none())]
    pub heartbeat: u64,

    /// The most WebSockets at a time; one more is answered with 503
    #[arg(long, value_name = "N", value_parser = count())]
    pub max_connections: Option<u64>,

    /// The most WebSockets of one address (IPv6: of one /64 network) at a time; one more is answered with 429
    #[arg(long, value_name = "N", value_parser = count())]
    pub max_per_ip: Option<u64>,
}

/// The process.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Running")]
pub struct Running {
    /// Run in the background
    #[arg(short = 'D', long, overrides_with = "foreground")]
    pub daemon: bool,

    /// Run in the foreground, which is the default
    #[arg(short, long, overrides_with = "daemon")]
    pub foreground: bool,

    /// Write the process id to this file
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub pid_file: Option<PathBuf>,

    /// Become this user, by name or number, when all is opened
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,

    /// Become this group, by name or number; default the user's own
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,

    /// Make this directory the root when all is opened; names are looked up with the files in it
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub chroot: Option<PathBuf>,

    /// End after this time
    #[arg(long, value_name = "SECS", value_parser = seconds())]
    pub timeout: Option<u64>,

    /// End when there has been no connection for this time
    #[arg(long, value_name = "SECS", value_parser = seconds())]
    pub idle_timeout: Option<u64>,

    /// Serve one WebSocket and end with it
    #[arg(long)]
    pub run_once: bool,

    /// When told to end, give open connections this time, then close them with code 1001
    #[arg(long, value_name = "SECS", default_value_t = 5, value_parser = seconds_or_none())]
    pub drain: u64,

    /// Serve /metrics for Prometheus and /healthz at this address
    #[arg(long, value_name = "[ADDRESS:]PORT")]
    pub metrics: Option<wsproxy::address::Listen>,

    /// Print help
    #[arg(short, long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Print version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

/// What is told to whom.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logging")]
pub struct Logging {
    /// Log more, such as connections without a request
    #[arg(short, long)]
    pub verbose: bool,

    /// Append the log to this file; default standard error
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub log_file: Option<PathBuf>,

    /// Log to syslog as well (RFC 5424): a socket such as /dev/log, or HOST:PORT for UDP
    #[arg(long, value_name = "SERVER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub syslog: Option<String>,

    /// The form of log lines: text or json
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text", hide_possible_values = true)]
    pub log_format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// The longest time that an option takes: 10 years.
const LONGEST: u64 = 10 * 365 * 86400;

fn seconds() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=LONGEST)
}

fn seconds_or_none() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(0..=LONGEST)
}

fn count() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=u64::from(u32::MAX))
}

fn path() -> clap::builder::PathBufValueParser {
    clap::builder::PathBufValueParser::new()
}

fn mode(text: &str) -> Result<u32, &'static str> {
    let why = "permissions are octal digits up to 0777";
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).map_err(|_| why)?;
    if digits && mode <= 0o777 { Ok(mode) } else { Err(why) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use clap_complete::Shell;
    use std::path::Path;

    #[test]
    fn the_table_is_sound() {
        Options::command().debug_assert();
    }

    /// Its synopsis is the one of `--help`, in place of a list of all options.
    fn man_page() -> String {
        let mut page = Vec::new();
        clap_mangen::Man::new(Options::command()).render(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        let (head, rest) = page.split_once(".SH SYNOPSIS\n").unwrap();
        let (_, rest) = rest.split_once(".SH DESCRIPTION\n").unwrap();
        let usage = Options::command().render_usage().to_string();
        let forms: Vec<_> = usage.lines().map(|line| line.trim_start_matches("Usage:").trim()).collect();
        let synopsis = forms.join("\n.br\n").replace('-', "\\-");
        format!("{head}.SH SYNOPSIS\n{synopsis}\n.SH DESCRIPTION\n{rest}")
    }

    /// `WSPROXY_UPDATE=1 cargo test -p wsproxy the_man_page` writes them anew.
    #[test]
    fn the_man_page_and_the_completions_are_those_of_the_table() {
        let mut files = vec![("docs/wsproxy.1", man_page().into_bytes())];
        for (shell, name) in [
            (Shell::Bash, "packaging/completions/wsproxy.bash"),
            (Shell::Zsh, "packaging/completions/_wsproxy"),
            (Shell::Fish, "packaging/completions/wsproxy.fish"),
        ] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Options::command(), "wsproxy", &mut script);
            files.push((name, script));
        }
        for (name, text) in files {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
            if std::env::var_os("WSPROXY_UPDATE").is_some() {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, text).unwrap();
            } else {
                assert!(std::fs::read(&path).unwrap() == text, "{name} is not what the table of options gives");
            }
        }
    }
}
