//! `model.json`: a model with what must be known to use it, and where it comes from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::model::Model;
use crate::digest::Digest;
use crate::privacy::interval::Estimate;
use crate::privacy::mechanism::Scope;
use crate::privacy::rho::Rho;

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

impl ModelFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it is none, of a newer version, or of a model whose parts do not fit one another, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        if bytes.len() > MAX_BYTES {
            return Err(format!("is longer than {MAX_BYTES} bytes, more than any model file"));
        }
        let none = |error: serde_json::Error| {
            format!("is not a model file ({error}); a study of kind train writes one as model.json")
        };
        let head: Head = serde_json::from_slice(bytes).map_err(none)?;
        if head.format != FORMAT {
            return Err("is not a model file; a study of kind train writes one as model.json".into());
        }
        if head.version > VERSION {
            return Err(format!(
                "was written by a newer version (format {}, this one reads {VERSION}); update",
                head.version
            ));
        }
        let file: Self = serde_json::from_slice(bytes).map_err(none)?;
        file.model.check()?;
        Ok(file)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a model has string keys and no failing serialisers");
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::model::Parameters;
    use crate::learn::recipe::{Feature, Recipe, Values};

    fn file() -> ModelFile {
        let digest = Digest([1; 32]);
        let feature = Feature { name: "active".into(), values: Values::Bool };
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
            model: Model {
                recipe: Recipe { features: vec![feature] },
                target: None,
                recoding: None,
                parameters: Parameters::Additive {
                    intercept: 0.1,
                    shapes: vec![vec![0.0, -1.0 / 3.0, 2.5]],
                    pairs: vec![],
                },
            },
        }
    }

    #[test]
    fn files_come_back_to_the_last_bit() {
        assert_eq!(ModelFile::parse(&file().to_bytes()), Ok(file()));
    }

    #[test]
    fn what_is_no_model_is_refused_in_words() {
        let parse = |change: &dyn Fn(&mut ModelFile)| {
            let mut file = file();
            change(&mut file);
            ModelFile::parse(&file.to_bytes()).unwrap_err()
        };
        assert!(parse(&|file| file.version = 9).contains("newer version"));
        assert!(parse(&|file| file.format = "other".into()).contains("not a model file"));
        assert!(parse(&|file| file.model.recipe.features.clear()).contains("size"));
        assert!(ModelFile::parse(b"{}").unwrap_err().contains("not a model file"));
        assert!(ModelFile::parse(b"\xff").is_err());
    }
}
