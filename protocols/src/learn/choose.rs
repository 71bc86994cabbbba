//! What methods choose by themselves, from public facts and the budget, where a study leaves it open.

use super::training::Options;
use super::{kmeans, linear};
use crate::learn::recipe::Recipe;

/// A sum whose noise is as large as so many customers is too noisy for any alliance: a training that would make such
/// sums is refused.
pub const MOST_NOISE: f64 = 100_000.0;

/// Refuses options that a method does not have.
pub(super) fn only(options: &Options, model: &str, known: &[&str]) -> Result<(), String> {
    let stated = [
        ("rounds", options.rounds.is_some()),
        ("clip", options.clip.is_some()),
        ("bins", options.bins.is_some()),
        ("clusters", options.clusters.is_some()),
        ("regularisation", options.regularisation.is_some()),
        ("pairs", options.pairs.is_some()),
        ("monotone", !options.monotone.is_empty()),
    ];
    match stated.iter().find(|(name, stated)| *stated && !known.contains(name)) {
        Some((name, _)) => Err(format!("model = \"{model}\" has no option `{name}`; leave it out")),
        None => Ok(()),
    }
}

/// Refuses a training of `features` features whose sums have a noise of `noise` customers each, where the noise grows with
/// the square root of the number of features.
pub(super) fn affordable(features: usize, noise: f64) -> Result<(), String> {
    if noise <= MOST_NOISE {
        return Ok(());
    }
    let most = (features as f64 * (MOST_NOISE / noise).powi(2)).floor();
    let instead = if most >= 1.0 {
        format!("the budget carries {most} features, not {features}: select fewer, or ask for a larger epsilon")
    } else {
        "the budget does not carry a single feature: ask for a larger epsilon".into()
    };
    Err(format!("the noise of each sum would be as large as {noise:.0} customers; {instead}"))
}

impl linear::Settings {
    /// What is chosen for a recipe and a budget (ρ of the method's release), within what the study says.
    ///
    /// # Errors
    ///
    /// A refusal that says what is wrong with an option, or how many features the budget can carry.
    pub fn choose(options: &Options, recipe: &Recipe, rho: f64) -> Result<Self, String> {
        only(options, "linear", &["clip", "regularisation"])?;
        let settings = Self { clip: options.clip, regularisation: options.regularisation };
        settings.check(recipe)?;
        // One customer's second moments have a norm of about the number of features.
        affordable(recipe.features.len(), recipe.features.len() as f64 / (2.0 * rho).sqrt())?;
        Ok(settings)
    }
}

impl kmeans::Settings {
    /// What is chosen for a recipe and a budget (ρ of the method's releases), within what the study says.
    ///
    /// # Errors
    ///
    /// A refusal that says what is wrong with an option, or how many features the budget can carry.
    pub fn choose(options: &Options, recipe: &Recipe, rho: f64) -> Result<Self, String> {
        only(options, "kmeans", &["clusters", "rounds"])?;
        let clusters = options.clusters.ok_or("model = \"kmeans\" needs `clusters`: how many there are to be")?;
        let settings = Self { clusters, rounds: options.rounds.unwrap_or(6), seed: options.seed.unwrap_or(0) };
        settings.check()?;
        let noise = (recipe.features.len() as f64 * f64::from(settings.rounds) / (2.0 * rho)).sqrt();
        affordable(recipe.features.len(), noise)?;
        Ok(settings)
    }
}
