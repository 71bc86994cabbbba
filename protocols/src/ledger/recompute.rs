//! The numbers of entries, computed anew from what the entries say: noise ─▶ ρ ─▶ (ε, δ).
//!
//! An entry has all that its charge follows from ([`crate::privacy::mechanism`]): of each component the squared sensitivity and the
//! standard deviation of a share's noise, the participants, how many may collude, and the scope. ε follows from ρ and δ
//! ([`Rho::epsilon`]); it is a number with a fraction, so it is the same up to one part in a million.

use std::sync::Arc;

use super::entry::{Account, Entry, Privacy, YearAccount, YearCharges};
use super::recent::Recent;
use crate::policy::StudyRef;
use crate::privacy::mechanism::{MIN_SIGMA, charge, person};
use crate::privacy::rho::Rho;

/// How far a recorded ε may be from the one computed here, as a share of it.
const TOLERANCE: f64 = 1e-6;

/// Computes numbers of entries anew.
#[derive(Default)]
pub struct Recompute {
    /// ε by ρ and δ.
    epsilons: Recent<(Rho, u64), f64>,
    /// What held: entries that were read one after the other share it.
    held: Option<Arc<Privacy>>,
    /// Studies whose hash held, with who asked.
    bound: Option<(Arc<StudyRef>, String)>,
}

impl Recompute {
    /// Checks an entry's numbers. Whether it had any that a charge follows from.
    ///
    /// # Errors
    ///
    /// What is not as it should be.
    pub fn check(&mut self, entry: &Entry<impl AsRef<str>>) -> Result<bool, String> {
        let Some(study) = entry.study() else { return Ok(false) };
        let requester = study.requester.as_ref();
        let is_bound = |(known, by): &(Arc<StudyRef>, String)| Arc::ptr_eq(known, &study.study) && by == requester;
        if !self.bound.as_ref().is_some_and(is_bound) {
            if study.study.proposal(requester) != study.study.proposal_sha256 {
                return Err("what was decided on is not the study that it names".into());
            }
            self.bound = Some((Arc::clone(&study.study), requester.to_owned()));
        }
        let Account { spent_before, spent_after, delta, epsilon_before, epsilon_after, .. } = study.account;
        self.epsilon(spent_before, delta, epsilon_before).map_err(|is| format!("its ε before is {is}"))?;
        self.epsilon(spent_after, delta, epsilon_after).map_err(|is| format!("its ε after is {is}"))?;
        for YearAccount { year, account } in study.by_year.iter().flat_map(|by_year| &by_year.accounts) {
            let Account { spent_before, spent_after, delta, epsilon_before, epsilon_after, .. } = *account;
            self.epsilon(spent_before, delta, epsilon_before)
                .map_err(|is| format!("its ε of {year} before is {is}"))?;
            self.epsilon(spent_after, delta, epsilon_after).map_err(|is| format!("its ε of {year} after is {is}"))?;
        }
        if let Some(YearCharges { spent_all_time, epsilon_all_time, .. }) = study.by_year.as_deref() {
            self.epsilon(*spent_all_time, delta, *epsilon_all_time)
                .map_err(|is| format!("its ε over all time is {is}"))?;
        }
        let Some(privacy) = &study.privacy else { return Ok(false) };
        if self.held.as_ref().is_some_and(|held| Arc::ptr_eq(held, privacy)) {
            return Ok(true);
        }
        let (rho, rho_person) = loss(privacy)?;
        if (rho, rho_person) != (privacy.rho, privacy.rho_person) {
            return Err(format!(
                "its noise costs ρ = {rho}, and {rho_person} for a person, where it says {} and {}",
                privacy.rho, privacy.rho_person
            ));
        }
        self.epsilon(rho, privacy.delta, privacy.epsilon).map_err(|is| format!("its charge as ε is {is}"))?;
        self.held = Some(Arc::clone(privacy));
        Ok(true)
    }

    fn epsilon(&mut self, rho: Rho, delta: f64, stated: f64) -> Result<(), String> {
        let of = (rho, delta.to_bits());
        let epsilon = self.epsilons.get(|known| *known == of).unwrap_or_else(|| {
            let epsilon = rho.epsilon(delta);
            self.epsilons.keep(of, epsilon);
            epsilon
        });
        // JSON has no infinity: where no ε can be given, 0 stands.
        let epsilon = if epsilon.is_finite() { epsilon } else { 0.0 };
        let near = (stated - epsilon).abs() <= TOLERANCE * epsilon;
        if near { Ok(()) } else { Err(format!("{epsilon}, where it says {stated}")) }
    }
}

/// ρ of a release, and that of a person, by what an entry says of its noise.
fn loss(privacy: &Privacy) -> Result<(Rho, Rho), String> {
    let Privacy { scope, participants, colluders, noise, .. } = privacy;
    if *participants == 0 || colluders >= participants || (*participants > 1 && *colluders == 0) {
        return Err(format!("{colluders} of {participants} participants cannot be assumed to collude"));
    }
    let mut rho = Rho::ZERO;
    for component in noise {
        let sensitivity_squared: Option<u128> = component.sensitivity_squared.parse().ok();
        let sigma: Option<u64> = component.sigma.parse().ok().filter(|sigma| *sigma >= MIN_SIGMA);
        let (Some(sensitivity_squared), Some(sigma)) = (sensitivity_squared, sigma) else {
            return Err(format!("`{}` has no sensitivity, or less noise than any release has", component.component));
        };
        rho = rho.plus(charge(*scope, (*participants, *colluders), sensitivity_squared, sigma));
    }
    if noise.is_empty() {
        return Err("it has no noise".into());
    }
    Ok((rho, person(*scope, *participants, rho)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::ledger::entry::Record;
    use crate::ledger::line::Line;
    use crate::ledger::rules::Rules;
    use crate::ledger::store::{Memory, Store};
    use crate::ledger::{Budgets, Caps, Ledger};
    use crate::policy::tests::{approved, request};

    /// An entry that charges, as the ledger writes it.
    fn entry() -> Entry {
        let caps = Caps { lifetime: Rho::from_micro(100_000), per_study: Rho::from_micro(50_000), delta: 1e-6 };
        let mut ledger =
            Ledger::open(Memory::default(), Budgets::new(Rules::open([("d", "people", "id")]), caps), "test 1")
                .unwrap();
        let id = Digest([1; 32]);
        ledger.reserve(approved(request("s", 1, 40_000)), id, id, "now").unwrap();
        ledger.store().entries().unwrap().last().map(Line::entry).unwrap().unwrap()
    }

    #[test]
    fn what_the_ledger_writes_follows_from_what_it_writes() {
        assert_eq!(Recompute::default().check(&entry()), Ok(true));
    }

    /// Whoever keeps the ledger writes another study under an approval.
    #[test]
    fn a_study_that_is_not_the_one_that_was_decided_on_is_found() {
        type Change = fn(&mut StudyRef, &mut String);
        let changes: [Change; 7] = [
            |study, _| study.id.push('x'),
            |study, _| study.name.push('x'),
            |study, _| study.purpose = "another".into(),
            |study, _| study.legal_basis = Some("consent".into()),
            |study, _| study.terms_sha256 = Digest::ZERO,
            |study, _| study.proposal_sha256 = Digest::ZERO,
            |_, requester| requester.push('x'),
        ];
        let mut recompute = Recompute::default();
        for change in changes {
            let mut entry = entry();
            assert_eq!(recompute.check(&entry), Ok(true));
            let Record::Reserved(record) = &mut entry.record else { panic!("a charge") };
            let record = &mut **record;
            change(Arc::make_mut(&mut record.study), &mut record.requester);
            let problem = recompute.check(&entry).unwrap_err();
            assert!(problem.contains("decided on"), "{problem}");
        }
    }

    #[test]
    fn every_number_that_does_not_follow_is_found() {
        type Change = fn(&mut Privacy, &mut Account);
        let changes: [(Change, &str); 9] = [
            (|privacy, _| privacy.rho = privacy.rho.minus(Rho::from_micro(1)), "costs"),
            (|privacy, _| privacy.rho_person = privacy.rho, "costs"),
            (|privacy, _| privacy.noise[0].sigma += "0", "costs"),
            (|privacy, _| privacy.noise[0].sensitivity_squared.insert(0, '9'), "costs"),
            (|privacy, _| privacy.noise[0].sigma = "3".into(), "less noise"),
            (|privacy, _| privacy.colluders = 2, "costs"),
            (|privacy, _| privacy.colluders = 0, "collude"),
            (|privacy, _| privacy.epsilon *= 1.001, "as ε"),
            (|_, account| account.epsilon_after *= 0.999, "after"),
        ];
        for (change, expected) in changes {
            let mut entry = entry();
            let Record::Reserved(record) = &mut entry.record else { panic!("a charge") };
            let (privacy, account) = (Arc::make_mut(record.privacy.as_mut().unwrap()), &mut record.account);
            change(privacy, account);
            let problem = Recompute::default().check(&entry).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
