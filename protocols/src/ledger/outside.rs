//! What is outside of a node and supports its ledger: cosignatures of others in the roster, and the checkpoints that witnesses hold.
//!
//! Who holds a node's key can write its ledger anew, sign and seal it: by itself that verifies. What it cannot write is what others
//! have signed, nor take back what it has signed and given away. So a ledger
//!
//! - **fails** if it is shorter than a checkpoint that a witness holds, or does not go on from it and has not taken it over, also where that is
//!   of an earlier identity of its node's name;
//! - is **not witnessed** if nothing of others supports it, which proves nothing against it, and nothing for it;
//! - is **witnessed** otherwise: everything that was computed or released is under a checkpoint that somebody else has cosigned, but for
//!   the last study, whose cosignatures may be on their way. Who asks for a number of partners gets no such exception.
//!
//! A witness writes what it holds as JSON lines `{"checkpoint": "…"}`, each a note that the node has signed and the witness has cosigned.

use std::collections::BTreeMap;

use super::chain::Chain;
use super::checkpoint::{Checkpoint, CheckpointLine, coordinator_origin};
use super::entry::{Entry, State};
use super::report::Verdict;
use crate::identity::{PublicIdentity, Roster};
use crate::privacy::rho::Rho;

/// What is known outside of the node whose ledger is verified.
#[derive(Clone, Copy, Default)]
pub struct Outside<'a> {
    /// Whose keys are whose.
    pub roster: Option<&'a Roster>,
    /// What witnesses hold, of this node and others.
    pub witnessed: &'a [Checkpoint],
    /// How many partners have to have cosigned all that was computed or released. The coordinator is not counted, nor the node.
    pub cosigned_by: usize,
}

/// What a witness holds, as a file.
pub fn write_witnessed(held: impl IntoIterator<Item = Checkpoint>) -> String {
    let line = |checkpoint: Checkpoint| {
        let line = CheckpointLine { checkpoint: checkpoint.to_string() };
        serde_json::to_string(&line).expect("a text can be written as JSON") + "\n"
    };
    held.into_iter().map(line).collect()
}

/// Reads what a witness holds.
///
/// # Errors
///
/// Words for a line that is no checkpoint.
pub fn read_witnessed(text: &str) -> Result<Vec<Checkpoint>, String> {
    let read = |(line, number): (&str, u32)| {
        let parsed = serde_json::from_str::<CheckpointLine>(line).map_err(|error| error.to_string());
        let parsed = parsed.and_then(|line| Checkpoint::parse(&line.checkpoint).map_err(|error| error.to_string()));
        parsed.map_err(|error| format!("line {number} is not a checkpoint: {error}"))
    };
    text.lines().zip(1..).map(read).collect()
}

/// The key of whoever cosigns as `name`, where the roster knows it.
pub(super) fn witness_key(roster: &Roster, name: &str) -> Option<PublicIdentity> {
    let coordinator = coordinator_origin(roster.authority);
    if name == coordinator {
        return Some(roster.coordinator);
    }
    let name = name.strip_prefix(&coordinator)?.strip_prefix('/')?;
    roster.members.get(name).map(|member| member.identity)
}

/// Which entries others must have seen: those by which something was computed or released.
#[derive(Default)]
pub(super) struct Answered {
    study: String,
    /// The last of them.
    last: u64,
    /// The last of another study than that.
    before: u64,
}

impl Answered {
    pub(super) fn take(&mut self, entry: &Entry<impl AsRef<str>>) {
        let (State::Computed | State::Released, Some(record)) = (entry.state(), entry.study()) else { return };
        if record.study.id != self.study {
            self.study.clone_from(&record.study.id);
            self.before = self.last;
        }
        self.last = entry.sequence;
    }
}

/// Whose ledger it is, as its header says.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) node: &'a str,
    pub(super) origin: &'a str,
    pub(super) identity: &'a PublicIdentity,
}

impl Of<'_> {
    /// As people call who cosigns under a name.
    fn called<'a>(&self, name: &'a str) -> &'a str {
        let alliance = self.origin.strip_suffix(self.node).unwrap_or_default();
        let is_coordinator = name == alliance.trim_end_matches('/');
        if is_coordinator { "the coordinator" } else { name.strip_prefix(alliance).unwrap_or(name) }
    }
}

/// Holds a whole ledger, whose own `checkpoints` fit its chain, against what is outside of its node.
pub(super) fn verdict<'a>(
    of: Of<'_>,
    chain: &Chain,
    checkpoints: impl DoubleEndedIterator<Item = &'a Checkpoint>,
    answered: &Answered,
    outside: &Outside<'a>,
) -> (Verdict, String) {
    let entries = chain.head().entries;
    let of_this = |checkpoint: &&Checkpoint| checkpoint.is_of(of.origin, of.identity);
    let held: Vec<&Checkpoint> = outside.witnessed.iter().filter(of_this).collect();
    for checkpoint in &held {
        let stated = checkpoint.statement();
        if chain.goes_on_from(stated) || chain.recovered(stated).is_some() {
            continue;
        }
        let what = if stated.size > entries {
            format!("has {entries}: entries are missing")
        } else {
            "does not go on from it: entries were changed, or it was written anew".into()
        };
        let by = of.called(checkpoint.cosignatures().next().map_or("a witness", |line| line.name()));
        let problem =
            format!("{by} holds a checkpoint of {} entries that the node has signed; the ledger {what}", stated.size);
        return (Verdict::Failed, problem);
    }
    if let Some(problem) = earlier_identity(of, chain, outside) {
        return (Verdict::Failed, problem);
    }
    let held = held.into_iter().filter(|checkpoint| chain.goes_on_from(checkpoint.statement()));
    let up_to = cosigned(of, outside.roster, held, checkpoints);
    judge(of, entries, &up_to, answered, outside)
}

/// What a witness in the roster holds of an earlier identity of the node's name, if that had spent something which is not taken over.
fn earlier_identity(of: Of<'_>, chain: &Chain, outside: &Outside<'_>) -> Option<String> {
    let roster = outside.roster?;
    outside.witnessed.iter().find_map(|checkpoint| {
        let stated = checkpoint.statement();
        let has_spent = stated.accounts.values().any(|totals| totals.spent.max(totals.person) > Rho::ZERO);
        let is_earlier = stated.origin == of.origin && !checkpoint.is_of(of.origin, of.identity) && has_spent;
        if !is_earlier || chain.goes_on_from(stated) || chain.recovered(stated).is_some() {
            return None;
        }
        let mut lines = checkpoint.cosignatures();
        let by = lines.find(|line| {
            let key = witness_key(roster, line.name());
            key.is_some_and(|key| checkpoint.note().cosigned(line, line.name(), &key).is_some())
        })?;
        let (by, size) = (of.called(by.name()), stated.size);
        Some(format!(
            "{by} holds a checkpoint of {size} entries of the ledger under an earlier identity; what that had spent is not taken over"
        ))
    })
}

/// Up to which entry each witness has cosigned. Without a roster nobody knows whose cosignatures are in an export; those in a witness's file
/// are of whoever it comes from.
fn cosigned<'a>(
    of: Of<'_>,
    roster: Option<&Roster>,
    held: impl Iterator<Item = &'a Checkpoint>,
    own: impl DoubleEndedIterator<Item = &'a Checkpoint>,
) -> BTreeMap<String, u64> {
    let mut up_to: BTreeMap<String, u64> = BTreeMap::new();
    let own = own.rev().filter(|_| roster.is_some());
    for checkpoint in held.chain(own) {
        let size = checkpoint.statement().size;
        for line in checkpoint.cosignatures() {
            let is_known = up_to.get(line.name()).is_some_and(|known| *known >= size);
            if is_known || line.name() == of.origin {
                continue;
            }
            let counts = roster.is_none_or(|roster| {
                witness_key(roster, line.name()).is_some_and(|key| {
                    key != *of.identity && checkpoint.note().cosigned(line, line.name(), &key).is_some()
                })
            });
            if counts {
                up_to.insert(line.name().to_owned(), size);
            }
        }
    }
    up_to
}

fn judge(
    of: Of<'_>,
    entries: u64,
    up_to: &BTreeMap<String, u64>,
    answered: &Answered,
    outside: &Outside<'_>,
) -> (Verdict, String) {
    let last = up_to.values().copied().max().unwrap_or_default();
    if last == 0 {
        let advice = if outside.roster.is_some() { "" } else { "; a roster tells whose cosignatures it has" };
        return (Verdict::NotWitnessed, format!("nothing outside of this node supports it{advice}"));
    }
    if last < answered.before {
        let words = format!("nothing outside of this node supports what it has behind entry {last}");
        return (Verdict::NotWitnessed, words);
    }
    let by: Vec<String> = up_to.iter().map(|(name, size)| format!("{} up to entry {size}", of.called(name))).collect();
    let by = by.join(", ");
    let is_partner = |name: &str| of.called(name) != "the coordinator";
    let partners = up_to.iter().filter(|(name, size)| is_partner(name) && **size >= answered.last).count();
    if partners < outside.cosigned_by {
        let words = format!(
            "{partners} of {} partners have cosigned all that was computed or released, which is up to entry {}: {by}",
            outside.cosigned_by, answered.last
        );
        return (Verdict::NotWitnessed, words);
    }
    let rest =
        if last < entries { format!("; what is behind entry {last} is not cosigned yet") } else { String::new() };
    (Verdict::Ok, format!("cosigned by {by}{rest}"))
}

#[cfg(test)]
mod tests;
