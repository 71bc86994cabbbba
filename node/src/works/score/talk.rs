//! Messages of the exchange, as a candidates' owner says and hears them.

use entente_protocols::canonical::{canonical_bytes, from_canonical};
use entente_protocols::digest::Digest;
use entente_protocols::lookalike::exchange::{LIMIT, ToCandidatesOwner, ToModelOwner};

use super::keys::GivenKeys;
use crate::data::DataError;
use crate::dialogue::{Dialogue, Silence};
use crate::grid::Timing;
use crate::peers::{Ended, Watch};
use crate::works::execution::Problem;

/// Why scoring stops.
#[derive(Debug)]
pub enum Stop {
    /// The model's owner does not know the session: another one is to be begun.
    Unknown,
    /// It does not go on.
    For(Problem),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::For(problem)
    }
}

impl From<Silence> for Stop {
    fn from(silence: Silence) -> Self {
        Self::For(match silence {
            Silence::Ended(ended) => Problem::Failed(ended.to_string()),
            Silence::Unanswered(_) => Problem::Refused(format!("the model's owner {silence}")),
        })
    }
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Self {
        Silence::from(ended).into()
    }
}

impl From<DataError> for Stop {
    fn from(error: DataError) -> Self {
        Self::For(error.into())
    }
}

impl From<entente_host::Error> for Stop {
    fn from(error: entente_host::Error) -> Self {
        Self::For(error.into())
    }
}

impl From<entente_protocols::lookalike::Refused> for Stop {
    fn from(refused: entente_protocols::lookalike::Refused) -> Self {
        Self::For(refused.into())
    }
}

/// What the sides agree on beforehand: the transcript and both partners.
pub fn context(transcript: Digest, owner: &str, candidates: &str) -> Digest {
    Digest::of("entente lookalike context 1", &[&transcript.0, owner.as_bytes(), candidates.as_bytes()])
}

/// A candidates' owner's way to the model's owner.
pub struct Meeting<'a> {
    /// What the sides agree on beforehand.
    pub context: Digest,
    /// How they talk.
    pub talk: Talk<'a>,
    /// The evaluation keys that are here already.
    pub keys: GivenKeys,
}

/// A candidates' owner in dialogue with the model's owner.
#[derive(Clone, Copy)]
pub struct Talk<'a>(&'a Dialogue<'a>);

impl<'a> Talk<'a> {
    /// In this dialogue.
    pub fn new(dialogue: &'a Dialogue<'a>) -> Self {
        Self(dialogue)
    }

    /// A message as it travels.
    pub(super) fn seal(&self, message: &ToModelOwner) -> Result<Vec<u8>, Stop> {
        Ok(self.0.seal(&canonical_bytes(message))?)
    }

    /// What tells whether it is worth going on.
    pub(super) fn watch(&self) -> Watch<'_> {
        self.0.watch()
    }

    pub(super) fn send(&self, sealed: Vec<u8>) {
        self.0.send(sealed);
    }

    /// Sends what follows from rows, when the timing of what it follows lets it leave.
    pub(super) fn send_held(&self, sealed: Vec<u8>, timing: &Timing) -> Result<(), Stop> {
        self.0.hold(timing)?;
        self.0.send(sealed);
        Ok(())
    }

    /// The timing of what follows what is heard now.
    pub(super) fn heard(&self) -> Timing {
        Timing::since(self.0.moment())
    }

    /// Says something until `take` makes something of an answer: what the other side says and is not that, is passed over.
    pub(super) fn ask<T>(
        &self,
        message: &ToModelOwner,
        mut take: impl FnMut(ToCandidatesOwner) -> Option<Result<T, Stop>>,
    ) -> Result<T, Stop> {
        let sealed = self.seal(message)?;
        self.send(sealed.clone());
        self.listen(|| self.send(sealed.clone()), |answer| take(answer).transpose())
    }

    /// Listens until `take` has what it wants, see [`Dialogue::listen`].
    pub(super) fn listen<T>(
        &self,
        again: impl FnMut(),
        mut take: impl FnMut(ToCandidatesOwner) -> Result<Option<T>, Stop>,
    ) -> Result<T, Stop> {
        self.0.listen(again, |opened| {
            let answer = from_canonical(opened, LIMIT);
            let answer = answer.map_err(|malformed| Problem::Refused(format!("the model's owner: {malformed}")))?;
            if let ToCandidatesOwner::Refused(reason) = answer {
                return Err(Problem::Refused(format!("the model's owner refuses: {reason}")).into());
            }
            take(answer)
        })
    }
}
