//! Turns at what takes a processor for a while, so that no client's tries keep others from theirs.
//!
//! There are as many turns as processors. A client takes one at a time, and what it wants beyond that waits behind its own:
//! whoever tries passwords over three hundred connections is one among those who wait, and not three hundred of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::handler::Denial;

/// How many of one client may be inside at a time, the one whose turn it is included: a page asks for several files at once,
/// and an address may be that of a few people.
const INSIDE: usize = 16;

/// Whose turn it is. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    /// Those that have a turn or wait for one.
    clients: Arc<Mutex<HashMap<Option<IpAddr>, Client>>>,
    patience: Duration,
}

#[derive(Debug)]
struct Client {
    turn: Arc<Semaphore>,
    inside: usize,
}

/// A turn, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    _inside: Inside,
}

/// One that has a turn or waits for one.
#[derive(Debug)]
struct Inside {
    client: Option<IpAddr>,
    turns: Turns,
}

impl Turns {
    /// So many turns at a time, and so long to wait for one.
    pub(super) fn new(count: usize, patience: Duration) -> Self {
        Turns { all: Arc::new(Semaphore::new(count)), clients: Arc::default(), patience }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// 429 for a client of which too many wait already; 503 for one that has waited too long.
    pub(super) async fn take(&self, client: Option<IpAddr>) -> Result<Turn, Denial> {
        let (inside, turn) = self.enter(client)?;
        let late =
            || Denial::new("503 Service Unavailable", "Too many passwords wait to be checked").counted_as("busy");
        let waiting = timeout(self.patience, async {
            let own = turn.acquire_owned().await.ok()?;
            Some((own, Arc::clone(&self.all).acquire_owned().await.ok()?))
        });
        // The semaphores are never closed.
        let (own, all) = waiting.await.ok().flatten().ok_or_else(late)?;
        Ok(Turn { _all: all, _own: own, _inside: inside })
    }

    fn enter(&self, client: Option<IpAddr>) -> Result<(Inside, Arc<Semaphore>), Denial> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let here = clients.entry(client).or_insert_with(|| Client { turn: Arc::new(Semaphore::new(1)), inside: 0 });
        if here.inside >= INSIDE {
            let why = "Too many passwords from your address wait to be checked";
            return Err(Denial::new("429 Too Many Requests", why).counted_as("busy"));
        }
        here.inside += 1;
        Ok((Inside { client, turns: self.clone() }, Arc::clone(&here.turn)))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut clients = self.turns.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = clients.get_mut(&self.client) {
            here.inside -= 1;
            if here.inside == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn client(number: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, number]))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_one_turn_at_a_time_and_others_have_theirs() {
        let turns = Turns::new(2, PATIENCE);
        let first = turns.take(client(1)).await.unwrap();
        let mut waiting: Vec<_> = (1..INSIDE).map(|_| Box::pin(turns.take(client(1)))).collect();
        for waits in &mut waiting {
            assert!(timeout(Duration::ZERO, waits).await.is_err());
        }
        assert!(turns.take(client(1)).await.unwrap_err().status.starts_with("429"));
        let second = turns.take(client(2)).await.unwrap();
        let denial = turns.take(client(3)).await.unwrap_err();
        assert!(denial.status.starts_with("503") && denial.label == "busy", "{denial:?}");
        drop((first, second, waiting));
        drop(turns.take(client(1)).await.unwrap());
        drop(turns.take(None).await.unwrap());
        assert!(turns.clients.lock().unwrap().is_empty());
        assert_eq!(turns.all.available_permits(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_comes_next() {
        let turns = Turns::new(1, PATIENCE);
        let first = turns.take(client(1)).await.unwrap();
        let next = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take(client(1)).await.map(drop) }
        });
        tokio::task::yield_now().await;
        drop(first);
        next.await.unwrap().unwrap();
    }
}
