//! Messages of the exchange, sealed on their way out and opened on their way in.

use std::time::{Duration, Instant};

use entente_host::random::random;
use entente_protocols::canonical::{canonical_bytes, from_canonical};
use entente_protocols::lookalike::exchange::{LIMIT, ToCandidatesOwner, ToModelOwner};
use entente_protocols::secagg::channel::{Channel, NONCE};
use tracing::warn;

use crate::peers::{Conversation, Ended, Watch};

/// After so long without a word, what was said last is said again: it may have been lost.
const AGAIN: Duration = Duration::from_secs(2);

/// Why scoring does not go on.
#[derive(Debug)]
pub enum Problem {
    /// The model's owner refuses, or sends what does not fit: by public facts.
    Refused(String),
    /// Here, and in detail only.
    Failed(String),
    /// The model's owner does not know the session.
    Unknown,
}

impl From<Ended> for Problem {
    fn from(ended: Ended) -> Self {
        Self::Failed(ended.to_string())
    }
}

impl From<entente_protocols::lookalike::Refused> for Problem {
    fn from(refused: entente_protocols::lookalike::Refused) -> Self {
        Self::Failed(refused.to_string())
    }
}

/// A candidates' owner in conversation with the model's owner.
pub struct Talk<'a> {
    conversation: Conversation<'a>,
    channel: Channel,
    /// How long the other side may be silent.
    patience: Duration,
    again: Duration,
}

impl<'a> Talk<'a> {
    /// Over this conversation and channel, with a model's owner that may be silent for so long.
    pub fn new(conversation: Conversation<'a>, channel: Channel, patience: Duration) -> Self {
        Self { conversation, channel, patience, again: AGAIN }
    }

    #[cfg(test)]
    pub(super) fn again_after(&mut self, again: Duration) {
        self.again = again;
    }

    /// A message as it travels.
    pub(super) fn seal(&self, message: &ToModelOwner) -> Result<Vec<u8>, Problem> {
        let nonce = random::<NONCE>().map_err(|error| Problem::Failed(error.to_string()))?;
        Ok(self.channel.seal(nonce, &canonical_bytes(message)))
    }

    /// What tells whether it is worth going on.
    pub(super) fn watch(&self) -> Watch<'_> {
        self.conversation.watch()
    }

    pub(super) fn send(&self, sealed: Vec<u8>) {
        self.conversation.send(sealed);
    }

    /// Says something until `take` makes something of an answer: what the other side says and is not that, is passed over.
    pub(super) fn ask<T>(
        &self,
        message: &ToModelOwner,
        mut take: impl FnMut(ToCandidatesOwner) -> Option<Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let sealed = self.seal(message)?;
        self.send(sealed.clone());
        self.listen(|| self.send(sealed.clone()), |answer| take(answer).transpose())
    }

    /// Listens until `take` has what it wants. `again` says again what has not been answered, where nothing was heard for a
    /// while.
    pub(super) fn listen<T>(
        &self,
        mut again: impl FnMut(),
        mut take: impl FnMut(ToCandidatesOwner) -> Result<Option<T>, Problem>,
    ) -> Result<T, Problem> {
        let mut heard = Instant::now();
        loop {
            match self.conversation.receive(self.again)? {
                Some(sealed) => {
                    let Ok(opened) = self.channel.open(&sealed) else {
                        // Whoever passes messages on can do this; that they do not arrive is noticed in any case.
                        warn!("a message of the model's owner was changed on its way, and is passed over");
                        continue;
                    };
                    let answer = from_canonical(&opened, LIMIT);
                    let answer =
                        answer.map_err(|malformed| Problem::Refused(format!("the model's owner: {malformed}")))?;
                    if let ToCandidatesOwner::Refused(reason) = answer {
                        return Err(Problem::Refused(format!("the model's owner refuses: {reason}")));
                    }
                    heard = Instant::now();
                    if let Some(taken) = take(answer)? {
                        return Ok(taken);
                    }
                }
                None if heard.elapsed() > self.patience => {
                    let seconds = self.patience.as_secs();
                    return Err(Problem::Refused(format!("the model's owner did not answer within {seconds} s")));
                }
                None => again(),
            }
        }
    }
}
