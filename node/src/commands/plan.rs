//! `entente-node budget --plan`: for how many studies what is left is enough.

use entente_host::Error;
use entente_host::terminal::{print, print_json, table};
use entente_protocols::ledger::Spent;
use entente_protocols::privacy::rho::Rho;
use serde::Serialize;

/// Studies of so much are counted, beside those of the most that one may cost.
const EPSILONS: [f64; 4] = [0.25, 0.5, 1.0, 2.0];

/// So much of a budget.
#[derive(Clone, Serialize)]
pub(super) struct Amount {
    pub(super) rho: f64,
    pub(super) rho_micro: String,
    pub(super) epsilon: f64,
}

impl Amount {
    /// So much, with its ε at this δ.
    pub(super) fn of(rho: Rho, delta: f64) -> Self {
        Self { rho: rho.value(), rho_micro: rho.micro().to_string(), epsilon: rho.epsilon(delta) }
    }
}

/// An account as it stands.
pub(super) struct Standing {
    /// Its name.
    pub(super) account: String,
    /// What has been spent that counts against its cap.
    pub(super) spent: Spent,
    /// The cap.
    pub(super) cap: Rho,
}

/// What studies are counted.
pub(super) struct Studies {
    /// The most that one may cost.
    pub(super) per_study: Rho,
    /// How many partners take part, for the reading of a person.
    pub(super) partners: u32,
    /// The δ at which ε is stated.
    pub(super) delta: f64,
}

/// What is left of an account, in studies.
#[derive(Serialize)]
struct Plan {
    account: String,
    delta: f64,
    left: Amount,
    /// How many partners take part in each study, for the reading of a person.
    partners: u32,
    studies: Vec<Fit>,
}

/// Studies that all cost the same.
#[derive(Serialize)]
struct Fit {
    /// What one costs.
    each: Amount,
    /// How many are still admitted.
    fit: u64,
    /// What is spent after all of them.
    then: Amount,
    /// The same of a person who is a customer of every partner, if they protect single customers.
    then_person: Amount,
}

impl Plan {
    fn of(standing: Standing, studies: &Studies) -> Self {
        let Standing { account, spent, cap } = standing;
        let Studies { per_study, partners, delta } = *studies;
        let left = cap.minus(spent.rho);
        let usual = EPSILONS.iter().filter_map(|epsilon| Rho::within(*epsilon, delta));
        let mut costs: Vec<Rho> = usual.filter(|rho| *rho < per_study).chain([per_study]).collect();
        costs.dedup();
        let fit = |each: Rho| {
            let fit = left.micro() / each.micro().max(1);
            let then = each.times(fit);
            // A secure sum of n partners moves by up to n times as much, and ρ grows with the square.
            let person = then.times(u64::from(partners).pow(2));
            Fit {
                each: Amount::of(each, delta),
                fit,
                then: Amount::of(spent.rho.plus(then), delta),
                then_person: Amount::of(spent.person.plus(person), delta),
            }
        };
        let studies = costs.into_iter().map(fit).collect();
        Self { account, delta, left: Amount::of(left, delta), partners, studies }
    }
}

/// Prints what is left of accounts, in studies.
pub(super) fn show(standings: Vec<Standing>, studies: &Studies, json: bool) -> Result<(), Error> {
    let plans: Vec<Plan> = standings.into_iter().map(|standing| Plan::of(standing, studies)).collect();
    if json {
        return print_json(&plans);
    }
    let Studies { partners, delta, .. } = studies;
    let header = [
        "account",
        "left ρ",
        "ε of a study",
        "ρ",
        "fit",
        "then ε, customer",
        &format!("person at {partners} partners"),
    ];
    let mut table = table(header);
    for Plan { account, left, studies, .. } in plans {
        let mut named = Some((account, format!("{:.6}", left.rho)));
        for Fit { each, fit, then, then_person } in studies {
            let (account, left) = named.take().unwrap_or_default();
            let [each_epsilon, then, person] =
                [&each, &then, &then_person].map(|amount| format!("{:.3}", amount.epsilon));
            table.add_row([account, left, each_epsilon, format!("{:.6}", each.rho), fit.to_string(), then, person]);
        }
    }
    print(table)?;
    print(format!("ε is at δ = {delta:e}. Studies may be of different cost: their ρ add up, their ε do not."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(spent: Rho, cap: Rho, per_study: Rho) -> Plan {
        let standing = Standing { account: "people".into(), spent: Spent { rho: spent, person: spent.times(9) }, cap };
        Plan::of(standing, &Studies { per_study, partners: 3, delta: 1e-6 })
    }

    fn within(epsilon: f64) -> Rho {
        Rho::within(epsilon, 1e-6).unwrap()
    }

    #[test]
    fn so_many_studies_fit_and_not_one_more() {
        let (spent, cap) = (within(1.0), within(10.0));
        let plan = plan(spent, cap, within(2.0));
        assert_eq!(plan.studies.len(), 4, "those of 2 are the largest");
        for Fit { each, fit, then, then_person } in &plan.studies {
            let each: u64 = each.rho_micro.parse().unwrap();
            assert!(spent.micro() + fit * each <= cap.micro() && spent.micro() + (fit + 1) * each > cap.micro());
            assert!(then.epsilon <= 10.0 + 1e-9, "{}", then.epsilon);
            let person: u64 = then_person.rho_micro.parse().unwrap();
            assert_eq!(person, 9 * (spent.micro() + fit * each), "three partners, nine times the loss");
        }
        // A lifetime of 10 is 63 studies of 1, one of which is spent.
        assert_eq!(plan.studies[2].fit, 62);
    }

    #[test]
    fn what_one_study_may_cost_is_the_most_that_is_counted() {
        let small = plan(Rho::ZERO, within(10.0), within(0.3));
        let epsilons: Vec<f64> = small.studies.iter().map(|fit| fit.each.epsilon).collect();
        assert!(epsilons.len() == 2 && (epsilons[1] - 0.3).abs() < 0.01, "{epsilons:?}");
        let empty = plan(within(10.0), within(10.0), within(2.0));
        assert!(empty.studies.iter().all(|fit| fit.fit == 0));
    }
}
