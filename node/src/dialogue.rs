//! Dialogues: two participants of an attempt who talk through the coordinator, sealed from it.
//!
//! ```text
//! who asks:    seal ─▶ Relay ─▶ (coordinator) ─▶ … ─▶ open ─▶ the answer; said again until it comes
//! who answers: open ─▶ Answer::answer ─▶ seal ─▶ Relay: the same message, the same answer
//! ```
//!
//! Messages may be lost, repeated and reordered on their way, and either side may start anew. Whoever asks says again what is not
//! answered; whoever answers keeps a state for each who asks, made at its first message from what is on the disk. While the other
//! side is silent, a round that asks lets others compute.
//!
//! What whoever asks says once it has read rows leaves at points of the grid ([`crate::grid`]), as replies do. Whoever answers has read
//! none for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use entente_host::Error;
use entente_host::clock::{Clock, Moment};
use entente_host::locks::lock;
use entente_host::random::random;
use entente_protocols::attempt::AttemptId;
use entente_protocols::secagg::channel::{Channel, NONCE};
use tracing::warn;

use crate::grid::Timing;
use crate::peers::{Conversation, Ended, Watch, With};
use crate::turn::Turn;

/// After so long without a word, what was said last is said again: it may have been lost.
const AGAIN: Duration = Duration::from_secs(2);

/// The side that asks.
pub struct Dialogue<'a> {
    conversation: Conversation<'a>,
    channel: Channel,
    clock: Clock,
    /// Of the round that asks.
    turn: &'a dyn Turn,
    /// How long the other side may be silent.
    patience: Duration,
    again: Duration,
}

/// Why a dialogue does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// The attempt has ended, or this node stops.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The other side has not answered for so long.
    #[error("did not answer within {} s", .0.as_secs())]
    Unanswered(Duration),
}

impl<'a> Dialogue<'a> {
    /// Over this conversation and channel, with a participant that may be silent for so long.
    pub fn new(
        conversation: Conversation<'a>,
        channel: Channel,
        (clock, patience): (Clock, Duration),
        turn: &'a dyn Turn,
    ) -> Self {
        Self { conversation, channel, clock, turn, patience, again: AGAIN }
    }

    /// The same, but that what was lost is said again after so long.
    #[cfg(test)]
    pub(crate) fn again_after(self, again: Duration) -> Self {
        Self { again, ..self }
    }

    /// A message as it travels.
    ///
    /// # Errors
    ///
    /// If there is no randomness.
    pub fn seal(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.channel.seal(random::<NONCE>()?, message))
    }

    /// What tells whether it is worth going on.
    pub fn watch(&self) -> Watch<'_> {
        self.conversation.watch()
    }

    /// Waits until what follows from rows may be said, by a round's timing; meanwhile others may compute.
    ///
    /// # Errors
    ///
    /// [`Silence`], if the attempt ends.
    pub fn hold(&self, timing: &Timing) -> Result<(), Silence> {
        self.turn.give_back();
        let (until, _) = timing.leaves(self.clock.moment());
        self.conversation.wait(&self.clock, until)?;
        self.turn.take_again(&|| self.watch().goes_on().is_err());
        Ok(self.watch().goes_on()?)
    }

    /// The present moment, by the clock of the dialogue.
    pub fn moment(&self) -> Moment {
        self.clock.moment()
    }

    /// Sends a sealed message. It may be lost.
    pub fn send(&self, sealed: Vec<u8>) {
        self.conversation.send(sealed);
    }

    /// Listens until `take` has what it wants. `again` says again what has not been answered, where nothing was heard for a while;
    /// from then on others may compute, and when it has come, this waits for its turn.
    ///
    /// # Errors
    ///
    /// [`Silence`], or what `take` makes of a message.
    pub fn listen<T, E: From<Silence>>(
        &self,
        again: impl FnMut(),
        take: impl FnMut(&[u8]) -> Result<Option<T>, E>,
    ) -> Result<T, E> {
        let taken = self.hear(again, take)?;
        self.turn.take_again(&|| self.watch().goes_on().is_err());
        self.watch().goes_on().map_err(Silence::from)?;
        taken
    }

    /// The same, when it may be another round's turn.
    fn hear<T, E>(
        &self,
        mut again: impl FnMut(),
        mut take: impl FnMut(&[u8]) -> Result<Option<T>, E>,
    ) -> Result<Result<T, E>, Silence> {
        let mut heard = self.clock.moment();
        loop {
            match self.conversation.receive(&self.clock, self.again)? {
                Some(sealed) => {
                    let Ok(opened) = self.channel.open(&sealed) else {
                        // Whoever passes messages on can do this; that they do not arrive is noticed in any case.
                        warn!("a message of another participant was changed on its way, and is passed over");
                        continue;
                    };
                    heard = self.clock.moment();
                    if let Some(taken) = take(&opened).transpose() {
                        return Ok(taken);
                    }
                }
                None if self.clock.moment().since(heard) > self.patience => {
                    return Err(Silence::Unanswered(self.patience));
                }
                None => again(),
            }
            self.turn.give_back();
        }
    }
}

/// What answers one participant in one attempt.
pub trait Answer: Send {
    /// The answer to a message: to the same one, the same.
    ///
    /// # Errors
    ///
    /// If it is no message of this dialogue, or there is no randomness.
    fn answer(&mut self, message: &[u8]) -> Result<Vec<u8>, Error>;
}

/// The sides that answer, by attempt and by who asks.
#[derive(Default)]
pub struct Answers(Mutex<HashMap<With, Answering>>);

/// The channel to who asks, and what answers it.
type Answering = Arc<Mutex<(Channel, Box<dyn Answer>)>>;

impl Answers {
    /// The sealed answer to a sealed message. What answers is made by `make` at the first one.
    ///
    /// # Errors
    ///
    /// If the message is none that this node answers.
    pub fn answer(
        &self,
        attempt: &AttemptId,
        from: &str,
        sealed: &[u8],
        make: impl FnOnce() -> Result<(Channel, Box<dyn Answer>), Error>,
    ) -> Result<Vec<u8>, Error> {
        let answering = self.of(attempt, from, make)?;
        let mut answering = lock(&answering);
        let (channel, answer) = &mut *answering;
        let message = channel.open(sealed).map_err(|error| Error::failed(error.to_string()))?;
        let answer = answer.answer(&message)?;
        Ok(channel.seal(random::<NONCE>()?, &answer))
    }

    fn of(
        &self,
        attempt: &AttemptId,
        from: &str,
        make: impl FnOnce() -> Result<(Channel, Box<dyn Answer>), Error>,
    ) -> Result<Answering, Error> {
        let mut answers = lock(&self.0);
        let key = (attempt.clone(), from.to_owned());
        if let Some(answering) = answers.get(&key) {
            return Ok(answering.clone());
        }
        let answering = Arc::new(Mutex::new(make()?));
        answers.insert(key, answering.clone());
        Ok(answering)
    }

    /// Forgets an attempt that has ended, and its keys with it.
    pub fn end(&self, attempt: &AttemptId) {
        lock(&self.0).retain(|(of, _), _| of != attempt);
    }
}
