//! A model that has been trained, with what is said of it.

use entente_protocols::learn::evaluation::{Detail, Evaluation};
use entente_protocols::learn::file::ModelFile;
use entente_protocols::learn::model::Parameters;
use entente_protocols::privacy::interval::Estimate;
use entente_protocols::privacy::rho::Rho;
use serde::Serialize;

use super::terms;

/// The model, for this software.
pub const MODEL: &str = "model.json";
/// The model, for every program that runs ONNX.
pub const ONNX: &str = "model.onnx";

/// A model that has been trained, with what is said of it.
pub struct Trained<'a> {
    /// The features query.
    pub sql: &'a str,
    /// The data set.
    pub dataset: &'a str,
    /// The column that is one customer.
    pub privacy_unit: &'a str,
    /// The model and where it comes from.
    pub file: ModelFile,
    /// What was public about the method, as JSON.
    pub settings: serde_json::Value,
    /// How well it does, where that was evaluated.
    pub evaluation: Option<&'a Evaluation>,
    /// The standard deviation that noise gives each value of an additive model's shapes, where known; else empty.
    pub noise: Vec<Vec<f64>>,
    /// What of the charge went into training and into the evaluation.
    pub charges: (Rho, Rho),
    /// The share of customers that were held out.
    pub holdout: f64,
    /// All rounds.
    pub rounds: Vec<Round>,
}

/// One round: one release.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Round {
    /// Its number, from 1.
    pub round: u32,
    /// What it was for.
    pub name: String,
    /// `training` or `held-out`.
    pub customers: &'static str,
    /// Its charge, in the stated scope.
    pub rho: f64,
    /// How long it took.
    pub seconds: f64,
    /// How many took part.
    pub participants: u32,
    /// The attempt it was summed in.
    pub attempt: u32,
    /// Whether it is an earlier release once more, at no charge.
    pub repeated: bool,
    /// What it did to the loss of held-out customers, where that was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out_change: Option<HeldOutChange>,
}

/// What a round did to the mean loss of held-out customers; below zero it made the model better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HeldOutChange {
    /// The change, with an interval that covers the noise.
    #[serde(flatten)]
    pub change: Estimate,
    /// The first round that it is the change of, where that is not the round itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_round: Option<u32>,
}

/// The features that hardly move the score: by less than a twentieth of what the one that moves it most does, or by no more
/// than noise explains.
pub fn idle_features(trained: &Trained<'_>) -> Vec<String> {
    let terms = terms::terms(&trained.file.model, &trained.noise);
    let most = terms.iter().map(terms::Term::range).fold(0.0, f64::max);
    let paired: Vec<usize> = match &trained.file.model.parameters {
        Parameters::Additive { pairs, .. } => {
            pairs.iter().flat_map(|pair| [pair.features.0 as usize, pair.features.1 as usize]).collect()
        }
        _ => Vec::new(),
    };
    let idle = terms
        .iter()
        .enumerate()
        .filter(|(i, term)| (term.range() <= most / 20.0 || term.is_noise()) && !paired.contains(i));
    idle.map(|(_, term)| term.feature.clone()).collect()
}

/// The shares of clusters, where they were evaluated.
pub(super) fn shares(evaluation: Option<&Evaluation>) -> Option<Vec<f64>> {
    match &evaluation?.detail {
        Detail::Clusters { clusters } => Some(clusters.iter().map(|cluster| cluster.share.value).collect()),
        Detail::Event(_) | Detail::Number => None,
    }
}

#[cfg(test)]
mod tests;
