//! The study kind `train`: one model, trained together on features that a query yields for each customer.
//!
//! ```text
//! [train] of a study file ─▶ TrainSpec ─(schema, budget)─▶ RoundsPlan = features query + Training
//! ```
//!
//! How models are trained is [`crate::learn`]'s; here is what may be asked, and what cannot be: all of it is decided on
//! public facts, before anything is charged.

use std::sync::Arc;

use super::parts::{Learns, Parts, Schemas, Work, alike};
use super::plans::rounds::RoundsPlan;
use super::refusal::{Line, Refusal};
use crate::config::{nearest, suggesting};
use crate::kind::Kind;
use crate::language::rows::RowsPlan;
use crate::language::schema::DatasetSchema;
use crate::language::sql;
use crate::learn::options::Options;
use crate::learn::recipe::{Feature, Recipe, Target, Values};
use crate::learn::training::{EvaluationSettings, Method, Training};
use crate::learn::{additive, kmeans, linear, logistic};
use crate::privacy::rho::{MILLION, Rho};
use crate::reason::Reason;

/// The models of this version, as study files name them.
pub const MODELS: [&str; 4] = ["linear", "logistic", "additive", "kmeans"];
/// Those of them that can count customers by a weight.
pub const WEIGHING: [&str; 2] = ["logistic", "additive"];
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
    /// Which of its columns says how much a customer counts, if one does.
    pub weight: Option<Weight>,
    /// The share of customers that are held out, below 1.
    pub holdout: Option<f64>,
    /// The share of the budget that the evaluation takes, below 1.
    pub evaluation: Option<f64>,
    /// Whether each partner's customers are evaluated by themselves as well.
    pub per_partner: bool,
    /// What the method would choose by itself.
    pub options: Options,
}

/// How much customers count in a training: their value of a column as a share of its declared maximum, which is 1; below zero it
/// is 0, and so is a missing one. In steps of 1/[`FULL`](crate::learn::frame::FULL).
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Weight {
    /// The column.
    pub column: String,
    /// Whether it is that of customers with the event alone; the others count in full.
    pub events: bool,
}

/// The refusal of what a training states.
fn refused(problem: impl Into<String>) -> Refusal {
    Refusal::Stated { kind: Kind::Train, problem: problem.into() }
}

impl TrainSpec {
    /// Everybody trains with its own customers, and is given the model.
    pub(super) fn parts(&self, participants: &[String], schemas: &impl Schemas, rho: Rho) -> Result<Parts, Refusal> {
        let dataset = sql::dataset_name(&self.features)?;
        let work =
            alike(participants, schemas, &dataset, |schema| Ok(Work::Rounds(Arc::new(self.plan(schema, rho)?))))?;
        Ok(Parts::of_all(participants, work, Learns::Rounds))
    }

    pub(super) fn asks(&self, line: Line<'_>) -> String {
        let target =
            self.target.as_deref().map_or_else(String::new, |target| format!(" that predicts {}", line(target)));
        let weight = self.weight.as_ref();
        let weight = weight.map_or_else(String::new, |weight| format!(", weighed by {}", line(&weight.column)));
        format!(
            "for its part in a model of kind {}{target}{weight}, trained on: {}",
            line(&self.model),
            line(&self.features)
        )
    }

    /// The typed plan over a data set of this schema, for a study that may spend `rho`.
    ///
    /// # Errors
    ///
    /// The features query's refusal, or a target, model or number of features that cannot be.
    pub fn plan(&self, schema: &DatasetSchema, rho: Rho) -> Result<RoundsPlan, Refusal> {
        let rows = sql::rows(&self.features, schema)?;
        let names: Vec<&str> = rows.outputs.iter().map(|output| output.name.as_str()).collect();
        let position = match &self.target {
            None => None,
            Some(target) => Some(names.iter().position(|name| name == target).ok_or_else(|| {
                let near = nearest(target, names.iter().copied());
                let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                refused(format!("`target` is `{target}`, which `features` does not select{near}"))
            })?),
        };
        let weight = match &self.weight {
            None => None,
            Some(weight) => Some(self.weight(weight, &rows)?),
        };
        let apart = [position, weight];
        let feature = |(i, output): (usize, &crate::language::rows::Output)| {
            (!apart.contains(&Some(i))).then(|| Feature { name: output.name.clone(), values: output.values.clone() })
        };
        let recipe = Recipe { features: rows.outputs.iter().enumerate().filter_map(feature).collect() };
        let target = position.map(|position| &rows.outputs[position]);
        let target = target.map(|output| Target { name: output.name.clone(), values: output.values.clone() });
        let training = self.training(recipe, target, rho)?;
        let holdout = if training.evaluation.is_some() { self.holdout.unwrap_or(HOLDOUT) } else { 0.0 };
        Ok(RoundsPlan {
            rows,
            target: position.map(|position| position as u32),
            weight: self.weight.as_ref().zip(weight).map(|(weight, position)| (position as u32, weight.events)),
            holdout: (holdout * f64::from(MILLION)) as u32,
            seed: self.options.seed.unwrap_or(0),
            training,
        })
    }

    /// The position of the weight among the rows' outputs.
    fn weight(&self, weight: &Weight, rows: &RowsPlan) -> Result<usize, Refusal> {
        let column = &weight.column;
        if !WEIGHING.contains(&self.model.as_str()) {
            return Err(refused(format!(
                "`weight` is for models of kind {}; a `{}` model counts all customers alike",
                WEIGHING.join(" and "),
                self.model
            )));
        }
        let names = || rows.outputs.iter().map(|output| output.name.as_str());
        let Some(position) = names().position(|name| name == column) else {
            let near = nearest(column, names()).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            return Err(refused(format!("`weight` is `{column}`, which `features` does not select{near}")));
        };
        if self.target.as_ref() == Some(column) {
            return Err(refused(format!("`{column}` is both `target` and `weight`")));
        }
        match rows.outputs[position].values {
            Values::Number { high, .. } if high > 0.0 => Ok(position),
            Values::Number { high, .. } => Err(refused(format!(
                "`weight` is `{column}`, which is at most {high}; a customer counts by its share of a maximum above 0"
            ))),
            Values::Date { .. } | Values::Category { .. } | Values::Bool => {
                Err(refused(format!("`weight` is `{column}`, which is not a number")))
            }
        }
    }

    fn training(&self, recipe: Recipe, target: Option<Target>, rho: Rho) -> Result<Training, Refusal> {
        if recipe.features.is_empty() {
            return Err(refused("`features` selects nothing to learn from; add columns to its SELECT list"));
        }
        let share = |name: &str, share: Option<f64>, default: f64| match share.unwrap_or(default) {
            share if (0.0..0.95).contains(&share) => Ok(share),
            share => Err(refused(format!("`{name}` is {share}; it is a share from 0 to 0.95"))),
        };
        let holdout = share("holdout", self.holdout, HOLDOUT)?;
        let evaluation = share("evaluation", self.evaluation, EVALUATION)?;
        let evaluation = (evaluation > 0.0 && holdout > 0.0).then(|| EvaluationSettings {
            share: (evaluation * f64::from(MILLION)) as u32,
            per_partner: self.per_partner,
        });
        if evaluation.is_none() && self.per_partner {
            return Err(refused("`per_partner` needs held-out customers and a share of the budget to evaluate"));
        }
        if let Some(target) = &target
            && let Values::Category { values } = &target.values
            && values.len() != 2
        {
            return Err(refused(format!(
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
        let needs = |kind: &str, write: &str| Err(refused(format!("model = \"{}\" {kind}; {write}", self.model)));
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
            (other, _) => return Err(refused(unknown_model(other).to_string())),
        };
        Ok(Training { recipe, target, method: method.map_err(refused)?, evaluation })
    }
}

/// What is said of a model that does not exist.
pub(super) fn unknown_model(model: &str) -> Reason {
    let reason = Reason::from(format!("there is no model `{model}` in this version, which has: {}", MODELS.join(", ")));
    suggesting(reason, model, MODELS.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::schema::ColumnType;
    use crate::learn::frame::FULL;

    fn schema() -> DatasetSchema {
        let number = |min, max| ColumnType::Float { min: Some(min), max: Some(max) };
        DatasetSchema {
            name: "t".into(),
            privacy_unit: "id".into(),
            columns: [
                ("age".into(), ColumnType::Int { min: Some(18), max: Some(95) }),
                ("gone".into(), ColumnType::Bool),
                ("spend".into(), number(0.0, 400.0)),
                ("change".into(), number(-100.0, 100.0)),
                ("debt".into(), number(-100.0, 0.0)),
                ("free".into(), ColumnType::Float { min: None, max: None }),
            ]
            .into(),
        }
    }

    fn spec(weight: &str) -> TrainSpec {
        TrainSpec {
            model: "additive".into(),
            features: format!("SELECT id, {weight} AS w, age, gone FROM t"),
            target: Some("gone".into()),
            weight: Some(Weight { column: "w".into(), events: false }),
            holdout: None,
            evaluation: None,
            per_partner: false,
            options: Options::default(),
        }
    }

    fn plan(spec: &TrainSpec) -> Result<RoundsPlan, String> {
        spec.plan(&schema(), Rho::within(1.0, 1e-6).unwrap()).map_err(|refusal| refusal.to_string())
    }

    /// The weight is not a feature; a value is a share of the declared maximum, and what is missing or below zero is nothing.
    #[test]
    fn customers_count_by_their_share_of_the_maximum() {
        let weights = |spec: &TrainSpec, values: &[f64], target: &[u16]| {
            let plan = plan(spec).unwrap();
            let features: Vec<&str> =
                plan.training.recipe.features.iter().map(|feature| feature.name.as_str()).collect();
            assert_eq!((features, plan.weight.map(|weight| weight.0)), (vec!["age"], Some(0)));
            let codes: Vec<u16> =
                values.iter().map(|value| plan.rows.outputs[0].values.code_of_number(*value)).collect();
            plan.weigher().unwrap().weights(&codes, target)
        };
        let all = spec("spend");
        let values = [f64::NAN, -3.0, 0.0, 100.0, 200.0, 400.0, 500.0];
        assert_eq!(weights(&all, &values, &[1; 7]), [0, 0, 0, FULL / 4, FULL / 2, FULL, FULL]);
        assert_eq!(weights(&spec("change"), &[-100.0, -1.0, 0.0, 50.0, 100.0], &[2; 5]), [0, 0, 0, FULL / 2, FULL]);
        let events = TrainSpec { weight: Some(Weight { column: "w".into(), events: true }), ..all };
        assert_eq!(weights(&events, &values[3..], &[2, 1, 0, 2]), [FULL / 4, FULL, FULL, FULL]);
        let none = TrainSpec { weight: None, features: "SELECT id, age, gone FROM t".into(), ..spec("spend") };
        assert!(plan(&none).unwrap().weigher().is_none());
    }

    /// Layouts, and so sensitivities, are those of a training without weights.
    #[test]
    fn a_weight_changes_no_layout() {
        for model in WEIGHING {
            let weighed = plan(&TrainSpec { model: model.into(), ..spec("spend") }).unwrap();
            let none = TrainSpec { weight: None, features: "SELECT id, age, gone FROM t".into(), ..spec("spend") };
            let none = plan(&TrainSpec { model: model.into(), ..none }).unwrap();
            assert_eq!(weighed.training.releases(3), none.training.releases(3));
        }
    }

    #[test]
    fn what_is_no_weight_is_refused_with_what_to_write() {
        let named = |column: &str| Some(Weight { column: column.into(), events: false });
        let cases = [
            (TrainSpec { weight: named("ww"), ..spec("spend") }, "did you mean `w`"),
            (TrainSpec { weight: named("gone"), ..spec("spend") }, "both `target` and `weight`"),
            (
                TrainSpec { model: "linear".into(), target: Some("age".into()), ..spec("spend") },
                "logistic and additive",
            ),
            (TrainSpec { model: "kmeans".into(), target: None, ..spec("spend") }, "logistic and additive"),
            (spec("debt"), "at most 0"),
            (spec("age > 30"), "is not a number"),
            (spec("free"), "bounds"),
        ];
        for (spec, expected) in cases {
            let refusal = plan(&spec).unwrap_err();
            assert!(refusal.contains(expected), "{refusal} lacks {expected}");
        }
    }
}
