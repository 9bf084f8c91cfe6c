//! From serving to the end: who may still come in, who has to go, who is still there.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// A server's way from serving over draining to cutting off, and the count of its connections. Clones are the same one.
///
/// Contract: the phases come in this order and none comes back.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// No further connection is accepted; those that are open go on.
    draining: watch::Sender<bool>,
    /// Those that are open end as well. Apart from the other, so that who waits for this is woken once.
    cut: watch::Sender<bool>,
    /// The same, for those who ask often.
    is_cut: AtomicBool,
    open: watch::Sender<usize>,
}

/// One open connection, counted until this is dropped.
#[derive(Debug)]
pub struct Open(Arc<Inner>);

impl Lifecycle {
    /// Stops accepting. Tells whether it was this call that did.
    pub fn drain(&self) -> bool {
        self.0.draining.send_if_modified(|draining| !std::mem::replace(draining, true))
    }

    /// Ends what is open, and stops accepting.
    pub fn cut(&self) {
        self.drain();
        self.0.is_cut.store(true, Ordering::Release);
        self.0.cut.send_replace(true);
    }

    /// Whether further connections are to be refused.
    pub fn is_draining(&self) -> bool {
        *self.0.draining.borrow()
    }

    /// Whether open connections are to end.
    pub fn is_cut(&self) -> bool {
        self.0.is_cut.load(Ordering::Acquire)
    }

    /// Ready when no further connection is to be accepted.
    pub async fn draining(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// Ready when open connections are to end.
    pub fn cut_off(&self) -> CutOff {
        let mut cut = self.0.cut.subscribe();
        CutOff {
            inner: Arc::clone(&self.0),
            reached: Box::pin(async move {
                let _ = cut.wait_for(|cut| *cut).await;
            }),
            waker: None,
        }
    }

    /// Counts a connection.
    pub fn enter(&self) -> Open {
        self.0.open.send_modify(|open| *open += 1);
        Open(Arc::clone(&self.0))
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        *self.0.open.borrow()
    }

    /// Ready when no connection is open.
    pub async fn empty(&self) {
        let _ = self.0.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Ready when no connection has been open for `limit`.
    pub async fn idle(&self, limit: Duration) {
        let mut open = self.0.open.subscribe();
        loop {
            let _ = open.wait_for(|open| *open == 0).await;
            // One that has come and gone meanwhile is a change, too.
            if timeout(limit, open.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// Ready when open connections are to end. Polling it again costs one load: a connection does so whenever it is woken.
pub struct CutOff {
    inner: Arc<Inner>,
    reached: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Who is woken when the time has come.
    waker: Option<Waker>,
}

impl Future for CutOff {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.inner.is_cut.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        this.waker = Some(cx.waker().clone());
        this.reached.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn phases_come_in_their_order() {
        let lifecycle = Lifecycle::default();
        let mut cut = lifecycle.cut_off();
        assert!(timeout(Duration::from_secs(1), &mut cut).await.is_err());
        assert!(!lifecycle.is_draining());
        assert!(lifecycle.drain() && !lifecycle.drain());
        lifecycle.draining().await;
        assert!(timeout(Duration::from_secs(1), &mut cut).await.is_err());
        lifecycle.cut();
        assert!(lifecycle.is_cut() && !lifecycle.drain());
        cut.await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_cut_sleeps_through_the_draining() {
        let lifecycle = Lifecycle::default();
        let waiting = tokio::spawn(lifecycle.cut_off());
        tokio::task::yield_now().await;
        lifecycle.drain();
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        lifecycle.cut();
        waiting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn idle_is_the_time_without_a_connection() {
        let lifecycle = Lifecycle::default();
        let start = tokio::time::Instant::now();
        let open = lifecycle.enter();
        let idle = tokio::spawn({
            let lifecycle = lifecycle.clone();
            async move { lifecycle.idle(Duration::from_secs(10)).await }
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(open);
        lifecycle.empty().await;
        tokio::time::sleep(Duration::from_secs(9)).await;
        drop(lifecycle.enter());
        idle.await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(79));
    }
}
