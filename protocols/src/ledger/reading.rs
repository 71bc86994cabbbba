//! Readings: what witnesses hold of a node's ledger, asked by the node when it has started.
//!
//! ```text
//! node ── nonce of this start ─▶ coordinator ─▶ other nodes
//! node ◀─ Reading, signed over the nonce ◀──────┘
//! ```
//!
//! A node that was put back to an earlier state does not know it. What others hold tells, if it is what they hold now: so each answer is
//! signed over a nonce that the node has drawn since it started, and nobody can answer with what was said before. Whoever answers needs
//! to have heard nobody itself, so that partners who start at the same time do not wait for each other.

use crate::canonical::canonical_bytes;
use crate::digest::Digest;
use crate::identity::{IdentityKey, PublicIdentity, Signature};

const LABEL: &str = "entente witness reading 1";

/// The most checkpoints in a reading: a partner that has enrolled anew had other identities before.
pub const MAX_HELD: usize = 8;

/// What a witness holds of all ledgers that were kept under a name, as an answer.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Reading {
    /// The newest checkpoint of each identity that the name has had, as a note of that identity's signature.
    pub held: Vec<String>,
    /// By the witness.
    pub signature: Signature,
}

/// What is answered, and by whom.
fn message(of: &str, by: &str, nonce: Digest, held: &[String]) -> Vec<u8> {
    canonical_bytes(&(of, by, nonce, held))
}

impl Reading {
    /// The answer of the witness that signs as `by.0` to who signs as `of`.
    pub fn sign(held: Vec<String>, of: &str, nonce: Digest, by: (&str, &IdentityKey)) -> Self {
        let signature = by.1.sign(LABEL, &message(of, by.0, nonce, &held));
        Self { held, signature }
    }

    /// Whether it is this witness's answer to that question.
    pub fn answers(&self, of: &str, nonce: Digest, by: (&str, &PublicIdentity)) -> bool {
        self.held.len() <= MAX_HELD && by.1.verify(LABEL, &message(of, by.0, nonce, &self.held), &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_answers_one_question_of_one_node_by_one_witness() {
        let key = IdentityKey::from_secret(&[7; 32]);
        let (nonce, by) = (Digest([1; 32]), key.public());
        let reading = Reading::sign(vec!["a note".into()], "a/bank", nonce, ("a/telecom", &key));
        assert!(reading.answers("a/bank", nonce, ("a/telecom", &by)));
        assert!(!reading.answers("a/bank", Digest([2; 32]), ("a/telecom", &by)), "of another start");
        assert!(!reading.answers("a/retailer", nonce, ("a/telecom", &by)), "for another node");
        assert!(!reading.answers("a/bank", nonce, ("a/retailer", &by)), "under another name");
        let other = IdentityKey::from_secret(&[8; 32]).public();
        assert!(!reading.answers("a/bank", nonce, ("a/telecom", &other)), "of another key");
        let less = Reading { held: Vec::new(), ..reading };
        assert!(!less.answers("a/bank", nonce, ("a/telecom", &by)), "with something left out");
    }
}
