//! With whom this node works: the roster that its staff have confirmed.
//!
//! ```text
//! Welcome ─▶ offered, kept for people to compare         staff: `entente-node roster --accept` ─▶ state/roster.json
//! Propose ─▶ confirmed? ─no─▶ Waiting, kept in memory ─(once it is)─▶ looked at again
//!                └─yes─▶ are all participants in it? ─▶ goes on
//! ```
//!
//! Partners that a coordinator invents add no noise and hide no mask, so whoever chooses the roster chooses what a node's sums are
//! worth. A person does: until then a node joins nothing, records nothing of what is proposed and holds nobody's checkpoint. What
//! staff have confirmed is read from the disk whenever it counts, as they change it beside a running node.

use std::sync::MutexGuard;

use entente_host::Error;
use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::identity::{Member, Roster};
use entente_protocols::study::proposal::Proposal;
use entente_protocols::wire::message::{ToAttempt, ToNode};
use tracing::{info, warn};

use super::{Participant, Problem, Rosters};
use crate::roster::check;

/// The most proposals that are kept until the roster is confirmed. Others come again with the next connection.
const MOST_KEPT: usize = 64;

impl Participant {
    /// Takes the roster that the coordinator offers, for people to compare.
    pub fn welcome(&self, roster: Roster) -> Result<(), Error> {
        check(&self.folder, self.name(), &roster)?;
        let mut rosters = self.rosters()?;
        self.folder.keep_offered(&roster)?;
        match &rosters.pinned {
            None => warn!(
                offered = %roster.fingerprint(),
                "the roster is not confirmed: nothing is joined until somebody has compared its fingerprint with the other partners and \
                 run `entente-node roster --accept`"
            ),
            Some(pinned) if *pinned != roster => warn!(
                offered = %roster.fingerprint(),
                "the coordinator offers another roster than the confirmed one; compare fingerprints with the other partners, \
                 then accept it with `entente-node roster --accept`; until then studies with partners that are not confirmed are refused"
            ),
            Some(_) => {}
        }
        rosters.offered = Some(roster);
        Ok(())
    }

    /// What is offered, and what staff have confirmed by now.
    pub(super) fn rosters(&self) -> Result<MutexGuard<'_, Rosters>, Error> {
        let mut rosters = lock(&self.rosters);
        let stamp = self.folder.pinned_stamp();
        if stamp.is_none() || stamp != rosters.stamp {
            rosters.pinned = self.folder.pinned_roster()?;
            rosters.stamp = stamp;
        }
        Ok(rosters)
    }

    /// Whether somebody has confirmed a roster; if not, what they are waited for.
    pub(super) fn confirmed(&self) -> Result<(), Problem> {
        if self.rosters()?.pinned.is_some() {
            return Ok(());
        }
        Err(Problem::Waiting(format!(
            "the roster is not confirmed at {}: entente-node roster --accept FINGERPRINT, once its staff have compared it with the other \
             partners",
            self.name()
        )))
    }

    /// Checks that all participants are in the confirmed roster with the keys that are offered now.
    pub(super) fn confirmed_with(&self, participants: &[String]) -> Result<(), Problem> {
        let rosters = self.rosters()?;
        let known = |roster: &Option<Roster>, name: &str| -> Option<Member> {
            roster.as_ref().and_then(|roster| roster.members.get(name).cloned())
        };
        for name in participants {
            let (pinned, offered) = (known(&rosters.pinned, name), known(&rosters.offered, name));
            if pinned.is_none() || pinned != offered {
                return Err(Problem::refused(format!(
                    "`{name}` is not in the roster that {} has confirmed, or has other keys there; its staff must compare fingerprints \
                     and accept the new roster with `entente-node roster --accept`",
                    self.name()
                )));
            }
        }
        Ok(())
    }

    /// Keeps a proposal that waits for the roster, in memory alone.
    pub(super) fn keep_until_confirmed(&self, id: &AttemptId, proposal: Proposal) {
        let mut unconfirmed = lock(&self.unconfirmed);
        if unconfirmed.len() < MOST_KEPT || unconfirmed.contains_key(id) {
            unconfirmed.insert(id.clone(), proposal);
        }
    }

    /// What waited for the roster, if it is confirmed by now.
    pub(super) fn confirmed_since(&self) -> Vec<ToNode> {
        let mut unconfirmed = lock(&self.unconfirmed);
        if unconfirmed.is_empty() || self.confirmed().is_err() {
            return Vec::new();
        }
        let waited = std::mem::take(&mut *unconfirmed);
        let is_unheard = |(_, proposal): &(AttemptId, Proposal)| self.unheard(&proposal.participants).is_some();
        let (open, waited): (Vec<_>, Vec<_>) = waited.into_iter().partition(is_unheard);
        unconfirmed.extend(open);
        if waited.is_empty() {
            return Vec::new();
        }
        info!(proposals = waited.len(), "the roster is confirmed; what waited for it is looked at again");
        waited.into_iter().map(|(id, proposal)| ToNode::Attempt(id, ToAttempt::Propose(Box::new(proposal)))).collect()
    }
}
