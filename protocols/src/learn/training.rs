//! What fixes a training: features, target, method, evaluation; all of it public. And what each method does of it.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::frame::{Contribute, Input, Release, Train, Unfit};
use super::recipe::{Recipe, Target};
use super::{additive, kmeans, linear, logistic};

/// The kind of model and what is public about its training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[serde(tag = "model", rename_all = "lowercase")]
pub enum Method {
    /// Ridge regression from second moments.
    Linear(linear::Settings),
    /// Logistic regression.
    Logistic(logistic::Settings),
    /// A sum of step functions.
    Additive(additive::Settings),
    /// Clusters.
    Kmeans(kmeans::Settings),
}

/// Everything public that fixes how a model is trained and evaluated.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Training {
    /// The features.
    pub recipe: Recipe,
    /// The target; `None` where there is nothing to predict.
    pub target: Option<Target>,
    /// The model.
    pub method: Method,
    /// The evaluation, if one is paid for.
    pub evaluation: Option<EvaluationSettings>,
}

/// How a model is evaluated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct EvaluationSettings {
    /// Its share of the study's ρ, in millionths.
    pub share: u32,
    /// Whether each participant's customers are evaluated by themselves as well.
    pub per_partner: bool,
}

/// The releases that change a model, one after the other.
pub(super) struct Moves {
    /// Which ones these are.
    pub(super) releases: Range<usize>,
    /// The most bytes that the model takes in an input.
    pub(super) size: usize,
}

impl Method {
    /// The releases, of which each has its share of the method's own budget.
    pub(super) fn releases(&self, recipe: &Recipe) -> Vec<Release> {
        match self {
            Self::Linear(settings) => linear::releases(settings, recipe),
            Self::Logistic(settings) => logistic::releases(settings, recipe),
            Self::Additive(settings) => additive::releases(settings, recipe),
            Self::Kmeans(settings) => kmeans::releases(settings, recipe),
        }
    }

    /// What a node does for release number `release`, counted from 0.
    ///
    /// # Errors
    ///
    /// If the input is not one of this method at this release.
    pub(super) fn contributor(
        &self,
        recipe: &Recipe,
        target: Option<&Target>,
        release: usize,
        input: &Input,
    ) -> Result<Box<dyn Contribute>, Unfit> {
        match self {
            Self::Linear(_) => linear::contributor(target, release),
            Self::Logistic(settings) => logistic::contributor(settings, recipe, target, release, input),
            Self::Additive(settings) => additive::contributor(settings, recipe, target, release, input),
            Self::Kmeans(settings) => kmeans::contributor(settings, recipe, release, input),
        }
    }

    /// The state of a training of which nothing is released yet.
    pub(super) fn start(&self, recipe: &Recipe) -> Box<dyn Train> {
        match self {
            Self::Linear(settings) => linear::start(settings, recipe),
            Self::Logistic(settings) => logistic::start(settings, recipe),
            Self::Additive(settings) => additive::start(settings, recipe),
            Self::Kmeans(settings) => kmeans::start(settings, recipe),
        }
    }

    /// The releases between which models can be compared; `None` where there is only one.
    pub(super) fn moves(&self, recipe: &Recipe) -> Option<Moves> {
        let (releases, size) = match self {
            Self::Linear(_) => return None,
            Self::Logistic(settings) => (logistic::moves(settings, recipe), logistic::size(recipe)),
            Self::Additive(settings) => (additive::moves(settings, recipe), additive::size(settings, recipe)),
            Self::Kmeans(settings) => (kmeans::moves(settings), kmeans::size(settings, recipe)),
        };
        Some(Moves { releases, size })
    }
}
