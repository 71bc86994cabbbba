//! What whoever asks for studies may ask for within a day.

use entente_protocols::ledger::Quota;

use super::Participant;

impl Participant {
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
