//! What other participants say, and what is said to them: sealed by channels of an attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use entente_host::Error;
use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::secagg::agreement::Agreed;
use entente_protocols::secagg::channel::Channel;
use entente_protocols::study::parts::{Part, Side};
use entente_protocols::wire::message::FromAttempt;
use tracing::warn;

use super::{Participant, Problem, saying};
use crate::dialogue::{Answer, Dialogue};
use crate::store::attempts::{Attempt, Signed, Started};
use crate::turn::Turn;
use crate::works::{self, Own};

impl Participant {
    /// What this node has of its own, for its works.
    pub(super) fn own(&self) -> Own<'_> {
        Own {
            name: self.name(),
            folder: &self.folder,
            studies: &self.studies,
            rules: self.config.models,
            engine: &self.engine,
            memory: &self.memory,
        }
    }

    /// Takes what another participant has sealed for this node, and answers it, if it is to be answered here.
    pub(super) fn relayed(&self, id: &AttemptId, from: &str, sealed: &[u8]) -> Vec<Vec<u8>> {
        if self.peers.deliver(id, from, sealed.to_vec()) {
            return Vec::new();
        }
        let answer = self
            .may_answer(id)
            .and_then(|()| self.answers.answer(id, from, sealed, || self.answering(id, from, sealed)));
        match answer {
            Ok(sealed) => vec![saying(id, FromAttempt::Relay { to: from.into(), sealed })],
            Err(error) => {
                let AttemptId { study, number: attempt } = id;
                // Late, repeated, or not what it seems: nothing is said of it to anybody.
                warn!(study, attempt, from, %error, "a message of another participant is passed over");
                Vec::new()
            }
        }
    }

    /// What an officer has paused says nothing, also where it would charge nothing.
    fn may_answer(&self, id: &AttemptId) -> Result<(), Error> {
        let known = lock(&self.studies).get(id)?;
        let kind = known.map(|attempt| attempt.proposal.study.spec.kind());
        kind.map_or(Ok(()), |kind| Ok(self.ledger()?.obstacle("", kind)?))
    }

    /// The channel to another participant, and what answers it.
    fn answering(&self, id: &AttemptId, from: &str, sealed: &[u8]) -> Result<(Channel, Box<dyn Answer>), Error> {
        let problem = |problem: Problem| Error::failed(problem.into_words());
        let failed = |error: &dyn std::fmt::Display| Error::failed(error.to_string());
        // What was known of who asks is gone with the attempt: to begin anew would be to forget how much was answered.
        if self.peers.is_over(id) {
            return Err(Error::failed("the attempt has ended"));
        }
        let Attempt { proposal, stage, .. } = self.attempt(id).map_err(problem)?;
        let question = self.question(&proposal).map_err(problem)?;
        let part = self.part(&question).map_err(problem)?;
        if !part.dialogues.iter().any(|dialogue| dialogue.side == Side::Answers && dialogue.with == from) {
            return Err(Error::failed("it is not for this node to answer"));
        }
        let unknown = || Error::failed("the participants are not known yet, or nobody is answered any more");
        let Signed { transcript, sent } = stage.answers().ok_or_else(unknown)?;
        let own = self.key(id).map_err(problem)?;
        let received = Channel::encapsulation(from, self.name(), sealed);
        let agreed = Agreed::with(transcript, self.name(), &own, from, received.as_slice());
        let agreed = agreed.map_err(|error| failed(&error))?;
        let channel = Channel::new(&agreed, self.name(), from, sent).ok_or_else(unknown)?;
        let answer = works::answering(part, (id, transcript.digest()), from, self.own());
        Ok((channel, answer.map_err(|refused| problem(refused.into()))?))
    }

    /// The dialogues with those whom this node asks in its part. Older ones end.
    pub(super) fn dialogues<'a>(
        &'a self,
        Attempt { id, proposal, .. }: &Attempt,
        (Started { signed: Signed { sent, .. }, .. }, agreed): (&Started, &Agreed),
        part: Part<'_>,
        turn: &'a dyn Turn,
    ) -> Result<BTreeMap<String, Dialogue<'a>>, Problem> {
        let patience = Duration::from_secs(u64::from(proposal.study.wait.max(1)));
        let asked = part.dialogues.iter().filter(|dialogue| dialogue.side == Side::Asks);
        let dialogue = |with: &String| {
            let channel = Channel::new(agreed, self.name(), with, sent);
            let channel = channel.ok_or_else(|| Problem::failed(format!("{with} takes no part")))?;
            Ok((
                with.clone(),
                Dialogue::new(self.peers.converse(id.clone(), with), channel, (self.clock.clone(), patience), turn),
            ))
        };
        asked.map(|asked| dialogue(&asked.with)).collect()
    }
}
