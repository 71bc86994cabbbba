//! Witnesses: who keeps the newest checkpoint of somebody else's ledger, and cosigns what goes on from it.
//!
//! ```text
//! node ── Request (checkpoint, proofs) ─▶ coordinator ─▶ other nodes
//!                                          each: judge ─▶ store durably ─▶ cosign
//! node ◀───────────── Answer ─────────────┘◀── Cosigned | Holds | Refused
//! ```
//!
//! A witness cosigns a checkpoint only if the node has signed it and its tree goes on from the one that the witness keeps, with no
//! account's sum lower; the newest is durable before the cosignature leaves. So for one witness that has not lost its store, all
//! checkpoints that it ever cosigned are of one chain, and a node whose ledger was rolled back, forked or cloned gets no further
//! cosignature for it. It is shown what the witness holds instead, signed by itself, which nobody can invent.
//!
//! A partner whose machine is lost comes back under its name with another identity, and a ledger that begins anew. Who has witnessed the
//! one before cosigns nothing of it until what that had spent is taken over ([`Answer::Earlier`]).
//!
//! The one way back is a recovery: an entry of the new chain that names the very checkpoint which the witness keeps, proved to be in
//! the new tree, while the new sums are as large as the witnessed ones at least.

use super::account::AccountKey;
use super::checkpoint::{Checkpoint, Statement};
use super::entry::Record;
use super::line::Line;
use super::tree::{MAX_PROOF, leaf, verify_consistency, verify_inclusion};
use crate::digest::Digest;
use crate::identity::{IdentityKey, PublicIdentity};

/// The most proofs in a request: one for each size that witnesses may hold.
pub const MAX_PROOFS: usize = 8;

/// A node asks for cosignatures.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Request {
    /// The checkpoint, as a note with the node's signature.
    pub checkpoint: String,
    /// That it goes on from sizes which the witness may hold.
    pub proofs: Vec<Consistency>,
    /// That it has taken over what the witness holds, where that is so.
    pub recoveries: Vec<Recovered>,
}

/// A proof that the tree of a checkpoint goes on from a smaller one.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Consistency {
    /// The smaller size.
    pub from: u64,
    /// See [`super::tree::Tree::consistency`].
    pub hashes: Vec<Digest>,
}

/// A recovery, proved to be in the tree of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Recovered {
    /// The entry, exactly as hashed.
    pub entry: String,
    /// See [`super::tree::Tree::inclusion`]; its place is its sequence.
    pub hashes: Vec<Digest>,
}

/// A witness's answer.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Answer {
    /// It cosigns the checkpoint of this size: the line to add to the note.
    Cosigned {
        /// Which checkpoint of the node.
        size: u64,
        /// As in the note.
        line: String,
    },
    /// It holds this one, and was not shown that the other goes on from it.
    Holds(String),
    /// It does not take the checkpoint, and why.
    Refused(String),
    /// It holds this one of the ledger that the name had under an earlier identity, and was not shown that its sums were taken over.
    Earlier {
        /// The earlier identity, which has signed it.
        identity: PublicIdentity,
        /// The checkpoint, with the witness's cosignature: whoever passes it on cannot invent one.
        checkpoint: String,
    },
}

/// What a witness says to a request of the node that signs as `of.0` with the identity `of.1`, of which it keeps `held`. The
/// witness cosigns as `by.0` with its key at this time, in seconds since 1970. `keep` puts a checkpoint in the place of what is
/// held, and has it on the disk when it returns: the cosignature leaves after that.
///
/// The caller lets nobody else keep anything of this node meanwhile, so that what is kept only grows.
///
/// # Errors
///
/// That of `keep`; there is no cosignature then.
pub fn answer<E>(
    request: &Request,
    of: (&str, &PublicIdentity),
    held: Option<Checkpoint>,
    by: (&str, &IdentityKey),
    time: u64,
    keep: impl FnOnce(&Checkpoint) -> Result<(), E>,
) -> Result<Answer, E> {
    let mut checkpoint = match (judge(request, of.0, of.1, held.as_ref()), held) {
        (Err(reason), _) => return Ok(Answer::Refused(reason.into())),
        (Ok(Verdict::Holds), Some(held)) => return Ok(Answer::Holds(held.bare())),
        (Ok(Verdict::Kept), Some(held)) => held,
        (Ok(Verdict::Keep(new)), _) => new,
        (Ok(Verdict::Holds | Verdict::Kept), None) => return Ok(Answer::Refused("nothing is kept of it".into())),
    };
    let size = checkpoint.statement().size;
    let known = checkpoint.cosignatures().find(|line| line.name() == by.0).cloned();
    let line = match known {
        Some(line) => line,
        None => {
            let line = checkpoint.note().cosign(by.0, by.1, time);
            checkpoint.add(line.clone());
            keep(&checkpoint)?;
            line
        }
    };
    Ok(Answer::Cosigned { size, line: line.to_string() })
}

/// Whether a request of the node that signs as `of.0` with the identity `of.1` shows that its ledger has taken over, or goes on from, one
/// that its name had under an earlier identity.
pub fn takes_over(request: &Request, of: (&str, &PublicIdentity), earlier: &Checkpoint) -> bool {
    let Ok(new) = Checkpoint::parse(&request.checkpoint) else { return false };
    let (old, now) = (earlier.statement(), new.statement());
    new.is_of(of.0, of.1)
        && (goes_on(request, old, now) || has_recovered_any(request, old, now))
        && !has_spent_less(old, now)
}

/// Whether a request shows that its checkpoint does not go on from what a witness holds, where the witness holds it out in answer:
/// another one of the same size, or a proof from that size that proves nothing. Without such a proof it may only have come late.
pub fn contradicts(request: &Request, held: &Checkpoint) -> bool {
    let Ok(new) = Checkpoint::parse(&request.checkpoint) else { return false };
    let (old, now) = (held.statement(), new.statement());
    match old.size.cmp(&now.size) {
        std::cmp::Ordering::Equal => old.root != now.root,
        std::cmp::Ordering::Less => request.proofs.iter().any(|proof| proof.from == old.size),
        std::cmp::Ordering::Greater => false,
    }
}

/// What a witness does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Keep this checkpoint in the place of the old one, then cosign it.
    Keep(Checkpoint),
    /// It is the one that is kept: cosign it as before.
    Kept,
    /// Show what is kept.
    Holds,
}

/// Judges a request of the node that signs as `origin` with `identity`, by what is kept of it.
///
/// # Errors
///
/// Words for a request that no honest node makes.
pub(super) fn judge(
    request: &Request,
    origin: &str,
    identity: &PublicIdentity,
    held: Option<&Checkpoint>,
) -> Result<Verdict, &'static str> {
    let new = Checkpoint::parse(&request.checkpoint).map_err(|_| "its checkpoint cannot be read")?;
    if !new.is_of(origin, identity) {
        return Err("its checkpoint is not signed by it");
    }
    if request.proofs.len() > MAX_PROOFS || request.recoveries.len() > MAX_PROOFS {
        return Err("it shows too many proofs");
    }
    let Some(held) = held else { return Ok(Verdict::Keep(new)) };
    let (old, now) = (held.statement(), new.statement());
    if old.size == now.size && old.root == now.root {
        return Ok(Verdict::Kept);
    }
    if !goes_on(request, old, now) && !has_recovered_any(request, old, now) {
        return Ok(Verdict::Holds);
    }
    if has_spent_less(old, now) {
        return Err("it has spent less than before");
    }
    Ok(Verdict::Keep(new))
}

/// Whether a request proves that the tree of `now` goes on from that of `old`.
fn goes_on(request: &Request, old: &Statement, now: &Statement) -> bool {
    let proofs = request.proofs.iter().filter(|proof| proof.from == old.size && proof.hashes.len() <= MAX_PROOF);
    let mut proofs = proofs.filter(|_| old.size < now.size);
    // Everything goes on from an empty ledger.
    old.size == 0 || proofs.any(|proof| verify_consistency(old.size, now.size, &proof.hashes, old.root, now.root))
}

fn has_recovered_any(request: &Request, old: &Statement, now: &Statement) -> bool {
    request.recoveries.iter().take(MAX_PROOFS).any(|recovery| has_recovered(recovery, old, now))
}

fn has_spent_less(old: &Statement, now: &Statement) -> bool {
    let less = |(account, old): (&AccountKey, &super::checkpoint::Totals)| {
        now.accounts.get(account).is_none_or(|now| now.spent < old.spent || now.person < old.person)
    };
    old.accounts.iter().any(less)
}

/// Whether an entry in the tree of `now` has taken over `old`.
fn has_recovered(recovery: &Recovered, old: &Statement, now: &Statement) -> bool {
    let line = Line { hash: Line::hash(&recovery.entry), json: recovery.entry.clone() };
    let Ok(entry) = line.entry() else { return false };
    let Record::Recovered(record) = &entry.record else { return false };
    let named = record
        .witnessed
        .iter()
        .any(|sighting| Checkpoint::parse(&sighting.checkpoint).is_ok_and(|named| *named.statement() == *old));
    named
        && recovery.hashes.len() <= MAX_PROOF
        && entry.sequence > 0
        && verify_inclusion(leaf(line.json.as_bytes()), entry.sequence - 1, now.size, &recovery.hashes, now.root)
}
