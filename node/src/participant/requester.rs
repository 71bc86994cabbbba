//! Who asks for a study, and what they may ask for within a day.

use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::identity::petition::OPERATOR;
use entente_protocols::ledger::Quota;
use entente_protocols::study::proposal::{Proposal, unknown};

use super::{Participant, Problem};

impl Participant {
    /// Checks that a study is asked for by whom it says: by the confirmed roster, before a steward is shown anything. Of a study that was
    /// not proposed before, the petition must be of these days.
    pub(super) fn asked_for(&self, id: &AttemptId, proposal: &Proposal) -> Result<(), Problem> {
        {
            let rosters = self.rosters()?;
            let pinned = rosters.pinned.as_ref().ok_or_else(|| Problem::failed("no roster is confirmed"))?;
            proposal.check_requester(id, pinned).map_err(Problem::refused)?;
        }
        let Some(petition) = &proposal.petition else { return Ok(()) };
        if petition.holds(self.clock.now()) || !lock(&self.studies).of_study(&id.study)?.is_empty() {
            return Ok(());
        }
        Err(Problem::refused(format!(
            "`{}` signed this study more than a week ago, or in the future by the clock of {}; it must be asked for again",
            proposal.requester,
            self.name()
        )))
    }

    /// The same as far as it can be told before anything is signed.
    pub(super) fn knows(&self, requester: &str) -> Result<(), Problem> {
        let rosters = self.rosters()?;
        let is_member = rosters.pinned.as_ref().is_some_and(|pinned| pinned.members.contains_key(requester));
        if is_member || requester == OPERATOR { Ok(()) } else { Err(Problem::refused(unknown(requester))) }
    }

    /// What a requester may ask for within the last 24 hours.
    ///
    /// By whichever goes slower, the time of day or this machine's uptime: a clock that is set forward while the node runs lets nobody ask
    /// for the next day's studies.
    pub(super) fn quota(&self, requester: &str) -> Quota {
        let (opened, moment) = self.opened;
        let passed = self.clock.moment().since(moment);
        let now = opened.checked_add(passed).map_or_else(|_| self.clock.now(), |steady| steady.min(self.clock.now()));
        Quota::of_day(self.config.policy.requesters.of(requester), now)
    }
}
