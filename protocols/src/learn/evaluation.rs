//! Being written.
use super::model::Parameters;
use super::training::{Contribute, Implausible, Input, Place, Release, Training, Unfit};

/// Settings.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode)]
pub struct Settings {
    /// Its share of the study's ρ, in millionths.
    pub share: u32,
    /// Whether each participant's customers are evaluated by themselves as well.
    pub per_partner: bool,
}

/// How well a model does.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Evaluation {}

pub(super) fn release(_: &Settings, _: &Training, _participants: usize) -> Release {
    unimplemented!()
}

pub(super) fn contributor(_: &Training, _: &Input, _: Place) -> Result<Box<dyn Contribute>, Unfit> {
    unimplemented!()
}

pub(super) fn of(
    _: &Settings,
    _: &Training,
    _model: &Parameters,
    _sum: &[&[i64]],
    _sd: &[f64],
    _participants: usize,
) -> Result<Evaluation, Implausible> {
    unimplemented!()
}
