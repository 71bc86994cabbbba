//! What is ready and waits until it leaves. It takes no turn, thread or lock, and is in memory alone.

use std::sync::Mutex;
use std::time::Duration;

use entente_host::clock::{Clock, Moment};
use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use tokio::sync::Notify;

/// Replies of rounds that are held.
pub(super) struct Held<T> {
    replies: Mutex<Vec<Reply<T>>>,
    changed: Notify,
}

/// What is ready of a round, and when it leaves.
pub(super) struct Reply<T> {
    pub(super) attempt: AttemptId,
    pub(super) round: u32,
    pub(super) at: Moment,
    pub(super) ready: T,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { replies: Mutex::default(), changed: Notify::new() }
    }
}

impl<T> Held<T> {
    /// Holds a reply. Where one of the same round is held, it takes its place, and leaves when that was to.
    pub(super) fn put(&self, mut reply: Reply<T>) {
        let mut replies = lock(&self.replies);
        let is_same = |other: &Reply<T>| (&other.attempt, other.round) == (&reply.attempt, reply.round);
        if let Some(place) = replies.iter().position(is_same) {
            reply.at = replies.swap_remove(place).at;
        }
        replies.push(reply);
        drop(replies);
        self.changed.notify_one();
    }

    /// Forgets the replies of an attempt that is over.
    pub(super) fn forget(&self, attempt: &AttemptId) {
        lock(&self.replies).retain(|reply| reply.attempt != *attempt);
    }

    /// How long it is until one leaves; `None` where none is held.
    pub(super) fn due(&self, clock: &Clock) -> Option<Duration> {
        let next = lock(&self.replies).iter().map(|reply| reply.at).min()?;
        Some(next.since(clock.moment()))
    }

    /// Takes those whose time has come.
    pub(super) fn take(&self, clock: &Clock) -> Vec<Reply<T>> {
        let now = clock.moment();
        lock(&self.replies).extract_if(.., |reply| reply.at <= now).collect()
    }

    /// Waits until the time of some has come, and takes them.
    #[expect(
        clippy::disallowed_methods,
        reason = "by this machine's clock; who moves one by hand looks when it is time"
    )]
    pub(super) async fn leaving(&self, clock: &Clock) -> Vec<Reply<T>> {
        loop {
            // Before it is looked at: what comes meanwhile is not missed.
            let changed = self.changed.notified();
            match self.due(clock) {
                Some(Duration::ZERO) => return self.take(clock),
                Some(wait) => tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }
}
