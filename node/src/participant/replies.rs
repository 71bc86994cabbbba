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
//! What is held is in memory alone: after a restart the coordinator asks for the round again, and what is stored leaves at a point after
//! that.

use std::time::Duration;

use entente_protocols::attempt::AttemptId;
use tracing::{debug, error};

use super::held::Reply;
use super::rounds::{Round, Running};
use super::witness::Connection;
use super::{Participant, Ready, saying};
use crate::alarms::Alarm;
use crate::grid::Timing;
use crate::turn::Turn;

/// Replies whose time has come.
pub struct Leaving(Vec<Reply<Ready>>);

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
        let vector = self.go(id, round, running, turn, &mut timing);
        let vector = vector.map_err(|problem| saying(id, self.explain(id, problem, None)));
        let (at, is_late) = timing.leaves(self.clock.moment());
        if is_late {
            self.alarms.raise(Alarm::Late);
            late(id, number);
        }
        self.held.put(Reply { attempt: id.clone(), round: number, at, ready: (connection, vector) });
    }

    /// How long it is until something leaves that is held; `None` where nothing is.
    pub fn due(&self) -> Option<Duration> {
        self.held.due(&self.clock)
    }

    /// Waits until something leaves that is held.
    pub async fn leaving(&self) -> Leaving {
        Leaving(self.held.leaving(&self.clock).await)
    }

    /// The frames of replies whose time has come: none of those that were asked for on an earlier connection.
    pub fn leave(&self, Leaving(replies): Leaving) -> Vec<Vec<u8>> {
        let leaves = |Reply { attempt, round, ready: (connection, vector), .. }: Reply<Ready>| {
            debug!(study = attempt.study, attempt = attempt.number, round, "the reply leaves");
            match vector {
                Ok((release, outbound)) => self
                    .send_when_witnessed(release, outbound, connection)
                    .unwrap_or_else(|problem| vec![saying(&attempt, self.explain(&attempt, problem, None))]),
                Err(said) => Vec::from_iter((self.connection() == connection).then_some(said)),
            }
        };
        replies.into_iter().flat_map(leaves).collect()
    }

    /// The frames of all replies whose time has come by now.
    pub fn leaves(&self) -> Vec<Vec<u8>> {
        self.leave(Leaving(self.held.take(&self.clock)))
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
