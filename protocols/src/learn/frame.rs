//! What all methods share: releases, what a node brings to one, and what the coordinator makes of the sums.
//!
//! A node adds what the plan and the round's input say, both of which are public; whatever they are, the clipping step
//! ([`crate::privacy::sums`]) bounds what one customer does. The coordinator sees released sums alone, so all it does is
//! post-processing. It is deterministic: a coordinator that restarts takes the same sums again and goes on.

use super::model::{ModelError, Parameters, Recoding};
use crate::digest::Digest;
use crate::privacy::bounds::{Component, Layout};
use crate::privacy::rows::Block;
use crate::privacy::sums::Sums;

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

/// The input of a release: public, and everything that is not in the plan.
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

impl Input {
    /// Hash of the model in it ([`super::model::Model::learnt`]).
    pub fn learnt(&self) -> Digest {
        super::model::learnt(self.recoding.as_ref(), &self.parameters)
    }
}

/// An input that does not fit the plan; the text is for the node's log and the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the round's input does not fit the plan: {0}")]
pub struct Unfit(pub String);

impl From<ModelError> for Unfit {
    fn from(error: ModelError) -> Self {
        Self(error.to_string())
    }
}

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
