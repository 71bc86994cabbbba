//! What partners hold of this node's ledger, heard before anything else is done after a start.
//!
//! ```text
//! start ─▶ nonce ─▶ Read ─▶ other partners: Held, signed over it ─▶ goes on from that? ─no─▶ quarantine
//! Propose, Start, Go, Resend ─▶ enough have answered? ─no─▶ Waiting, kept in memory ─(once they have)─▶ answered
//! ```
//!
//! A node that was put back to an earlier state would pledge, sign and charge from there, and a coordinator that keeps requests for
//! witnesses from those who know better would let it. So it does nothing for studies until it has heard as many partners as it takes
//! to let something leave ([`super::quorum`]). Partners answer whether or not they have heard others themselves.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use entente_host::Error;
use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::ledger::Checkpoint;
use entente_protocols::ledger::checkpoint::node_origin;
use entente_protocols::ledger::reading::{MAX_HELD, Reading};
use entente_protocols::wire::frame;
use entente_protocols::wire::message::{FromAttempt, FromNode, ToAttempt};
use tracing::{error, info, warn};

use super::{Participant, Problem};

/// After how long those who have not answered are asked again: soon at first, as all may be starting, then less often.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);
/// The most messages of attempts that are kept until enough have answered. Others come again.
const MOST_KEPT: usize = 64;

impl Participant {
    /// Asks partners what they hold, until enough have answered.
    pub(super) fn ask_to_read(&self) -> Option<Vec<u8>> {
        if self.has_read() {
            return None;
        }
        let quorum = self.quorum().ok().filter(|quorum| quorum.needed > 0)?;
        let mut witnesses = lock(&self.witnesses);
        let now = self.clock.moment();
        witnesses.last_read = Some(now);
        witnesses.reads = witnesses.reads.saturating_add(1);
        witnesses.asks(&quorum.names, now);
        Some(frame::encode(&FromNode::Read { nonce: self.nonce }))
    }

    /// Whether it is time to ask again.
    pub(super) fn should_read(&self) -> bool {
        if self.has_read() {
            return false;
        }
        let (asked, reads) = {
            let witnesses = lock(&self.witnesses);
            (witnesses.last_read, witnesses.reads)
        };
        let pause = FIRST.saturating_mul(1 << reads.min(8)).min(LONGEST);
        let now = self.clock.moment();
        asked.is_none_or(|asked| now.since(asked) >= pause) && self.quorum().is_ok_and(|quorum| quorum.needed > 0)
    }

    /// Whether enough have answered since this node started.
    fn has_read(&self) -> bool {
        self.has_read.load(Ordering::Acquire)
    }

    /// What is still waited for, if it is; of who has no roster yet, nothing is, nor by who knows enough to refuse.
    fn unread(&self) -> Result<Option<String>, Error> {
        // With what officers have appended beside this node.
        if self.has_read() || self.ledger()?.quarantine().is_some() {
            return Ok(None);
        }
        let quorum = self.quorum()?;
        let witnesses = lock(&self.witnesses);
        let lacks = quorum.lacks(|name| witnesses.read.contains(name));
        if lacks.is_none() {
            // Of an alliance that has no other partner yet nobody was heard: those who come are.
            self.has_read.store(quorum.needed > 0, Ordering::Release);
            return Ok(None);
        }
        let what = "to say what it holds of its ledger, as this node has started";
        Ok(lacks.map(|lacks| witnesses.words(&lacks, what, self.witness_wait())))
    }

    /// Lets a message pass that may be answered now; else keeps it, and says what it waits for.
    pub(super) fn after_reading(&self, id: &AttemptId, told: ToAttempt) -> Result<ToAttempt, FromAttempt> {
        match told {
            ToAttempt::Propose(_) | ToAttempt::Start { .. } | ToAttempt::Go { .. } | ToAttempt::Resend { .. } => {}
            ToAttempt::Relayed { .. } | ToAttempt::Finished { .. } | ToAttempt::Abandoned { .. } => return Ok(told),
        }
        let reason = match self.unread() {
            Ok(None) => return Ok(told),
            Ok(Some(reason)) => reason,
            Err(error) => Problem::from(error).told(),
        };
        let AttemptId { study, number: attempt } = id;
        info!(study, attempt, "waiting for {reason}");
        let mut put_off = lock(&self.put_off);
        if put_off.len() < MOST_KEPT || put_off.contains_key(id) {
            put_off.insert(id.clone(), told);
        }
        Err(FromAttempt::Waiting { reason })
    }

    /// Says again what the messages that were put off wait for, if that has become another thing.
    pub(super) fn say_unread(&self) -> Vec<(AttemptId, FromAttempt)> {
        if lock(&self.put_off).is_empty() {
            return Vec::new();
        }
        let Ok(Some(reason)) = self.unread() else { return Vec::new() };
        if lock(&self.witnesses).told.replace(reason.clone()).as_ref() == Some(&reason) {
            return Vec::new();
        }
        warn!("studies wait for {reason}");
        let put_off = lock(&self.put_off);
        put_off.keys().map(|id| (id.clone(), FromAttempt::Waiting { reason: reason.clone() })).collect()
    }

    /// Whether messages were put off.
    pub(super) fn has_put_off(&self) -> bool {
        !lock(&self.put_off).is_empty()
    }

    /// The messages that were put off and can be answered by now.
    pub fn taken_up(&self) -> BTreeMap<AttemptId, ToAttempt> {
        if self.has_read() { std::mem::take(&mut *lock(&self.put_off)) } else { BTreeMap::new() }
    }

    /// Takes a partner's answer; returns frames to send.
    pub(super) fn held(&self, by: &str, reading: &Reading) -> Vec<Vec<u8>> {
        self.heard(by, reading).unwrap_or_else(|problem| {
            warn!(by, why = problem.into_words(), "what it says that it holds of this node's ledger does not count");
            Vec::new()
        })
    }

    fn heard(&self, by: &str, reading: &Reading) -> Result<Vec<Vec<u8>>, Problem> {
        let (origin, identity) =
            self.witness(Some(by)).ok_or_else(|| Problem::failed("it is not in the confirmed roster"))?;
        if !reading.answers(&self.signer.origin, self.nonce, (&origin, &identity)) {
            return Err(Problem::failed("it is not an answer to what this node has asked since it started"));
        }
        let mut frames = Vec::new();
        let own = self.signer.key.public();
        for note in &reading.held {
            let checkpoint = Checkpoint::parse(note).map_err(Problem::failed)?;
            if checkpoint.is_of(&self.signer.origin, &own) {
                frames.extend(self.shown(Some(by), note)?);
            } else {
                let entries = checkpoint.statement().size;
                warn!(by, entries, "it holds a ledger that was kept under this node's name with another identity");
            }
        }
        let mut witnesses = lock(&self.witnesses);
        witnesses.answers(by);
        if witnesses.read.insert(by.to_owned()) {
            drop(witnesses);
            self.unread()?;
        }
        Ok(frames)
    }

    /// This node as a witness: what it holds of the ledgers that were kept under another's name.
    pub(super) fn read_for(&self, node: &str, nonce: Digest) -> Vec<Vec<u8>> {
        let reading = self.reading(node, nonce).inspect_err(|error| {
            error!(node, %error, "what is held of its ledger cannot be read here");
        });
        reading
            .map_or_else(|_| Vec::new(), |reading| vec![frame::encode(&FromNode::Held { node: node.into(), reading })])
    }

    fn reading(&self, node: &str, nonce: Digest) -> Result<Reading, Error> {
        let present = self.witness(Some(node)).map(|(_, identity)| identity);
        let held = lock(&self.witnessed).of_name(node, present.as_ref(), MAX_HELD)?;
        let held = held.iter().map(Checkpoint::bare).collect();
        let of = node_origin(self.folder.authority()?, node);
        Ok(Reading::sign(held, &of, nonce, (&self.signer.origin, &self.signer.key)))
    }
}
