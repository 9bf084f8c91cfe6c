//! What to do about a server that cannot be wrapped: `wsproxy`, the sibling proxy, in front of it.

use wslayer::config::Ports;

/// The words that end a refusal, with the command that does the job. The server has to leave the port to the proxy, and
/// nothing can make it do so from outside: that is why it cannot be wrapped.
pub fn instead(ports: &Ports) -> String {
    let Ports::List(ranges) = ports else {
        return "run `wsproxy PORT localhost:OTHER_PORT`, with the program on OTHER_PORT".into();
    };
    let port = ranges.first().map_or(0, |range| *range.start());
    let other = if port < SHIFT { port + SHIFT } else { port - SHIFT };
    format!("let it listen on another port, such as {other}, and run `wsproxy {port} localhost:{other}`")
}

/// How far away the other port is proposed: seldom in use, and easy to remember.
const SHIFT: u16 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_the_ports() {
        for (ports, command) in [
            ("5901", "`wsproxy 5901 localhost:15901`"),
            ("60000-60010,80", "`wsproxy 60000 localhost:50000`"),
            ("all", "`wsproxy PORT localhost:OTHER_PORT`"),
            ("none", "`wsproxy PORT localhost:OTHER_PORT`"),
        ] {
            assert!(instead(&ports.parse().expect("ports")).contains(command), "{ports}");
        }
    }
}
