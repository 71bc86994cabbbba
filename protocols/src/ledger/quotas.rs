//! What a requester's studies have cost within a day, by the entries that charged for them.
//!
//! An entry counts while its time is later than the beginning of the day, those of a future that a clock once showed included: a clock
//! that is set back takes nothing out. What is set aside for attempts that go on counts as if it had been charged.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::error::LedgerError;
use super::ledger::Ledger;
use super::store::Store;
use crate::policy::{Limits, Request, Used};

/// How long a day is.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What a requester may ask for within the day that began at `since`.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// How much.
    pub limits: Limits,
    /// When the day began.
    pub since: Timestamp,
}

impl Quota {
    /// Within the last 24 hours.
    pub fn of_day(limits: Limits, now: Timestamp) -> Self {
        Self { limits, since: now.checked_sub(DAY).unwrap_or(Timestamp::MIN) }
    }
}

impl<S: Store> Ledger<S> {
    /// Whether what its requester may ask for within a day admits a request, which costs [`Request::rho`] in all.
    ///
    /// # Errors
    ///
    /// Which limit does not, with what is left and when there is more.
    pub fn within(&self, request: &Request, quota: &Quota) -> Result<(), LedgerError> {
        let (requester, own) = (request.requester.as_str(), request.study.id.as_str());
        let charged = self.known.asked_by(requester).iter().filter(|asked| asked.time > quota.since);
        let (mut used, mut others) = (Used::default(), BTreeMap::new());
        for asked in charged {
            used.rho = used.rho.plus(asked.rho);
            // A study counts as long as its last charge does.
            let last = others.entry(asked.study.id.as_str()).or_insert(asked.time);
            *last = asked.time.max(*last);
        }
        others.remove(own);
        used.until = others.values().min().and_then(|time| time.checked_add(DAY).ok());
        for (study, open) in self.earmarks.asked_by(requester, own) {
            used.rho = used.rho.plus(open);
            others.entry(study).or_insert(Timestamp::MAX);
        }
        used.studies = u32::try_from(others.len()).unwrap_or(u32::MAX);
        // As node.toml states it.
        let delta = self.budgets.caps(&request.dataset).map_or(request.delta, |caps| caps.delta);
        Ok(quota.limits.admit(requester, request.rho, used, delta)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::ledger::rules::Rules;
    use crate::ledger::store::Memory;
    use crate::ledger::{Budgets, Caps};
    use crate::policy::tests::{approved, request};
    use crate::privacy::rho::Rho;

    fn open(store: Memory) -> Ledger<Memory> {
        let caps = Caps { lifetime: Rho::from_micro(1_000_000), per_study: Rho::from_micro(50_000), delta: 1e-6 };
        Ledger::open(store, Budgets::new(Rules::open([("d", "people", "id")]), caps), "test 1").unwrap()
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn asked(study: &str, requester: &str, rho: u64) -> Request {
        let request = request(study, 1, rho);
        Request { study: request.study.clone().asked_by(requester), requester: requester.into(), ..request }
    }

    fn charge(ledger: &mut Ledger<Memory>, study: &str, requester: &str, time: &str) {
        let release = Digest::of("test", &[study.as_bytes(), time.as_bytes()]);
        ledger.reserve(approved(asked(study, requester, 10_000)), release, release, time).unwrap();
    }

    const TWO: Limits = Limits { studies: Some(2), rho: Some(Rho::from_micro(25_000)), steward_above: None };

    #[test]
    fn a_day_of_one_requester_counts_over_restarts_and_ends() {
        let mut ledger = open(Memory::default());
        charge(&mut ledger, "a", "bank", "2026-01-01T10:00:00Z");
        charge(&mut ledger, "b", "telecom", "2026-01-01T11:00:00Z");
        charge(&mut ledger, "c", "bank", "2026-01-01T12:00:00Z");
        let mut again = open(Memory::default());
        for line in ledger.store().entries().unwrap() {
            again.store.append(line.entry().unwrap().sequence, &line, None).unwrap();
        }
        again.sync().unwrap();
        let over = |now: &str, study: &str, rho| {
            let within = again.within(&asked(study, "bank", rho), &Quota::of_day(TWO, at(now)));
            within.err().map(|error| error.to_string())
        };
        let third = over("2026-01-02T09:59:59Z", "d", 1000).unwrap();
        assert!(third.contains("2 of 2 studies") && third.contains("2026-01-02T10:00:00Z"), "{third}");
        assert_eq!(over("2026-01-02T09:59:59Z", "c", 5000), None, "one that counts already");
        let costs = over("2026-01-02T09:59:59Z", "c", 6000).unwrap();
        assert!(costs.contains("is left of 0.025000"), "{costs}");
        assert_eq!(over("2026-01-02T10:00:00Z", "d", 15_000), None, "the first has ended to count");
        assert!(over("2026-01-02T10:00:00Z", "d", 16_000).is_some());
    }

    /// A clock that was set forward and back again, or only back: what was charged by then goes on to count.
    #[test]
    fn a_clock_that_is_set_back_takes_nothing_out() {
        let mut ledger = open(Memory::default());
        charge(&mut ledger, "a", "bank", "2026-01-09T10:00:00Z");
        charge(&mut ledger, "c", "bank", "2026-01-09T12:00:00Z");
        for now in ["2026-01-01T10:00:00Z", "2026-01-09T12:00:00Z", "2026-01-10T09:59:59Z"] {
            assert!(ledger.within(&asked("d", "bank", 1000), &Quota::of_day(TWO, at(now))).is_err(), "{now}");
        }
    }

    #[test]
    fn what_is_set_aside_counts_until_it_is_let_go() {
        let mut ledger = open(Memory::default());
        let quota = Quota::of_day(TWO, at("2026-01-01T10:00:00Z"));
        let now = at("2026-01-01T10:00:00Z");
        for study in ["a", "b"] {
            ledger.earmark(&asked(study, "bank", 10_000), &quota, now).unwrap();
        }
        let third = asked("c", "bank", 1000);
        assert!(ledger.earmark(&third, &quota, now).is_err());
        ledger.earmark(&asked("d", "telecom", 1000), &quota, now).unwrap();
        // It is not counted twice, once it is charged.
        charge(&mut ledger, "a", "bank", "2026-01-01T09:00:00Z");
        ledger.within(&asked("b", "bank", 10_000), &quota).unwrap();
        ledger.let_go(&asked("b", "bank", 10_000).attempt());
        ledger.earmark(&third, &quota, now).unwrap();
    }
}
