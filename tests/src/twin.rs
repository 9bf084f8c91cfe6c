//! The same script in two worlds: what it observes without the library is what it must observe with it.

use std::fmt::Debug;
use std::process::Command;

use crate::{Mode, Rng, Server, Wire};

/// Runs `script` against the bare program over plain TCP, then against the wrapped program in every dialect, and compares
/// the transcripts that it returns. The script connects by itself ([`crate::Client`]) in the wire it is given; its random
/// numbers are the same each time. `command` makes a fresh command for each run ([`Server::start`] fills in the port).
///
/// # Panics
/// If a transcript differs from that of the bare program.
#[track_caller]
pub fn twin<T: PartialEq + Debug>(command: impl Fn() -> Command, script: impl Fn(&mut Server, Wire, &mut Rng) -> T) {
    let run = |wire: Wire| {
        eprintln!("twin: {wire:?}");
        let mut server = Server::start(Mode::of(wire), &mut command());
        script(&mut server, wire, &mut Rng::new(1))
    };
    let bare = run(Wire::Plain);
    for wire in Wire::selected() {
        let wrapped = run(wire);
        assert_eq!(wrapped, bare, "{wire:?} (left) against the bare program (right)");
    }
}
