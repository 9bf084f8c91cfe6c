//! The tables of proc_pid_net(5), as far as they tell who listens, and who has connections.

use std::io::BufRead;

/// States (include/net/tcp_states.h).
const SYN_SENT: &str = "02";
const LISTEN: &str = "0A";

/// A TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its own port.
    pub port: u16,
    /// What `/proc/PID/fd` shows as `socket:[INODE]`.
    pub inode: u64,
}

impl Socket {
    /// What a link in `/proc/PID/fd` to this socket reads.
    pub fn link(&self) -> String {
        format!("socket:[{}]", self.inode)
    }
}

/// The listening sockets in `/proc/PID/net/tcp` or `tcp6`. They come first there, before what may be very many connections;
/// nothing behind them is read.
pub fn listening(table: impl BufRead) -> Vec<Socket> {
    let listener = |line: String| entry(&line).filter(|(_, state)| *state == LISTEN).map(|(socket, _)| socket);
    table.lines().skip(1).map_while(|line| listener(line.ok()?)).collect()
}

/// The connections in `/proc/PID/net/tcp` or `tcp6` that a process may have, on the ports that are `wanted`. Those that nobody has
/// accepted, or that are closed, have no inode there.
pub fn connected(table: impl BufRead, wanted: impl Fn(u16) -> bool) -> Vec<Socket> {
    let connection = |line: String| {
        let (socket, state) = entry(&line)?;
        (state != LISTEN && state != SYN_SENT && socket.inode != 0 && wanted(socket.port)).then_some(socket)
    };
    table.lines().skip(1).map_while(Result::ok).filter_map(connection).collect()
}

/// A line of the table: the socket and its state.
fn entry(line: &str) -> Option<(Socket, &str)> {
    let mut fields = line.split_ascii_whitespace();
    // sl, local_address, rem_address, st, queues, tr:when, retrnsmt, uid, timeout, inode
    let (address, state) = (fields.nth(1)?, fields.nth(1)?);
    let port = u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok()?;
    let inode = fields.nth(5)?.parse().ok()?;
    Some((Socket { port, inode }, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_up_to_the_first_connection_and_connections_behind_them() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let line = |port: &str, state: &str, inode: &str| {
            format!(
                "   0: 0100007F:{port} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0 100 0\n"
            )
        };
        let six = "   1: 00000000000000000000000000000000:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 \
                   00:00000000 00000000  1000        0 4712 1 0 100 0\n";
        let table =
            [head, &line("1F90", "0A", "4711"), six, &line("1F92", "01", "9"), &line("1F93", "0A", "9")].concat();
        let expected = [Socket { port: 8080, inode: 4711 }, Socket { port: 8081, inode: 4712 }];
        assert_eq!(listening(table.as_bytes()), expected);
        assert_eq!(expected[0].link(), "socket:[4711]");
        for broken in ["", head, "x\ny\n", "\n 0: 1:1 2 0A\n"] {
            assert_eq!(listening(broken.as_bytes()), []);
        }
        let table =
            [head, &line("1F90", "0A", "1"), "x\n", &line("1F90", "01", "2"), &line("1F90", "08", "3")].concat();
        let more = [line("1F90", "02", "4"), line("1F90", "06", "0"), line("1F90", "01", "0"), line("1F91", "01", "5")]
            .concat();
        let expected = [2, 3].map(|inode| Socket { port: 8080, inode });
        assert_eq!(connected((table + &more).as_bytes(), |port| port == 8080), expected);
    }
}
