//! Databases and caches: the longest-lived connections, with events, threads or processes behind them.

use std::process::Command;

use wstests::wait;

use crate::program::{Ends, Program, Site, Talk, Way, is_root, words};
use crate::talks::{MEGABYTE, leave};

servers![redis, redis_threads, memcached, postgresql, mariadb, mariadb_pool, beanstalkd];

/// A megabyte of letters, for clients that print what they get.
fn letters(talk: &Talk) -> String {
    talk.rng().bytes(MEGABYTE).iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

fn redis() -> Program {
    Program {
        name: "redis",
        package: "redis-server",
        client: "redis-cli",
        command: |site| words(&format!("redis-server --port {} --bind 127.0.0.1 --save --appendonly no", site.port)),
        talk: |talk| {
            let (key, value) = (format!("key{}", talk.number), letters(talk));
            let redis = |words: &[&str], input: &[u8]| {
                let reply = talk.client(&[&["redis-cli", "-p", "{port}"], words].concat(), input);
                String::from_utf8(reply).unwrap().trim_end().to_owned()
            };
            let stored = redis(&["-x", "set", &key], value.as_bytes());
            assert!(redis(&["get", &key], b"") == value, "another value");
            let pushes: String = (0..300).map(|n| format!("rpush list{key} {n}\n")).collect();
            redis(&[], pushes.as_bytes());
            format!("{stored} {}", redis(&["llen", &format!("list{key}")], b""))
        },
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

fn redis_threads() -> Program {
    Program {
        name: "redis, two I/O threads",
        command: |site| {
            let mut command = (redis().command)(site);
            command.args(["--io-threads", "2", "--io-threads-do-reads", "yes"]);
            command
        },
        ..redis()
    }
}

fn memcached() -> Program {
    Program {
        name: "memcached, two threads",
        package: "memcached",
        client: "memccp, memccat",
        command: |site| {
            let user = if is_root() { "-u root" } else { "" };
            words(&format!("memcached -l 127.0.0.1 -p {} -U 0 -t 2 -I 3m {user}", site.port))
        },
        talk: |talk| {
            let (name, value) = (format!("file{}", talk.number), letters(talk));
            std::fs::write(talk.dir.join(&name), &value).unwrap();
            talk.client(&["memccp", "--servers=127.0.0.1:{port}", &name], b"");
            let back = talk.client(&["memccat", "--servers=127.0.0.1:{port}", &name], b"");
            assert!(back.trim_ascii_end() == value.as_bytes(), "another value: {} bytes", back.len());
            let (mut client, mut rng) = (talk.connect(), talk.rng());
            let value = rng.bytes(MEGABYTE);
            let request = [format!("set raw{} 0 0 {MEGABYTE}\r\n", talk.number).as_bytes(), &value, b"\r\n"].concat();
            assert_eq!(client.exchange(&request, &mut rng, 8), b"STORED\r\n");
            client.send_split(format!("get raw{}\r\n", talk.number).as_bytes(), &mut rng);
            let head = String::from_utf8(client.read_until(b'\n')).unwrap();
            assert!(client.read_exact(MEGABYTE) == value, "another value");
            assert_eq!(client.read_exact(7), b"\r\nEND\r\n");
            leave(client) + &head
        },
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

/// Where Debian keeps what no user calls by name.
const POSTGRESQL: &str = "/usr/lib/postgresql/15/bin";

/// `line`, as `user` if the tests run as root: some servers refuse to.
fn as_user(user: &str, line: &str) -> Command {
    if is_root() { words(&format!("setpriv --reuid={user} --regid={user} --clear-groups {line}")) } else { words(line) }
}

fn postgresql() -> Program {
    Program {
        name: "postgresql",
        package: "postgresql-15",
        client: "psql",
        command: |site| {
            let line = format!("{POSTGRESQL}/initdb -D {} -A trust -U postgres --no-sync", site.path("data"));
            let output = as_user("postgres", &line).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let sockets = site.path("");
            as_user(
                "postgres",
                &format!(
                    "{POSTGRESQL}/postgres -D {} -p {} -h 127.0.0.1 -k {sockets} -c fsync=off",
                    site.path("data"),
                    site.port
                ),
            )
        },
        talk: |talk| {
            // It listens before it can serve.
            let ready = format!("{POSTGRESQL}/pg_isready -q -h 127.0.0.1 -p {}", talk.port);
            wait::until("postgresql to be ready", || words(&ready).status().unwrap().success().then_some(()));
            let value = letters(talk);
            let query = format!("select md5('{value}');\nselect lower(upper('{value}'));\n");
            let target = "host=127.0.0.1 port={port} user=postgres connect_timeout=15 gssencmode=disable";
            let reply = String::from_utf8(talk.client(&["psql", "-AtqX", target], query.as_bytes())).unwrap();
            let (digest, back) = reply.split_once('\n').unwrap();
            assert!(back.trim_end() == value, "another value: {} bytes", back.len());
            digest.to_owned()
        },
        ends: Ends::Signal(libc::SIGINT),
        way: Way::InPlace,
    }
}

fn mariadb_with(site: &Site, threads: &str) -> Command {
    let data = site.directory("data");
    let user = if is_root() { "--user=root" } else { "" };
    // Without accounts and InnoDB an empty directory is a database.
    words(&format!(
        "mariadbd --no-defaults {user} --datadir={data} --bind-address=127.0.0.1 --port={} --socket={} --pid-file={} \
         --skip-grant-tables --skip-innodb --default-storage-engine=MyISAM --max-allowed-packet=16M \
         --thread-handling={threads} --skip-name-resolve --lc-messages-dir=/usr/share/mysql",
        site.port,
        site.path("socket"),
        site.path("pid")
    ))
}

fn mariadb() -> Program {
    Program {
        name: "mariadb, a thread for each client",
        package: "mariadb-server-core",
        client: "mariadb",
        command: |site| mariadb_with(site, "one-thread-per-connection"),
        talk: |talk| {
            let value = letters(talk);
            let query = format!("select md5('{value}');\nselect lower(upper('{value}'));\n");
            let line = ["mariadb", "--no-defaults", "-h127.0.0.1", "-P{port}", "-BN", "--max-allowed-packet=16M"];
            let reply = String::from_utf8(talk.client(&line, query.as_bytes())).unwrap();
            let (digest, back) = reply.split_once('\n').unwrap();
            assert!(back.trim_end() == value, "another value: {} bytes", back.len());
            digest.to_owned()
        },
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

fn mariadb_pool() -> Program {
    Program { name: "mariadb, a pool of threads", command: |site| mariadb_with(site, "pool-of-threads"), ..mariadb() }
}

fn beanstalkd() -> Program {
    Program {
        name: "beanstalkd",
        package: "beanstalkd",
        client: "the harness",
        command: |site| words(&format!("beanstalkd -l 127.0.0.1 -p {} -z 2000000", site.port)),
        talk: |talk| {
            let (mut client, mut rng) = (talk.connect(), talk.rng());
            let (tube, job) = (format!("tube{}", talk.number), rng.bytes(MEGABYTE));
            let request = [
                format!("use {tube}\r\nwatch {tube}\r\nput 1 0 60 {MEGABYTE}\r\n").as_bytes(),
                &job,
                b"\r\nreserve\r\n",
            ]
            .concat();
            client.send_split(&request, &mut rng);
            let lines: Vec<_> = (0..4).map(|_| String::from_utf8(client.read_until(b'\n')).unwrap()).collect();
            assert!(client.read_exact(MEGABYTE) == job, "another job");
            assert_eq!(client.read_exact(2), b"\r\n");
            assert!(lines[2].starts_with("INSERTED ") && lines[3].starts_with("RESERVED "), "{lines:?}");
            leave(client) + &lines[1]
        },
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}
