//! How a model is trained: which sums are released, round after round, what nodes bring to each, and what is made of them.
//!
//! ```text
//! Training ─▶ releases: layout and share of the budget of every round, known before anything runs
//! coordinator: Trainer::input ─▶ nodes: Contribute::add over their customers ─▶ sum ─▶ Trainer::absorb ─▶ … ─▶ finish
//! ```

use std::ops::Range;

use super::evaluation::{self, Evaluation, checkpoints};
use super::frame::{Contribute, Implausible, Input, Place, Release, Role, Train, Unfit};
use super::model::{Model, Parameters};
use super::training::Training;
use crate::privacy::rho::MILLION;

impl Training {
    /// All releases in order: those of the method, then the evaluation.
    pub fn releases(&self, participants: usize) -> Vec<Release> {
        let left = MILLION - self.evaluation.as_ref().map_or(0, |evaluation| evaluation.share.min(MILLION));
        let mut releases = self.method.releases(&self.recipe);
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
            recoding.check(&self.recipe)?;
        }
        input.parameters.check(&self.recipe, input.recoding.as_ref())?;
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
            model.check(&self.recipe, input.recoding.as_ref())?;
        }
        if held_out {
            return evaluation::contributor(self, input, place);
        }
        self.method.contributor(&self.recipe, self.target.as_ref(), release, input)
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
            state: training.method.start(&training.recipe),
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
