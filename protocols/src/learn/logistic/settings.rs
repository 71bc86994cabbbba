//! What a study may choose, and what is chosen otherwise.

use crate::learn::options::{Options, affordable, only};
use crate::learn::recipe::Recipe;
use crate::privacy::rho::MILLION;
use crate::privacy::rows::{Column, UNIT};

/// Settings.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode)]
pub struct Settings {
    /// T: how many gradients, besides the one at weights of zero.
    pub rounds: u32,
    /// A: what a customer's residual is clipped to.
    pub clip: f64,
    /// How strongly weights are drawn to zero, where 1 is as the noise asks for.
    pub regularisation: f64,
}

/// The largest number of gradients.
pub const MAX_ROUNDS: u32 = 200;
/// The smallest A: weights of customers then still have 327 steps either way.
const LEAST_CLIP: f64 = 0.01;
/// The share of the histograms, in millionths.
pub(super) const HISTOGRAMS: u32 = MILLION / 20;
/// The share of the sums by label, in millionths.
pub(super) const LABELS: u32 = MILLION / 100 * 15;
/// The weight of a customer in the sums by label.
pub(super) const WEIGHT: i32 = 1024;

impl Settings {
    /// What is chosen for a recipe and a budget (ρ of the method's releases), within what the study says.
    ///
    /// # Errors
    ///
    /// A refusal that says what is wrong with an option, or how many features the budget can carry.
    pub fn choose(options: &Options, recipe: &Recipe, rho: f64) -> Result<Self, String> {
        only(options, "logistic", &["rounds", "clip", "regularisation"])?;
        let settings = Self {
            rounds: options.rounds.unwrap_or(12),
            clip: options.clip.unwrap_or(0.8),
            regularisation: options.regularisation.unwrap_or(1.0),
        };
        settings.check()?;
        // Of a gradient, in customers of the largest residual that is not clipped.
        let noise = (recipe.features.len() as f64 * f64::from(settings.rounds) / (2.0 * 0.8 * rho)).sqrt();
        affordable(recipe.features.len(), noise)?;
        Ok(settings)
    }

    /// Whether these can train a model; if not, why.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=MAX_ROUNDS).contains(&self.rounds) {
            return Err(format!("`rounds` is between 1 and {MAX_ROUNDS}, not {}", self.rounds));
        }
        if !(LEAST_CLIP..=1.0).contains(&self.clip) {
            return Err(format!(
                "`clip` is the largest difference of an outcome and its probability that counts in full: between \
                 {LEAST_CLIP} and 1, not {}",
                self.clip
            ));
        }
        if !(0.0..=1e6).contains(&self.regularisation) {
            return Err(format!(
                "`regularisation` is a factor between 0 and 1000000, where 1 is as the noise asks for, not {}",
                self.regularisation
            ));
        }
        Ok(())
    }

    /// The largest weight of a customer in a gradient: A in steps of 1/[`UNIT`].
    pub(super) fn most(&self) -> i32 {
        ((self.clip * f64::from(UNIT)) as i32).clamp(1, UNIT)
    }

    /// The share of each gradient, in millionths.
    pub(super) fn gradient(&self, recipe: &Recipe) -> u32 {
        let before = LABELS + if has_numbers(recipe) { HISTOGRAMS } else { 0 };
        (MILLION - before) / self.rounds.clamp(1, MAX_ROUNDS)
    }
}

/// Whether there is a number to be scaled.
pub(super) fn has_numbers(recipe: &Recipe) -> bool {
    recipe.columns().contains(&Column::Number)
}
