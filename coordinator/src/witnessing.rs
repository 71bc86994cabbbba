//! The coordinator as a witness of nodes' ledgers.
//!
//! Nodes that compute the same round ask at about the same time. Whoever comes while checkpoints are being written waits, and is
//! written with all others that have come meanwhile, in one durable write: the disk, not the number of nodes, says how long that takes.

use std::sync::{Arc, Mutex, PoisonError};

use entente_protocols::identity::Member;
use entente_protocols::ledger::checkpoint::{coordinator_origin, node_origin};
use entente_protocols::ledger::witness::{Answer, Request, answer};
use tokio::sync::oneshot;

use crate::coordinator::Shared;
use crate::error::Error;
use crate::store::seconds;

/// What nodes ask.
#[derive(Default)]
pub(crate) struct Witnessing {
    asked: Mutex<Vec<Asked>>,
    /// Held from before checkpoints are taken up until they are kept, so that what is kept only grows.
    writing: Mutex<()>,
}

struct Asked {
    node: String,
    request: Request,
    answer: oneshot::Sender<Result<Answer, Error>>,
}

impl Shared {
    /// Looks at a node's checkpoint, keeps the newest, and cosigns it. What is said to it, which it also gets where it is distrusted:
    /// its own signature convinces it.
    pub(crate) async fn witness(self: &Arc<Self>, node: &str, request: Request) -> Result<Answer, Error> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { node: node.into(), request, answer };
        self.witnessing.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        let shared = self.clone();
        tokio::task::spawn_blocking(move || shared.witness_all());
        answered.await.unwrap_or_else(|_| Err(Error::failed("the checkpoint was not looked at")))
    }

    /// Answers all that nodes have asked by now.
    fn witness_all(&self) {
        let _writing = self.witnessing.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = std::mem::take(&mut *self.witnessing.asked.lock().unwrap_or_else(PoisonError::into_inner));
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

    fn answers(&self, asked: &[Asked]) -> Result<Vec<Result<Answer, Error>>, Error> {
        let members = self.roster()?.members;
        let authority = self.alliance.authority();
        let by = (&*coordinator_origin(authority), self.alliance.identity());
        let time = u64::try_from(seconds()).unwrap_or_default();
        self.store.witness(|checkpoints| {
            let judge = |Asked { node, request, .. }: &Asked| {
                let Some(Member { identity, .. }) = members.get(node) else {
                    return Ok(Answer::Refused("it is not enrolled".into()));
                };
                let held = checkpoints.newest(identity)?;
                answer(request, (&node_origin(authority, node), identity), held, by, time, |checkpoint| {
                    checkpoints.keep(node, identity, checkpoint)
                })
            };
            asked.iter().map(judge).collect()
        })
    }
}
