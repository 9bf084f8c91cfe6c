//! The process and its log.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use wstests::net::uninterrupted;
use wstests::{Client, Ports, Process, Rng, Scratch, Server, TIMEOUT, Wire, proxy, wait};

use crate::common::{Rig, Target, refuses, run, start, talk};
use crate::tools::finish;

/// A process in the background, ended with the test.
struct Daemon(libc::pid_t);

impl Daemon {
    #[track_caller]
    fn of(pid_file: &Path) -> Self {
        Daemon(fs::read_to_string(pid_file).unwrap().trim().parse().unwrap())
    }

    fn signal(&self, signal: i32) {
        // SAFETY: plain system call; the process is a daemon that this test has started and not yet ended.
        unsafe { libc::kill(self.0, signal) };
    }

    fn status(&self, field: &str) -> Vec<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn is_gone(&self) -> bool {
        Process::new(self.0 as u32).has_ended()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !self.is_gone() {
            self.signal(libc::SIGKILL);
        }
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_daemon_serves_when_the_command_has_ended() {
    let (scratch, target) = (Scratch::new(), Target::new());
    let (pid, log) = (scratch.join("pid"), scratch.join("log"));
    let free = Ports::one();
    let listen = free.addr().to_string();
    let (pid_name, log_name) = (pid.to_str().unwrap(), log.to_str().unwrap());
    // The output ends with the last process that has it.
    let output = run(&["-D", "--pid-file", pid_name, "--log-file", log_name, &listen, &target.addr()]);
    let daemon = Daemon::of(&pid);
    assert!(output.status.success(), "{output:?}");
    assert_eq!((output.stdout, output.stderr), (Vec::new(), Vec::new()));
    let mut client = Client::connect(&listen, Wire::Rfc6455).unwrap();
    talk(&mut client, &target.accept().0);
    let proc = |name: &str| fs::read_link(format!("/proc/{}/{name}", daemon.0)).unwrap();
    assert_eq!(proc("cwd"), Path::new("/"));
    for number in 0..3 {
        assert_eq!(proc(&format!("fd/{number}")), Path::new("/dev/null"));
    }
    // No terminal, and no way to get one: in a session of which it is not the leader.
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.0)).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!(fields[4], "0", "a terminal");
    assert_ne!(fields[3], daemon.0.to_string(), "the leader of a session");
    drop(client);
    daemon.signal(libc::SIGTERM);
    wait::until("the end", || daemon.is_gone().then_some(()));
    assert!(!pid.exists());
    assert!(text(&log).contains(" open ") && text(&log).contains("ended"), "{}", text(&log));
}

/// Its directory is another one then.
#[test]
fn a_daemon_finds_the_unix_target_that_was_named_from_here() {
    let scratch = Scratch::new();
    let free = Ports::one();
    let (pid, listen) = (scratch.join("pid"), free.addr().to_string());
    let door = std::os::unix::net::UnixListener::bind(scratch.join("target")).unwrap();
    let mut command = std::process::Command::new(wstests::proxy());
    command.current_dir(scratch.path()).args(["-D", "--pid-file", "pid", "--unix-target", "target", &listen]);
    assert!(command.status().unwrap().success());
    let _daemon = Daemon::of(&pid);
    let mut client = Client::connect(&listen, Wire::Rfc6455).unwrap();
    door.set_nonblocking(true).unwrap();
    let (mut target, _) = wait::until("the proxy's connection", || door.accept().ok());
    std::io::Write::write_all(&mut target, b"found").unwrap();
    assert_eq!(client.read_exact(5), b"found");
}

#[test]
fn a_daemon_reads_anew_what_a_file_names_from_where_it_was_started() {
    let (scratch, target) = (Scratch::new(), Target::new());
    for name in ["one", "two"] {
        fs::write(scratch.join(name), format!("{name}: {}", target.addr())).unwrap();
    }
    let source = |name: &str| fs::write(scratch.join("source"), name).unwrap();
    let (free, log) = (Ports::one(), scratch.join("log"));
    let listen = free.addr().to_string();
    let mut command = Command::new(wstests::proxy());
    command.current_dir(scratch.path()).args(["-D", "--pid-file", "pid", "--log-file", "log"]);
    command.args(["--token-plugin", "ReadOnlyTokenFile", "--token-source-file", "source", &listen]);
    source("none");
    let output = finish(&command);
    let line = String::from_utf8_lossy(&output.stderr);
    assert!(line.contains("--token-source-file source: ") && line.contains("/none: No such file"), "{line}");
    source("one");
    // A daemon leaves the output that it has.
    assert!(command.status().unwrap().success());
    let daemon = Daemon::of(&scratch.join("pid"));
    let found = |path: &str| Client::builder(Wire::Rfc6455).path(path).connect(&*listen);
    talk(&mut found("/one").unwrap(), &target.accept().0);
    source("two");
    daemon.signal(libc::SIGHUP);
    wait::until("what it reads anew", || text(&log).contains("SIGHUP").then_some(()));
    talk(&mut found("/two").unwrap(), &target.accept().0);
    assert!(found("/one").is_err());
}

#[test]
fn what_goes_wrong_is_told_before_it_is_in_the_background() {
    let listen = "127.0.0.1:0";
    for daemon in [&[][..], &["-D"]] {
        let with = |words: &[&'static str]| [daemon, words, &[listen, "127.0.0.1:1"]].concat();
        refuses(&with(&["--pid-file", "/no/such/dir/pid"]), 1, &["--pid-file", "/no/such/dir/pid"]);
        refuses(&with(&["--log-file", "/no/such/dir/log"]), 1, &["--log-file", "/no/such/dir/log"]);
        refuses(&with(&["--syslog", "/no/such/socket"]), 1, &["--syslog", "/no/such/socket"]);
        refuses(&with(&["--syslog", "nowhere"]), 2, &["--syslog", "nowhere"]);
        refuses(&with(&["--user", "no-such-user"]), 2, &["--user", "no-such-user"]);
        refuses(&with(&["--group", "no-such-group"]), 2, &["--group", "no-such-group"]);
        refuses(&with(&["--chroot", "/no/such/dir"]), 2, &["--chroot", "/no/such/dir"]);
        refuses(&with(&["--log-format", "xml"]), 2, &["--log-format", "xml"]);
        refuses(&with(&["--frobnicate"]), 2, &["--frobnicate"]);
    }
}

#[test]
fn the_foreground_is_what_it_says_and_the_default() {
    let target = Target::new();
    for options in [&["-f"][..], &["--foreground"], &["-D", "-f"], &[]] {
        let proxy = start(&[options, &["127.0.0.1:{port}", &target.addr()]].concat());
        let mut client = Client::connect(proxy.addr(), Wire::Rfc6455).unwrap();
        talk(&mut client, &target.accept().0);
    }
}

#[test]
fn rights_are_given_up_when_all_is_open() {
    // SAFETY: plain system call.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("only root can give up its rights");
        return;
    }
    let (scratch, target) = (Scratch::new(), Target::new());
    let (pid, log) = (scratch.join("pid"), scratch.join("log"));
    // Nobody's own: what stands in it can be removed at the end, by the path that it has below the root.
    let own = scratch.join("own");
    assert!(Command::new("install").args(["-d", "-o", "nobody"]).arg(&own).status().unwrap().success());
    let socket = own.join("socket");
    let free = Ports::one();
    let listen = free.addr().to_string();
    let root = scratch.path().to_str().unwrap();
    let files = ["--pid-file", pid.to_str().unwrap(), "--log-file", log.to_str().unwrap()];
    let files = [&files[..], &["--unix-listen", socket.to_str().unwrap()]].concat();
    let rights = ["-D", "--user", "nobody", "--group", "daemon", "--chroot", root];
    let output = run(&[&rights[..], &files, &[&listen, &target.addr()]].concat());
    let daemon = Daemon::of(&pid);
    assert!(output.status.success(), "{output:?}");
    // SAFETY: both names are strings that end with a zero; the results are looked at before the next call.
    let (user, group) =
        unsafe { ((*libc::getpwnam(c"nobody".as_ptr())).pw_uid, (*libc::getgrnam(c"daemon".as_ptr())).gr_gid) };
    assert_eq!(daemon.status("Uid"), vec![user.to_string(); 4]);
    assert_eq!(daemon.status("Gid"), vec![group.to_string(); 4]);
    assert!(daemon.status("Groups").iter().all(|number| *number == group.to_string()), "{:?}", daemon.status("Groups"));
    assert_eq!(daemon.status("CapEff"), ["0000000000000000"]);
    assert_eq!(fs::read_link(format!("/proc/{}/root", daemon.0)).unwrap(), scratch.path());
    let mut client = Client::connect(&listen, Wire::Rfc6455).unwrap();
    talk(&mut client, &target.accept().0);
    assert!(socket.symlink_metadata().is_ok());
    daemon.signal(libc::SIGTERM);
    wait::until("the end", || daemon.is_gone().then_some(()));
    // In a directory of root's the file stays.
    assert!(!socket.exists() && pid.exists());
}

#[test]
fn the_log_file_is_opened_anew_on_sighup() {
    let scratch = Scratch::new();
    let (log, old) = (scratch.join("log"), scratch.join("log.1"));
    let target = Target::new();
    let mut proxy = crate::common::spawn(&["--log-file", log.to_str().unwrap(), "127.0.0.1:{port}", &target.addr()]);
    wait::until("the log", || text(&log).contains("listening").then_some(()));
    fs::rename(&log, &old).unwrap();
    proxy.signal(libc::SIGHUP);
    wait::until("another log", || text(&log).contains("SIGHUP").then_some(()));
    let mut client = Client::connect(proxy.addr(), Wire::Rfc6455).unwrap();
    talk(&mut client, &target.accept().0);
    wait::until("a line", || text(&log).contains(" open ").then_some(()));
    assert!(!text(&old).contains(" open "));
    // Where it cannot be opened the log goes on where it went.
    let gone = scratch.join("gone");
    fs::rename(&log, &gone).unwrap();
    fs::create_dir(&log).unwrap();
    proxy.signal(libc::SIGHUP);
    wait::until("the complaint", || text(&gone).contains("--log-file").then_some(()));
    talk_again(&proxy, &target);
}

/// Nobody waits for the reader of a log, at the start, on SIGHUP, or in a session.
#[test]
fn a_pipe_that_nobody_reads_is_no_log_and_holds_up_nothing() {
    let (scratch, target) = (Scratch::new(), Target::new());
    let [log, other] = ["log", "other"].map(|name| scratch.join(name));
    let name = log.to_str().unwrap();
    let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    pipe(&log);
    for option in ["--log-file", "--pid-file"] {
        let output = finish(Command::new(proxy()).args([option, name, "127.0.0.1:0", "127.0.0.1:9"]));
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{told}");
        assert!(told.contains(&format!("{option} {name}")), "{told}");
    }
    // Its reader has stopped reading.
    let reader = fs::OpenOptions::new().read(true).write(true).open(&log).unwrap();
    let mut proxy = crate::common::spawn(&["--log-file", name, "127.0.0.1:{port}", &target.addr()]);
    wait::until("a listener", || wstests::net::is_listening(proxy.port()).then_some(()));
    for _ in 0..400 {
        talk_again(&proxy, &target);
    }
    drop(reader);
    fs::rename(&log, &other).unwrap();
    pipe(&log);
    proxy.signal(libc::SIGHUP);
    talk_again(&proxy, &target);
    proxy.signal(libc::SIGTERM);
    assert!(proxy.wait().success());
}

/// Nor for the reader of standard error: a pipe, or a socket as the journal's.
#[test]
fn standard_error_that_nobody_reads_holds_up_nothing() {
    let target = Target::new();
    let (_reader, pipe) = std::io::pipe().unwrap();
    let (_peer, socket) = UnixStream::pair().unwrap();
    for log in [Stdio::from(pipe), Stdio::from(OwnedFd::from(socket))] {
        let free = Ports::one();
        // It ends with the test, whatever happens.
        let mut child = Command::new("timeout")
            .arg(TIMEOUT.as_secs().to_string())
            .arg(proxy())
            .args([free.addr().to_string(), target.addr()])
            .stderr(log)
            .spawn()
            .unwrap();
        wait::until("a listener", || wstests::net::is_listening(free.first()).then_some(()));
        for _ in 0..1200 {
            let mut client = Client::connect(free.addr(), Wire::Rfc6455).unwrap();
            talk(&mut client, &target.accept().0);
        }
        // SAFETY: plain system call; the process is a child that has not been waited for.
        unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
        assert!(child.wait().unwrap().success());
    }
}

#[track_caller]
fn talk_again(proxy: &wstests::Server, target: &Target) {
    let mut client = Client::connect(proxy.addr(), Wire::Rfc6455).unwrap();
    talk(&mut client, &target.accept().0);
}

#[test]
fn each_line_of_a_connection_has_its_number() {
    let rig = Rig::new(&["--log-format", "json"]);
    let (client, target) = rig.connect(Wire::Rfc6455);
    let peer = client.local_addr().to_string();
    drop((client, target));
    let log = rig.proxy.stderr_until("\"end\"");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of: Vec<_> = lines.iter().filter(|line| line["peer"] == peer).collect();
    assert_eq!(of.len(), 2, "{log}");
    for (line, message) in of.iter().zip(["open", "end"]) {
        assert_eq!(
            (&line["message"], &line["id"], &line["level"]),
            (&message.into(), &1.into(), &"INFO".into()),
            "{line}"
        );
    }
    // What a client says is quoted as the format wants it.
    let path = "/a\"b'c%0a";
    let odd = Client::builder(Wire::Rfc6455).path(path).connect(rig.proxy.addr()).unwrap();
    let log = rig.proxy.stderr_until("\"open\"");
    let line: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(line["path"], path);
    drop(odd);
}

/// The parts of an RFC 5424 message: priority and version, host and so on, text.
#[track_caller]
fn parts(message: &str) -> (&str, Vec<&str>, &str) {
    let mut words = message.splitn(8, ' ');
    let first = words.next().unwrap();
    let middle: Vec<&str> = words.by_ref().take(6).collect();
    (first, middle, words.next().unwrap())
}

#[test]
fn syslog_gets_the_lines_over_a_unix_socket_and_udp() {
    let scratch = Scratch::new();
    let path = scratch.join("log");
    let unix = UnixDatagram::bind(&path).unwrap();
    unix.set_read_timeout(Some(TIMEOUT)).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(TIMEOUT)).unwrap();
    let receive = |over_udp: bool| {
        let mut message = [0; 2048];
        let len = uninterrupted(|| if over_udp { udp.recv(&mut message) } else { unix.recv(&mut message) }).unwrap();
        String::from_utf8(message[..len].to_vec()).unwrap()
    };
    for (server, over_udp) in
        [(path.to_str().unwrap().to_owned(), false), (udp.local_addr().unwrap().to_string(), true)]
    {
        let nobody = Ports::one();
        let proxy = Server::bare(Command::new(proxy()).args([
            "--syslog",
            &server,
            "127.0.0.1:{port}",
            &nobody.addr().to_string(),
        ]));
        let message = receive(over_udp);
        let (first, middle, text) = parts(&message);
        assert_eq!(first, "<30>1", "{message}");
        let [time, host, name, pid, id, data] = middle[..] else { panic!("{message}") };
        assert!(time.ends_with('Z') && time.contains('T') && !host.is_empty(), "{message}");
        assert_eq!((name, pid, id, data), ("wsproxy", &*proxy.pid().to_string(), "-", "-"));
        assert!(text.starts_with("listening ") && !text.ends_with('\n'), "{message}");
        drop(Client::connect(proxy.addr(), Wire::Rfc6455).unwrap());
        // A warning has another priority.
        let warning = receive(over_udp);
        assert!(warning.starts_with("<28>1 ") && warning.contains("cannot be reached"), "{warning}");
    }
}

#[test]
fn a_log_that_takes_nothing_stops_no_session() {
    let rig = Rig::new(&["-v", "--log-file", "/dev/full"]);
    for wire in Wire::WEBSOCKET {
        let (mut client, mut target) = rig.connect(wire);
        talk(&mut client, &target);
        let bytes = Rng::new(3).bytes(1000);
        std::io::Write::write_all(&mut target, &bytes).unwrap();
        assert!(client.read_exact(1000) == bytes);
    }
}
