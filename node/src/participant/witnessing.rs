//! This node as a witness of others: looks at their checkpoints, keeps the newest, and cosigns it.
//!
//! Partners that compute the same round ask at about the same time. Whoever comes while checkpoints are being written waits, and is
//! written with all others that have come meanwhile, in one durable write: so what a round writes to disks grows with the partners,
//! and not with their square, though most of them witness each other.

use std::sync::mpsc;

use entente_host::Error;
use entente_host::locks::lock;
use entente_protocols::identity::PublicIdentity;
use entente_protocols::ledger::Checkpoint;
use entente_protocols::ledger::witness::{Answer, Request, answer, takes_over};
use entente_protocols::wire::frame;
use entente_protocols::wire::message::FromNode;
use tracing::{error, warn};

use super::Participant;
use crate::store::WitnessStore;

/// Somebody who asks to be witnessed.
pub(super) struct Asked {
    node: String,
    request: Request,
    answer: mpsc::Sender<Answer>,
}

impl Participant {
    /// Answers another node that asks for a cosignature.
    pub(super) fn witness_for(&self, node: &str, request: &Request) -> Vec<Vec<u8>> {
        let (answer, answered) = mpsc::channel();
        lock(&self.asked).push(Asked { node: node.into(), request: request.clone(), answer });
        self.witness_all();
        let Ok(answer) = answered.recv() else { return Vec::new() };
        match &answer {
            Answer::Cosigned { .. } => {}
            Answer::Holds(_) => {
                warn!(node, "its ledger is not the one that was witnessed here, or it has not shown that it is");
            }
            Answer::Earlier { .. } => {
                warn!(node, "its ledger has not taken over what was spent under an earlier identity of its name");
            }
            Answer::Refused(reason) => warn!(node, reason, "its ledger is not witnessed here"),
        }
        vec![frame::encode(&FromNode::Witnessed { node: node.into(), answer })]
    }

    /// Answers all that have asked by now.
    fn witness_all(&self) {
        // Held until the answers are made, so that what is kept only grows.
        let store = lock(&self.witnessed);
        let asked = std::mem::take(&mut *lock(&self.asked));
        if asked.is_empty() {
            return;
        }
        let answers =
            || asked.iter().map(|Asked { node, request, .. }| self.answer_for(&store, node, request)).collect();
        let answers: Vec<Result<Answer, Error>> = store.at_once(answers).unwrap_or_else(|error| {
            let error = Error::from(error);
            asked.iter().map(|_| Err(error.clone())).collect()
        });
        for (Asked { node, answer, .. }, said) in asked.into_iter().zip(answers) {
            let said = said.unwrap_or_else(|error| {
                error!(node, %error, "its ledger could not be witnessed here");
                Answer::Refused(format!("{} could not keep it", self.name()))
            });
            // Whoever has asked waits for it.
            let _ = answer.send(said);
        }
    }

    fn answer_for(&self, store: &WitnessStore, node: &str, request: &Request) -> Result<Answer, Error> {
        // Staff may have confirmed one since.
        let confirmed = self.rosters()?.pinned.is_some();
        let Some((origin, identity)) = self.witness(Some(node)) else {
            let why =
                if confirmed { format!("`{node}` is not in the roster") } else { "there is no roster".to_owned() };
            return Ok(Answer::Refused(format!("{why} that {} has confirmed", self.name())));
        };
        let earlier = store.earlier(node, &identity)?;
        let is_open = |(_, kept): &&(PublicIdentity, Checkpoint)| !takes_over(request, (&origin, &identity), kept);
        if let Some((identity, kept)) = earlier.iter().find(is_open) {
            return Ok(Answer::Earlier { identity: *identity, checkpoint: kept.to_string() });
        }
        let held = store.newest(&identity)?;
        let by = (&*self.signer.origin, &self.signer.key);
        let time = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        let keep = |checkpoint: &Checkpoint| store.keep(node, &identity, checkpoint);
        let answer = answer(request, (&origin, &identity), held, by, time, keep)?;
        if matches!(answer, Answer::Cosigned { .. }) {
            earlier.iter().try_for_each(|(identity, _)| store.taken_over(identity))?;
        }
        Ok(answer)
    }
}
