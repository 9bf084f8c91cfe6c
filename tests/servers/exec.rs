//! Servers whose connection leaves the program: what serves the client is another image than the one that accepted, often one
//! that uses stdio or no socket call at all, or is in a sandbox; and one that uses stdio itself.

use std::process::Command;

use wstests::{Client, script, unpacked};

use crate::program::{Ends, Program, Site, Talk, Way, is_root, user, words};
use crate::talks::{MEGABYTE, document_root, download_by, echo, echo_in_turns, leave};

servers![
    ncat_exec,
    ncat_sh_exec,
    socat_exec,
    socat_system,
    inetd,
    xinetd,
    telnetd,
    tcpserver,
    fossil,
    git_daemon,
    python_subprocess,
    sshd,
    vsftpd_sandbox,
];

/// What serves the client.
const ECHO: &str = "/bin/cat";

fn bridged(name: &'static str, package: &'static str, command: fn(&Site) -> Command) -> Program {
    Program {
        name,
        package,
        client: "the harness",
        command,
        talk: echo,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::Bridged,
    }
}

/// ncat carries the bytes itself, between the connection and two pipes.
fn ncat_exec() -> Program {
    Program {
        talk: echo_in_turns,
        way: Way::InPlace,
        ..bridged("ncat -k --exec", "ncat", |site| words(&format!("ncat -l -k 127.0.0.1 {} --exec {ECHO}", site.port)))
    }
}

fn ncat_sh_exec() -> Program {
    Program {
        name: "ncat -k --sh-exec",
        command: |site| {
            let mut command = words(&format!("ncat -l -k 127.0.0.1 {} --sh-exec", site.port));
            command.arg(format!("{ECHO} | {ECHO}"));
            command
        },
        ..ncat_exec()
    }
}

fn socat_exec() -> Program {
    bridged("socat, EXEC", "socat", |site| {
        // Without `nofork` socat itself carries the bytes; with it the program gets the connection.
        words(&format!("socat TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr EXEC:{ECHO},nofork", site.port))
    })
}

fn socat_system() -> Program {
    bridged("socat, SYSTEM", "socat", |site| {
        let mut command = words(&format!("socat TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr", site.port));
        command.arg(format!("SYSTEM:{ECHO} | {ECHO},nofork"));
        command
    })
}

fn inetd() -> Program {
    bridged("openbsd-inetd", "openbsd-inetd", |site| {
        let line = format!("127.0.0.1:{{port}} stream tcp nowait {} {ECHO} cat\n", user());
        words(&format!("inetd -i {}", site.file("inetd.conf", &line)))
    })
}

/// Its children read the request and write the answer with stdio, on descriptors 0 and 1.
fn fossil() -> Program {
    Program {
        client: "curl",
        talk: |talk| download_by(talk, "file.bin"),
        ..bridged("fossil server", "fossil", |site| {
            let root = document_root(site);
            std::fs::rename(format!("{root}/file"), format!("{root}/file.bin")).unwrap();
            let mut command = words(&format!("fossil server {root} --port {} --localhost --files *", site.port));
            command.env("HOME", site.dir);
            command
        })
    }
}

/// The package excludes other super-servers, so it is unpacked beside them.
fn xinetd() -> Program {
    bridged("xinetd", "xinetd", |site| xinetd_with(site, "no", ECHO))
}

/// `wait` is yes or no; further lines of the service may follow the path of `server`.
pub(crate) fn xinetd_with(site: &Site, wait: &str, server: &str) -> Command {
    let config = format!(
        "service test\n{{\n type = UNLISTED\n socket_type = stream\n protocol = tcp\n wait = {wait}\n user = {}\n\
         bind = 127.0.0.1\n port = {{port}}\n server = {server}\n instances = UNLIMITED\n per_source = UNLIMITED\n\
         cps = 10000 1\n}}\n",
        user()
    );
    let mut command = Command::new(unpacked("xinetd").join("usr/sbin/xinetd"));
    command.args(["-dontfork", "-f", &site.file("xinetd.conf", &config)]);
    command
}

/// telnetd looks at the client's address, and carries the bytes between the connection and a terminal. The login program
/// is ours: login(1) would need a user.
fn telnetd() -> Program {
    Program {
        talk: terminal,
        ..bridged("telnetd, by xinetd", "telnetd-ssl", |site| {
            let login = site.file("login", "#!/bin/sh\nstty raw -echo\necho ready\nexec cat\n");
            assert!(words(&format!("chmod 755 {login}")).status().unwrap().success());
            xinetd_with(site, "no", &format!("/usr/sbin/in.telnetd\n server_args = -h -L {login}"))
        })
    }
}

/// A line from the terminal, then a megabyte of letters to it and back: no byte of these is a command or the end of a line.
fn terminal(talk: &Talk) -> String {
    let (mut client, mut rng) = (talk.connect(), talk.rng());
    let line = telnet_line(&mut client);
    let sent: Vec<u8> = rng.bytes(MEGABYTE).into_iter().map(|byte| b'a' + byte % 26).collect();
    let received = client.exchange(&sent, &mut rng, sent.len());
    assert!(received == sent, "other letters");
    client.assert_pongs();
    leave(client);
    line
}

/// The first line of text; what is negotiated before it is answered (RFC 854): the server may echo and need not say "go ahead"
/// (RFC 857, RFC 858), and everything else is refused.
fn telnet_line(client: &mut Client) -> String {
    const WILL: u8 = 251;
    const WONT: u8 = 252;
    const DO: u8 = 253;
    const DONT: u8 = 254;
    const IAC: u8 = 255;
    let mut line = String::new();
    while !line.ends_with('\n') {
        let byte = client.read_exact(1)[0];
        if byte != IAC {
            line.push(char::from(byte));
            continue;
        }
        let command = client.read_exact(2);
        match command[..] {
            [WILL, option @ (1 | 3)] => client.send(&[IAC, DO, option]),
            [WILL, option] => client.send(&[IAC, DONT, option]),
            [DO, option] => client.send(&[IAC, WONT, option]),
            [WONT | DONT, _] => {}
            _ => panic!("IAC {command:?}"),
        }
    }
    line
}

fn tcpserver() -> Program {
    bridged("tcpserver", "ucspi-tcp", |site| words(&format!("tcpserver -H -R -l 0 127.0.0.1 {} {ECHO}", site.port)))
}

/// posix_spawn or vfork and exec with the connection as standard input and output.
fn python_subprocess() -> Program {
    bridged("python subprocess", "python3", |site| {
        let mut command = words("/usr/bin/python3");
        command.arg(script("servers.py")).arg("subprocess").arg(site.port.to_string()).arg(site.dir);
        command
    })
}

/// `git daemon` runs itself again for each client, with the connection as standard input and output.
fn git_daemon() -> Program {
    Program {
        client: "git",
        talk: |talk| {
            let (work, back) = (format!("work{}", talk.number), format!("back{}", talk.number));
            let git = |line: &str| talk.client(&line.split(' ').collect::<Vec<_>>(), b"");
            let url = "git://127.0.0.1:{port}/repository";
            git(&format!("git clone -q {url} {work}"));
            let sent = talk.rng().bytes(MEGABYTE);
            std::fs::write(talk.dir.join(&work).join("file"), &sent).unwrap();
            git(&format!("git -C {work} add file"));
            git(&format!("git -C {work} -c user.name=x -c user.email=x@x.invalid commit -q -m file"));
            let branch = format!("branch{}", talk.number);
            git(&format!("git -C {work} push -q origin HEAD:refs/heads/{branch}"));
            git(&format!("git clone -q -b {branch} {url} {back}"));
            assert!(std::fs::read(talk.dir.join(back).join("file")).unwrap() == sent, "another file");
            String::new()
        },
        ..bridged("git daemon", "git", |site| {
            let repository = site.path("repository");
            let made = words(&format!("git init -q --bare {repository}")).status().unwrap();
            assert!(made.success());
            words(&format!(
                "git daemon --base-path={} --export-all --enable=receive-pack --listen=127.0.0.1 --port={} --reuseaddr",
                site.path(""),
                site.port
            ))
        })
    }
}

/// sshd runs itself again for each client; then comes a privilege separation and a sandbox.
fn sshd() -> Program {
    Program {
        client: "ssh",
        talk: |talk| {
            let options = format!(
                "ssh -F none -i key -p {{port}} -o UserKnownHostsFile=known{} -o StrictHostKeyChecking=accept-new -o LogLevel=ERROR 127.0.0.1",
                talk.number
            );
            let ssh = |rest: &[&str], input: &[u8]| {
                let line: Vec<&str> = options.split(' ').chain(rest.iter().copied()).collect();
                talk.client(&line, input)
            };
            // One of them with more: strace looks at every call of the bare server, on its way through several processes.
            let sent = talk.rng().bytes(if talk.number == 0 { 5 * MEGABYTE } else { MEGABYTE });
            let back = ssh(&["cat"], &sent);
            assert!(back == sent, "another file: {} bytes", back.len());
            let terminal = ssh(&["-tt", "tty >/dev/null && stty rows 33 cols 44 && stty size"], b"");
            // What the user's shell says when it starts stands before.
            String::from_utf8_lossy(&terminal).lines().last().unwrap().to_owned()
        },
        ..bridged("OpenSSH sshd", "openssh-server", |site| {
            for name in ["host_key", "key"] {
                let made = words(&format!("ssh-keygen -q -t ed25519 -f {}", site.path(name)))
                    .args(["-N", ""])
                    .status()
                    .unwrap();
                assert!(made.success());
            }
            if is_root() {
                // Where privileges are dropped to; the package makes it at the service's start only.
                std::fs::create_dir_all("/run/sshd").unwrap();
            }
            let config = "ListenAddress 127.0.0.1:{port}\nHostKey {dir}/host_key\nAuthorizedKeysFile {dir}/key.pub\n\
                StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nMaxStartups 50\nPasswordAuthentication no\n";
            words(&format!("/usr/sbin/sshd -D -e -f {}", site.file("sshd_config", config)))
        })
    }
}

/// The session's process enters a sandbox of seccomp(2).
fn vsftpd_sandbox() -> Program {
    Program {
        name: "vsftpd, control connection, sandbox",
        command: |site| crate::daemons::vsftpd_with(site, ""),
        way: Way::Bridged,
        ..crate::daemons::vsftpd()
    }
}
