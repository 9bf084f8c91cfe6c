//! What is measured: the lines of the tables.

use crate::measure::{Amount, Measure, Place, Target};
use crate::wire::Wire;
use crate::{connections, crowd, echo, memory, messages, stream, zero};

/// Idle connections that share the memory.
const IDLE: u64 = 5000;

/// What is measured of the library.
pub const WRAP: [Measure; 12] = [
    Measure {
        name: "download 64 KiB",
        unit: "MiB/s",
        wire: Wire::Rfc6455,
        place: Place::Apart,
        amount: Amount::From(16),
        target: Target::AtLeast(0.93),
        rig: stream::Download::dropped,
    },
    Measure {
        name: "download, same bytes",
        unit: "MiB/s",
        wire: Wire::Rfc6455,
        place: Place::Apart,
        amount: Amount::From(16),
        target: Target::AtLeast(0.93),
        rig: stream::Download::headed,
    },
    Measure {
        name: "upload 64 KiB",
        unit: "MiB/s",
        wire: Wire::Rfc6455,
        place: Place::Apart,
        amount: Amount::From(16),
        target: Target::AtLeast(0.93),
        rig: stream::Upload::large,
    },
    Measure {
        name: "upload 64-byte frames",
        unit: "MiB/s",
        wire: Wire::Rfc6455,
        place: Place::Apart,
        amount: Amount::From(16),
        target: Target::AtLeast(0.35),
        rig: stream::Upload::small,
    },
    Measure {
        name: "echo p50, blocking server",
        unit: "us",
        wire: Wire::Rfc6455,
        place: Place::Together,
        amount: Amount::From(100),
        target: Target::AtMost(1.07),
        rig: echo::Echo::blocking,
    },
    Measure {
        name: "echo p50, epoll server",
        unit: "us",
        wire: Wire::Rfc6455,
        place: Place::Together,
        amount: Amount::From(100),
        target: Target::AtMost(1.07),
        rig: echo::Echo::epoll,
    },
    Measure {
        name: "new connections",
        unit: "1/s",
        wire: Wire::Rfc6455,
        place: Place::Together,
        amount: Amount::From(50),
        target: Target::AtLeast(0.8),
        rig: connections::Connections::rig,
    },
    Measure {
        name: "messages, 100 connections",
        unit: "1/s",
        wire: Wire::Rfc6455,
        place: Place::Apart,
        amount: Amount::From(10),
        target: Target::AtLeast(0.93),
        rig: messages::Messages::rig,
    },
    Measure {
        name: "hixie-76 download 64 KiB",
        unit: "MiB/s",
        wire: Wire::Hixie76,
        place: Place::Apart,
        amount: Amount::From(16),
        target: Target::AtLeast(0.45),
        rig: stream::Download::read,
    },
    Measure {
        name: "hixie-76 upload 64 KiB",
        unit: "MiB/s",
        wire: Wire::Hixie76,
        place: Place::Apart,
        amount: Amount::From(16),
        target: Target::AtLeast(0.45),
        rig: stream::Upload::large,
    },
    Measure {
        name: "read of /dev/zero",
        unit: "ns",
        wire: Wire::Rfc6455,
        place: Place::Together,
        amount: Amount::From(10_000),
        target: Target::AtMost(1.05),
        rig: zero::Zero::rig,
    },
    Measure {
        name: "memory, idle connection",
        unit: "byte",
        wire: Wire::Rfc6455,
        place: Place::Together,
        amount: Amount::Just(IDLE),
        target: Target::More(1024.0),
        rig: memory::Memory::rig,
    },
];

/// What is measured of a bridged connection.
pub const BRIDGE: [Measure; 2] = [
    Measure {
        name: "download 64 KiB",
        unit: "MiB/s",
        wire: Wire::Rfc6455,
        place: Place::Anywhere,
        amount: Amount::From(16),
        target: Target::AtLeast(0.75),
        rig: stream::Download::read,
    },
    Measure {
        name: "upload 64 KiB",
        unit: "MiB/s",
        wire: Wire::Rfc6455,
        place: Place::Anywhere,
        amount: Amount::From(16),
        target: Target::AtLeast(0.75),
        rig: stream::Upload::large,
    },
];

/// What is measured of a proxy, and how many times better than the best peer it is to be.
pub const PROXY: [(Measure, f64); 9] = [
    (
        Measure {
            name: "download 64 KiB",
            unit: "MiB/s",
            wire: Wire::Rfc6455,
            place: Place::Apart,
            amount: Amount::From(16),
            target: Target::AtLeast(0.7),
            rig: stream::Download::read,
        },
        1.5,
    ),
    (
        Measure {
            name: "upload 64 KiB",
            unit: "MiB/s",
            wire: Wire::Rfc6455,
            place: Place::Apart,
            amount: Amount::From(16),
            target: Target::AtLeast(0.5),
            rig: stream::Upload::large,
        },
        2.0,
    ),
    (
        Measure {
            name: "TLS download 64 KiB",
            unit: "MiB/s",
            wire: Wire::Wss,
            place: Place::Apart,
            amount: Amount::From(16),
            target: Target::AtLeast(0.0),
            rig: stream::Download::read,
        },
        1.5,
    ),
    (
        Measure {
            name: "TLS upload 64 KiB",
            unit: "MiB/s",
            wire: Wire::Wss,
            place: Place::Apart,
            amount: Amount::From(16),
            target: Target::AtLeast(0.0),
            rig: stream::Upload::large,
        },
        1.5,
    ),
    (
        Measure {
            name: "new connections",
            unit: "1/s",
            wire: Wire::Rfc6455,
            place: Place::Together,
            amount: Amount::From(16),
            target: Target::AtLeast(0.6),
            rig: connections::Connections::rig,
        },
        1.0,
    ),
    (
        Measure {
            name: "messages, 100 connections",
            unit: "1/s",
            wire: Wire::Rfc6455,
            place: Place::Apart,
            amount: Amount::From(4),
            target: Target::AtLeast(0.9),
            rig: messages::Messages::rig,
        },
        1.0,
    ),
    (
        Measure {
            name: "echo p50, epoll server",
            unit: "us",
            wire: Wire::Rfc6455,
            place: Place::Together,
            amount: Amount::From(100),
            target: Target::AtMost(f64::INFINITY),
            rig: echo::Echo::epoll,
        },
        1.0,
    ),
    (
        Measure {
            name: "memory, 10,000 connections",
            unit: "byte",
            wire: Wire::Rfc6455,
            place: Place::Anywhere,
            amount: Amount::Just(10_000),
            target: Target::More(10.0 * 1024.0),
            rig: memory::Memory::rig,
        },
        1.0,
    ),
    (
        Measure {
            name: "TLS memory, idle connection",
            unit: "byte",
            wire: Wire::Wss,
            place: Place::Anywhere,
            amount: Amount::Just(IDLE),
            target: Target::More(20.0 * 1024.0),
            rig: memory::Memory::rig,
        },
        1.0,
    ),
];

/// What is measured of the proxy on all CPUs, against the same on one.
pub const CPUS: [Measure; 1] = [Measure {
    name: "TLS upload, 16 connections",
    unit: "MiB/s",
    wire: Wire::Wss,
    place: Place::Anywhere,
    amount: Amount::From(1),
    target: Target::AtLeast(1.3),
    rig: crowd::Crowd::rig,
}];
