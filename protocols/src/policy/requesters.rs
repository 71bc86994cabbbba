//! What one requester may ask of a node within a day: a partner, or the operator.
//!
//! A day is the last 24 hours, and what counts is what was charged, as the ledger has it
//! ([`Ledger::within`](crate::ledger::Ledger::within)).

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::privacy::rho::Rho;

/// The limits of all requesters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requesters {
    /// Of whoever is not named.
    pub usual: Limits,
    /// Of some, by name.
    pub named: BTreeMap<String, Limits>,
}

/// The limits of one requester; `None` for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many studies may be charged for a day.
    pub studies: Option<u32>,
    /// What they may cost together.
    pub rho: Option<Rho>,
    /// What one may cost without a steward.
    pub steward_above: Option<Rho>,
}

impl Requesters {
    /// Those of one.
    pub fn of(&self, requester: &str) -> Limits {
        self.named.get(requester).copied().unwrap_or(self.usual)
    }
}

/// What counts of a requester's studies, beside the one that it asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// How many others.
    pub studies: u32,
    /// What all have cost, and what is set aside for others that go on.
    pub rho: Rho,
    /// When the first of them ends to count, if that is known.
    pub until: Option<Timestamp>,
}

impl Limits {
    /// Whether a study that costs this needs a steward, whatever the rules say.
    pub fn asks_steward(&self, rho: Rho) -> bool {
        self.steward_above.is_some_and(|above| rho > above)
    }

    /// Whether they admit a study that costs `asked`, where so much counts already.
    ///
    /// # Errors
    ///
    /// Which of them does not.
    pub fn admit(&self, requester: &str, asked: Rho, used: Used, delta: f64) -> Result<(), OverQuota> {
        let (requester, until) = (requester.to_owned(), used.until);
        if let Some(most) = self.studies.filter(|most| used.studies >= *most) {
            return Err(OverQuota::Studies { requester, used: used.studies, most, until });
        }
        match self.rho.filter(|most| used.rho.plus(asked) > *most) {
            Some(most) => Err(OverQuota::Rho { requester, asked, used: used.rho, most, delta, until }),
            None => Ok(()),
        }
    }
}

/// A quota that does not admit a study. Nothing was charged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OverQuota {
    /// `studies_per_day`.
    #[error(
        "`{requester}` has asked for {used} of {most} studies within 24 hours (`studies_per_day` in [policy.requesters] of node.toml){}",
        again(*until)
    )]
    Studies {
        /// Who asks.
        requester: String,
        /// How many others count.
        used: u32,
        /// How many may.
        most: u32,
        /// When the first of them ends to count.
        until: Option<Timestamp>,
    },
    /// `epsilon_per_day`.
    #[error(
        "the study costs ρ = {asked}, and of what `{requester}` may ask for within 24 hours ρ = {} is left of {most} (ε = {:.3} at δ = \
         {delta:e}; `epsilon_per_day` in [policy.requesters] of node.toml){}",
        most.minus(*used),
        most.epsilon(*delta),
        again(*until)
    )]
    Rho {
        /// Who asks.
        requester: String,
        /// What the study costs.
        asked: Rho,
        /// What counts already.
        used: Rho,
        /// What may.
        most: Rho,
        /// The δ at which ε is shown.
        delta: f64,
        /// When the first of it ends to count.
        until: Option<Timestamp>,
    },
}

fn again(until: Option<Timestamp>) -> String {
    until.map_or_else(String::new, |until| format!("; the first of them ends to count at {until:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { studies: Some(2), rho: Some(Rho::from_micro(100)), steward_above: Some(Rho::from_micro(50)) };

    #[test]
    fn a_requester_s_own_limits_hold_instead_of_the_usual_ones() {
        let named = [("bank".to_owned(), Limits { studies: Some(1), ..LIMITS })].into();
        let requesters = Requesters { usual: LIMITS, named };
        assert_eq!((requesters.of("bank").studies, requesters.of("telecom").studies), (Some(1), Some(2)));
        let none = Requesters::default().of("bank");
        assert!(none.admit("bank", Rho::from_micro(u64::MAX), Used::default(), 1e-6).is_ok());
        assert!(!none.asks_steward(Rho::from_micro(u64::MAX)));
    }

    #[test]
    fn what_is_over_is_said_with_what_is_left_and_when() {
        let until = Some("2026-01-02T10:00:00Z".parse().unwrap());
        let admit = |asked, studies, rho| {
            let used = Used { studies, rho: Rho::from_micro(rho), until };
            LIMITS.admit("bank", Rho::from_micro(asked), used, 1e-6).map_err(|over| over.to_string())
        };
        assert_eq!(admit(100, 1, 0), Ok(()));
        assert_eq!(admit(60, 1, 40), Ok(()));
        let over = admit(61, 1, 40).unwrap_err();
        assert!(over.contains("0.000060 is left") && over.contains("2026-01-02T10:00:00Z"), "{over}");
        let over = admit(1, 2, 0).unwrap_err();
        assert!(over.contains("2 of 2 studies") && over.contains("`studies_per_day`"), "{over}");
        assert!(!LIMITS.asks_steward(Rho::from_micro(50)) && LIMITS.asks_steward(Rho::from_micro(51)));
    }
}
