//! How a model is trained: which sums are released, round after round, what nodes bring to each, and what is made of them.
//!
//! ```text
//! Training ─▶ releases: layout and share of the budget of every round, known before anything runs
//! coordinator: Trainer::input ─▶ nodes: Contribute::add over their customers ─▶ sum ─▶ Trainer::absorb ─▶ … ─▶ finish
//! ```
//!
//! A node adds what the plan and the round's input say, both of which are public; whatever they are, the clipping step
//! ([`crate::privacy::sums`]) bounds what one customer does. The trainer sees released sums alone, so all it does is
//! post-processing. It is deterministic: a coordinator that restarts feeds it the same sums and goes on.

use std::ops::Range;

use super::evaluation::{self, Evaluation, checkpoints};
use super::model::{Model, Parameters, Recoding};
use super::recipe::{Recipe, Target};
use super::{additive, kmeans, linear, logistic};
use crate::privacy::bounds::{Component, Layout};
use crate::privacy::rho::MILLION;
use crate::privacy::rows::Block;
use crate::privacy::sums::Sums;

/// What a study may say about a method, which chooses what is left open from public facts and the budget.
#[derive(Clone, Debug, Default, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Options {
    /// How many rounds.
    pub rounds: Option<u32>,
    /// What one customer's part is clipped to, in the method's own unit.
    pub clip: Option<f64>,
    /// The most bins of a number.
    pub bins: Option<u32>,
    /// How many clusters.
    pub clusters: Option<u32>,
    /// How strongly parameters are drawn to zero, where 1 is what the method chooses.
    pub regularisation: Option<f64>,
    /// How many terms of two features.
    pub pairs: Option<u32>,
    /// Features whose effect may only rise (true) or fall.
    pub monotone: Vec<(String, bool)>,
    /// For whatever a method draws, and for the choice of held-out customers.
    pub seed: Option<u64>,
}

/// The kind of model and what is public about its training.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode)]
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
    pub evaluation: Option<evaluation::Settings>,
}

/// Which customers a release sums over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Those the model is trained with.
    Training,
    /// Those it is evaluated with.
    HeldOut,
}

/// One release of a training: one bounded vector sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// What it is for, in a word or two.
    pub name: String,
    /// Over whom.
    pub role: Role,
    /// Its components, each with its share of the study's ρ in millionths.
    pub components: Vec<(Component, u32)>,
}

impl Release {
    /// How the released vector is laid out and bounded.
    pub fn layout(&self) -> Layout {
        Layout::sums(self.components.iter().map(|(component, _)| *component).collect())
    }
}

/// Which participant a node is: position among the participants, sorted by name, and their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 0.
    pub position: usize,
    /// n.
    pub participants: usize,
}

/// What nodes are told before a release: public, and all that is not in the plan.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Input {
    /// How the recipe's codes are to be changed once and for all, from this release on.
    pub recoding: Option<Recoding>,
    /// The model as it stands.
    pub parameters: Parameters,
    /// What residuals are measured in; 1 where the method does not say otherwise.
    pub unit: f64,
    /// For the evaluation, the models that its checkpoints compare, in order; otherwise none.
    pub checkpoints: Vec<Parameters>,
}

/// An input that does not fit the plan; in words, for the node's log and the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the round's input does not fit the plan: {0}")]
pub struct Unfit(pub String);

/// What a node brings to one release, made ready.
pub trait Contribute: Send + Sync {
    /// Adds some customers, each once: their rows after the input's recoding, the codes of their target (empty without one),
    /// and how much each counts, in steps of 1/[`FULL`] (empty where all count in full).
    fn add(&self, block: &Block, target: &[u16], weights: &[u16], sums: &mut Sums);
}

/// The weight of a customer that counts in full; more is taken for it.
pub const FULL: u16 = 1024;

/// What customers bring, v, as much as they count: v·w/[`FULL`] with w the weight, towards zero.
///
/// **Sensitivity.** It is never more than |v|, and comes before the clipping step, which bounds whatever it is given
/// ([`crate::privacy::sums`]): weights change neither a release's layout nor its sensitivity, whatever they are. One customer's
/// weight is its own, so neighbouring data differ in that customer's part alone. Counts of customers are of [`FULL`] units, of
/// which a weight takes whole ones: a sum of residuals is at most their bound times the count, as the coordinator's checks of
/// plausibility have it.
pub(super) fn weighed(mut values: Vec<i32>, weights: &[u16]) -> Vec<i32> {
    for (value, weight) in values.iter_mut().zip(weights) {
        // Of 64 bits; no larger than the value.
        *value = (i64::from(*value) * i64::from(*weight.min(&FULL)) / i64::from(FULL)) as i32;
    }
    values
}

/// Standard deviations beyond which a sum is not put down to noise: for any of a million sums, one release in 10^9.
pub(super) const SLACK: f64 = 8.0;

/// Sums that honest customers cannot have brought: some participant sent something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Implausible(pub String);

/// What becomes of released sums: the state of one training, at the coordinator.
pub trait Train: Send {
    /// The input of the next release.
    fn input(&self) -> Input;
    /// Takes the sum of a release, component after component, with the standard deviation of the noise in each
    /// component; all in grid units.
    ///
    /// # Errors
    ///
    /// If no customers could have brought it; the state is then as before.
    fn absorb(&mut self, sum: &[&[i64]], sd: &[f64]) -> Result<(), Implausible>;
    /// The model, after all releases of its method.
    fn finish(&self) -> Parameters;
    /// The model as the last release has left it, where [`Train::finish`] gives a mean over several of them.
    fn checkpoint(&self) -> Parameters {
        self.finish()
    }
    /// The standard deviation that the noise of all releases gives each value of an additive model's shapes, as far as the
    /// method knows it; empty if it does not.
    fn noise(&self) -> Vec<Vec<f64>> {
        Vec::new()
    }
}

impl Training {
    /// All releases in order: those of the method, then the evaluation.
    pub fn releases(&self, participants: usize) -> Vec<Release> {
        let left = MILLION - self.evaluation.as_ref().map_or(0, |evaluation| evaluation.share.min(MILLION));
        let mut releases = match &self.method {
            Method::Linear(settings) => linear::releases(settings, &self.recipe),
            Method::Logistic(settings) => logistic::releases(settings, &self.recipe),
            Method::Additive(settings) => additive::releases(settings, &self.recipe),
            Method::Kmeans(settings) => kmeans::releases(settings, &self.recipe),
        };
        // A method divides a whole; what the evaluation takes comes off every part.
        for (_, share) in releases.iter_mut().flat_map(|release| &mut release.components) {
            *share = (u64::from(*share) * u64::from(left) / u64::from(MILLION)) as u32;
        }
        releases.extend(self.evaluation.as_ref().map(|settings| evaluation::release(settings, self, participants)));
        releases
    }

    /// What a node does for release number `release`, counted from 0.
    ///
    /// # Errors
    ///
    /// If the input is not one of this training: of another model, another size, or not of finite numbers.
    pub fn contributor(&self, release: usize, input: &Input, place: Place) -> Result<Box<dyn Contribute>, Unfit> {
        if let Some(recoding) = &input.recoding {
            recoding.check(&self.recipe).map_err(Unfit)?;
        }
        input.parameters.check(&self.recipe, input.recoding.as_ref()).map_err(Unfit)?;
        if !(input.unit.is_finite() && input.unit > 0.0) {
            return Err(Unfit("residuals are measured in nothing".into()));
        }
        let releases = self.releases(place.participants);
        if release >= releases.len() {
            return Err(Unfit(format!("there is no release {release}")));
        }
        let held_out = releases[release].role == Role::HeldOut;
        let expected = if held_out { checkpoints::models(self) } else { 0 };
        if input.checkpoints.len() != expected {
            let told = input.checkpoints.len();
            return Err(Unfit(format!("it has {told} models of earlier rounds where the plan has {expected}")));
        }
        for model in &input.checkpoints {
            model.check(&self.recipe, input.recoding.as_ref()).map_err(Unfit)?;
        }
        if held_out {
            return evaluation::contributor(self, input, place);
        }
        match &self.method {
            Method::Linear(settings) => linear::contributor(settings, self, release, input),
            Method::Logistic(settings) => logistic::contributor(settings, self, release, input),
            Method::Additive(settings) => additive::contributor(settings, self, release, input),
            Method::Kmeans(settings) => kmeans::contributor(settings, self, release, input),
        }
    }

    /// The state of a training of which nothing is released yet.
    pub fn start(&self) -> Box<dyn Train> {
        match &self.method {
            Method::Linear(settings) => linear::start(settings, self),
            Method::Logistic(settings) => logistic::start(settings, self),
            Method::Additive(settings) => additive::start(settings, self),
            Method::Kmeans(settings) => kmeans::start(settings, self),
        }
    }
}

/// A whole training at the coordinator: its method's releases, then the evaluation.
pub struct Trainer {
    training: Training,
    state: Box<dyn Train>,
    participants: usize,
    absorbed: usize,
    /// The releases of each checkpoint, and the models between them as far as there are any.
    spans: Vec<Range<usize>>,
    checkpoints: Vec<Parameters>,
    evaluation: Option<Evaluation>,
}

impl Trainer {
    /// A training by this many participants.
    pub fn new(training: &Training, participants: usize) -> Self {
        Self {
            training: training.clone(),
            state: training.start(),
            participants,
            absorbed: 0,
            spans: checkpoints::spans(training),
            checkpoints: Vec::new(),
            evaluation: None,
        }
    }

    /// How many releases have been absorbed: the number of the next one, counted from 0.
    pub fn next(&self) -> usize {
        self.absorbed
    }

    /// From the next release on there are this many participants.
    pub fn set_participants(&mut self, participants: usize) {
        self.participants = participants;
    }

    /// The input of the next release.
    pub fn input(&self) -> Input {
        let mut input = self.state.input();
        let next = self.training.releases(self.participants).into_iter().nth(self.absorbed);
        if next.is_some_and(|release| release.role == Role::HeldOut) {
            input.checkpoints.clone_from(&self.checkpoints);
        }
        input
    }

    /// Takes the sum of the next release. `sd` is the standard deviation of the noise in each component, in grid units.
    ///
    /// # Errors
    ///
    /// If no customers could have brought it; the state is then as before.
    pub fn absorb(&mut self, sum: &[i64], sd: &[f64]) -> Result<(), Implausible> {
        let releases = self.training.releases(self.participants);
        let wrong = || Implausible("the sum has another length than the release's".into());
        let release = releases.get(self.absorbed).ok_or_else(wrong)?;
        let layout = release.layout();
        if sum.len() != layout.len() || sd.len() != layout.components().len() {
            return Err(wrong());
        }
        let parts: Vec<&[i64]> = layout.ranges().into_iter().map(|range| &sum[range]).collect();
        match (release.role, &self.training.evaluation) {
            (Role::HeldOut, Some(settings)) => {
                let model = self.state.finish();
                self.evaluation =
                    Some(evaluation::of(settings, &self.training, &model, &parts, sd, self.participants)?);
            }
            _ => {
                let first = self.spans.first().is_some_and(|span| span.start == self.absorbed);
                let before = first.then(|| self.state.checkpoint());
                self.state.absorb(&parts, sd)?;
                let last = self.spans.iter().any(|span| span.end == self.absorbed + 1);
                let after = last.then(|| self.state.checkpoint());
                self.checkpoints.extend(before.into_iter().chain(after));
            }
        }
        self.absorbed += 1;
        Ok(())
    }

    /// The model as it is now.
    pub fn model(&self) -> Model {
        Model {
            recipe: self.training.recipe.clone(),
            target: self.training.target.clone(),
            recoding: self.state.input().recoding,
            parameters: self.state.finish(),
        }
    }

    /// See [`Train::noise`].
    pub fn noise(&self) -> Vec<Vec<f64>> {
        self.state.noise()
    }

    /// The evaluation, once its release is absorbed.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        self.evaluation.as_ref()
    }
}
