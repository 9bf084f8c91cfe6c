//! Threads side by side on the same objects.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::kernel::File;
use super::*;
use crate::conn::Conn;
use crate::slots::{Pool, Recycle, Slot};
use wslock::Mutex;

const THREADS: usize = 3;

/// How long bytes may take that never come.
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Number(AtomicU32);

impl Recycle for Number {
    fn recycle(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[test]
fn an_object_does_not_change_hands_while_a_reference_lives() {
    const ROUNDS: u32 = 5000;
    let (pool, index, running) = (Pool::<Number>::new(64), AtomicU32::new(0), AtomicUsize::new(THREADS));
    thread::scope(|scope| {
        for thread in 0..THREADS as u32 {
            let (pool, index, running) = (&pool, &index, &running);
            scope.spawn(move || {
                for round in 1..=ROUNDS {
                    let object = pool.allocate().unwrap();
                    let number = thread * ROUNDS + round;
                    object.0.store(number, Ordering::Relaxed);
                    index.store(object.index(), Ordering::Relaxed);
                    thread::yield_now();
                    assert_eq!(object.0.load(Ordering::Relaxed), number, "somebody else has it");
                    pool.release(object.keep());
                }
                running.fetch_sub(1, Ordering::Relaxed);
            });
            scope.spawn(move || {
                while running.load(Ordering::Relaxed) > 0 {
                    let Some(object) = pool.acquire(index.load(Ordering::Relaxed)) else { continue };
                    // Zero until whoever has it says what it is.
                    let first = object.0.load(Ordering::Relaxed);
                    thread::yield_now();
                    let second = object.0.load(Ordering::Relaxed);
                    assert!(first == 0 || first == second, "{first} became {second}");
                }
            });
        }
    });
}

#[test]
fn readers_writers_and_looks_share_a_connection() {
    const FRAMES: usize = 300;
    let (script, layer, fd) = open(REQUEST);
    let (got, begun) = (AtomicUsize::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (layer, got) = (&layer, &got);
            scope.spawn(move || {
                while got.load(Ordering::Relaxed) < FRAMES * 10 && begun.elapsed() < LIMIT {
                    if let Ok(bytes) = read(layer, fd, 7, 0) {
                        assert!(bytes.iter().all(|byte| *byte == b'x'), "{bytes:?}");
                        got.fetch_add(bytes.len(), Ordering::Relaxed);
                    }
                }
            });
            scope.spawn(move || {
                for _ in 0..FRAMES {
                    assert_eq!(write(layer, fd, b"written"), Ok(7));
                    layer.filter_fd(fd, libc::EPOLLIN as u32);
                }
            });
        }
        for _ in 0..FRAMES {
            script.arrive(fd, &frame(PING, b""));
            script.arrive(fd, &frame(BINARY, b"xxxxxxxxxx"));
        }
    });
    assert_eq!(got.into_inner(), FRAMES * 10);
    // Whole frames, and whole pongs between them.
    let output = script.take_output(fd);
    let (mut rest, mut frames) = (output.as_slice(), 0);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(b"\x82\x07written") {
            (rest, frames) = (after, frames + 1);
        } else {
            rest = rest.strip_prefix(b"\x8a\x00").unwrap_or_else(|| panic!("{rest:?}"));
        }
    }
    assert_eq!(frames, FRAMES * THREADS);
}

#[test]
fn connections_come_and_go_under_calls_on_their_numbers() {
    const CLIENTS: usize = 60;
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    let (done, begun) = (AtomicUsize::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..CLIENTS {
                    script.connect(listener, [REQUEST.as_bytes(), &frame(BINARY, b"x")].concat().as_slice());
                    let (fd, _) = layer.accept(listener, libc::SOCK_NONBLOCK).unwrap();
                    script.with(fd, |file| file.nonblocking = true);
                    layer.filter_fd(fd, libc::EPOLLIN as u32);
                    write(&layer, fd, b"y").unwrap();
                    layer.close(fd).unwrap();
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
            scope.spawn(|| {
                while done.load(Ordering::Relaxed) < THREADS && begun.elapsed() < LIMIT {
                    for fd in 3..400 {
                        let _ = layer.filter_fd(fd, libc::EPOLLIN as u32);
                    }
                }
            });
        }
    });
    assert_eq!(layer.conns.in_use().count(), 0);
}

#[test]
fn a_number_stays_what_it_is_under_either_lock() {
    fn closes_under<T>(half: impl Fn(&Conn) -> &Mutex<T>) {
        let (script, layer, fd) = open(REQUEST);
        let other = script.add(File::default());
        layer.duplicated(fd, other);
        let Slot::Conn(index) = layer.slots.get(fd) else { panic!("no connection") };
        for fd in [other, fd] {
            thread::scope(|scope| {
                let (_, guard) = layer.lock_half(fd, index, &half).unwrap();
                let closing = scope.spawn(|| layer.close(fd));
                while layer.slots.is_conn_at(fd, index) {
                    thread::yield_now();
                }
                for _ in 0..1000 {
                    thread::yield_now();
                    assert!(script.is_open(fd), "closed under who uses it");
                }
                drop(guard);
                assert_eq!(closing.join().unwrap(), Ok(()));
            });
            // Who looked the connection up before has nothing.
            assert!(layer.lock_half(fd, index, &half).is_none());
        }
    }
    closes_under(|conn| &conn.receive);
    closes_under(|conn| &conn.send);
}
