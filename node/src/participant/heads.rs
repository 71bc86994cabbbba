//! What participants of a study hold of each other's ledgers, compared before anything is charged.
//!
//! Each says in its pledge what it holds of the others as their witness. Whoever signs the transcript of all pledges says by that that its
//! ledger goes on from all of that; one that was put back, or is a copy, finds out whatever the coordinator keeps from it, as it could
//! not take part without these very pledges. (The other way round nothing follows: a ledger may have gone on since its pledge, while a
//! steward thought it over. Where its length is the same, it must be the same ledger.)

use entente_host::locks::lock;
use entente_protocols::secagg::pledge::{Pledge, Seen};

use super::{Participant, Problem};

impl Participant {
    /// What this node holds of the ledgers of these others, as they are in the confirmed roster.
    pub(super) fn seen_of(&self, participants: &[String]) -> Result<Vec<Seen>, Problem> {
        let others = participants.iter().filter(|name| *name != self.name());
        let mut seen = Vec::new();
        for name in others {
            let Some((_, identity)) = self.witness(Some(name)) else { continue };
            let Some(held) = lock(&self.witnessed).newest(&identity)? else { continue };
            let held = held.statement();
            seen.push(Seen { participant: name.clone(), entries: held.size, root: held.root });
        }
        Ok(seen)
    }

    /// Checks that this node's ledger goes on from what the others hold of it, and that none of theirs is another than the one that this
    /// node holds.
    pub(super) fn compare_ledgers(&self, pledges: &[Pledge]) -> Result<(), Problem> {
        let seen = pledges.iter().flat_map(|pledge| pledge.seen.iter().map(|seen| (&pledge.participant, seen)));
        let of_this = seen.filter(|(_, seen)| seen.participant == self.name());
        let unknown = {
            let ledger = self.ledger()?;
            let unknown = of_this.filter(|(_, seen)| !ledger.chain().knows(seen.entries, seen.root));
            unknown.map(|(by, seen)| (by.clone(), seen.entries, ledger.head().entries)).next()
        };
        if let Some((by, witnessed, entries)) = unknown {
            // It will show what it holds, signed by this node, if that is so.
            self.ask_witnesses().into_iter().for_each(|frame| drop(self.peers.say(frame)));
            return Err(Problem::refused(format!(
                "{by} has witnessed {witnessed} entries of the ledger of {me}, from which that ledger, with {entries}, does not go on: was it \
                 restored from an old backup, or does a copy of {me} run? Its staff can see what to do by `entente-node check`",
                me = self.name()
            )));
        }
        for pledge in pledges.iter().filter(|pledge| pledge.participant != self.name()) {
            let Some((_, identity)) = self.witness(Some(&pledge.participant)) else { continue };
            let Some(held) = lock(&self.witnessed).newest(&identity)? else { continue };
            let held = held.statement();
            if held.size == pledge.ledger.entries && held.head != pledge.ledger.hash {
                return Err(Problem::refused(format!(
                    "{} has joined with another ledger than the one of {} entries that {} has witnessed: does a copy of it run?",
                    pledge.participant,
                    held.size,
                    self.name()
                )));
            }
        }
        Ok(())
    }
}
