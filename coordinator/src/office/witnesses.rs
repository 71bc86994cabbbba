//! The coordinator as a witness of nodes' ledgers.
//!
//! Nodes that compute the same round ask at about the same time. Whoever comes while checkpoints are being written waits, and is
//! written with all others that have come meanwhile, in one durable write: the disk, not the number of nodes, says how long that takes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use entente_host::Error;
use entente_host::clock::Moment;
use entente_host::locks::lock;
use entente_protocols::identity::Member;
use entente_protocols::ledger::Head;
use entente_protocols::ledger::checkpoint::{coordinator_origin, node_origin};
use entente_protocols::ledger::witness::{Answer, Request, answer, contradicts};
use tokio::sync::oneshot;

use crate::hall::Hall;

/// What is said to a node, and what its ledger contradicts, if it does.
#[derive(Clone)]
pub(super) struct Witnessed {
    pub(super) answer: Answer,
    pub(super) contradiction: Option<String>,
}

/// Holds nodes' ledgers against what was seen of them.
pub(super) struct Witnesses {
    hall: Arc<Hall>,
    asked: Mutex<Vec<Asked>>,
    /// Held from before checkpoints are taken up until they are kept, so that what is kept only grows.
    writing: Mutex<()>,
    /// What partners were passed on.
    pub(super) open: Open,
}

struct Asked {
    node: String,
    request: Request,
    answer: oneshot::Sender<Result<Witnessed, Error>>,
}

/// Of a ledger that does not go on from what was witnessed, though it shows what should prove it.
const FORKED: &str = "its ledger does not go on from what was witnessed: was it forked, or does a copy of the node run? Its staff can see what to do by \
     `entente-node check`";

impl Witnesses {
    pub(super) fn new(hall: Arc<Hall>) -> Self {
        Self { hall, asked: Mutex::default(), writing: Mutex::default(), open: Open::default() }
    }

    /// Why a node's ledger cannot be the one that was witnessed, if it cannot.
    pub(super) fn contradiction(&self, node: &str, head: Head) -> Result<Option<String>, Error> {
        let partners = self.hall.store.partners()?;
        let Some(partner) = partners.get(node) else { return Ok(None) };
        let Some(checkpoint) = self.hall.store.witnessed(&partner.member.identity)? else { return Ok(None) };
        let known = checkpoint.statement();
        let advice = "was it restored from an old backup, or does a copy run? Its staff can see what to do by `entente-node check`";
        Ok(if head.entries < known.size {
            Some(format!("its ledger has {} entries, but {} were witnessed; {advice}", head.entries, known.size))
        } else if head.entries == known.size && head.hash != known.head {
            Some(format!("its ledger is another than the one of {} entries that was witnessed; {advice}", known.size))
        } else {
            None
        })
    }

    /// Raises an alarm about a node's ledger: it is in the log, and stays until an operator acknowledges it.
    pub(super) fn alarm(&self, node: &str, contradiction: &str) {
        tracing::warn!(node, contradiction, "no studies with this node");
        if let Err(error) = self.hall.store.alarm(node, contradiction, self.hall.clock.now().as_second()) {
            tracing::error!(node, %error, "the alarm could not be kept");
        }
    }

    /// Looks at a node's checkpoint, keeps the newest, and cosigns it. What is said to it, which it also gets where it is distrusted:
    /// its own signature convinces it.
    pub(super) async fn witness(self: &Arc<Self>, node: &str, request: Request) -> Result<Witnessed, Error> {
        let (this, answered) = (self.clone(), self.ask(node, request));
        tokio::task::spawn_blocking(move || this.witness_all());
        answered.await.unwrap_or_else(|_| Err(unseen()))
    }

    /// The same, without a task.
    pub(super) fn witness_here(&self, node: &str, request: Request) -> Result<Witnessed, Error> {
        let mut answered = self.ask(node, request);
        self.witness_all();
        answered.try_recv().unwrap_or_else(|_| Err(unseen()))
    }

    fn ask(&self, node: &str, request: Request) -> oneshot::Receiver<Result<Witnessed, Error>> {
        let (answer, answered) = oneshot::channel();
        lock(&self.asked).push(Asked { node: node.into(), request, answer });
        answered
    }

    /// Answers all that nodes have asked by now.
    fn witness_all(&self) {
        let _writing = lock(&self.writing);
        let asked = std::mem::take(&mut *lock(&self.asked));
        if asked.is_empty() {
            return;
        }
        let answers = self.answers(&asked);
        for (i, Asked { answer, .. }) in asked.into_iter().enumerate() {
            let said = match &answers {
                Ok(answers) => answers.get(i).cloned().unwrap_or_else(|| Err(Error::failed("it was not answered"))),
                Err(error) => Err(error.clone()),
            };
            // A node that has gone asks again.
            let _ = answer.send(said);
        }
    }

    fn answers(&self, asked: &[Asked]) -> Result<Vec<Result<Witnessed, Error>>, Error> {
        let members = self.hall.roster()?.members;
        let authority = self.hall.alliance.authority();
        let by = (&*coordinator_origin(authority), self.hall.alliance.identity());
        let time = u64::try_from(self.hall.clock.now().as_second()).unwrap_or_default();
        self.hall.store.witness(|checkpoints| {
            let judge = |Asked { node, request, .. }: &Asked| {
                let Some(Member { identity, .. }) = members.get(node) else {
                    let answer = Answer::Refused("it is not enrolled".into());
                    return Ok(Witnessed { answer, contradiction: None });
                };
                let held = checkpoints.newest(identity)?;
                let contradicts = held.as_ref().is_some_and(|held| contradicts(request, held));
                let of = (&*node_origin(authority, node), identity);
                let answer =
                    answer(request, of, held, by, time, |checkpoint| checkpoints.keep(node, identity, checkpoint))?;
                let contradiction = match &answer {
                    Answer::Cosigned { .. } | Answer::Earlier { .. } => None,
                    Answer::Holds(_) => contradicts.then(|| FORKED.to_owned()),
                    Answer::Refused(reason) => Some(format!("its ledger was not witnessed: {reason}")),
                };
                Ok(Witnessed { answer, contradiction })
            };
            asked.iter().map(judge).collect()
        })
    }
}

fn unseen() -> Error {
    Error::failed("the checkpoint was not looked at")
}

/// When a partner was passed on requests of a node that it has not answered, by who asks and who is asked.
#[derive(Default)]
pub(super) struct Open(Mutex<HashMap<(String, String), VecDeque<Moment>>>);

/// The most requests of one node that a partner has at once; after how long one makes room for another, and is not answered any more.
const MOST_OPEN: usize = 32;
const SLOW: Duration = Duration::from_secs(5);
const LOST: Duration = Duration::from_secs(60);

impl Open {
    /// Whether a node's request is to be passed on to a partner now: unless that has many of its requests already.
    pub(super) fn asks(&self, node: &str, partner: &str, now: Moment) -> bool {
        let mut open = lock(&self.0);
        let asked = open.entry((node.to_owned(), partner.to_owned())).or_default();
        let oldest = asked.front().map_or(Duration::ZERO, |asked| now.since(*asked));
        if asked.len() == MOST_OPEN && oldest > SLOW || oldest > LOST {
            asked.pop_front();
        }
        if asked.len() == MOST_OPEN {
            return false;
        }
        asked.push_back(now);
        true
    }

    /// Whether a node has asked this partner of late; then one request is answered.
    pub(super) fn is_answered(&self, node: &str, partner: &str, now: Moment) -> bool {
        let mut open = lock(&self.0);
        let Some(asked) = open.get_mut(&(node.to_owned(), partner.to_owned())) else { return false };
        asked.pop_front().is_some_and(|asked| now.since(asked) <= LOST)
    }
}

#[cfg(test)]
mod tests {
    use entente_host::clock::moment;

    use super::*;

    #[test]
    fn each_answer_is_to_a_request_and_many_requests_wait() {
        let (witnessing, now) = (Open::default(), moment());
        assert!(!witnessing.is_answered("bank", "telecom", now), "nobody has asked");
        let passed_on = (0..2 * MOST_OPEN).filter(|_| witnessing.asks("bank", "telecom", now)).count();
        assert_eq!(passed_on, MOST_OPEN);
        assert!(witnessing.asks("bank", "retailer", now) && !witnessing.is_answered("telecom", "bank", now));
        let answered = (0..2 * MOST_OPEN).filter(|_| witnessing.is_answered("bank", "telecom", now)).count();
        assert_eq!(answered, MOST_OPEN);
        assert!(witnessing.asks("bank", "telecom", now), "there is room again");
    }

    #[test]
    fn requests_that_are_not_answered_make_room_and_are_answered_no_more() {
        let (witnessing, now) = (Open::default(), moment());
        let asked = |now| (0..2 * MOST_OPEN).filter(|_| witnessing.asks("bank", "telecom", now)).count();
        assert_eq!((asked(now), asked(now + SLOW)), (MOST_OPEN, 0));
        let slow = now + SLOW + Duration::from_millis(1);
        assert_eq!(asked(slow), MOST_OPEN, "each new one takes the place of one that was slow");
        assert!(witnessing.is_answered("bank", "telecom", slow + LOST));
        assert!(!witnessing.is_answered("bank", "telecom", slow + LOST + Duration::from_millis(1)));
    }
}
