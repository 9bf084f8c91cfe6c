//! Web servers, and what passes for them in front of others.

use std::process::Command;

use crate::program::{Ends, Program, Site, Talk, Way, is_root, words};
use crate::talks::{document_root, download, echo, echo_backend, put_and_get};

servers![
    nginx,
    lighttpd_sendfile,
    lighttpd_writev,
    apache_event,
    apache_worker,
    apache_prefork,
    haproxy_splice,
    haproxy_threads,
    busybox
];

fn files_both_ways(talk: &Talk) -> String {
    format!("{} {}", put_and_get(talk), download(talk))
}

fn nginx() -> Program {
    Program {
        name: "nginx, sendfile, two workers",
        package: "nginx-light",
        client: "curl",
        command: |site| {
            let root = document_root(site);
            let user = if is_root() { "user root;" } else { "" };
            let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {{dir}}/{kind};\n"))
                .concat();
            let config = format!(
                "daemon off; worker_processes 2; {user} pid {{dir}}/pid; error_log stderr;\n\
                 events {{ worker_connections 100; }}\n\
                 http {{ access_log off; sendfile on; {temporary}\n\
                 server {{ listen 127.0.0.1:{{port}}; root {root}; dav_methods PUT; client_max_body_size 10m; }} }}\n"
            );
            words(&format!("nginx -e stderr -c {}", site.file("nginx.conf", &config)))
        },
        talk: files_both_ways,
        ends: Ends::Signal(libc::SIGQUIT),
        way: Way::InPlace,
    }
}

fn lighttpd(site: &Site, events: &str, backend: &str) -> Command {
    let root = document_root(site);
    let script = "printf 'Content-Type: application/octet-stream\\r\\n\\r\\n'; exec cat\n";
    std::fs::write(format!("{root}/echo.cgi"), script).unwrap();
    let config = format!(
        "server.modules = (\"mod_cgi\")\nserver.document-root = \"{root}\"\nserver.port = {{port}}\n\
         server.bind = \"127.0.0.1\"\nserver.event-handler = \"{events}\"\nserver.network-backend = \"{backend}\"\n\
         server.upload-dirs = (\"{{dir}}\")\ncgi.assign = (\".cgi\" => \"/bin/sh\")\n"
    );
    words(&format!("lighttpd -D -f {}", site.file("lighttpd.conf", &config)))
}

fn files_and_a_script(talk: &Talk) -> String {
    crate::talks::post_echo(talk, "/echo.cgi");
    download(talk)
}

fn lighttpd_sendfile() -> Program {
    Program {
        name: "lighttpd, epoll and sendfile",
        package: "lighttpd",
        client: "curl",
        command: |site| lighttpd(site, "linux-sysepoll", "sendfile"),
        talk: files_and_a_script,
        ends: Ends::Signal(libc::SIGINT),
        way: Way::InPlace,
    }
}

fn lighttpd_writev() -> Program {
    Program {
        name: "lighttpd, poll and writev",
        command: |site| lighttpd(site, "poll", "writev"),
        ..lighttpd_sendfile()
    }
}

fn apache(site: &Site, model: &str) -> Command {
    let root = document_root(site);
    let modules: String = ["mpm_MODEL", "authz_core", "dav", "dav_fs"]
        .map(|name| name.replace("MODEL", model))
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .concat();
    let user = if is_root() { "User www-data\nGroup www-data\n" } else { "" };
    let config = format!(
        "{modules}{user}ServerRoot {{dir}}\nServerName localhost\nPidFile {{dir}}/pid\nErrorLog /dev/stderr\nMutex fcntl:{{dir}}\n\
         Listen 127.0.0.1:{{port}}\nDocumentRoot {root}\nDavLockDB {{dir}}/locks\nEnableSendfile on\n\
         StartServers 2\nMaxRequestWorkers 50\nDefaultRuntimeDir {{dir}}\n<Directory {root}>\nDav on\nRequire all granted\n</Directory>\n"
    );
    words(&format!("apache2 -DFOREGROUND -f {}", site.file("apache2.conf", &config)))
}

fn apache_event() -> Program {
    Program {
        name: "apache2, event",
        package: "apache2-bin",
        client: "curl",
        command: |site| apache(site, "event"),
        talk: files_both_ways,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

fn apache_worker() -> Program {
    Program { name: "apache2, worker", command: |site| apache(site, "worker"), ..apache_event() }
}

fn apache_prefork() -> Program {
    Program { name: "apache2, prefork", command: |site| apache(site, "prefork"), ..apache_event() }
}

fn haproxy(site: &Site, global: &str, defaults: &str) -> Command {
    let config = format!(
        "global\n{global}\ndefaults\n mode tcp\n timeout connect 10s\n timeout client 20s\n timeout server 20s\n{defaults}\n\
         listen echo\n bind 127.0.0.1:{{port}}\n server backend 127.0.0.1:{}\n",
        echo_backend()
    );
    words(&format!("haproxy -db -f {}", site.file("haproxy.cfg", &config)))
}

fn haproxy_splice() -> Program {
    Program {
        name: "haproxy, splice",
        package: "haproxy",
        client: "the harness",
        command: |site| haproxy(site, " nbthread 1", " option splice-request\n option splice-response"),
        talk: echo,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

fn haproxy_threads() -> Program {
    Program { name: "haproxy, two threads", command: |site| haproxy(site, " nbthread 2", ""), ..haproxy_splice() }
}

fn busybox() -> Program {
    Program {
        name: "busybox httpd",
        package: "busybox",
        client: "curl",
        command: |site| {
            let root = document_root(site);
            words(&format!("busybox httpd -f -p 127.0.0.1:{} -h {root}", site.port))
        },
        talk: download,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::Bridged,
    }
}
