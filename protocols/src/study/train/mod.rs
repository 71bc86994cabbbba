//! The study kind `train`: one model, trained together on features that a query yields for each customer.
//!
//! ```text
//! [train] of a study file ─▶ TrainSpec ─(schema, budget)─▶ TrainPlan = features query + Training
//! ```
//!
//! How models are trained is [`crate::learn`]'s; here is what may be asked, and what cannot be: all of it is decided on
//! public facts, before anything is charged.

pub mod rows;

use rows::RowsPlan;

use super::schema::DatasetSchema;
use crate::config::nearest;
use crate::learn::recipe::{Feature, Recipe, Values};
use crate::learn::training::{MILLION, Method, Options, Target, Training};
use crate::learn::{additive, evaluation, kmeans, linear, logistic};
use crate::privacy::rho::Rho;

/// The models of this version, as study files name them.
pub const MODELS: [&str; 4] = ["linear", "logistic", "additive", "kmeans"];
/// The share of the budget that the evaluation takes unless the study says otherwise.
const EVALUATION: f64 = 0.1;
/// The share of customers that are held out unless the study says otherwise.
const HOLDOUT: f64 = 0.2;

/// A training as its study states it.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct TrainSpec {
    /// One of [`MODELS`].
    pub model: String,
    /// The features query.
    pub features: String,
    /// Which of its columns is predicted; `None` for clusters.
    pub target: Option<String>,
    /// The share of customers that are held out, below 1.
    pub holdout: Option<f64>,
    /// The share of the budget that the evaluation takes, below 1.
    pub evaluation: Option<f64>,
    /// Whether each partner's customers are evaluated by themselves as well.
    pub per_partner: bool,
    /// What the method would choose by itself.
    pub options: Options,
}

/// The typed plan of a training over one data set.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct TrainPlan {
    /// The features query.
    pub rows: RowsPlan,
    /// Which of its outputs is the target.
    pub target: Option<u32>,
    /// Customers per million that are held out.
    pub holdout: u32,
    /// Another seed gives another choice of held-out customers.
    pub seed: u64,
    /// How the model is trained.
    pub training: Training,
}

/// Why a training cannot be asked: what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[train]: {0}")]
pub struct Refusal(pub String);

impl TrainSpec {
    /// The typed plan over a data set of this schema, for a study that may spend `rho`.
    ///
    /// # Errors
    ///
    /// The features query's refusal, or a target, model or number of features that cannot be.
    pub fn plan(&self, schema: &DatasetSchema, rho: Rho) -> Result<TrainPlan, super::Refusal> {
        let rows = super::query::sql::rows(&self.features, schema)?;
        let names: Vec<&str> = rows.outputs.iter().map(|output| output.name.as_str()).collect();
        let position = match &self.target {
            None => None,
            Some(target) => Some(names.iter().position(|name| name == target).ok_or_else(|| {
                let near = nearest(target, names.iter().copied());
                let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                Refusal(format!("`target` is `{target}`, which `features` does not select{near}"))
            })?),
        };
        let feature = |(i, output): (usize, &rows::Output)| {
            (Some(i) != position).then(|| Feature { name: output.name.clone(), values: output.values.clone() })
        };
        let recipe = Recipe { features: rows.outputs.iter().enumerate().filter_map(feature).collect() };
        let target = position.map(|position| &rows.outputs[position]);
        let target = target.map(|output| Target { name: output.name.clone(), values: output.values.clone() });
        let training = self.training(recipe, target, rho)?;
        let holdout = if training.evaluation.is_some() { self.holdout.unwrap_or(HOLDOUT) } else { 0.0 };
        Ok(TrainPlan {
            rows,
            target: position.map(|position| position as u32),
            holdout: (holdout * f64::from(MILLION)) as u32,
            seed: self.options.seed.unwrap_or(0),
            training,
        })
    }

    fn training(&self, recipe: Recipe, target: Option<Target>, rho: Rho) -> Result<Training, Refusal> {
        if recipe.features.is_empty() {
            return Err(Refusal("`features` selects nothing to learn from; add columns to its SELECT list".into()));
        }
        let share = |name: &str, share: Option<f64>, default: f64| match share.unwrap_or(default) {
            share if (0.0..0.95).contains(&share) => Ok(share),
            share => Err(Refusal(format!("`{name}` is {share}; it is a share from 0 to 0.95"))),
        };
        let holdout = share("holdout", self.holdout, HOLDOUT)?;
        let evaluation = share("evaluation", self.evaluation, EVALUATION)?;
        let evaluation = (evaluation > 0.0 && holdout > 0.0).then(|| evaluation::Settings {
            share: (evaluation * f64::from(MILLION)) as u32,
            per_partner: self.per_partner,
        });
        if evaluation.is_none() && self.per_partner {
            return Err(Refusal("`per_partner` needs held-out customers and a share of the budget to evaluate".into()));
        }
        if let Some(target) = &target
            && let Values::Category { values } = &target.values
            && values.len() != 2
        {
            return Err(Refusal(format!(
                "the target `{}` has {} categories; a model predicts a condition or one of two. Select a condition, as in \
                 `{} = '{}' AS target`",
                target.name,
                values.len(),
                target.name,
                values.first().map_or("value", String::as_str)
            )));
        }
        // The evaluation's share comes off what the method has.
        let left = MILLION - evaluation.as_ref().map_or(0, |evaluation| evaluation.share);
        let rho = rho.value() * f64::from(left) / f64::from(MILLION);
        let event = target.as_ref().map(Target::is_event);
        let needs = |kind: &str, write: &str| Err(Refusal(format!("model = \"{}\" {kind}; {write}", self.model)));
        let options = &self.options;
        let method = match (self.model.as_str(), event) {
            ("linear", Some(false)) => linear::Settings::choose(options, &recipe, rho).map(Method::Linear),
            ("logistic", Some(true)) => logistic::Settings::choose(options, &recipe, rho).map(Method::Logistic),
            ("additive", Some(_)) => {
                additive::Settings::choose(options, &recipe, event == Some(true), rho).map(Method::Additive)
            }
            ("kmeans", None) => kmeans::Settings::choose(options, &recipe, rho).map(Method::Kmeans),
            ("linear", Some(true)) => {
                return needs("predicts a number", "name a numeric `target`, or use logistic or additive");
            }
            ("logistic", Some(false)) => {
                return needs("predicts a condition", "name a bool `target`, or use linear or additive");
            }
            ("kmeans", Some(_)) => return needs("predicts nothing", "leave `target` out, and out of `features`"),
            ("linear" | "logistic" | "additive", None) => {
                return needs("needs a `target`", "name a column of `features`");
            }
            (other, _) => return Err(Refusal(unknown_model(other))),
        };
        Ok(Training { recipe, target, method: method.map_err(Refusal)?, evaluation })
    }
}

/// What is said of a model that does not exist.
pub(super) fn unknown_model(model: &str) -> String {
    let near = nearest(model, MODELS.into_iter()).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    format!("there is no model `{model}`; there are: {}{near}", MODELS.join(", "))
}
