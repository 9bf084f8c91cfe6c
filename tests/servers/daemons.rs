//! Daemons with protocols of their own: brokers, files, tunnels, measurements, names.

use std::process::Command;

use crate::program::{Ends, Program, Site, Talk, Way, is_root, words};
use crate::talks::{MEGABYTE, echo_backend, exchange_megabyte, leave};

servers![mosquitto, iperf3, rsync, stunnel, tinyproxy, varnish, dnsmasq, vsftpd];

fn mosquitto() -> Program {
    Program {
        name: "mosquitto",
        package: "mosquitto",
        client: "mosquitto_pub, mosquitto_sub",
        command: |site| {
            let user = if is_root() { "user root\n" } else { "" };
            let config = format!("{user}listener {{port}} 127.0.0.1\nallow_anonymous true\nmessage_size_limit 0\n");
            words(&format!("mosquitto -c {}", site.file("mosquitto.conf", &config)))
        },
        talk: |talk| {
            let (topic, message) = (format!("topic{}", talk.number), talk.rng().bytes(MEGABYTE));
            let at = ["-h", "127.0.0.1", "-p", "{port}", "-q", "1", "-t", &topic];
            talk.client(&[&["mosquitto_pub", "-r", "-s"], at.as_slice()].concat(), &message);
            let back = talk.client(&[&["mosquitto_sub", "-N", "-C", "1", "-W", "15"], at.as_slice()].concat(), b"");
            assert!(back == message, "another message: {} bytes", back.len());
            String::new()
        },
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

fn iperf3() -> Program {
    Program {
        name: "iperf3",
        package: "iperf3",
        client: "iperf3",
        command: |site| words(&format!("iperf3 -s --one-off -B 127.0.0.1 -p {}", site.port)),
        talk: |talk| {
            let line = "iperf3 -c 127.0.0.1 -p {port} -t 1 -P 2 --bidir --json";
            let report = talk.client(&line.split(' ').collect::<Vec<_>>(), b"");
            let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
            let end = &report["end"];
            for sum in ["sum_received", "sum_received_bidir_reverse"] {
                assert!(end[sum]["bytes"].as_u64().is_some_and(|bytes| bytes > 1_000_000), "{sum}: {end:#}");
            }
            String::new()
        },
        ends: Ends::WithClient,
        way: Way::InPlace,
    }
}

fn rsync() -> Program {
    Program {
        name: "rsync --daemon",
        package: "rsync",
        client: "rsync",
        command: |site| {
            site.directory("module");
            let user = if is_root() { "uid = root\ngid = root\n" } else { "" };
            let config = format!(
                "use chroot = no\n{user}log file = {{dir}}/log\n[module]\npath = {{dir}}/module\nread only = no\nmax connections = 0\n"
            );
            let config = site.file("rsyncd.conf", &config);
            words(&format!("rsync --daemon --no-detach --address 127.0.0.1 --port {} --config {config}", site.port))
        },
        talk: |talk| {
            let (name, back) = (format!("file{}", talk.number), format!("back{}", talk.number));
            let sent = talk.rng().bytes(MEGABYTE);
            std::fs::write(talk.dir.join(&name), &sent).unwrap();
            let url = format!("rsync://127.0.0.1:{{port}}/module/{name}");
            talk.client(&["rsync", &name, &url], b"");
            talk.client(&["rsync", &url, &back], b"");
            assert!(std::fs::read(talk.dir.join(back)).unwrap() == sent, "another file");
            String::new()
        },
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

/// TLS inside the WebSocket, ended by stunnel; an echo behind it.
fn stunnel() -> Program {
    Program {
        name: "stunnel",
        package: "stunnel4",
        client: "python ssl",
        command: |site| {
            let (key, certificate) = (site.path("key.pem"), site.path("certificate.pem"));
            let made = words(&format!(
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost \
                 -keyout {key} -out {certificate}"
            ));
            succeed(made);
            let config = format!(
                "foreground = yes\npid =\nsyslog = no\n[echo]\naccept = 127.0.0.1:{{port}}\nconnect = 127.0.0.1:{}\n\
                 key = {key}\ncert = {certificate}\n",
                echo_backend()
            );
            words(&format!("stunnel4 {}", site.file("stunnel.conf", &config)))
        },
        talk: |talk| {
            let script = wstests::script("tls_echo.py");
            let line = ["/usr/bin/python3", script.to_str().unwrap(), "{port}"];
            let sent = talk.rng().bytes(MEGABYTE);
            let back = talk.client(&line, &sent);
            assert!(back == sent, "another megabyte: {} bytes", back.len());
            String::new()
        },
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

/// Runs what a configuration needs.
#[track_caller]
fn succeed(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn tinyproxy() -> Program {
    Program {
        name: "tinyproxy, CONNECT",
        package: "tinyproxy",
        client: "the harness",
        command: |site| {
            let config = "Port {port}\nListen 127.0.0.1\nLogFile \"{dir}/log\"\nMaxClients 50\nTimeout 60\n";
            words(&format!("tinyproxy -d -c {}", site.file("tinyproxy.conf", config)))
        },
        talk: |talk| {
            let (mut client, mut rng) = (talk.connect(), talk.rng());
            let request = format!("CONNECT 127.0.0.1:{} HTTP/1.0\r\n\r\n", echo_backend());
            client.send_split(request.as_bytes(), &mut rng);
            let status = String::from_utf8(client.read_until(b'\n')).unwrap();
            while client.read_until(b'\n') != b"\r\n" {}
            exchange_megabyte(&mut client, &mut rng);
            status + &leave(client)
        },
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

fn varnish() -> Program {
    Program {
        name: "varnish",
        package: "varnish",
        client: "curl",
        command: |site| {
            let text = "varnish ".repeat(MEGABYTE / 8);
            std::fs::write(site.path("text"), text).unwrap();
            let vcl = site.file(
                "default.vcl",
                "vcl 4.1;\nimport std;\nbackend default none;\nsub vcl_recv { return (synth(200)); }\n\
                 sub vcl_synth { set resp.body = std.fileread(\"{dir}/text\"); return (deliver); }\n",
            );
            words(&format!(
                "varnishd -F -a 127.0.0.1:{} -T none -n {} -f {vcl} -j none -s malloc,16m -p thread_pool_min=5 -p thread_pools=1",
                site.port,
                site.path("work")
            ))
        },
        talk: |talk| {
            let body = talk.rng().bytes(MEGABYTE);
            let url = "http://127.0.0.1:{port}/";
            let page = talk.client(&["curl", "-sS", "--fail", "--data-binary", "@-", url, "--next", "-sS", url], &body);
            assert!(page == "varnish ".repeat(MEGABYTE / 8).repeat(2).as_bytes(), "another page: {} bytes", page.len());
            String::new()
        },
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

/// DNS over TCP: RFC 1035 section 4.2.2. Answers are small; a child serves each connection.
fn dnsmasq() -> Program {
    Program {
        name: "dnsmasq, DNS over TCP",
        package: "dnsmasq-base",
        client: "dig",
        command: |site| {
            let user = if is_root() { "--user=root --group=root" } else { "" };
            let records: String =
                (0..200).map(|n| format!("txt-record=many,{}\n", format!("{n:03}").repeat(60))).collect();
            let config = site.file("dnsmasq.conf", &records);
            words(&format!(
                "dnsmasq --keep-in-foreground --conf-file={config} --port={} --listen-address=127.0.0.1 --bind-interfaces \
                 --no-resolv --no-hosts --address=/name/192.0.2.7 --pid-file --log-facility=- {user}",
                site.port
            ))
        },
        talk: |talk| {
            let dig = |name: &str, kind: &str| {
                let line = ["dig", "@127.0.0.1", "-p", "{port}", "+tcp", "+short", "+tries=1", "+time=15", name, kind];
                let mut lines: Vec<_> =
                    String::from_utf8(talk.client(&line, b"")).unwrap().lines().map(str::to_owned).collect();
                lines.sort();
                lines.join(" ")
            };
            (0..20).map(|n| dig(&format!("x{n}.name"), "A")).collect::<String>() + &dig("many", "TXT")
        },
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

/// FTP: the control connection is wrapped, the ports of the data are not.
pub(crate) fn vsftpd() -> Program {
    Program {
        name: "vsftpd, control connection",
        package: "vsftpd",
        client: "curl",
        command: |site| vsftpd_with(site, "seccomp_sandbox=NO"),
        talk: files_by_ftp,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::Bridged,
    }
}

pub(crate) fn vsftpd_with(site: &Site, options: &str) -> Command {
    let root = site.directory("ftp");
    // It refuses a writable root.
    succeed(words(&format!("chmod 555 {root}")));
    site.directory("ftp/up");
    std::fs::create_dir(site.path("empty")).unwrap();
    let user = if is_root() { "ftp_username=ftp\nchown_uploads=NO\n" } else { "run_as_launching_user=YES\n" };
    let config = format!(
        "listen=YES\nlisten_address=127.0.0.1\nlisten_port={{port}}\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\n\
         no_anon_password=YES\nanon_root={root}\nwrite_enable=YES\nanon_upload_enable=YES\nanon_umask=022\n\
         anon_world_readable_only=NO\nsecure_chroot_dir={{dir}}/empty\n{options}\nxferlog_enable=NO\n{user}"
    );
    words(&format!("vsftpd {}", site.file("vsftpd.conf", &config)))
}

fn files_by_ftp(talk: &Talk) -> String {
    let sent = talk.rng().bytes(MEGABYTE);
    let url = format!("ftp://127.0.0.1:{{port}}/up/file{}", talk.number);
    talk.client(&["curl", "-sS", "-T", "-", &url], &sent);
    let back = talk.client(&["curl", "-sS", &url], b"");
    assert!(back == sent, "another file: {} bytes", back.len());
    String::from_utf8(talk.client(&["curl", "-sSI", &url], b""))
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with("Last"))
        .collect()
}
