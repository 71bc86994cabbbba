//! What training makes: a model, which scores rows of codes.

use serde::{Deserialize, Serialize};

use super::recipe::{Recipe, Target};
use crate::canonical::canonical_bytes;
use crate::digest::Digest;
use crate::privacy::rows::{self, Column};

/// Parts of a model that do not fit one another, or the plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// There is not one [`Recode`] a feature.
    #[error("the recoding has another number of features")]
    RecodedFeatures,
    /// The recoding of this feature does not ascend, or the feature is not a number.
    #[error("the recoding of `{0}` is not valid")]
    Recoding(String),
    /// The parameters are not those of such a recipe.
    #[error("the model does not have the size that the plan gives it")]
    Size,
}

/// How codes are changed before a model sees them: made from noisily released histograms, so public.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[serde(transparent)]
pub struct Recoding {
    /// One a feature.
    pub columns: Vec<Recode>,
}

/// How one feature's codes are changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[serde(rename_all = "lowercase")]
pub enum Recode {
    /// Not at all.
    Keep,
    /// A number becomes a category: bin 0 where it is missing, else 1 + the number of edges that are at most its code.
    /// Edges ascend strictly.
    Bins(Vec<u16>),
    /// A number is stretched: piecewise linear between knots (code, new code); both ascend, the codes strictly. Codes
    /// outside the knots get the nearest one's. A missing value stays missing.
    Scale(Vec<(u16, u16)>),
}

impl Recode {
    /// The new code of a code.
    pub fn apply(&self, code: u16) -> u16 {
        match self {
            Self::Keep => code,
            _ if code == 0 => 0,
            // At most 65534 edges: strictly ascending numbers of 16 bits above 0.
            Self::Bins(edges) => 1 + edges.partition_point(|edge| *edge <= code) as u16,
            Self::Scale(knots) => {
                let after = knots.partition_point(|(at, _)| *at <= code);
                match (after.checked_sub(1).and_then(|before| knots.get(before)), knots.get(after)) {
                    (Some(&(a, x)), Some(&(b, y))) => {
                        let (run, rise) = (u64::from(b - a), u64::from(y - x));
                        x + (rise * u64::from(code - a) / run) as u16
                    }
                    (Some(&(_, x)), None) | (None, Some(&(_, x))) => x,
                    (None, None) => code,
                }
            }
        }
    }

    /// What the new codes mean.
    pub fn column(&self, before: Column) -> Column {
        match self {
            Self::Bins(edges) => Column::Category { values: edges.len() as u16 + 1 },
            Self::Keep | Self::Scale(_) => before,
        }
    }
}

impl Recoding {
    /// The new codes of all 65536, for one feature.
    pub fn table(&self, feature: usize) -> Vec<u16> {
        (0..=u16::MAX).map(|code| self.columns[feature].apply(code)).collect()
    }

    /// What the new codes mean, feature by feature.
    pub fn columns(&self, recipe: &Recipe) -> Vec<Column> {
        recipe.columns().into_iter().zip(&self.columns).map(|(before, recode)| recode.column(before)).collect()
    }

    /// Whether it is one for this recipe; if not, why.
    pub fn check(&self, recipe: &Recipe) -> Result<(), ModelError> {
        if self.columns.len() != recipe.features.len() {
            return Err(ModelError::RecodedFeatures);
        }
        for (recode, feature) in self.columns.iter().zip(&recipe.features) {
            let ascending = match recode {
                Recode::Keep => continue,
                Recode::Bins(edges) => edges.is_sorted_by(|a, b| a < b) && !edges.contains(&0),
                Recode::Scale(knots) => {
                    !knots.is_empty()
                        && knots.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1)
                        && knots.iter().all(|(at, to)| *at > 0 && *to > 0)
                }
            };
            if !ascending || feature.values.column() != Column::Number {
                return Err(ModelError::Recoding(feature.name.clone()));
            }
        }
        Ok(())
    }
}

/// A term of two features: one value for each pair of their codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct Pair {
    /// The positions of the two features.
    pub features: (u32, u32),
    /// Of each code of the first the group it is in, likewise of the second.
    pub groups: (Vec<u16>, Vec<u16>),
    /// The values: groups of the first × groups of the second.
    pub values: Vec<f64>,
}

/// What training learns. Scores of events are log-odds; scores of numbers are in the target's own range scaled to −1 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Parameters {
    /// Nothing yet.
    None,
    /// A weight for each entry of the design vector ([`crate::privacy::rows`]) in units of one, the constant last:
    /// linear and logistic regression.
    Weights {
        /// The weights.
        weights: Vec<f64>,
    },
    /// A sum of step functions.
    Additive {
        /// Added to every score.
        intercept: f64,
        /// Of each feature the value of each of its codes after recoding, missing first.
        shapes: Vec<Vec<f64>>,
        /// Terms of two features.
        pairs: Vec<Pair>,
    },
    /// Cluster centres: design vectors in units of one, without the constant.
    Centres {
        /// The centres.
        centres: Vec<Vec<f64>>,
    },
}

impl Parameters {
    /// Whether these fit rows of this recipe after this recoding; if not, why.
    pub fn check(&self, recipe: &Recipe, recoding: Option<&Recoding>) -> Result<(), ModelError> {
        let columns = recoding.map_or_else(|| recipe.columns(), |recoding| recoding.columns(recipe));
        let dims = rows::dims(&columns);
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        let fits = match self {
            Self::None => true,
            Self::Weights { weights } => weights.len() == dims && finite(weights),
            Self::Additive { intercept, shapes, pairs } => {
                let shaped = |(shape, column): (&Vec<f64>, &Column)| match *column {
                    Column::Number => false,
                    Column::Category { values } => shape.len() == usize::from(values) + 1 && finite(shape),
                };
                let paired = |pair: &Pair| {
                    let (first, second) = (&pair.groups.0, &pair.groups.1);
                    let size = |feature: u32, groups: &Vec<u16>| match columns.get(feature as usize) {
                        Some(Column::Category { values }) => groups.len() == usize::from(*values) + 1,
                        _ => false,
                    };
                    let count = |groups: &[u16]| groups.iter().max().map_or(0, |most| usize::from(*most) + 1);
                    size(pair.features.0, first)
                        && size(pair.features.1, second)
                        && pair.values.len() == count(first) * count(second)
                        && finite(&pair.values)
                };
                intercept.is_finite()
                    && shapes.len() == columns.len()
                    && shapes.iter().zip(&columns).all(shaped)
                    && pairs.len() <= 1000
                    && pairs.iter().all(paired)
            }
            Self::Centres { centres } => {
                centres.len() <= 1000 && centres.iter().all(|centre| centre.len() == dims - 1 && finite(centre))
            }
        };
        if fits { Ok(()) } else { Err(ModelError::Size) }
    }
}

/// A trained model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The features.
    pub recipe: Recipe,
    /// What is predicted, if anything.
    pub target: Option<Target>,
    /// How codes are changed first.
    pub recoding: Option<Recoding>,
    /// What was learnt.
    pub parameters: Parameters,
}

/// Hash of parameters with the recoding that they are for.
pub(super) fn learnt(recoding: Option<&Recoding>, parameters: &Parameters) -> Digest {
    Digest::of("entente learnt 1", &[&canonical_bytes(&recoding), &canonical_bytes(parameters)])
}

impl Model {
    /// Whether all parts fit one another; if not, why. A model that does can score any row.
    pub fn check(&self) -> Result<(), ModelError> {
        if let Some(recoding) = &self.recoding {
            recoding.check(&self.recipe)?;
        }
        self.parameters.check(&self.recipe, self.recoding.as_ref())
    }

    /// Hash of what was learnt: equal to [`super::frame::Input::learnt`] of a round that was given this model.
    pub fn learnt(&self) -> Digest {
        learnt(self.recoding.as_ref(), &self.parameters)
    }

    /// The raw score of a row of the recipe's codes: log-odds, a number scaled to −1 to 1, or the position of the nearest
    /// cluster.
    pub fn raw(&self, codes: &[u16]) -> f64 {
        let recoded: Vec<u16> = match &self.recoding {
            Some(recoding) => recoding.columns.iter().zip(codes).map(|(recode, code)| recode.apply(*code)).collect(),
            None => codes.to_vec(),
        };
        let columns = self.recoding.as_ref().map_or_else(|| self.recipe.columns(), |r| r.columns(&self.recipe));
        self.parameters.score(&columns, &recoded)
    }

    /// The score of a row as people read it: a probability, a number in the target's unit, or the number of the nearest
    /// cluster, counted from 1.
    pub fn score(&self, codes: &[u16]) -> f64 {
        let raw = self.raw(codes);
        match &self.target {
            None => raw + 1.0,
            Some(target) => match target.values.bounds() {
                None => 1.0 / (1.0 + (-raw).exp()),
                Some((low, high)) => low + (high - low) * (raw + 1.0) / 2.0,
            },
        }
    }
}

impl Parameters {
    /// The raw score of a row of recoded codes.
    pub fn score(&self, columns: &[Column], codes: &[u16]) -> f64 {
        let unit = f64::from(rows::UNIT);
        match self {
            Self::None => 0.0,
            Self::Weights { weights } => {
                let mut score = weights.last().copied().unwrap_or(0.0);
                design(columns, codes, |place, value| score += weights[place] * f64::from(value) / unit);
                score
            }
            Self::Additive { intercept, shapes, pairs } => {
                let shapes: f64 = shapes.iter().zip(codes).map(|(shape, code)| shape[usize::from(*code)]).sum();
                let pair = |pair: &Pair| {
                    let group =
                        |feature: u32, groups: &[u16]| usize::from(groups[usize::from(codes[feature as usize])]);
                    let second = group(pair.features.1, &pair.groups.1);
                    let width = pair.groups.1.iter().max().map_or(0, |most| usize::from(*most) + 1);
                    pair.values[group(pair.features.0, &pair.groups.0) * width + second]
                };
                intercept + shapes + pairs.iter().map(pair).sum::<f64>()
            }
            Self::Centres { centres } => {
                let mut x = vec![0.0; centres.first().map_or(0, Vec::len)];
                design(columns, codes, |place, value| {
                    if let Some(x) = x.get_mut(place) {
                        *x = f64::from(value) / unit;
                    }
                });
                let distance = |centre: &Vec<f64>| centre.iter().zip(&x).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
                let distances = centres.iter().map(distance).enumerate();
                distances.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0.0, |(nearest, _)| nearest as f64)
            }
        }
    }
}

/// The entries of a row's design vector that are not zero, without the constant.
fn design(columns: &[Column], codes: &[u16], mut entry: impl FnMut(usize, i32)) {
    let mut start = 0;
    for (column, code) in columns.iter().zip(codes) {
        match (*column, *code) {
            (Column::Number, 0) => entry(start + 1, rows::UNIT),
            (Column::Number, code) => entry(start, rows::number(code)),
            (Column::Category { values }, code) if code <= values => entry(start + usize::from(code), rows::UNIT),
            (Column::Category { .. }, _) => entry(start, rows::UNIT),
        }
        start += column.dims();
    }
}
