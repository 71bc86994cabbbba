//! What there is to evaluate.

use crate::learn::kmeans;
use crate::learn::recipe::Target;
use crate::learn::training::{Method, Training};

/// What is evaluated, in terms of what is released.
pub(super) enum Predicted<'a> {
    Event,
    Number(&'a Target),
    Clusters(usize),
}

impl<'a> Predicted<'a> {
    pub(super) fn of(training: &'a Training) -> Self {
        match (&training.target, &training.method) {
            (Some(target), _) if target.is_event() => Self::Event,
            (Some(target), _) => Self::Number(target),
            (None, Method::Kmeans(kmeans::Settings { clusters, .. })) => Self::Clusters(*clusters as usize),
            // Not a training that can be planned.
            (None, _) => Self::Clusters(1),
        }
    }
}
