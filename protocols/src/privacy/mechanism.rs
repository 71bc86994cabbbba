//! The mechanism of a release: how much discrete Gaussian noise each node adds to each component, and the charge.
//!
//! **What it promises.** n nodes sum their bounded vectors; up to t of them collude with the coordinator. Each node
//! adds to component c independent discrete Gaussian noise N_Z(0, σ_c²) in grid units. A coalition of t can subtract
//! its own noise but not that of the m = n − t others, so what it sees carries the sum of m discrete Gaussians.
//!
//! **Charge.** Let Δ² be the squared L2 sensitivity of the component ([`Layout::sensitivity_squared`]), and k = 1 for
//! scope `customer`. For scope `person`, one person may be a customer of all n participants, whose sums then shift by
//! up to nΔ: k = n. By Kairouz, Liu, Steinke 2021 (arXiv 2102.06387), Theorem 1 (Proposition 13), the sum of m
//! discrete Gaussians added to an integer vector of dimension d is ½ε²-zCDP with
//!
//! ε² ≤ k²Δ²/(mσ²) + ½τd,  τ = 10·Σ_{j=1}^{m−1} exp(−2π²σ²·j/(j+1)).
//!
//! So ρ_c = k²Δ²/(2mσ²) + ¼τd. Components are independent releases of disjoint coordinates, and their ρ add up
//! (zCDP composition).
//!
//! **Exact integers.** σ is a whole number of grid units, so 10⁶·k²Δ²/(2mσ²) = p/q is a ratio of integers, q = 2mσ².
//! The charge in micro-units is ⌊p/q⌋ + 1. That is at least p/q + 10⁶·¼τd: the term with τ is positive only for m > 1, and
//! if p/q is not an integer it lies at least 1/q below the next one; with σ ≥ 4, j/(j+1) ≥ ½, m ≤ 2^10 and d ≤ 2^24,
//! 10⁶·¼τd ≤ 2.5·10⁶·2^34·exp(−π²σ²), which is below 1/(2^11·σ²) ≤ 1/q for every σ ≥ 4. (σ ≥ 4 is the design's smallest
//! noise; there exp(−π²σ²) < 10^−68.)
//!
//! **Noise in the result** is that of all n shares, standard deviation √n·σ: intervals use this.

use serde::{Deserialize, Serialize};

use super::bounds::Layout;
use super::rho::Rho;
use crate::digest::Digest;

/// Whom the stated loss protects (design, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One customer of one partner.
    Customer,
    /// One person, who may be a customer of every participant.
    Person,
}

impl Scope {
    /// As study files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Person => "person",
        }
    }
}

/// The most participants of one study.
pub const MAX_PARTICIPANTS: u32 = 1 << 10;
/// The longest vector of one release.
pub const MAX_LENGTH: usize = 1 << 24;
/// The least noise of one share, in grid units.
pub const MIN_SIGMA: u64 = 4;
/// The most noise of one share: 2^10 shares, each rarely beyond 2^4 of these, stay inside 64 bits with room for the sum.
const MAX_SIGMA: u64 = 1 << 48;

/// The noise of a release and its charge; made from public facts alone, the same at every participant.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Mechanism {
    layout: Layout,
    scope: Scope,
    participants: u32,
    colluders: u32,
    sigmas: Vec<u64>,
    rho: Rho,
}

/// Why a release is not possible with the budget and the participants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Infeasible {
    /// The number of participants.
    #[error("a study has 1 to {MAX_PARTICIPANTS} participants, not {0}")]
    Participants(u32),
    /// The number of colluders.
    #[error(
        "of {participants} participants, {least} to {most} may be assumed to collude, not {colluders}; set `colluders` in [privacy]"
    )]
    Colluders {
        /// Asked for.
        colluders: u32,
        /// n.
        participants: u32,
        /// 1 where there is more than one participant.
        least: u32,
        /// n − 1.
        most: u32,
    },
    /// The budget is too small for the number of sums.
    #[error("a budget of ρ = {rho} is too small for {components} sums; ask for fewer measures or a larger epsilon")]
    Budget {
        /// Asked for.
        rho: Rho,
        /// The number of components.
        components: usize,
    },
    /// The vector.
    #[error("the result would have {0} numbers, more than {MAX_LENGTH}; ask for fewer groups or measures")]
    Length(usize),
}

impl Mechanism {
    /// The noise with which releasing a vector of `layout` costs at most `budget`, split evenly over the components.
    pub fn new(
        layout: Layout,
        scope: Scope,
        participants: u32,
        colluders: u32,
        budget: Rho,
    ) -> Result<Self, Infeasible> {
        let components = layout.components().len();
        let each = budget.micro().checked_div(components as u64).unwrap_or(0);
        Self::with_budgets(layout, scope, participants, colluders, &vec![Rho::from_micro(each); components])
    }

    /// The noise with which releasing each component of `layout` costs at most its budget.
    pub fn with_budgets(
        layout: Layout,
        scope: Scope,
        participants: u32,
        colluders: u32,
        budgets: &[Rho],
    ) -> Result<Self, Infeasible> {
        if participants == 0 || participants > MAX_PARTICIPANTS {
            return Err(Infeasible::Participants(participants));
        }
        let (least, most) = (u32::from(participants > 1), participants - 1);
        if colluders < least || colluders > most {
            return Err(Infeasible::Colluders { colluders, participants, least, most });
        }
        let components = layout.components().len();
        if layout.len() > MAX_LENGTH {
            return Err(Infeasible::Length(layout.len()));
        }
        let infeasible = Infeasible::Budget { rho: budgets.iter().copied().sum(), components };
        if budgets.len() != components {
            return Err(infeasible);
        }
        let mut mechanism = Self { layout, scope, participants, colluders, sigmas: Vec::new(), rho: Rho::ZERO };
        for (component, budget) in budgets.iter().enumerate() {
            let sigma = mechanism.smallest_sigma(component, budget.micro()).ok_or_else(|| infeasible.clone())?;
            mechanism.rho = mechanism.rho.plus(mechanism.charge(component, sigma));
            mechanism.sigmas.push(sigma);
        }
        if components == 0 { Err(infeasible) } else { Ok(mechanism) }
    }

    /// The charge of a component with noise σ at every share.
    fn charge(&self, component: usize, sigma: u64) -> Rho {
        let sensitivity_squared = self.layout.sensitivity_squared(component);
        charge(self.scope, (self.participants, self.colluders), sensitivity_squared, sigma)
    }

    fn smallest_sigma(&self, component: usize, budget: u64) -> Option<u64> {
        let affordable = |sigma: u64| self.charge(component, sigma).micro() <= budget;
        if !affordable(MAX_SIGMA) {
            return None;
        }
        let (mut low, mut high) = (MIN_SIGMA - 1, MAX_SIGMA);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if affordable(middle) { high = middle } else { low = middle }
        }
        Some(high)
    }

    /// What is released.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whom the charge protects.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// n.
    pub fn participants(&self) -> u32 {
        self.participants
    }

    /// t.
    pub fn colluders(&self) -> u32 {
        self.colluders
    }

    /// Standard deviation of each share's noise for each component, in grid units.
    pub fn sigmas(&self) -> &[u64] {
        &self.sigmas
    }

    /// The charge, in the stated scope.
    pub fn rho(&self) -> Rho {
        self.rho
    }

    /// The loss of a person who may be a customer of every participant: n²ρ for scope `customer`, as the sum then
    /// shifts by up to nΔ; ρ itself for scope `person`.
    pub fn rho_person(&self) -> Rho {
        person(self.scope, self.participants, self.rho)
    }

    /// Standard deviation of the noise of **all** shares in the sum, for a component, in grid units.
    pub fn total_sd(&self, component: usize) -> f64 {
        f64::from(self.participants).sqrt() * self.sigmas[component] as f64
    }

    /// Hash over everything above.
    pub fn digest(&self) -> Digest {
        Digest::of("entente mechanism 1", &[&crate::canonical::canonical_bytes(self)])
    }
}

/// The charge of one component with this squared sensitivity and noise σ ≥ 1 at every share, where of n participants t < n may
/// collude; see the module for the formula.
pub(crate) fn charge(scope: Scope, (n, t): (u32, u32), sensitivity_squared: u128, sigma: u64) -> Rho {
    let k = match scope {
        Scope::Customer => 1,
        Scope::Person => u128::from(n),
    };
    // Δ² ≤ 2^60·2^2 by the plan's grid, k² ≤ 2^20, 10^6 < 2^20; a layout from elsewhere saturates, that is, costs too much.
    let p = sensitivity_squared.saturating_mul(k.saturating_mul(k)).saturating_mul(1_000_000);
    let q = u128::from(sigma).pow(2).saturating_mul(2 * u128::from(n - t));
    Rho::from_micro(u64::try_from(p / q).unwrap_or(u64::MAX).saturating_add(1))
}

/// The loss of a person who may be a customer of all n participants, by that of the stated scope.
pub(crate) fn person(scope: Scope, n: u32, rho: Rho) -> Rho {
    match scope {
        Scope::Customer => rho.times(u64::from(n).pow(2)),
        Scope::Person => rho,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::bounds::Component;
    use super::*;

    fn layout() -> Layout {
        let components = vec![
            Component::Rows { unit: 1 << 20 },
            Component::Values { per_row: 1000 },
            Component::Customers { unit: 1 << 20 },
        ];
        Layout::new(5, 3, 20, components)
    }

    fn mechanism(scope: Scope, n: u32, t: u32, micro: u64) -> Mechanism {
        Mechanism::new(layout(), scope, n, t, Rho::from_micro(micro)).unwrap()
    }

    /// The formula once more, in floating point and straight from the paper.
    fn rho_by_the_paper(mechanism: &Mechanism) -> f64 {
        let m = f64::from(mechanism.participants() - mechanism.colluders());
        let k = if mechanism.scope() == Scope::Person { f64::from(mechanism.participants()) } else { 1.0 };
        let tau = |sigma: f64| -> f64 {
            let terms = (1..m as u32).map(|j| f64::from(j) / f64::from(j + 1));
            10.0 * terms.map(|ratio| (-2.0 * std::f64::consts::PI.powi(2) * sigma.powi(2) * ratio).exp()).sum::<f64>()
        };
        let layout = mechanism.layout();
        let components = mechanism.sigmas().iter().enumerate().map(|(component, &sigma)| {
            let sigma = sigma as f64;
            let delta_squared = layout.sensitivity_squared(component) as f64;
            k * k * delta_squared / (2.0 * m * sigma * sigma) + 0.25 * tau(sigma) * layout.cells() as f64
        });
        components.sum()
    }

    #[test]
    fn the_charge_is_what_the_paper_says_rounded_up() {
        for scope in [Scope::Customer, Scope::Person] {
            for (n, t) in [(1, 0), (2, 1), (3, 1), (3, 2), (10, 4)] {
                let mechanism = mechanism(scope, n, t, 16_789);
                let (charged, exact) = (mechanism.rho().value(), rho_by_the_paper(&mechanism));
                assert!(charged >= exact && charged <= exact + 4e-6, "{scope:?} {n} {t}: {charged} {exact}");
                assert!(mechanism.rho() <= Rho::from_micro(16_789));
            }
        }
    }

    #[test]
    fn fewer_honest_shares_mean_more_noise_each() {
        let sigma = |t| mechanism(Scope::Customer, 5, t, 10_000).sigmas()[0] as f64;
        for t in 1..5u32 {
            let expected = (f64::from(5 - 1) / f64::from(5 - t)).sqrt();
            assert!((sigma(t) / sigma(1) - expected).abs() < 1e-4, "t = {t}");
        }
    }

    #[test]
    fn scope_person_scales_the_noise_by_the_participants() {
        let (customer, person) = (mechanism(Scope::Customer, 3, 1, 10_000), mechanism(Scope::Person, 3, 1, 10_000));
        for (customer, person) in customer.sigmas().iter().zip(person.sigmas()) {
            assert!((*person as f64 / *customer as f64 - 3.0).abs() < 1e-3);
        }
        assert_eq!(customer.rho_person(), customer.rho().times(9));
        assert_eq!(person.rho_person(), person.rho());
    }

    #[test]
    fn what_cannot_be_promised_is_refused() {
        let new = |n, t, micro| Mechanism::new(layout(), Scope::Customer, n, t, Rho::from_micro(micro)).unwrap_err();
        assert_eq!(new(0, 0, 1000), Infeasible::Participants(0));
        assert!(matches!(new(3, 0, 1000), Infeasible::Colluders { least: 1, most: 2, .. }));
        assert!(matches!(new(3, 3, 1000), Infeasible::Colluders { .. }));
        assert!(matches!(new(3, 1, 2), Infeasible::Budget { .. }));
        let empty = Layout::new(1, 1, 1, vec![]);
        assert!(Mechanism::new(empty, Scope::Customer, 3, 1, Rho::from_micro(1000)).is_err());
    }

    proptest! {
        #[test]
        fn a_budget_is_kept_and_used(micro in 30u64..10_000_000, n in 2u32..20, t in 1u32..19) {
            prop_assume!(t < n);
            let mechanism = mechanism(Scope::Customer, n, t, micro);
            prop_assert!(mechanism.rho().micro() <= micro);
            prop_assert!(mechanism.sigmas().iter().all(|sigma| *sigma >= MIN_SIGMA));
            // Within a few per mille of the budget: noise is not wasted.
            prop_assert!(mechanism.rho().micro() + 3 + micro / 200 >= micro);
        }
    }
}
