//! Servers whose master waits for clients, and lets others accept them: programs that it starts then, mostly in an environment of its
//! own making, or children.

use std::os::unix::fs::chown;
use std::process::Command;

use wstests::{script, unpacked};

use crate::exec::xinetd_with;
use crate::program::{Ends, Program, Site, Talk, Way, is_root, user, words};
use crate::talks::{MEGABYTE, echo, leave};

servers![inetd_wait, xinetd_wait, socket_activate, php_fpm, postfix];

/// Accepts from the listener that is its standard input, serves one client, and ends.
fn accepts_one(site: &Site) -> String {
    format!("{} one 0 {}", script("servers.py").to_str().unwrap(), site.path(""))
}

fn echoes(name: &'static str, package: &'static str, command: fn(&Site) -> Command) -> Program {
    Program {
        name,
        package,
        client: "the harness",
        command,
        talk: echo,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

fn inetd_wait() -> Program {
    echoes("openbsd-inetd, wait", "openbsd-inetd", |site| {
        let (user, arguments) = (user(), accepts_one(site));
        let line = format!("127.0.0.1:{{port}} stream tcp wait.10000 {user} /usr/bin/python3 python3 {arguments}\n");
        words(&format!("inetd -i {}", site.file("inetd.conf", &line)))
    })
}

fn xinetd_wait() -> Program {
    echoes("xinetd, wait", "xinetd", |site| {
        xinetd_with(site, "yes", &format!("/usr/bin/python3\n server_args = {}", accepts_one(site)))
    })
}

/// It becomes the program itself.
fn socket_activate() -> Program {
    echoes("systemd-socket-activate", "systemd", |site| {
        let mut command = words(&format!("systemd-socket-activate --listen 127.0.0.1:{} /usr/bin/python3", site.port));
        command.arg(script("servers.py")).args(["each", "3"]).arg(site.dir);
        command
    })
}

/// The master waits for edges, and forks a child where none is idle.
fn php_fpm() -> Program {
    Program {
        name: "php-fpm, on demand",
        package: "php8.2-fpm",
        client: "the harness",
        command: |site| {
            let user = if is_root() { "user = www-data\n" } else { "" };
            let config = format!(
                "[global]\nerror_log = {{dir}}/log\ndaemonize = no\n[www]\n{user}listen = 127.0.0.1:{{port}}\npm = ondemand\n\
                 pm.max_children = 4\npm.process_idle_timeout = 600s\n"
            );
            site.file("echo.php", "<?php echo file_get_contents('php://input');");
            words(&format!("/usr/sbin/php-fpm8.2 -n -d post_max_size=0 -R -y {}", site.file("fpm.conf", &config)))
        },
        talk: post_by_fastcgi,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

/// One record of the FastCGI specification 1.0, section 3.3, of the request 1.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[1, kind, 0, 1, len[0], len[1], 0, 0], content].concat()
}

/// The script gives back a body of a megabyte. Records are cut at random places, as everything.
fn post_by_fastcgi(talk: &Talk) -> String {
    const BEGIN_REQUEST: u8 = 1;
    const END_REQUEST: u8 = 3;
    const PARAMS: u8 = 4;
    const STDIN: u8 = 5;
    const STDOUT: u8 = 6;
    let (mut client, mut rng) = (talk.connect(), talk.rng());
    let body = rng.bytes(MEGABYTE);
    let (script, length) = (talk.dir.join("echo.php"), body.len().to_string());
    let variables = [
        ("SCRIPT_FILENAME", script.to_str().unwrap()),
        ("REQUEST_METHOD", "POST"),
        ("CONTENT_TYPE", "application/octet-stream"),
        ("CONTENT_LENGTH", &length),
    ];
    let pair = |(name, value): (&str, &str)| {
        [&[name.len() as u8, value.len() as u8], name.as_bytes(), value.as_bytes()].concat()
    };
    // A responder that closes the connection behind its answer.
    let mut request = record(BEGIN_REQUEST, &[0, 1, 0, 0, 0, 0, 0, 0]);
    request.extend(record(PARAMS, &variables.map(pair).concat()));
    request.extend(record(PARAMS, b""));
    request.extend(body.chunks(50_000).flat_map(|chunk| record(STDIN, chunk)));
    request.extend(record(STDIN, b""));
    client.send_split(&request, &mut rng);
    let mut answer = Vec::new();
    loop {
        let head = client.read_exact(8);
        let len = usize::from(u16::from_be_bytes([head[4], head[5]]));
        let mut content = client.read_exact(len + usize::from(head[6]));
        content.truncate(len);
        match head[1] {
            STDOUT => answer.extend(content),
            END_REQUEST => {
                assert_eq!(content[..5], [0; 5], "the status of the script and of the request");
                break;
            }
            kind => panic!("a record of type {kind}: {}", String::from_utf8_lossy(&content)),
        }
    }
    assert!(answer.ends_with(&body), "another body: {} bytes", answer.len());
    let head = String::from_utf8(answer[..answer.len() - body.len()].to_vec()).unwrap();
    head + &leave(client)
}

/// The package excludes other mail servers, so it is unpacked beside them.
fn postfix() -> Program {
    Program {
        name: "postfix, smtpd",
        package: "postfix",
        client: "curl",
        command: postfix_command,
        talk: mail_by_smtp,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

fn postfix_command(site: &Site) -> Command {
    assert!(is_root(), "the master of postfix changes the user: only root can run it");
    let root = unpacked("postfix");
    let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
    let (sbin, libraries) = (path("usr/sbin"), path("usr/lib/postfix"));
    let (owner, group) = (id("-u", "mail"), id("-g", "games"));
    // What postfix-script makes where postfix is installed.
    for (name, mode) in [("active", 0o700), ("incoming", 0o700), ("public", 0o710), ("maildrop", 0o730)]
        .into_iter()
        .chain(
            ["bounce", "corrupt", "defer", "deferred", "hold", "private", "saved", "trace"].map(|name| (name, 0o700)),
        )
        .map(|(name, mode)| (format!("queue/{name}"), mode))
        .chain([("data".to_owned(), 0o700)])
    {
        let directory = site.directory(&name);
        chown(&directory, Some(owner), Some(group)).unwrap();
        set_mode(&directory, mode);
    }
    set_mode(&site.directory("queue"), 0o755);
    std::fs::create_dir(site.path("queue/pid")).unwrap();
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = {{dir}}/queue\ndata_directory = {{dir}}/data\n\
         command_directory = {sbin}\ndaemon_directory = {libraries}/sbin\nshlib_directory = {libraries}\n\
         meta_directory = {{dir}}\nmaillog_file = /dev/stdout\nmail_owner = mail\nsetgid_group = games\n\
         import_environment = LD_LIBRARY_PATH MAIL_CONFIG\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
         myhostname = test.invalid\nmynetworks = 127.0.0.0/8\nsmtpd_peername_lookup = no\nalias_maps =\n\
         local_recipient_maps =\nlocal_transport = discard\ndefault_transport = discard\n"
    );
    site.file("main.cf", &main);
    let services = "127.0.0.1:{port} inet n - n - - smtpd\nrewrite unix - - n - - trivial-rewrite\n\
         cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\nanvil unix - - n - 1 anvil\n\
         discard unix - - n - - discard\nbounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\n\
         trace unix - - n - 0 bounce\npostlog unix-dgram n - n - 1 postlogd\n";
    site.file("master.cf", services);
    let mut command = Command::new(format!("{libraries}/sbin/master"));
    command.args(["-d", "-c", &site.path("")]).env("LD_LIBRARY_PATH", libraries);
    command
}

/// The number of a user or group of every Debian system.
fn id(kind: &str, name: &str) -> u32 {
    let output = Command::new("id").args([kind, name]).output().unwrap().stdout;
    String::from_utf8(output).unwrap().trim().parse().unwrap()
}

fn set_mode(path: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A mail of a megabyte, in lines as SMTP has them.
fn mail_by_smtp(talk: &Talk) -> String {
    let line: Vec<u8> = talk.rng().bytes(70).into_iter().map(|byte| b'a' + byte % 26).chain(*b"\r\n").collect();
    let mail = [b"Subject: test\r\n\r\n".as_slice(), &line.repeat(MEGABYTE / line.len())].concat();
    let url = "smtp://127.0.0.1:{port}/client.invalid";
    let line = ["curl", "-sS", "--mail-from", "from@test.invalid", "--mail-rcpt", "to@test.invalid", "-T", "-", url];
    String::from_utf8(talk.client(&line, &mail)).unwrap()
}
