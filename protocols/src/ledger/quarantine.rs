//! What witnesses hold and the ledger does not go on from: nothing is charged until that is taken over.

use super::account::AccountKey;
use super::checkpoint::{Checkpoint, Statement};
use super::entry::Record;
use super::error::LedgerError;
use super::ledger::Ledger;
use super::office::{Action, Recovery, Sighting, restored};
use super::officers::{Act, Outcome, refuse};
use super::store::Store;
use crate::identity::PublicIdentity;

impl<S: Store> Ledger<S> {
    /// Keeps a checkpoint that this node has signed and that `by` has shown, if the ledger does not go on from it: from then on it is
    /// in quarantine. The caller has verified the signature. Whether it is so.
    pub fn sighted(&mut self, checkpoint: &Checkpoint, by: &str, now: &str) -> Result<bool, LedgerError> {
        self.shown(checkpoint, None, (by, now))
    }

    /// The same of a checkpoint of the ledger that the node's name had under an earlier identity: what that had spent is to be taken over.
    pub fn sighted_earlier(
        &mut self,
        checkpoint: &Checkpoint,
        identity: PublicIdentity,
        by: &str,
        now: &str,
    ) -> Result<bool, LedgerError> {
        self.shown(checkpoint, Some(identity), (by, now))
    }

    fn shown(
        &mut self,
        checkpoint: &Checkpoint,
        identity: Option<PublicIdentity>,
        (by, now): (&str, &str),
    ) -> Result<bool, LedgerError> {
        self.sync()?;
        let statement = checkpoint.statement();
        if !self.contradicts(statement) {
            return Ok(false);
        }
        if !self.sightings.iter().any(|(_, known)| known == statement) {
            let sighting = Sighting { checkpoint: checkpoint.bare(), identity, by: by.into(), time: now.into() };
            self.store.append_sighting(&sighting)?;
            self.sightings.push((sighting, statement.clone()));
        }
        Ok(true)
    }

    /// Whether the ledger neither goes on from a checkpoint nor has taken it over.
    fn contradicts(&self, statement: &Statement) -> bool {
        !self.chain.goes_on_from(statement) && self.chain.recovered(statement).is_none()
    }

    /// Checkpoints that were shown, and that the ledger neither goes on from nor has taken over.
    pub fn contradictions(&self) -> impl Iterator<Item = &Sighting> {
        let open = |(_, statement): &&(Sighting, Statement)| self.contradicts(statement);
        self.sightings.iter().filter(open).map(|(sighting, _)| sighting)
    }

    /// Why the ledger is in quarantine, if it is, and what to do.
    pub fn quarantine(&self) -> Option<String> {
        let open = |(_, statement): &&(Sighting, Statement)| self.contradicts(statement);
        let (earlier, own): (Vec<_>, Vec<_>) =
            self.sightings.iter().filter(open).partition(|(sighting, _)| sighting.identity.is_some());
        let seen = |all: &[&(Sighting, Statement)], whose: &str| {
            let one = |(sighting, of): &&(Sighting, Statement)| {
                let Sighting { by, time, .. } = sighting;
                format!("{by} holds a checkpoint of {} entries that {whose} has signed (seen {time})", of.size)
            };
            all.iter().map(one).collect::<Vec<_>>().join("; ")
        };
        let own = (!own.is_empty()).then(|| {
            format!(
                "the ledger is in quarantine: it has {} entries, and {}, from which it does not go on. Was it restored from an old \
                 backup, or does a copy of this node run? Stop the copy, or restore the newest backup; if there is none, two officers \
                 take over what was spent by `entente-node ledger recover --officer NAME --reason TEXT`",
                self.head().entries,
                seen(&own, "this node")
            )
        });
        let earlier = (!earlier.is_empty()).then(|| {
            format!(
                "the ledger is in quarantine: {}, and what was spent under that is not taken over. Restore the newest backup of that \
                 machine; if there is none, take it over by `entente-node ledger recover --officer NAME --reason TEXT`",
                seen(&earlier, "an earlier identity of this node's name")
            )
        });
        let words: Vec<String> = own.into_iter().chain(earlier).collect();
        (!words.is_empty()).then(|| words.join(". "))
    }

    /// Takes over what witnesses have shown: of this ledger's own, the larger of the sums, account by account, with a second officer; and
    /// what was spent under earlier identities, where fewer than two officers are named by one who answers for the node.
    pub fn recover(&mut self, act: Act<'_>) -> Result<Outcome, LedgerError> {
        self.sync()?;
        let witnessed: Vec<Sighting> = self.contradictions().cloned().collect();
        if witnessed.is_empty() {
            return refuse("there is nothing to recover from: the ledger goes on from all that was witnessed".into());
        }
        // Who may do it is a rule, and a ledger that begins anew has none yet.
        self.record_rules(act.now)?;
        let parse = |sighting: &Sighting| Ok((Checkpoint::parse(&sighting.checkpoint)?, sighting.identity));
        let parsed = witnessed.iter().map(parse).collect::<Result<Vec<_>, LedgerError>>()?;
        let action = Action::Recover(witnessed.iter().map(|sighting| sighting.checkpoint.clone()).collect());
        let recovery = |ledger: &Self, officers, proposal| {
            let local = |account: &AccountKey| ledger.chain.accounts().get(account).copied();
            let inherited = |identity: &_, account: &_| ledger.chain.inherited(identity, account);
            let datasets = restored(local, inherited, &parsed);
            let (witnessed, reason) = (witnessed.clone(), act.reason.into());
            Record::Recovered(Box::new(Recovery { witnessed, officers, reason, proposal, datasets }))
        };
        let outcome = if witnessed.iter().any(|sighting| sighting.identity.is_none()) {
            self.second(&action, act, |ledger, proposal, officers| Ok(recovery(ledger, officers, Some(proposal))))
        } else {
            self.confirmed(&action, act, recovery)
        }?;
        // What was spent on data sets before there were populations may be more now.
        self.carry_over(act.now)?;
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests;
