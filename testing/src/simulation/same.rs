//! One request, one byte string: what a node says to the same is the same, however often it is asked, and whatever has become of it
//! meanwhile. Vectors are looked at where they leave ([`super::watch`]).
//!
//! What is sealed has a nonce of its own each time it is sealed, so of an answer to another participant it is known here how long it is, and
//! what has been encapsulated to that participant.

use std::collections::HashMap;

use entente_protocols::attempt::AttemptId;
use entente_protocols::canonical::canonical_bytes;
use entente_protocols::digest::Digest;
use entente_protocols::secagg::agreement::CIPHERTEXT;
use entente_protocols::secagg::pledge::SignedPledge;
use entente_protocols::wire::message::FromAttempt;

/// Bytes of what is encapsulated before a sealed message: ciphertext and signature.
const ENCAPSULATED: usize = CIPHERTEXT + 64;

/// What a node is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Request {
    /// To take part in a proposal.
    Pledge(Digest),
    /// To sign what all have pledged.
    Sign(Digest),
    /// To agree with another participant on keys, of what all have pledged.
    Agree(Digest, String),
    /// To answer a sealed message of another participant.
    Answer(Digest),
}

/// What a node has said to what.
pub(super) struct Same {
    name: &'static str,
    /// What all have pledged in an attempt, as it was told last.
    started: HashMap<AttemptId, Digest>,
    said: HashMap<(AttemptId, Request), Digest>,
}

impl Same {
    /// Of the node of this name, which has said nothing.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, started: HashMap::new(), said: HashMap::new() }
    }

    /// An older state of the node was put back: it knows less than it said.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.name);
    }

    /// It is told what all have pledged.
    pub(super) fn starts(&mut self, attempt: &AttemptId, pledges: &[SignedPledge]) {
        self.started.insert(attempt.clone(), Digest::plain(&canonical_bytes(&pledges.to_vec())));
    }

    /// It says something of an attempt.
    pub(super) fn says(&mut self, attempt: &AttemptId, said: &FromAttempt) -> Result<(), String> {
        let started = self.started.get(attempt).copied();
        match (said, started) {
            (FromAttempt::Pledged(pledge), _) => {
                self.is_same(attempt, Request::Pledge(pledge.pledge.proposal), &canonical_bytes(said))
            }
            (FromAttempt::Signed { .. }, Some(started)) => {
                self.is_same(attempt, Request::Sign(started), &canonical_bytes(said))
            }
            (FromAttempt::Signed { .. }, None) => {
                Err(format!("it signs for {attempt}, of which nobody has told it more"))
            }
            (FromAttempt::Relay { to, sealed }, Some(started)) => match sealed.get(..ENCAPSULATED) {
                // Those whose names come later encapsulate.
                Some(encapsulated) if self.name > to.as_str() => {
                    self.is_same(attempt, Request::Agree(started, to.clone()), encapsulated)
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// It answers a sealed message.
    pub(super) fn answers(&mut self, attempt: &AttemptId, sealed: &[u8], answer: &[u8]) -> Result<(), String> {
        self.is_same(attempt, Request::Answer(Digest::plain(sealed)), &answer.len().to_le_bytes())
    }

    fn is_same(&mut self, attempt: &AttemptId, request: Request, said: &[u8]) -> Result<(), String> {
        let (key, said) = ((attempt.clone(), request), Digest::plain(said));
        let known = *self.said.entry(key.clone()).or_insert(said);
        if known == said {
            Ok(())
        } else {
            Err(format!("what it says in {attempt} is not what it said before: {:?}", key.1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use entente_protocols::identity::Signature;

    fn signed(byte: u8) -> FromAttempt {
        FromAttempt::Signed { signature: Signature([byte; 64]), encapsulations: Vec::new() }
    }

    #[test]
    fn another_answer_to_the_same_is_found() {
        let (mut same, attempt) = (Same::new("bravo"), AttemptId::new("s", 1));
        assert!(same.says(&attempt, &signed(1)).is_err(), "nobody has told it what it signs");
        same.starts(&attempt, &[]);
        assert_eq!((same.says(&attempt, &signed(1)), same.says(&attempt, &signed(1))), (Ok(()), Ok(())));
        assert!(same.says(&attempt, &signed(2)).is_err());
        assert_eq!(same.says(&AttemptId::new("s", 2), &FromAttempt::Failed), Ok(()));
        let relayed = |to: &str, byte| FromAttempt::Relay { to: to.into(), sealed: vec![byte; ENCAPSULATED + 40] };
        assert_eq!(same.says(&attempt, &relayed("alpha", 1)), Ok(()));
        assert!(same.says(&attempt, &relayed("alpha", 2)).is_err());
        for byte in [1, 2] {
            assert_eq!(same.says(&attempt, &relayed("charlie", byte)), Ok(()), "whose name comes later encapsulates");
        }
        assert_eq!(same.answers(&attempt, b"?", b"yes"), Ok(()));
        assert!(same.answers(&attempt, b"?", b"no").is_err());
        same.forget();
        assert_eq!(same.answers(&attempt, b"?", b"no"), Ok(()));
    }
}
