//! Models as they are scored blindly: whole numbers that go to nobody but under encryption, and a public half that says
//! what has to be known of a customer.
//!
//! ```text
//! ModelFile ─▶ PublicModel: recipe, recoding, groups of pairs, how seeds' scores lie   (to all who take part)
//!           └▶ Quantised: weights in steps of 2^−bits                                  (stays with the seed owner)
//! PublicModel + codes of a customer ─▶ features of a block                             (stays with the candidates' owner)
//! ```
//!
//! **Columns.** A number is scaled to −127 … 127 and has one weight, of [`SCALED_BITS`] bits; beside it stands whether it is
//! missing. A category, a bin or a pair of bins is one of several levels, each with a weight of [`LEVEL_BITS`] bits, so
//! that both count in the same unit: a level stands for a whole 1, a number for steps of 1/127. The last column is a
//! constant, whose one level is the intercept.
//!
//! **Error.** In units of a score (log-odds) and with b = [`Quantised::bits`], each level's weight is off by at most
//! 2^(−b−1), each scaled weight by 2^(−b−1) a step and so 127·2^(−b−1) at the ends of the range, and each number by half a
//! step, |w|/254. b is the largest for which all weights fit, so the first two are below 2^−11 of the largest weight.

use super::Refused;
use super::candidates::Feature;
use super::params::{self, BLOCK, Infeasible, Params, Shape};
use crate::digest::Digest;
use crate::learn::file::{ModelFile, ScoreShare};
use crate::learn::model::{Pair, Parameters, Recoding};
use crate::learn::recipe::Recipe;
use crate::privacy::rows::{self, Column};

/// Bits of a number's weight, its sign included.
pub const SCALED_BITS: u32 = 12;
/// Bits of a level's weight, its sign included.
pub const LEVEL_BITS: u32 = 19;
/// Steps of a number on either side of zero.
const STEPS: i32 = 127;
/// A number is as many of its own units to one of these steps.
const UNITS: i32 = rows::UNIT / STEPS;
/// No weight is in a smaller unit than this power of two.
const MOST_BITS: i32 = 40;

/// What may be known of a model by whoever takes part in scoring with it.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct PublicModel {
    /// The study that trained it.
    pub study: String,
    /// Hash of its file.
    pub sha256: Digest,
    /// What it predicts.
    pub predicts: String,
    /// The features.
    pub recipe: Recipe,
    /// How their codes are changed.
    pub recoding: Option<Recoding>,
    /// Whether it is a sum of step functions, rather than of weighted numbers.
    pub additive: bool,
    /// The features of pairs, and the groups of their codes.
    pub pairs: Vec<PairGroups>,
    /// How the scores of customers with and without the event lie, as its training released it.
    pub shares: Vec<ScoreShare>,
}

/// A term of two features, without its values.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct PairGroups {
    /// Positions in the recipe.
    pub features: (u32, u32),
    /// Of each code of either, its group.
    pub groups: (Vec<u16>, Vec<u16>),
}

/// A model in whole numbers. No `Debug`: it is what is to be hidden.
pub struct Quantised {
    /// In the order of the shape's columns and levels.
    pub weights: Vec<i32>,
    /// A unit of scores is 2^−bits.
    pub bits: i32,
}

/// One column of the shape, and what it is made of.
enum Term<'a> {
    Scaled(usize),
    Missing(usize),
    Levels(usize, usize),
    Pair(&'a PairGroups),
    Constant,
}

impl PublicModel {
    /// The public half of a model file with this content.
    ///
    /// # Errors
    ///
    /// If the model cannot be scored blindly, or does not say how scores lie, in words.
    pub fn of(bytes: &[u8]) -> Result<(Self, ModelFile), String> {
        let file = ModelFile::parse(bytes)?;
        let kind = file.kind();
        if !matches!(kind, "logistic" | "additive") || !file.model.target.as_ref().is_some_and(|it| it.is_event()) {
            return Err(format!("is of kind {kind}; lookalikes are found by a logistic or additive model of a condition"));
        }
        let groups = |pair: &Pair| PairGroups { features: pair.features, groups: pair.groups.clone() };
        let (additive, pairs) = match &file.model.parameters {
            Parameters::Additive { pairs, .. } => (true, pairs.iter().map(groups).collect()),
            Parameters::None | Parameters::Weights { .. } | Parameters::Centres { .. } => (false, Vec::new()),
        };
        let public = Self {
            study: file.study.id.clone(),
            sha256: Digest::plain(bytes),
            predicts: file.model.target.as_ref().map(|target| target.name.clone()).unwrap_or_default(),
            recipe: file.model.recipe.clone(),
            recoding: file.model.recoding.clone(),
            additive,
            pairs,
            shares: file.score_shares.clone(),
        };
        public.check()?;
        Ok((public, file))
    }

    /// Checks what may have come from anybody.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        if let Some(recoding) = &self.recoding {
            recoding.check(&self.recipe)?;
        }
        let columns = self.columns();
        let sized = |feature: u32, groups: &[u16]| match columns.get(feature as usize) {
            Some(Column::Category { values }) => groups.len() == usize::from(*values) + 1,
            _ => false,
        };
        let paired = |pair: &PairGroups| sized(pair.features.0, &pair.groups.0) && sized(pair.features.1, &pair.groups.1);
        if self.additive && columns.contains(&Column::Number) || !self.pairs.iter().all(paired) {
            return Err("the model does not have the bins that its kind needs".into());
        }
        let ascending = self.shares.windows(2).all(|pair| pair[0].threshold < pair[1].threshold);
        let within = |share: &ScoreShare| {
            share.threshold.is_finite() && (0.0..=1.0).contains(&share.events) && (0.0..=1.0).contains(&share.others)
        };
        if self.shares.is_empty() {
            return Err("the model does not say how scores lie; train it with `holdout` and `evaluation` above 0".into());
        }
        if self.shares.len() > 1000 || !ascending || !self.shares.iter().all(within) {
            return Err("the model's shares of customers by score are none".into());
        }
        Ok(())
    }

    /// What the codes mean once they are recoded.
    pub fn columns(&self) -> Vec<Column> {
        self.recoding.as_ref().map_or_else(|| self.recipe.columns(), |recoding| recoding.columns(&self.recipe))
    }

    fn terms(&self) -> Vec<Term<'_>> {
        let mut terms = Vec::new();
        for (feature, column) in self.columns().into_iter().enumerate() {
            match column {
                Column::Number => terms.extend([Term::Scaled(feature), Term::Missing(feature)]),
                Column::Category { values } => terms.push(Term::Levels(feature, usize::from(values) + 1)),
            }
        }
        terms.extend(self.pairs.iter().map(Term::Pair));
        terms.push(Term::Constant);
        terms
    }

    /// The shape of its encryption, for at most so many candidates of one partner.
    ///
    /// # Errors
    ///
    /// If no parameters fit, with what would.
    pub fn params(&self, candidates: u64) -> Result<Params, Infeasible> {
        let (scaled, level) = ((1 << (SCALED_BITS - 1)) - 1, (1 << (LEVEL_BITS - 1)) - 1);
        let levels = |levels: usize| params::Column::OneHot {
            // More than any shape may have is refused below.
            levels: u16::try_from(levels).unwrap_or(u16::MAX),
            weight: level,
        };
        let column = |term: &Term<'_>| match term {
            Term::Scaled(_) => params::Column::Scaled { bound: STEPS as u8, weight: scaled },
            Term::Missing(_) => levels(2),
            Term::Levels(_, count) => levels(*count),
            Term::Pair(pair) => levels(width(&pair.groups.0) * width(&pair.groups.1)),
            Term::Constant => levels(1),
        };
        let blocks = u32::try_from(candidates.div_ceil(BLOCK as u64)).unwrap_or(u32::MAX);
        Params::new(Shape { columns: self.terms().iter().map(column).collect(), blocks })
    }

    /// The features of some customers in the order of the shape's columns, from their recoded codes column by column.
    pub fn features(&self, codes: &[&[u16]]) -> Result<Features, Refused> {
        let rows = codes.first().map_or(0, |codes| codes.len());
        if codes.len() != self.recipe.features.len() || codes.iter().any(|codes| codes.len() != rows) {
            return Err(Refused::Features);
        }
        let column = |term: &Term<'_>| match term {
            Term::Scaled(feature) => Owned::Scaled(codes[*feature].iter().map(|code| scaled(*code)).collect()),
            Term::Missing(feature) => Owned::Levels(codes[*feature].iter().map(|code| u16::from(*code == 0)).collect()),
            Term::Levels(feature, levels) => {
                // A code that its column does not have is a missing value.
                let level = |code: &u16| if usize::from(*code) < *levels { *code } else { 0 };
                Owned::Levels(codes[*feature].iter().map(level).collect())
            }
            Term::Pair(pair) => {
                let group = |feature: u32, groups: &[u16], row: usize| {
                    let code = usize::from(codes[feature as usize][row]);
                    groups.get(code).or(groups.first()).copied().unwrap_or(0)
                };
                let second = width(&pair.groups.1) as u16;
                let level = |row: usize| {
                    group(pair.features.0, &pair.groups.0, row) * second + group(pair.features.1, &pair.groups.1, row)
                };
                Owned::Levels((0..rows).map(level).collect())
            }
            Term::Constant => Owned::Levels(vec![0; rows]),
        };
        Ok(Features(self.terms().iter().map(column).collect()))
    }

    /// The weights of the model whose public half this is.
    ///
    /// # Errors
    ///
    /// If the parameters are of another model.
    pub fn quantised(&self, parameters: &Parameters) -> Result<Quantised, String> {
        parameters.check(&self.recipe, self.recoding.as_ref())?;
        let wrong = || "the model's parameters do not fit its public half".to_owned();
        // (value, whether it is a number's)
        let mut values: Vec<(f64, bool)> = Vec::new();
        match parameters {
            Parameters::Weights { weights } if !self.additive => {
                for (column, place) in self.columns().iter().zip(rows::places(&self.columns())) {
                    match column {
                        Column::Number => {
                            values.extend([(weights[place.start], true), (0.0, false), (weights[place.start + 1], false)]);
                        }
                        Column::Category { .. } => values.extend(weights[place].iter().map(|weight| (*weight, false))),
                    }
                }
                values.push((weights.last().copied().unwrap_or(0.0), false));
            }
            Parameters::Additive { intercept, shapes, pairs } if self.additive => {
                values.extend(shapes.iter().flatten().map(|value| (*value, false)));
                values.extend(pairs.iter().flat_map(|pair| &pair.values).map(|value| (*value, false)));
                values.push((*intercept, false));
            }
            _ => return Err(wrong()),
        }
        let count: usize = self.terms().iter().map(|term| match term {
            Term::Scaled(_) | Term::Constant => 1,
            Term::Missing(_) => 2,
            Term::Levels(_, levels) => *levels,
            Term::Pair(pair) => width(&pair.groups.0) * width(&pair.groups.1),
        }).sum();
        if values.len() != count {
            return Err(wrong());
        }
        // How many steps of 2^-bits a weight has room for.
        let room = |(value, number): &(f64, bool)| {
            let (most, unit) = if *number { (SCALED_BITS, f64::from(STEPS)) } else { (LEVEL_BITS, 1.0) };
            let most = f64::from((1u32 << (most - 1)) - 1);
            (most * unit / value.abs()).log2().floor().min(f64::from(MOST_BITS))
        };
        let bits = values.iter().map(room).fold(f64::from(MOST_BITS), f64::min);
        let step = bits.exp2();
        let weight = |(value, number): &(f64, bool)| {
            let unit = if *number { f64::from(STEPS) } else { 1.0 };
            (value * step / unit).round() as i32
        };
        // `bits` is a whole number within ±1100, and so are the weights within their bounds: truncated is not rounded up.
        Ok(Quantised { weights: values.iter().map(weight).collect(), bits: bits as i32 })
    }
}

/// The features of some customers, in the order of a shape's columns. No `Debug`: they are customers' data.
pub struct Features(Vec<Owned>);

enum Owned {
    Scaled(Vec<i8>),
    Levels(Vec<u16>),
}

impl Features {
    /// As [`super::candidates::Worker::block`] takes them.
    pub fn columns(&self) -> Vec<Feature<'_>> {
        self.0.iter().map(Owned::feature).collect()
    }
}

impl Owned {
    fn feature(&self) -> Feature<'_> {
        match self {
            Self::Scaled(values) => Feature::Scaled(values),
            Self::Levels(values) => Feature::OneHot(values),
        }
    }
}

/// A number's code in steps of 1/127, to the nearest; 0 where it is missing.
fn scaled(code: u16) -> i8 {
    let x = rows::number(code);
    let rounded = (x + x.signum() * UNITS / 2) / UNITS;
    rounded.clamp(-STEPS, STEPS) as i8
}

fn width(groups: &[u16]) -> usize {
    groups.iter().max().map_or(0, |most| usize::from(*most) + 1)
}
