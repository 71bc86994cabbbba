//! What may be spent on a data set, and what has been.

use crate::privacy::rho::Rho;

/// What may be spent on one data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Caps {
    /// Over its lifetime.
    pub lifetime: Rho,
    /// By one study, over all its attempts.
    pub per_study: Rho,
    /// The δ at which the budget was stated, for showing ε.
    pub delta: f64,
}

/// What has been spent on one data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Σρ of the charges, each in its study's scope.
    pub rho: Rho,
    /// Σ of the losses to a person who may be a customer of every participant.
    pub person: Rho,
}

/// A charge that a cap does not admit. Nothing was charged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{what} of data set `{dataset}` does not admit it: asked ρ = {asked}, spent {spent}{} of {cap} (ε = {epsilon_spent:.3} of {epsilon_cap:.3} at δ = {delta:e})",
    and_held(*held)
)]
pub struct OverCap {
    /// The lifetime budget or the budget per study.
    pub what: &'static str,
    /// The data set.
    pub dataset: String,
    /// The charge.
    pub asked: Rho,
    /// Σρ so far.
    pub spent: Rho,
    /// What is set aside for other studies that go on.
    pub held: Rho,
    /// The cap.
    pub cap: Rho,
    /// Σρ so far as ε.
    pub epsilon_spent: f64,
    /// The cap as ε.
    pub epsilon_cap: f64,
    /// The δ of both.
    pub delta: f64,
}

fn and_held(held: Rho) -> String {
    if held == Rho::ZERO { String::new() } else { format!(" and {held} set aside for studies that go on") }
}
