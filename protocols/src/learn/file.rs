//! `model.json`: a model with what must be known to use it, and where it comes from.
//!
//! A file may come from anybody, so [`ModelFile::parse`] refuses whatever cannot score every row.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::model::{Model, ModelError, Parameters};
use super::recipe::Values;
use crate::digest::Digest;
use crate::privacy::interval::Estimate;
use crate::privacy::mechanism::Scope;
use crate::privacy::rho::Rho;
use crate::reason::Reason;

/// The format's name.
pub const FORMAT: &str = "entente-model";
/// The version that this code writes, and the newest that it reads.
pub const VERSION: u32 = 1;
/// The longest file that is read, in bytes.
pub const MAX_BYTES: usize = 64 << 20;

/// A model file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFile {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The study that trained it.
    pub study: Provenance,
    /// Who took part, sorted.
    pub participants: Vec<String>,
    /// What it cost.
    pub privacy: Budget,
    /// How well it did on held-out customers, by metric; empty without an evaluation.
    pub metrics: BTreeMap<String, Estimate>,
    /// Hash of the transcript that all participants of the last round signed.
    pub transcript_sha256: Digest,
    /// Hash of the subject of the study's receipt ([`crate::ledger::receipt`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_sha256: Option<Digest>,
    /// How scores lie, in ascending order: made of the sums that the evaluation released. Empty without one, or where no event
    /// is predicted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub score_shares: Vec<ScoreShare>,
    /// The model.
    pub model: Model,
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The study's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Why it was made.
    pub purpose: String,
    /// Hash of its canonical plan.
    pub plan_sha256: Digest,
}

/// What a model cost the customers it was trained and evaluated with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Whom the loss protects.
    pub scope: Scope,
    /// The ε that the study stated.
    pub epsilon: f64,
    /// Its δ.
    pub delta: f64,
    /// The charge, in micro-units.
    pub rho: Rho,
    /// The loss of a person who may be a customer of every participant, in micro-units.
    pub rho_person: Rho,
    /// How many participants may collude with the coordinator.
    pub colluders: u32,
}

/// The shares of customers that score at least a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct ScoreShare {
    /// A score, in log-odds.
    pub threshold: f64,
    /// The share of held-out customers with the event who score at least that.
    pub events: f64,
    /// The share of those without it who do.
    pub others: f64,
}

/// Why a file is not a model that can score every row; said of the file, whose name stands before.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is longer than [`MAX_BYTES`].
    #[error("is longer than {MAX_BYTES} bytes, more than any model file")]
    TooLong,
    /// It is not JSON, or has other fields.
    #[error("is not a model file ({0})")]
    Malformed(serde_json::Error),
    /// It is of another format.
    #[error("is not a model file")]
    Format,
    /// A later version has written it.
    #[error("was written by a newer version (format {0}, this one reads {VERSION})")]
    Newer(u32),
    /// Features that cannot be distinguished by name.
    #[error("has several features with the name `{0}`, or one without a name")]
    Names(String),
    /// A category's values.
    #[error("has no list of 1 to 65534 categories without repeats for `{0}`")]
    Categories(String),
    /// A number's or a date's bounds.
    #[error("has invalid bounds for `{0}`")]
    Bounds(String),
    /// Parts of the model do not fit one another.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// It has no parameters.
    #[error("has no parameters: nothing has been learnt")]
    NothingLearnt,
    /// Clusters without centres, or with a target.
    #[error("has clusters, which need centres and have no `target`")]
    Clusters,
    /// A prediction of nothing.
    #[error("does not say what it predicts: `target` is missing")]
    NoTarget,
}

impl FileError {
    /// This problem of the file of that name, apart from what to do about it where that is known.
    pub fn of(&self, file: impl fmt::Display) -> Reason {
        let reason = Reason::from(format!("{file} {self}"));
        match self {
            Self::Malformed(_) | Self::Format => {
                reason.help("a study that trains a model writes it as model.json into its results")
            }
            Self::Newer(_) => reason.help("update this program"),
            _ => reason,
        }
    }
}

impl ModelFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If this is not a model file, was written by a newer version, or is inconsistent.
    pub fn parse(bytes: &[u8]) -> Result<Self, FileError> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        if bytes.len() > MAX_BYTES {
            return Err(FileError::TooLong);
        }
        let head: Head = serde_json::from_slice(bytes).map_err(FileError::Malformed)?;
        if head.format != FORMAT {
            return Err(FileError::Format);
        }
        if head.version > VERSION {
            return Err(FileError::Newer(head.version));
        }
        let file: Self = serde_json::from_slice(bytes).map_err(FileError::Malformed)?;
        file.check()?;
        Ok(file)
    }

    /// Whether its model can score every row; if not, why.
    ///
    /// # Errors
    ///
    /// What does not fit.
    pub fn check(&self) -> Result<(), FileError> {
        let Model { recipe, target, parameters, .. } = &self.model;
        let mut names = HashSet::new();
        for feature in &recipe.features {
            if feature.name.is_empty() || !names.insert(feature.name.as_str()) {
                return Err(FileError::Names(feature.name.clone()));
            }
            check_values(&feature.name, &feature.values)?;
        }
        if let Some(target) = target {
            check_values(&target.name, &target.values)?;
        }
        self.model.check()?;
        match (parameters, target) {
            (Parameters::None, _) => Err(FileError::NothingLearnt),
            (Parameters::Centres { centres }, None) if !centres.is_empty() => Ok(()),
            (Parameters::Centres { .. }, _) => Err(FileError::Clusters),
            (Parameters::Weights { .. } | Parameters::Additive { .. }, None) => Err(FileError::NoTarget),
            (Parameters::Weights { .. } | Parameters::Additive { .. }, Some(_)) => Ok(()),
        }
    }

    /// The kind of model, as study files name it.
    pub fn kind(&self) -> &'static str {
        match (&self.model.parameters, &self.model.target) {
            (Parameters::Weights { .. }, Some(target)) if target.is_event() => "logistic",
            (Parameters::Weights { .. }, _) => "linear",
            (Parameters::Additive { .. }, _) => "additive",
            (Parameters::Centres { .. }, _) => "kmeans",
            (Parameters::None, _) => "none",
        }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a model has string keys and no failing serialisers");
        bytes.push(b'\n');
        bytes
    }
}

/// Without bounds in order there is nothing to clip to.
fn check_values(name: &str, values: &Values) -> Result<(), FileError> {
    let bounded = match values {
        Values::Number { low, high } => low <= high && (high - low).is_finite(),
        Values::Date { low, high } => low <= high,
        Values::Category { values } => {
            let all: HashSet<&str> = values.iter().map(String::as_str).collect();
            if !(1..=65534).contains(&values.len()) || all.len() < values.len() {
                return Err(FileError::Categories(name.into()));
            }
            true
        }
        Values::Bool => true,
    };
    if bounded { Ok(()) } else { Err(FileError::Bounds(name.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::model::{Pair, Recode, Recoding};
    use crate::learn::recipe::{Feature, Recipe, Target};

    fn file() -> ModelFile {
        let digest = Digest([1; 32]);
        let feature = |name: &str, values| Feature { name: name.into(), values };
        let region = Values::Category { values: vec!["north".into(), "south".into()] };
        let features = vec![feature("age", Values::Number { low: 18.0, high: 95.0 }), feature("region", region)];
        let groups = (vec![0, 0, 1], vec![0, 1, 0]);
        let pair = Pair { features: (0, 1), groups, values: vec![0.1, 1.0 / 3.0, 0.0, -1e-17] };
        ModelFile {
            format: FORMAT.into(),
            version: VERSION,
            study: Provenance { id: "s".into(), name: "n".into(), purpose: "p".into(), plan_sha256: digest },
            participants: vec!["a".into(), "b".into()],
            privacy: Budget {
                scope: Scope::Customer,
                epsilon: 1.0,
                delta: 1e-6,
                rho: Rho::from_micro(1),
                rho_person: Rho::from_micro(4),
                colluders: 1,
            },
            metrics: [("auc".into(), Estimate { value: 0.8, low: 0.7, high: 0.9 })].into(),
            transcript_sha256: digest,
            receipt_sha256: Some(digest),
            score_shares: vec![ScoreShare { threshold: -0.5, events: 0.75, others: 0.25 }],
            model: Model {
                recipe: Recipe { features },
                target: Some(Target { name: "churned".into(), values: Values::Bool }),
                recoding: Some(Recoding { columns: vec![Recode::Bins(vec![30_000]), Recode::Keep] }),
                parameters: Parameters::Additive {
                    intercept: 0.1,
                    shapes: vec![vec![0.0, -1.0 / 3.0, std::f64::consts::PI], vec![0.0, 0.1 + 0.2, 5e-324]],
                    pairs: vec![pair],
                },
            },
        }
    }

    #[test]
    fn files_come_back_to_the_last_bit() {
        assert_eq!(ModelFile::parse(&file().to_bytes()).unwrap(), file());
    }

    #[test]
    fn what_is_no_model_is_refused_in_words() {
        let parse = |change: &dyn Fn(&mut ModelFile)| {
            let mut file = file();
            change(&mut file);
            ModelFile::parse(&file.to_bytes()).unwrap_err().to_string()
        };
        assert!(parse(&|file| file.version = 9).contains("newer version"));
        assert!(parse(&|file| file.format = "other".into()).contains("not a model file"));
        assert!(parse(&|file| file.model.target = None).contains("`target` is missing"));
        assert!(parse(&|file| file.model.parameters = Parameters::None).contains("nothing has been learnt"));
        assert!(parse(&|file| file.model.parameters = Parameters::Centres { centres: vec![] }).contains("centres"));
        assert!(ModelFile::parse(b"{}").unwrap_err().to_string().contains("not a model file"));
        assert!(ModelFile::parse(b"\xff").is_err());
        assert!(ModelFile::parse(&vec![b' '; MAX_BYTES + 1]).unwrap_err().to_string().contains("longer"));
        assert!(ModelFile::parse(&file().to_bytes()[..300]).is_err());
    }

    #[test]
    fn parts_that_do_not_fit_are_named() {
        let cases = [
            ("/model/parameters/shapes/0", serde_json::json!(vec![0.0; 60_000]), "size"),
            ("/model/parameters/pairs/0/features/0", 9.into(), "size"),
            ("/model/recoding/0/bins", serde_json::json!([5, 5]), "`age`"),
            ("/model/recipe/0/values/low", 96.into(), "bounds for `age`"),
            (
                "/model/recipe/0/values",
                serde_json::json!({"type": "number", "low": -1.7e308, "high": 1.7e308}),
                "bounds",
            ),
            ("/model/recipe/1/name", "age".into(), "`age`"),
            ("/model/recipe/1/values/values/0", "south".into(), "`region`"),
        ];
        for (path, value, expected) in cases {
            let mut json = serde_json::to_value(file()).unwrap();
            *json.pointer_mut(path).unwrap() = value;
            let problem = ModelFile::parse(&serde_json::to_vec(&json).unwrap()).unwrap_err().to_string();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
