//! The netcats, which take one connection and end with it, and socat, which forks for each. `tests/netcat.rs` and
//! `tests/socat.rs` hold them to more.

use crate::program::{Ends, Program, Talk, Way, words};
use crate::talks::{MEGABYTE, echo, leave};

servers![traditional, openbsd, ncat, socat];

/// A megabyte each way between the client and the program's standard input and output; then the client ends the connection.
fn both_ways(talk: &Talk) -> String {
    let (mut client, mut rng) = (talk.connect(), talk.rng());
    let (up, down) = (rng.bytes(MEGABYTE), rng.bytes(MEGABYTE));
    talk.process.write_stdin(&down);
    assert!(client.exchange(&up, &mut rng, MEGABYTE) == down, "the client received something else");
    assert!(talk.process.read_stdout(MEGABYTE) == up, "the program received something else");
    client.assert_pongs();
    // Some wait for the end of their own input as well.
    talk.process.close_stdin();
    leave(client)
}

fn traditional() -> Program {
    Program {
        name: "nc.traditional",
        package: "netcat-traditional",
        client: "the harness",
        command: |site| words(&format!("nc.traditional -l -p {}", site.port)),
        talk: both_ways,
        ends: Ends::WithClient,
        way: Way::InPlace,
    }
}

fn openbsd() -> Program {
    Program {
        name: "nc.openbsd",
        package: "netcat-openbsd",
        command: |site| words(&format!("nc.openbsd -l 127.0.0.1 {}", site.port)),
        ..traditional()
    }
}

fn ncat() -> Program {
    Program {
        name: "ncat",
        package: "ncat",
        command: |site| words(&format!("ncat -l 127.0.0.1 {}", site.port)),
        ..traditional()
    }
}

fn socat() -> Program {
    Program {
        name: "socat, fork",
        package: "socat",
        client: "the harness",
        command: |site| words(&format!("socat TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr PIPE", site.port)),
        talk: echo,
        ends: Ends::Signal(libc::SIGTERM),
        way: Way::InPlace,
    }
}
