//! One description of a server, and the run that it describes: bare under strace, then wrapped in each dialect; the same
//! conversations each time, several at once, twice over with nothing left behind between.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use wstests::{Client, Mode, Rng, Scratch, Server, Shim, Wire};

use crate::compatibility;
use crate::descriptors::Held;
use crate::observe;

/// How long a client may take, in seconds as timeout(1) has them. More than the harness gives a single wait: it is a whole
/// conversation, four of them share the machine, and strace looks at every call of the bare server.
const CLIENT_SECONDS: &str = "60";

/// A row of `docs/compatibility.md`.
pub(crate) struct Program {
    /// Which program, and how it is set up if that matters; unique.
    pub name: &'static str,
    /// The Debian package whose version the table shows; `scripts/packages` names it.
    pub package: &'static str,
    /// Who talks to it.
    pub client: &'static str,
    /// Writes its configuration and gives the command that runs it in the foreground.
    pub command: fn(&Site) -> Command,
    /// One conversation; what it returns must be the same in every dialect.
    pub talk: fn(&Talk) -> String,
    /// What ends it.
    pub ends: Ends,
    /// Whether its connections leave the process that we sit in.
    pub way: Way,
}

/// What ends a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// This signal; until then it serves any number of clients.
    Signal(i32),
    /// The end of its only client.
    WithClient,
}

/// How a connection is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the library in the program.
    InPlace,
    /// By the companion process, from the moment that the connection leaves the program.
    Bridged,
}

/// Where a program finds its files and its port.
pub(crate) struct Site<'a> {
    /// A directory that everybody may read and write: some programs change the user.
    pub dir: &'a Path,
    pub port: u16,
}

impl Site<'_> {
    /// Writes a file of the configuration, in which `{dir}` and `{port}` stand for those of the site, and gives its path.
    #[track_caller]
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        let content = content.replace("{dir}", &self.path("")).replace("{port}", &self.port.to_string());
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().trim_end_matches('/').to_owned()
    }

    /// A further directory in it that everybody may write to.
    pub fn directory(&self, name: &str) -> String {
        let path = self.path(name);
        open_directory(Path::new(&path));
        path
    }
}

/// A conversation's place: the server, the way to it, and a number that no other conversation at the time has.
pub(crate) struct Talk<'a> {
    pub server: SocketAddr,
    pub wire: Wire,
    /// The shim's port: there plain clients reach the server.
    pub port: u16,
    pub dir: &'a Path,
    pub number: usize,
    /// For what a program says and is told on its standard streams.
    pub process: &'a Server,
}

impl Talk<'_> {
    /// A client of the harness.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.server, self.wire).unwrap()
    }

    /// Numbers of this conversation's own.
    pub fn rng(&self) -> Rng {
        Rng::new(self.number as u64 + 1)
    }

    /// Runs a client of plain TCP with `input` and gives its standard output. `{port}` stands for the way to the server.
    ///
    /// # Panics
    /// If it fails or takes too long.
    #[track_caller]
    pub fn client(&self, line: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("timeout")
            .args(["--kill-after=1", CLIENT_SECONDS])
            .args(line.iter().map(|word| word.replace("{port}", &self.port.to_string())))
            .current_dir(self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            // A client that has heard enough may end before it has read everything.
            scope.spawn(move || stdin.write_all(input).is_ok());
            child.wait_with_output().unwrap()
        });
        assert!(
            output.status.success(),
            "{line:?} over {:?}: {}\n{}\n{}",
            self.wire,
            output.status,
            shown(&output.stdout),
            shown(&output.stderr)
        );
        output.stdout
    }
}

/// The beginning of what a program wrote, for a failure.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned()
}

/// What a run shows; the same in each dialect as bare.
#[derive(Debug, PartialEq, Eq)]
struct Transcript {
    talks: Vec<String>,
    status: String,
}

/// The whole test of one program.
///
/// # Panics
/// If anything differs from the bare program, or from `docs/compatibility.md`.
pub(crate) fn run(program: &Program) {
    let scratch = Scratch::new();
    let trace = scratch.join("trace");
    let (bare, port) = serve(program, Wire::Plain, |command| observe::traced(&command, &trace));
    for wire in Wire::selected().into_iter().filter(|wire| matches!(wire, Wire::Rfc6455 | Wire::Hixie76)) {
        let (wrapped, _) = serve(program, wire, |command| command);
        assert_eq!(wrapped, bare, "{}: {wire:?} (left) against the bare program (right)", program.name);
    }
    compatibility::check(program, &observe::read(&trace, port));
}

/// One run of the program: its transcript and its port.
fn serve(program: &Program, wire: Wire, change: impl FnOnce(Command) -> Command) -> (Transcript, u16) {
    eprintln!("{}: {wire:?}", program.name);
    let scratch = Scratch::new();
    open_directory(scratch.path());
    let dir = scratch.path();
    let mut server = Server::start_configured(Mode::of(wire), |port| change((program.command)(&Site { dir, port })));
    let shim = Shim::start(server.addr(), wire).unwrap();
    let (server_addr, port) = (server.addr(), shim.addr().port());
    let talk =
        |process: &Server, number| (program.talk)(&Talk { server: server_addr, wire, port, dir, number, process });
    let talks = match program.ends {
        Ends::WithClient => vec![talk(&server, 0)],
        Ends::Signal(signal) => {
            let first = Held::when_idle(&server);
            let mut talks = side_by_side(|number| talk(&server, number), 0);
            let before = Held::when_idle(&server).of_those_in(&first);
            talks.extend(side_by_side(|number| talk(&server, number), talks.len()));
            before.until_no_more(&server);
            server.signal(signal);
            talks
        }
    };
    let status = server.wait().to_string();
    (Transcript { talks, status }, server_addr.port())
}

/// As many conversations at once as show that they do not disturb each other.
fn side_by_side(talk: impl Fn(usize) -> String + Sync, first: usize) -> Vec<String> {
    std::thread::scope(|scope| {
        let talks: Vec<_> = (first..first + 4)
            .map(|number| {
                scope.spawn({
                    let talk = &talk;
                    move || talk(number)
                })
            })
            .collect();
        talks.into_iter().map(|talk| talk.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

fn open_directory(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
}

/// Whether the tests run as root: some programs then want to be told who to be.
pub(crate) fn is_root() -> bool {
    // SAFETY: plain system call without arguments.
    unsafe { libc::geteuid() == 0 }
}

/// Who the services of super-servers run as.
pub(crate) fn user() -> String {
    if is_root() { "root".to_owned() } else { std::env::var("USER").unwrap() }
}

/// A command of words without spaces in them.
pub(crate) fn words(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}
