//! The tables of proc_pid_net(5), as far as they tell who listens.

use std::io::BufRead;

/// The state LISTEN (include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// A TCP socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Its port.
    pub port: u16,
    /// What `/proc/PID/fd` shows as `socket:[INODE]`.
    pub inode: u64,
}

impl Listening {
    /// What a link in `/proc/PID/fd` to this socket reads.
    pub fn link(&self) -> String {
        format!("socket:[{}]", self.inode)
    }
}

/// The listening sockets in `/proc/PID/net/tcp` or `tcp6`. They come first there, before what may be very many connections;
/// nothing behind them is read.
pub fn listening(table: impl BufRead) -> Vec<Listening> {
    let listener = |line: String| {
        let mut fields = line.split_ascii_whitespace();
        // sl, local_address, rem_address, st, queues, tr:when, retrnsmt, uid, timeout, inode
        let (address, state) = (fields.nth(1)?, fields.nth(1)?);
        let port = u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok()?;
        let inode = fields.nth(5)?.parse().ok()?;
        (state == LISTEN).then_some(Listening { port, inode })
    };
    table.lines().skip(1).map_while(|line| listener(line.ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_up_to_the_first_connection() {
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
        let expected = [Listening { port: 8080, inode: 4711 }, Listening { port: 8081, inode: 4712 }];
        assert_eq!(listening(table.as_bytes()), expected);
        assert_eq!(expected[0].link(), "socket:[4711]");
        for broken in ["", head, "x\ny\n", "\n 0: 1:1 2 0A\n"] {
            assert_eq!(listening(broken.as_bytes()), []);
        }
    }
}
