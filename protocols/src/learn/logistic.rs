//! Being written.
use super::recipe::Recipe;
use super::training::{Contribute, Input, Options, Release, Train, Training, Unfit};

/// Settings.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode)]
pub struct Settings {}

pub(super) fn releases(_: &Settings, _: &Recipe) -> Vec<Release> {
    unimplemented!()
}

pub(super) fn contributor(_: &Settings, _: &Training, _: usize, _: &Input) -> Result<Box<dyn Contribute>, Unfit> {
    unimplemented!()
}

pub(super) fn start(_: &Settings, _: &Training) -> Box<dyn Train> {
    unimplemented!()
}

impl Settings {
    /// What is chosen for a recipe and a budget (ρ of the method's releases), within what the study says; `Err` is a
    /// refusal that says what is wrong with an option or how many features the budget can carry, and what to write instead.
    pub fn choose(_options: &Options, _recipe: &Recipe, _rho: f64) -> Result<Self, String> {
        unimplemented!()
    }
}
