//! What a study may choose, and what is chosen otherwise.

use crate::learn::fine::Fine;
use crate::learn::options::{Options, affordable, only};
use crate::learn::recipe::Recipe;
use crate::privacy::rows::Column;

/// Settings.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode)]
pub struct Settings {
    /// Whether an event is predicted, rather than a number.
    pub event: bool,
    /// How many rounds of residuals, T.
    pub rounds: u32,
    /// What a residual is clipped to, A: in probability, or in spreads of the target.
    pub clip: f64,
    /// Bins of a number, of equal weight; B.
    pub bins: u32,
    /// How strongly shapes are drawn to zero and to smoothness, where 1 is the usual.
    pub regularisation: f64,
    /// How many terms of two features are added.
    pub pairs: u32,
    /// Features whose shape may only rise (true) or fall, by position.
    pub monotone: Vec<(u32, bool)>,
}

/// Shares of the budget, in millionths: histograms of numbers, the start, and (of the rest) the pairs.
pub(super) const FINE: u32 = 50_000;
pub(super) const START: u32 = 150_000;
pub(super) const PAIRS: u32 = 100_000;
/// The value of one customer in a cell of the start.
pub(super) const ONE: i32 = 1024;
/// Most cells of all features; beyond it the input of a round would be too long a message.
const MAX_CELLS: usize = 200_000;
/// Most cells of one feature: codes have 16 bits, and the start has two cells for each.
const MAX_WIDTH: usize = 32_767;

impl Settings {
    /// What is chosen for a recipe and a budget (ρ of the method's releases), within what the study says.
    ///
    /// # Errors
    ///
    /// A refusal that says what is wrong with an option, or how many features the budget can carry.
    pub fn choose(options: &Options, recipe: &Recipe, event: bool, rho: f64) -> Result<Self, String> {
        only(options, "additive", &["rounds", "clip", "bins", "regularisation", "pairs", "monotone"])?;
        let features = recipe.features.len();
        let within = |name: &str, value: f64, low: f64, high: f64| match (low..=high).contains(&value) {
            true => Ok(value),
            false => Err(format!("`{name}` is {value}; it lies between {low} and {high}")),
        };
        let most_clip = if event { 1.0 } else { 6.0 };
        let clip = within("clip", options.clip.unwrap_or(if event { 0.8 } else { 1.5 }), 0.01, most_clip)?;
        let rounds = within("rounds", f64::from(options.rounds.unwrap_or(12)), 1.0, 200.0)? as u32;
        let bins = within("bins", f64::from(options.bins.unwrap_or(16)), 2.0, 120.0)? as u32;
        let regularisation = within("regularisation", options.regularisation.unwrap_or(1.0), 0.01, 100.0)?;
        let pairs = within("pairs", f64::from(options.pairs.unwrap_or(0)), 0.0, 10.0)? as u32;
        if pairs > 0 && features < 2 {
            return Err("`pairs` needs two features or more".into());
        }
        let mut monotone = Vec::new();
        for (name, rising) in &options.monotone {
            let position = recipe.features.iter().position(|feature| feature.name == *name);
            let position = position.ok_or_else(|| format!("`monotone` names `{name}`, which is not a feature"))?;
            if recipe.features[position].values.column() != Column::Number {
                return Err(format!("`monotone` names `{name}`, whose values have no order"));
            }
            monotone.push((position as u32, *rising));
        }
        let settings = Self { event, rounds, clip, bins, regularisation, pairs, monotone };
        let cells: usize = settings.widths(recipe).iter().sum();
        let wide = recipe.features.iter().find(|feature| settings.width(feature.values.column()) > MAX_WIDTH);
        if let Some(feature) = wide {
            return Err(format!("`{}` has more than {} categories; merge some with CASE", feature.name, MAX_WIDTH - 1));
        }
        if cells > MAX_CELLS {
            return Err(format!(
                "the features have {cells} bins and values in all; a model has at most {MAX_CELLS}: merge categories with CASE"
            ));
        }
        let noise = (features as f64 * f64::from(rounds) / (2.0 * 0.8 * rho)).sqrt() * clip;
        affordable(features, noise)?;
        Ok(settings)
    }

    /// How many cells a feature takes in a release: enough for its bins, however many come out.
    pub(super) fn width(&self, column: Column) -> usize {
        match column {
            // Bins of equal weight, single values, and missing ones.
            Column::Number => 2 * self.bins as usize + 2,
            Column::Category { values } => usize::from(values) + 1,
        }
    }

    pub(super) fn widths(&self, recipe: &Recipe) -> Vec<usize> {
        recipe.columns().into_iter().map(|column| self.width(column)).collect()
    }

    pub(super) fn fine(&self, recipe: &Recipe) -> Fine {
        Fine::new(recipe, !self.event)
    }
}
