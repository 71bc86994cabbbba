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

use std::collections::BTreeSet;
use std::fmt;

use super::Refused;
use super::buckets::MAX_BUCKETS;
use super::candidates::Feature;
use super::params::{self, BLOCK, Infeasible, Params, Shape};
use zeroize::Zeroizing;

use crate::canonical::canonical_bytes;
use crate::digest::Digest;
use crate::learn::file::{FileError, ModelFile, ScoreShare};
use crate::learn::model::{Model, ModelError, Pair, Parameters, Recoding};
use crate::learn::recipe::Recipe;
use crate::privacy::rows::{self, Column};
use crate::reason::Reason;

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
    /// Hash of what the file says of the model itself and of how scores lie: the same in every file that the same releases gave.
    pub content: Digest,
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

/// A model in whole numbers. No `Debug`, and zeroized when dropped: it is what is to be hidden.
pub struct Quantised {
    /// In the order of the shape's columns and levels.
    pub weights: Zeroizing<Vec<i32>>,
    /// A unit of scores is 2^−bits.
    pub bits: i32,
}

impl Quantised {
    /// The edges of buckets, log-odds in ascending order, in whole numbers: a score is at least one if its log-odds are.
    pub fn edges(&self, edges: &[ScoreShare]) -> Vec<i64> {
        let step = f64::from(self.bits).exp2();
        let mut whole: Vec<i64> = Vec::with_capacity(edges.len());
        for edge in edges {
            let edge = (edge.threshold * step).ceil() as i64;
            // Two that no score lies between: the upper bucket of them is empty.
            whole.push(whole.last().map_or(edge, |below| edge.max(below.saturating_add(1))));
        }
        whole
    }
}

/// One column of the shape, and what it is made of.
enum Term<'a> {
    Scaled(usize),
    Missing(usize),
    Levels(usize, usize),
    Pair(&'a PairGroups),
    Constant,
}

impl Term<'_> {
    /// How many weights it has.
    fn weights(&self) -> usize {
        match self {
            Self::Scaled(_) | Self::Constant => 1,
            Self::Missing(_) => 2,
            Self::Levels(_, levels) => *levels,
            Self::Pair(pair) => width(&pair.groups.0) * width(&pair.groups.1),
        }
    }
}

/// Why customers cannot be scored blindly with a model.
#[derive(Debug, thiserror::Error)]
pub enum PublicModelError {
    /// Its file.
    #[error(transparent)]
    File(#[from] FileError),
    /// It predicts something else than an event, or is of another kind.
    #[error("is of kind {0}; lookalikes are found by a logistic or additive model of a condition")]
    Kind(&'static str),
    /// Its parts do not fit one another.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A feature or a pair that is not in bins.
    #[error("the model does not have the bins that its kind needs")]
    Bins,
    /// It was not evaluated.
    #[error("the model does not say how scores lie; train it with `holdout` and `evaluation` above 0")]
    NotEvaluated,
    /// Shares by score that are not in order.
    #[error("the model's shares of customers by score are not valid")]
    Shares,
    /// Parameters of another model.
    #[error("the model's parameters do not fit its public half")]
    OtherParameters,
}

impl PublicModelError {
    /// This problem of the file of that name, apart from what to do about it where that is known.
    pub fn of(&self, file: impl fmt::Display) -> Reason {
        match self {
            Self::File(error) => error.of(file),
            error => format!("{file} {error}").into(),
        }
    }
}

impl PublicModel {
    /// The public half of a model file with this content.
    ///
    /// # Errors
    ///
    /// If the model cannot be scored blindly, or does not say how scores lie.
    pub fn of(bytes: &[u8]) -> Result<(Self, ModelFile), PublicModelError> {
        let file = ModelFile::parse(bytes)?;
        let kind = file.kind();
        if !matches!(kind, "logistic" | "additive") || !file.model.target.as_ref().is_some_and(|it| it.is_event()) {
            return Err(PublicModelError::Kind(kind));
        }
        let groups = |pair: &Pair| PairGroups { features: pair.features, groups: pair.groups.clone() };
        let (additive, pairs) = match &file.model.parameters {
            Parameters::Additive { pairs, .. } => (true, pairs.iter().map(groups).collect()),
            Parameters::None | Parameters::Weights { .. } | Parameters::Centres { .. } => (false, Vec::new()),
        };
        let public = Self {
            study: file.study.id.clone(),
            sha256: Digest::plain(bytes),
            content: content(&file),
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

    /// Whether both are of the same model, be they of other files: a training that is asked again gives another file with
    /// what it released before. Two trainings do not agree in that, as it is noisy.
    pub fn same_model(&self, other: &Self) -> bool {
        self.unnamed() == other.unnamed() || self.sha256 == other.sha256
    }

    /// Without the study and the file that it was released with.
    pub fn unnamed(&self) -> Self {
        Self { study: String::new(), sha256: Digest::ZERO, ..self.clone() }
    }

    /// Checks what may have come from anybody.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn check(&self) -> Result<(), PublicModelError> {
        if let Some(recoding) = &self.recoding {
            recoding.check(&self.recipe)?;
        }
        let columns = self.columns();
        let sized = |feature: u32, groups: &[u16]| match columns.get(feature as usize) {
            Some(Column::Category { values }) => groups.len() == usize::from(*values) + 1,
            _ => false,
        };
        let paired =
            |pair: &PairGroups| sized(pair.features.0, &pair.groups.0) && sized(pair.features.1, &pair.groups.1);
        if self.additive && columns.contains(&Column::Number) || !self.pairs.iter().all(paired) {
            return Err(PublicModelError::Bins);
        }
        let ascending = self.shares.windows(2).all(|pair| pair[0].threshold < pair[1].threshold);
        let within = |share: &ScoreShare| {
            share.threshold.is_finite() && (0.0..=1.0).contains(&share.events) && (0.0..=1.0).contains(&share.others)
        };
        if self.shares.is_empty() {
            return Err(PublicModelError::NotEvaluated);
        }
        if self.shares.len() > 1000 || !ascending || !self.shares.iter().all(within) {
            return Err(PublicModelError::Shares);
        }
        Ok(())
    }

    /// The edges of `buckets` buckets, ascending: the scores that the model states of which each share of seeds, from all but
    /// 1/`buckets` down to 1/`buckets`, comes nearest to scoring as much. There are fewer where two would be the same.
    pub fn edges(&self, buckets: u32) -> Vec<ScoreShare> {
        let nearest = |k: u32| {
            let share = 1.0 - f64::from(k) / f64::from(buckets);
            let apart = |at: &usize| (self.shares[*at].events - share).abs();
            (0..self.shares.len()).min_by(|one, two| apart(one).total_cmp(&apart(two)))
        };
        let places: BTreeSet<usize> = (1..buckets.min(MAX_BUCKETS as u32)).filter_map(nearest).collect();
        places.into_iter().map(|place| self.shares[place]).collect()
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

    /// The shape of its encryption, for at most `candidates` candidates of one partner.
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
            _ => levels(term.weights()),
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
        let owned = |levels: Vec<u16>| Owned::Levels(Zeroizing::new(levels));
        let column = |term: &Term<'_>| match term {
            Term::Scaled(feature) => {
                Owned::Scaled(Zeroizing::new(codes[*feature].iter().map(|code| scaled(*code)).collect()))
            }
            Term::Missing(feature) => owned(codes[*feature].iter().map(|code| u16::from(*code == 0)).collect()),
            Term::Levels(feature, levels) => {
                // A code that its column does not have is a missing value.
                let level = |code: &u16| if usize::from(*code) < *levels { *code } else { 0 };
                owned(codes[*feature].iter().map(level).collect())
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
                owned((0..rows).map(level).collect())
            }
            Term::Constant => owned(vec![0; rows]),
        };
        Ok(Features(self.terms().iter().map(column).collect()))
    }

    /// The scores of some customers in the clear, from their recoded codes column by column: to the last unit what blind scoring
    /// opens. For the model's owner and its own customers.
    ///
    /// # Errors
    ///
    /// If the codes or the weights are of another model.
    pub fn scores(&self, model: &Quantised, codes: &[&[u16]]) -> Result<Vec<i64>, Refused> {
        let features = self.features(codes)?;
        let mut scores = vec![0i64; codes.first().map_or(0, |codes| codes.len())];
        let mut weights = &model.weights[..];
        for (at, (term, column)) in self.terms().iter().zip(features.columns()).enumerate() {
            let (own, rest) = weights.split_at_checked(term.weights()).ok_or(Refused::Weights)?;
            weights = rest;
            match column {
                Feature::Scaled(values) => {
                    let weight = own.first().ok_or(Refused::Weights)?;
                    scores.iter_mut().zip(values).for_each(|(score, x)| *score += i64::from(*weight) * i64::from(*x));
                }
                Feature::OneHot(levels) => {
                    for (score, level) in scores.iter_mut().zip(levels) {
                        *score += i64::from(*own.get(usize::from(*level)).ok_or(Refused::Column(at))?);
                    }
                }
            }
        }
        Ok(scores)
    }

    /// The weights of the model whose public half this is.
    ///
    /// # Errors
    ///
    /// If the parameters are of another model.
    pub fn quantised(&self, parameters: &Parameters) -> Result<Quantised, PublicModelError> {
        parameters.check(&self.recipe, self.recoding.as_ref())?;
        // (value, whether it is a number's)
        let mut values: Vec<(f64, bool)> = Vec::new();
        match parameters {
            Parameters::Weights { weights } if !self.additive => {
                for (column, place) in self.columns().iter().zip(rows::places(&self.columns())) {
                    match column {
                        Column::Number => {
                            values.extend([
                                (weights[place.start], true),
                                (0.0, false),
                                (weights[place.start + 1], false),
                            ]);
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
            _ => return Err(PublicModelError::OtherParameters),
        }
        let count: usize = self.terms().iter().map(Term::weights).sum();
        if values.len() != count {
            return Err(PublicModelError::OtherParameters);
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
        let weights = Zeroizing::new(values.iter().map(weight).collect());
        Ok(Quantised { weights, bits: bits as i32 })
    }
}

/// The features of some customers, in the order of a shape's columns. No `Debug`, and zeroized when dropped: they are customers'
/// data.
pub struct Features(Vec<Owned>);

enum Owned {
    Scaled(Zeroizing<Vec<i8>>),
    Levels(Zeroizing<Vec<u16>>),
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

/// See [`PublicModel::content`].
fn content(file: &ModelFile) -> Digest {
    let Model { recipe, target, recoding, parameters } = &file.model;
    Digest::of("entente model 1", &[&canonical_bytes(&(recipe, target, recoding, parameters, &file.score_shares))])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::model::Recode;
    use crate::learn::recipe::{Feature as Named, Values};

    fn splitmix(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }
    }

    fn recipe() -> Recipe {
        let number = |name: &str| Named { name: name.into(), values: Values::Number { low: 0.0, high: 1.0 } };
        let region = Values::Category { values: ["n", "s", "w"].map(String::from).to_vec() };
        Recipe { features: vec![number("a"), Named { name: "region".into(), values: region }, number("b")] }
    }

    fn share(threshold: f64) -> ScoreShare {
        ScoreShare { threshold, events: 0.5, others: 0.2 }
    }

    fn public(recoding: Vec<Recode>, parameters: &Parameters) -> PublicModel {
        let pairs = match parameters {
            Parameters::Additive { pairs, .. } => {
                pairs.iter().map(|pair| PairGroups { features: pair.features, groups: pair.groups.clone() }).collect()
            }
            _ => Vec::new(),
        };
        PublicModel {
            study: "s".into(),
            sha256: Digest([1; 32]),
            content: Digest([2; 32]),
            predicts: "y".into(),
            recipe: recipe(),
            recoding: Some(Recoding { columns: recoding }),
            additive: matches!(parameters, Parameters::Additive { .. }),
            pairs,
            shares: vec![share(-1.0), share(0.5)],
        }
    }

    fn logistic(size: f64) -> (PublicModel, Parameters) {
        let weights = [1.0, -0.7, 0.3, -0.2, 0.1, 0.9, -0.6, 0.05, -1.3].map(|weight| weight * size).to_vec();
        let parameters = Parameters::Weights { weights };
        let scale = Recode::Scale(vec![(1, 1), (30_000, 50_000), (65_535, 65_535)]);
        (public(vec![scale.clone(), Recode::Keep, scale], &parameters), parameters)
    }

    fn additive() -> (PublicModel, Parameters) {
        let shape = |size: usize, slope: f64| (0..size).map(|bin| slope * (bin as f64 - 1.5)).collect::<Vec<f64>>();
        let pair = Pair {
            features: (0, 1),
            groups: (vec![0, 0, 1, 1], vec![0, 1, 1, 0]),
            values: vec![0.2, -0.1, 0.05, -0.3],
        };
        let shapes = vec![shape(4, 0.3), shape(4, -0.2), shape(3, 1.0 / 3.0)];
        let parameters = Parameters::Additive { intercept: -0.8, shapes, pairs: vec![pair] };
        let recoding = vec![Recode::Bins(vec![20_000, 40_000]), Recode::Keep, Recode::Bins(vec![30_000])];
        (public(recoding, &parameters), parameters)
    }

    /// What the whole numbers come to, as the candidates' owner opens it, for some customers by their codes.
    fn scores(public: &PublicModel, quantised: &Quantised, codes: &[Vec<u16>]) -> Vec<f64> {
        let recoding = public.recoding.as_ref().unwrap();
        let recoded: Vec<Vec<u16>> = (recoding.columns.iter().zip(codes))
            .map(|(recode, codes)| codes.iter().map(|code| recode.apply(*code)).collect())
            .collect();
        let recoded: Vec<&[u16]> = recoded.iter().map(Vec::as_slice).collect();
        let features = public.features(&recoded).unwrap();
        let mut totals = vec![0i64; codes[0].len()];
        let mut weights = &quantised.weights[..];
        for (feature, column) in features.columns().iter().zip(public.params(1).unwrap().shape().columns.iter()) {
            let (own, rest) = weights.split_at(column.weights());
            weights = rest;
            for (row, total) in totals.iter_mut().enumerate() {
                *total += match feature {
                    Feature::Scaled(values) => i64::from(values[row]) * i64::from(own[0]),
                    Feature::OneHot(levels) => i64::from(own[usize::from(levels[row])]),
                };
            }
        }
        assert!(weights.is_empty());
        totals.into_iter().map(|total| total as f64 * f64::from(-quantised.bits).exp2()).collect()
    }

    /// Scores are within the error that the module states, and their order is that of the model.
    #[test]
    fn whole_numbers_score_as_the_model_does() {
        let mut random = splitmix(7);
        let codes: Vec<Vec<u16>> = [65_536, 4, 65_536]
            .into_iter()
            .map(|codes| {
                (0..5000).map(|_| if random().is_multiple_of(20) { 0 } else { (random() % codes) as u16 }).collect()
            })
            .collect();
        for (public, parameters) in [logistic(1.0), logistic(40.0), logistic(1e-3), additive()] {
            public.check().unwrap();
            let quantised = public.quantised(&parameters).unwrap();
            assert!(quantised.weights.iter().any(|weight| weight.unsigned_abs() > 1 << 9), "bits are used");
            let model = Model {
                recipe: public.recipe.clone(),
                target: None,
                recoding: public.recoding.clone(),
                parameters: parameters.clone(),
            };
            let scored = scores(&public, &quantised, &codes);
            let exact: Vec<f64> =
                (0..5000).map(|row| model.raw(&codes.iter().map(|codes| codes[row]).collect::<Vec<_>>())).collect();
            let steps: f64 = match &parameters {
                Parameters::Weights { weights } => {
                    // Half a step of each of two numbers, and half a unit of what stands for a whole one.
                    let unit = f64::from(-quantised.bits).exp2() / 2.0;
                    (weights[0].abs() + weights[6].abs()) / 254.0 + unit * (2.0 * f64::from(STEPS) + 5.0)
                }
                _ => f64::from(-quantised.bits).exp2() * 5.0 / 2.0,
            };
            // A number's unit is 32767 of its own steps, or 258·127 of them: as near as 1/32767.
            let coarse = 1e-3 * exact.iter().fold(0.0f64, |most, score| most.max(score.abs()));
            for (a, b) in scored.iter().zip(&exact) {
                assert!((a - b).abs() <= steps + coarse, "{a} {b} {steps}");
            }
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let (x, y) = (mean(&scored), mean(&exact));
            let product =
                |a: &[f64], p: f64, b: &[f64], q: f64| a.iter().zip(b).map(|(a, b)| (a - p) * (b - q)).sum::<f64>();
            let correlation = product(&scored, x, &exact, y)
                / (product(&scored, x, &scored, x) * product(&exact, y, &exact, y)).sqrt();
            assert!(correlation > 0.9999, "{correlation}");
        }
    }

    #[test]
    fn what_is_no_model_for_this_is_refused() {
        let (public, parameters) = additive();
        let refused = |change: &dyn Fn(&mut PublicModel)| {
            let mut changed = public.clone();
            change(&mut changed);
            changed.check().unwrap_err()
        };
        use PublicModelError as E;
        assert!(matches!(refused(&|public| public.shares.clear()), E::NotEvaluated));
        assert!(matches!(refused(&|public| public.shares.reverse()), E::Shares));
        assert!(matches!(refused(&|public| public.shares[0].events = f64::NAN), E::Shares));
        assert!(matches!(refused(&|public| public.pairs[0].features.0 = 9), E::Bins));
        assert!(matches!(refused(&|public| public.pairs[0].groups.0.truncate(1)), E::Bins));
        assert!(matches!(refused(&|public| public.recoding = None), E::Bins));
        assert!(public.quantised(&logistic(1.0).1).is_err() && public.quantised(&parameters).is_ok());
        assert!(matches!(public.features(&[&[1, 2], &[1]]), Err(Refused::Features)));
        // Codes that columns do not have are missing values, wherever they come from.
        let features = public.features(&[&[60_000, 1], &[9, 2], &[7, 2]]).unwrap();
        for (feature, column) in features.columns().iter().zip(&public.params(1).unwrap().shape().columns) {
            let Feature::OneHot(levels) = feature else { continue };
            assert!(levels.iter().all(|level| usize::from(*level) < column.weights()));
        }
    }

    #[test]
    fn wide_models_are_refused_with_what_would_fit() {
        let (mut public, _) = additive();
        let values = (0..300).map(|value| value.to_string()).collect();
        public.recipe.features[1].values = Values::Category { values };
        public.pairs.clear();
        assert!(public.params(1000).unwrap_err().to_string().contains("256 weights"));
    }
}
