//! Servers in the languages that people write servers in, with what their standard libraries do to a socket. Most echo; the
//! programs are in `tests/apps/servers.*`.

use std::process::Command;

use wstests::script;

use crate::program::{Ends, Program, Site, Talk, Way, words};
use crate::talks::{MEGABYTE, content, document_root, download, echo, leave, post_echo};

servers![
    python_http,
    python_threads,
    python_forks,
    python_asyncio,
    python_uvloop,
    python_multiprocessing,
    python_sendfile,
    gunicorn,
    uvicorn,
    node_net,
    node_http,
    node_http_uring,
    perl_forks,
    perl_select,
    perl_http,
    ruby_threads,
    ruby_webrick,
    php,
    java_threads,
    java_http,
    erlang,
];

/// The interpreter that Debian packages belong to, whatever else is in PATH.
const PYTHON: &str = "/usr/bin/python3";

/// `INTERPRETER OPTIONS FILE KIND PORT`
fn run(interpreter: &str, file: &str, kind: &str, site: &Site) -> Command {
    let mut command = words(interpreter);
    command.arg(script(file)).arg(kind).arg(site.port.to_string()).arg(site.dir);
    command
}

fn python(site: &Site, kind: &str) -> Command {
    run(PYTHON, "servers.py", kind, site)
}

fn python_asyncio() -> Program {
    Program {
        name: "python asyncio",
        package: "python3",
        client: "the harness",
        command: |site| python(site, "asyncio"),
        talk: echo,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

fn python_http() -> Program {
    Program {
        name: "python http.server",
        client: "curl",
        command: |site| {
            let root = document_root(site);
            words(&format!("{PYTHON} -u -m http.server --bind 127.0.0.1 --directory {root} {}", site.port))
        },
        talk: download,
        ..python_asyncio()
    }
}

fn python_threads() -> Program {
    Program { name: "python socketserver, threads", command: |site| python(site, "threads"), ..python_asyncio() }
}

fn python_forks() -> Program {
    Program { name: "python socketserver, processes", command: |site| python(site, "forks"), ..python_asyncio() }
}

fn python_multiprocessing() -> Program {
    Program {
        name: "python multiprocessing, three workers accept",
        command: |site| python(site, "multiprocessing"),
        ..python_asyncio()
    }
}

fn python_sendfile() -> Program {
    Program {
        name: "python socket.sendfile",
        command: |site| {
            std::fs::write(site.path("file"), content()).unwrap();
            python(site, "sendfile")
        },
        talk: |talk| {
            let mut client = talk.connect();
            assert!(client.read_exact(MEGABYTE) == content(), "another file");
            leave(client)
        },
        ..python_asyncio()
    }
}

fn python_uvloop() -> Program {
    Program {
        name: "python uvloop",
        package: "python3-uvloop",
        command: |site| python(site, "uvloop"),
        ..python_asyncio()
    }
}

fn gunicorn() -> Program {
    Program {
        name: "gunicorn, two workers",
        package: "gunicorn",
        client: "curl",
        command: |site| {
            let mut command = words(&format!("gunicorn --workers 2 --bind 127.0.0.1:{} servers:wsgi", site.port));
            command.env("PYTHONPATH", script("servers.py").parent().unwrap()).env("PYTHONDONTWRITEBYTECODE", "1");
            command
        },
        talk: posted,
        ..python_asyncio()
    }
}

fn uvicorn() -> Program {
    Program {
        name: "uvicorn",
        package: "python3-uvicorn",
        client: "curl",
        command: |site| {
            let mut command = words(&format!("{PYTHON} -m uvicorn --host 127.0.0.1 --port {} servers:asgi", site.port));
            command.env("PYTHONPATH", script("servers.py").parent().unwrap()).env("PYTHONDONTWRITEBYTECODE", "1");
            command
        },
        talk: posted,
        ..python_asyncio()
    }
}

fn posted(talk: &Talk) -> String {
    post_echo(talk, "/");
    String::new()
}

fn node_net() -> Program {
    Program {
        name: "node net",
        package: "nodejs",
        client: "the harness",
        command: |site| run("/usr/bin/node", "servers.js", "net", site),
        talk: echo,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

fn node_http() -> Program {
    Program {
        name: "node http",
        client: "curl",
        command: |site| run("/usr/bin/node", "servers.js", "http", site),
        talk: posted,
        ..node_net()
    }
}

fn node_http_uring() -> Program {
    Program {
        name: "node http, UV_USE_IO_URING=1",
        command: |site| {
            let mut command = (node_http().command)(site);
            command.env("UV_USE_IO_URING", "1");
            command
        },
        ..node_http()
    }
}

fn perl_forks() -> Program {
    Program {
        name: "perl, a process for each client",
        package: "perl",
        client: "the harness",
        command: |site| run("/usr/bin/perl", "servers.pl", "forks", site),
        talk: echo,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

fn perl_select() -> Program {
    Program {
        name: "perl IO::Select",
        command: |site| run("/usr/bin/perl", "servers.pl", "select", site),
        ..perl_forks()
    }
}

fn perl_http() -> Program {
    Program {
        name: "perl HTTP::Daemon",
        package: "libhttp-daemon-perl",
        client: "curl",
        command: |site| run("/usr/bin/perl", "servers.pl", "http", site),
        talk: posted,
        ..perl_forks()
    }
}

fn ruby_threads() -> Program {
    Program {
        name: "ruby TCPServer, threads",
        package: "ruby",
        client: "the harness",
        command: |site| run("ruby", "servers.rb", "threads", site),
        talk: echo,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

fn ruby_webrick() -> Program {
    Program {
        name: "ruby webrick",
        package: "ruby-webrick",
        client: "curl",
        command: |site| run("ruby", "servers.rb", "webrick", site),
        talk: posted,
        ..ruby_threads()
    }
}

fn php() -> Program {
    Program {
        name: "php -S",
        package: "php8.2-cli",
        client: "curl",
        command: |site| {
            let echo = site.file("echo.php", "<?php echo file_get_contents('php://input');\n");
            words(&format!("php8.2 -n -d display_errors=0 -S 127.0.0.1:{} {echo}", site.port))
        },
        talk: posted,
        ends: Ends::Signal(libc::SIGINT),
        way: Way::InPlace,
    }
}

/// The launcher of single files compiles in memory. Everything but the server itself is kept small and quick.
const JAVA: &str = "java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -Djava.net.preferIPv4Stack=true";

fn java_threads() -> Program {
    Program {
        name: "java ServerSocket, threads",
        package: "openjdk-17-jdk-headless",
        client: "the harness",
        command: |site| run(JAVA, "Servers.java", "threads", site),
        talk: echo,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}

fn java_http() -> Program {
    Program {
        name: "java HttpServer",
        client: "curl",
        command: |site| run(JAVA, "Servers.java", "http", site),
        talk: posted,
        ..java_threads()
    }
}

fn erlang() -> Program {
    Program {
        name: "erlang gen_tcp",
        package: "erlang-base",
        client: "the harness",
        command: |site| {
            let mut command = words("erl -noshell -noinput +S 2:2 -eval");
            command.arg(format!(
                "{{ok, L}} = gen_tcp:listen({}, [binary, {{ip, {{127,0,0,1}}}}, {{packet, raw}}, {{active, false}}]), \
                 Echo = fun F(S) -> case gen_tcp:recv(S, 0) of {{ok, B}} -> ok = gen_tcp:send(S, B), F(S); \
                 _ -> gen_tcp:close(S) end end, \
                 Accept = fun F() -> {{ok, S}} = gen_tcp:accept(L), P = spawn(fun() -> receive go -> Echo(S) end end), \
                 ok = gen_tcp:controlling_process(S, P), P ! go, F() end, Accept().",
                site.port
            ));
            command
        },
        talk: echo,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}
