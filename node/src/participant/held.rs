//! Replies of rounds that are ready and wait until they leave, at points of the public grid ([`crate::grid`]).
//!
//! ```text
//! Go ─▶ vector (stored), failure or refusal ─▶ held until its point ─▶ cosigned ─▶ leaves
//! ```
//!
//! Joins, ends and what is said of waiting are not held: no row is read for them. Nor is a stored answer that is sent again for another
//! attempt, for the same reason. A round that is asked for once more, be it on another connection, keeps its point: otherwise whoever
//! asks often would be told when it was ready.
//!
//! What is held takes no turn, thread or lock. It is in memory alone: after a restart the coordinator asks for the round again, and what
//! is stored leaves at a point after that.

use std::sync::Mutex;
use std::time::Duration;

use entente_host::clock::Moment;
use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::ledger::Outbound;
use tokio::sync::Notify;
use tracing::{debug, error};

use super::rounds::{Round, Running};
use super::witness::{Connection, Release};
use super::{Participant, saying};
use crate::alarms::Alarm;
use crate::grid::Timing;
use crate::turn::Turn;

/// See the module.
#[derive(Default)]
pub(super) struct Held {
    replies: Mutex<Vec<Reply>>,
    changed: Notify,
}

/// Replies whose time has come.
pub struct Leaving(Vec<Reply>);

struct Reply {
    attempt: AttemptId,
    round: u32,
    at: Moment,
    connection: Connection,
    what: What,
}

enum What {
    Vector(Release, Outbound),
    /// That there is none.
    Said(Vec<u8>),
}

impl Held {
    /// Forgets the replies of an attempt that is over.
    pub(super) fn forget(&self, attempt: &AttemptId) {
        lock(&self.replies).retain(|reply| reply.attempt != *attempt);
    }

    fn put(&self, mut reply: Reply) {
        let mut replies = lock(&self.replies);
        let is_same = |other: &Reply| (&other.attempt, other.round) == (&reply.attempt, reply.round);
        if let Some(place) = replies.iter().position(is_same) {
            reply.at = replies.swap_remove(place).at;
        }
        replies.push(reply);
        drop(replies);
        self.changed.notify_one();
    }

    fn next(&self) -> Option<Moment> {
        lock(&self.replies).iter().map(|reply| reply.at).min()
    }

    fn take(&self, now: Moment) -> Leaving {
        Leaving(lock(&self.replies).extract_if(.., |reply| reply.at <= now).collect())
    }
}

impl Participant {
    /// Answers that a round is to be computed: its reply is held.
    pub(super) fn round(
        &self,
        id: &AttemptId,
        round: Round<'_>,
        running: &mut Option<Running>,
        connection: Connection,
        turn: &dyn Turn,
    ) {
        let mut timing = Timing::since(turn.told().unwrap_or_else(|| self.clock.moment()));
        let number = round.number;
        let what = match self.go(id, round, running, turn, &mut timing) {
            Ok((release, outbound)) => What::Vector(release, outbound),
            Err(problem) => What::Said(saying(id, self.explain(id, problem, None))),
        };
        let (at, is_late) = timing.leaves(self.clock.moment());
        if is_late {
            self.alarms.raise(Alarm::Late);
            late(id, number);
        }
        self.held.put(Reply { attempt: id.clone(), round: number, at, connection, what });
    }

    /// How long it is until something leaves that is held; `None` where nothing is.
    pub fn due(&self) -> Option<Duration> {
        Some(self.held.next()?.since(self.clock.moment()))
    }

    /// Waits until something leaves that is held.
    pub async fn leaving(&self) -> Leaving {
        loop {
            // Before it is looked at: what comes meanwhile is not missed.
            let changed = self.held.changed.notified();
            match self.due() {
                Some(Duration::ZERO) => return self.held.take(self.clock.moment()),
                Some(wait) => tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }

    /// The frames of replies whose time has come: none of those that were asked for on an earlier connection.
    pub fn leave(&self, Leaving(replies): Leaving) -> Vec<Vec<u8>> {
        let leaves = |Reply { attempt, round, connection, what, .. }: Reply| {
            debug!(study = attempt.study, attempt = attempt.number, round, "the reply leaves");
            match what {
                What::Vector(release, outbound) => self
                    .send_when_witnessed(release, outbound, connection)
                    .unwrap_or_else(|problem| vec![saying(&attempt, self.explain(&attempt, problem, None))]),
                What::Said(said) => Vec::from_iter((self.connection() == connection).then_some(said)),
            }
        };
        replies.into_iter().flat_map(leaves).collect()
    }

    /// The frames of all replies whose time has come by now.
    pub fn leaves(&self) -> Vec<Vec<u8>> {
        self.leave(self.held.take(self.clock.moment()))
    }
}

/// Says that a reply tells how long it took.
fn late(AttemptId { study, number: attempt }: &AttemptId, round: u32) {
    error!(
        study,
        attempt,
        round,
        "ALARM: the reply was not ready when it was to leave, and leaves at a later point of the grid, which tells to a quarter how long it \
         took: is this machine too busy, or has a data set grown? `entente-node check` records its size anew"
    );
}
