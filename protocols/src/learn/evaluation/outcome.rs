//! What an evaluation says.

use serde::Serialize;

use crate::privacy::interval::Estimate;

/// How well a model does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// On all held-out customers.
    pub all: Performance,
    /// On those of each participant, by position; empty unless asked for.
    pub partners: Vec<Performance>,
    /// More about all of them.
    pub detail: Detail,
    /// What the training's rounds did to them, in order; empty where a model has one round.
    pub changes: Vec<Change>,
}

/// How well a model does on some customers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Performance {
    /// How many customers these are; the interval covers noise alone.
    pub customers: Estimate,
    /// In a fixed order, the one that matters most first.
    pub metrics: Vec<Metric>,
}

impl Performance {
    /// A metric by its name.
    pub fn metric(&self, name: &str) -> Option<Estimate> {
        self.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.estimate)
    }
}

/// A number that says how well a model does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Metric {
    /// Its name; the modules list them.
    pub name: &'static str,
    /// Its value.
    #[serde(flatten)]
    pub estimate: Estimate,
}

/// What there is to say by kind of model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Detail {
    /// An event.
    Event(Curves),
    /// A number: nothing more.
    Number,
    /// Clusters.
    Clusters {
        /// By position.
        clusters: Vec<Cluster>,
    },
}

/// What a histogram of scores shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curves {
    /// What is predicted and what happens, in groups of about a tenth of customers, by ascending score.
    pub calibration: Vec<Calibration>,
    /// What comes of targeting the best tenth, two tenths, … of customers.
    pub gains: Vec<Gain>,
    /// Points of the ROC curve, by descending threshold.
    pub roc: Vec<Point>,
}

/// One group of customers with similar scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// The probabilities that it has, from this …
    pub from: f64,
    /// … to below this.
    pub to: f64,
    /// The mean predicted probability, each customer's being its bin's middle.
    pub predicted: f64,
    /// The share who have the event: all shares of which the noisy counts are within 1.96 standard deviations, those of
    /// noise and of a binomial count (Fieller's interval, and Wilson's).
    pub observed: Estimate,
    /// How many they are; the interval covers noise alone.
    pub customers: Estimate,
}

/// What comes of targeting the customers with the highest scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gain {
    /// The share of customers who are targeted.
    pub targeted: f64,
    /// The share of all events that they have.
    pub captured: Estimate,
    /// How many times as frequent the event is among them as among all.
    pub lift: Estimate,
}

/// A point of the ROC curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Customers with at least this probability are predicted to have the event.
    pub threshold: f64,
    /// The share of those without the event for whom it is predicted.
    pub false_positives: Estimate,
    /// The share of those with the event for whom it is predicted.
    pub true_positives: Estimate,
}

/// One cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// How many held-out customers are in it; the interval covers noise alone.
    pub customers: Estimate,
    /// Their share of all.
    pub share: Estimate,
    /// Their mean squared distance from its centre.
    pub distance: Estimate,
}

/// What a round, or several, did to the loss of held-out customers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The first of these rounds, counted from 1.
    pub first: u32,
    /// The last of them; mostly the same one.
    pub last: u32,
    /// The mean change, below zero where the model became better: of the Brier score, of the squared error in the
    /// target's unit, or of the squared distance. The interval covers the noise; it is about these very customers.
    pub change: Estimate,
    /// Whether the loss rose by more than noise explains, and not by a trifle.
    pub rose: bool,
}
