//! fork(2) and exit(3).
//!
//! All locks, in the order in which they are taken around a fork: each listener's hub, each epoll instance's registrations,
//! for each connection the receiving half and the sending half, what vfork(2) children copied, and last the pools. In
//! ordinary work a thread holds at most two: receiving, and sending if that is free; or one of the others, and a pool's.
//! None is held across a call that blocks, so a fork never waits for a client.

use std::sync::atomic::Ordering;

use wsproto::Sender;

use crate::Layer;
use crate::bridge::Copied;
use crate::conn::{Conn, Receive, Send};
use crate::epoll::Epoll;
use crate::hub::Hub;
use crate::listen::Listener;
use crate::owners::Owners;
use crate::registered::Registered;
use crate::slots::{Free, Ref};
use crate::sys::Sys;
use wslock::MutexGuard;

/// Everything that is locked while a fork is under way. Dropping it unlocks, the pools first: the references need them.
pub struct ForkGuard<'a> {
    _pools: [MutexGuard<'a, Free>; 3],
    _copies: MutexGuard<'a, Vec<Copied>>,
    conns: Vec<(MutexGuard<'a, Receive>, MutexGuard<'a, Send>, Ref<'a, Conn>)>,
    epolls: Vec<(MutexGuard<'a, Registered>, Ref<'a, Epoll>)>,
    hubs: Vec<(MutexGuard<'a, Hub>, Ref<'a, Listener>)>,
}

impl<S: Sys> Layer<S> {
    /// Before a fork: no other thread is in the middle of something that the child would inherit half done, every connection
    /// knows that one more process uses it, and what is ready to be accepted is for both.
    pub fn before_fork(&self) -> ForkGuard<'_> {
        let mut hubs: Vec<_> = self.listeners.in_use().map(|listener| (listener.get().hub.lock(), listener)).collect();
        for (hub, _) in &mut hubs {
            self.share_ready(hub);
        }
        let epolls = self.epolls.in_use().map(|epoll| (epoll.get().registered.lock(), epoll)).collect();
        let mut conns: Vec<_> = self
            .conns
            .in_use()
            .map(|conn| {
                let receive = conn.get().receive.lock();
                (receive, conn.get().send.lock(), conn)
            })
            .collect();
        let mut fresh: Vec<&mut Send> = Vec::new();
        for (_, send, _) in &mut conns {
            match &send.owners {
                Some(owners) => owners.announce_child(&self.sys),
                None => fresh.push(send),
            }
        }
        if let (false, Some(owners)) = (fresh.is_empty(), Owners::new(&self.sys, fresh.len())) {
            for (send, owners) in fresh.into_iter().zip(owners) {
                owners.announce_child(&self.sys);
                send.owners = Some(owners);
            }
        }
        let copies = self.copies.lock();
        let pools = [self.listeners.lock(), self.epolls.lock(), self.conns.lock()];
        ForkGuard { _pools: pools, _copies: copies, conns, epolls, hubs }
    }

    /// Before a vfork(2): its child runs in our memory, and can neither make a descriptor for us nor close one of ours. What it is to find,
    /// if it takes a listener along to another program, is made here.
    pub fn before_vfork(&self) {
        self.listeners.in_use().for_each(|listener| self.share_ready(&mut listener.hub.lock()));
    }

    /// In the child: handshakes in progress are the parent's, and so is a frame that another thread is sending.
    pub fn in_child(&self, mut guard: ForkGuard<'_>) {
        self.pid.store(self.sys.pid(), Ordering::Relaxed);
        for (hub, _) in &mut guard.hubs {
            let queue = hub.queue.take();
            self.dissolve(hub);
            hub.queue = queue;
        }
        self.keep_one(guard.hubs.iter().filter_map(|(hub, _)| Some(hub.queue?.write)));
        for (_, epoll) in &guard.epolls {
            epoll.inherited.store(true, Ordering::Relaxed);
        }
        for (_, send, _) in &mut guard.conns {
            if let Some(owners) = &send.owners {
                owners.arrive(&self.sys);
            }
            if send.busy.take().is_some() {
                send.encoder = Sender::new(send.dialect, send.encoding);
            }
        }
    }

    /// The program ends by exit(3): connections that it leaves open are closed as if it had closed them.
    ///
    /// It may do so in a signal handler, in the middle of a call of ours: what is locked is left alone.
    pub fn at_exit(&self) {
        if self.is_vfork_child() {
            return;
        }
        self.leave_ready();
        for fd in 0..=self.highest.load(Ordering::Relaxed) {
            let Some(conn) = self.conn(fd) else { continue };
            let free = conn.receive.try_lock().is_some() && conn.send.try_lock().is_some();
            if free && conn.fds.swap(0, Ordering::AcqRel) > 0 && self.finish(&conn, fd) {
                self.drain_elsewhere(fd);
            }
        }
    }
}
