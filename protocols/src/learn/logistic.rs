//! Logistic regression from clipped gradients.
//!
//! **Releases**, with d features and C = √(d + 1), the largest norm of a design vector ([`crate::privacy::rows`]) in
//! units of one:
//!
//! 1. Fine histograms of the numbers (`learn::fine`), a twentieth of the budget; left out where there are none.
//! 2. Sums of x over customers with the event and over those without, 15 %. A customer is in one of the two: norm C. At
//!    weights of zero residuals are y − p₀ for everybody, so these sums are the gradient there, at any intercept and
//!    without clipping anything; and they say how frequent every entry is.
//! 3. T gradients Σ clip(y − p, ±A)·x, equal parts of the rest, norm A·C: per-customer clipped gradients (Abadi et al.
//!    2016, arXiv 1607.00133). As ‖x‖ ≤ C for everybody, clipping the residual is all the clipping there is.
//!
//! **Scale of numbers.** A number's range is public and may be far wider than where customers are. From its histogram
//! it gets a new scale: half is its value, clipped to the quantiles at 3 % and 97 %, half is its rank; centred, and
//! stretched to reach −1 or 1. A long tail then neither hides the rest nor loses its order.
//!
//! **Descent**, over entries centred at their means μ, with N customers and h = p₀(1 − p₀):
//!
//! - Steps are second-order with a diagonal: at weights of zero the Hessian Σ p(1 − p)·(x − μ)(x − μ)ᵀ has
//!   D = h·N·var(x) on it, and var(x) follows from the histograms and the second release. So rare categories move as
//!   fast as frequent ones. For an indicator the second moment stands for the variance, which is less: steps are
//!   shorter, not longer. Full second moments would be another release, with d² entries and a norm of C²: its noise
//!   outweighs what it says but where d is small, and experiments showed no gain there either.
//! - Each weight has a ridge: 1/τ² (τ = 1 for indicators, 2 for numbers, what is expected of weights a priori) and
//!   σ²/(D·τ²), σ² the noise of all gradients together. An entry whose D is small beside the noise stays at zero.
//! - Heavy-ball momentum at a fixed rate. A diagonal does not bound the Hessian of features that go together, so a
//!   step can be too long: where one gradient points against the one before by more than three standard deviations of
//!   their noise, the rate is halved and the momentum dropped.
//! - The constant is not shrunk, and has a Newton step of its own from each gradient.
//! - The model is the mean of the last six tenths of the iterates (Polyak & Juditsky 1992), which averages noise out.

use std::ops::Range;

use super::choose::{affordable, only};
use super::fine::{CELLS, Fine, SLACK};
use super::model::{Parameters, Recode, Recoding};
use super::recipe::Recipe;
use super::training::{
    Contribute, Implausible, Input, MILLION, Options, Release, Role, Target, Train, Training, Unfit,
};
use crate::privacy::bounds::Component;
use crate::privacy::rows::{self, Block, Column, UNIT, number};
use crate::privacy::sums::{Part, Sums};

/// Settings.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode)]
pub struct Settings {
    /// T: how many gradients, besides the one at weights of zero.
    pub rounds: u32,
    /// A: what a customer's residual is clipped to.
    pub clip: f64,
    /// How strongly weights are drawn to zero, where 1 is as the noise asks for.
    pub regularisation: f64,
}

/// The largest number of gradients.
pub const MAX_ROUNDS: u32 = 200;
/// The smallest A: weights of customers then still have 327 steps either way.
const LEAST_CLIP: f64 = 0.01;
/// The share of the histograms, in millionths.
const HISTOGRAMS: u32 = MILLION / 20;
/// The share of the sums by label, in millionths.
const LABELS: u32 = MILLION / 100 * 15;
/// The weight of a customer in the sums by label.
const WEIGHT: i32 = 1024;
/// The part of a step that is taken at first.
const RATE: f64 = 0.3;
/// The part of the last change that is made again.
const MOMENTUM: f64 = 0.3;
/// The part of the constant's Newton step that is taken: weights move at the same time, and it need not be shrunk.
const CONSTANT_RATE: f64 = 0.7;
/// Standard deviations of noise by which two gradients must point against each other to halve the rate.
const ALARM: f64 = 3.0;
/// Shares of customers outside the part of a number's scale that is even.
const TAIL: f64 = 0.03;
/// The fewest customers of a label that are taken to be there.
const FEWEST: f64 = 10.0;
/// The smallest variance of a scaled number.
const LEAST_VARIANCE: f64 = 1e-4;

/// What is said of a sum that customers cannot have brought.
const WHOSE: &str = "some participant sent something else than its customers' sums; the masks hide which one";
/// What rounding may do to a sum, in customers.
const ROUNDING: f64 = 0.5;

impl Settings {
    /// What is chosen for a recipe and a budget (ρ of the method's releases), within what the study says.
    ///
    /// # Errors
    ///
    /// A refusal that says what is wrong with an option, or how many features the budget can carry.
    pub fn choose(options: &Options, recipe: &Recipe, rho: f64) -> Result<Self, String> {
        only(options, "logistic", &["rounds", "clip", "regularisation"])?;
        let settings = Self {
            rounds: options.rounds.unwrap_or(12),
            clip: options.clip.unwrap_or(0.8),
            regularisation: options.regularisation.unwrap_or(1.0),
        };
        settings.check()?;
        // Of a gradient, in customers of the largest residual that is not clipped.
        let noise = (recipe.features.len() as f64 * f64::from(settings.rounds) / (2.0 * 0.8 * rho)).sqrt();
        affordable(recipe.features.len(), noise)?;
        Ok(settings)
    }

    /// Whether these can train a model; if not, why.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=MAX_ROUNDS).contains(&self.rounds) {
            return Err(format!("`rounds` is between 1 and {MAX_ROUNDS}, not {}", self.rounds));
        }
        if !(LEAST_CLIP..=1.0).contains(&self.clip) {
            return Err(format!(
                "`clip` is the largest difference of an outcome and its probability that counts in full: between \
                 {LEAST_CLIP} and 1, not {}",
                self.clip
            ));
        }
        if !(0.0..=1e6).contains(&self.regularisation) {
            return Err(format!(
                "`regularisation` is a factor between 0 and 1000000, where 1 is as the noise asks for, not {}",
                self.regularisation
            ));
        }
        Ok(())
    }

    /// The largest weight of a customer in a gradient: A in steps of 1/[`UNIT`].
    fn most(&self) -> i32 {
        ((self.clip * f64::from(UNIT)) as i32).clamp(1, UNIT)
    }

    /// The share of each gradient, in millionths.
    fn gradient(&self, recipe: &Recipe) -> u32 {
        let before = LABELS + if has_numbers(recipe) { HISTOGRAMS } else { 0 };
        (MILLION - before) / self.rounds.clamp(1, MAX_ROUNDS)
    }
}

pub(super) fn releases(settings: &Settings, recipe: &Recipe) -> Vec<Release> {
    let dims = rows::dims(&recipe.columns()) as u64;
    // As a block states the norms of its rows, rounded up, so that nobody is clipped: below 2^26.
    let square = (recipe.features.len() as u64 + 1) * u64::from(UNIT.unsigned_abs()).pow(2);
    let norm = square.isqrt() + u64::from(square.isqrt().pow(2) < square);
    let release = |name: String, length: u64, weight: i32, share: u32| {
        let component = Component::Vector { length, norm: norm * u64::from(weight.unsigned_abs()) };
        Release { name, role: Role::Training, components: vec![(component, share)] }
    };
    let histograms = Fine::new(recipe, false).release(HISTOGRAMS);
    let labels = release("sums by label".into(), 2 * dims, WEIGHT, LABELS);
    let gradient = |round| release(format!("gradient {round}"), dims, settings.most(), settings.gradient(recipe));
    let gradients = (1..=settings.rounds.clamp(1, MAX_ROUNDS)).map(gradient);
    histograms.into_iter().chain([labels]).chain(gradients).collect()
}

pub(super) fn contributor(
    settings: &Settings,
    training: &Training,
    release: usize,
    input: &Input,
) -> Result<Box<dyn Contribute>, Unfit> {
    if !training.target.as_ref().is_some_and(Target::is_event) {
        return Err(Unfit("a logistic model needs a condition to predict".into()));
    }
    let numbers = has_numbers(&training.recipe);
    let binned = |recoding: &Recoding| recoding.columns.iter().any(|recode| matches!(recode, Recode::Bins(_)));
    if input.recoding.is_some() != (numbers && release > 0) || input.recoding.as_ref().is_some_and(binned) {
        return Err(Unfit("numbers have a scale from the second release on, and no bins".into()));
    }
    match (release.checked_sub(usize::from(numbers)), &input.parameters) {
        (None, Parameters::None) => Ok(Fine::new(&training.recipe, false).contributor()),
        (Some(0), Parameters::None) => Ok(Box::new(Labels)),
        (Some(1..), Parameters::Weights { weights }) => {
            // What is too large for 32 bits becomes infinite, and its residuals ±1 or none.
            let weights = weights.iter().map(|weight| *weight as f32).collect();
            Ok(Box::new(Gradient { weights, most: settings.most() }))
        }
        _ => Err(Unfit("gradients are of weights, and what comes before them is of none".into())),
    }
}

pub(super) fn start(settings: &Settings, training: &Training) -> Box<dyn Train> {
    let columns = training.recipe.columns();
    Box::new(Regression {
        settings: settings.clone(),
        fine: has_numbers(&training.recipe).then(|| Fine::new(&training.recipe, false)),
        // Norms differ by the factor A, budgets by their shares.
        noise_ratio: settings.clip * (f64::from(LABELS) / f64::from(settings.gradient(&training.recipe).max(1))).sqrt(),
        places: rows::places(&columns),
        variances: vec![LEAST_VARIANCE; columns.len()],
        columns,
        recoding: None,
        descent: None,
    })
}

fn has_numbers(recipe: &Recipe) -> bool {
    recipe.columns().contains(&Column::Number)
}

struct Labels;

impl Contribute for Labels {
    fn add(&self, block: &Block, target: &[u16], sums: &mut Sums) {
        // There is no third vector: whoever has no label counts for nothing.
        let slot = |code: &u16| match *code {
            2 => 0,
            1 => 1,
            _ => 2,
        };
        let slots: Vec<u16> = target.iter().map(slot).collect();
        sums.add(&[Part::Vectors { block, weights: &vec![WEIGHT; block.rows()], slots: Some(&slots) }]);
    }
}

struct Gradient {
    weights: Vec<f32>,
    most: i32,
}

impl Contribute for Gradient {
    fn add(&self, block: &Block, target: &[u16], sums: &mut Sums) {
        let scores = scores(&self.weights, block);
        let weights: Vec<i32> = target.iter().zip(&scores).map(|(code, score)| self.weight(*code, *score)).collect();
        sums.add(&[Part::Vectors { block, weights: &weights, slots: None }]);
    }
}

impl Gradient {
    /// The clipped residual in steps of 1/[`UNIT`].
    fn weight(&self, code: u16, score: f32) -> i32 {
        let event = match code {
            1 => 0.0,
            2 => 1.0,
            _ => return 0,
        };
        // Towards zero; a residual that is not a number is zero.
        let residual = (event - 1.0 / (1.0 + (-score).exp())) * UNIT as f32;
        (residual as i32).clamp(-self.most, self.most)
    }
}

/// The log-odds of each row, column by column: what a node spends its time with, besides the sums.
fn scores(weights: &[f32], block: &Block) -> Vec<f32> {
    let mut scores = vec![weights.last().copied().unwrap_or(0.0); block.rows()];
    let mut rest = weights;
    for (i, column) in block.columns().iter().enumerate() {
        let Some((own, others)) = rest.split_at_checked(column.dims()) else { return scores };
        let codes = block.codes(i).iter();
        match (column, own) {
            (Column::Number, &[slope, missing]) => {
                let slope = slope / UNIT as f32;
                for (score, &code) in scores.iter_mut().zip(codes) {
                    *score += if code == 0 { missing } else { slope * number(code) as f32 };
                }
            }
            (_, own) => {
                for (score, &code) in scores.iter_mut().zip(codes) {
                    // A block has no code beyond its column's values.
                    *score += own[usize::from(code)];
                }
            }
        }
        rest = others;
    }
    scores
}

/// What a number becomes, from the customers in its cells, missing values first, and the cells' first codes; and the
/// variance of what it becomes.
fn scale(cells: &[f64], first: &[u32]) -> (Recode, f64) {
    let counts = cells.get(1..).unwrap_or_default();
    let all: f64 = counts.iter().sum();
    // Of nobody, or of noise that leaves nobody, everything is possible.
    let share = |count: &f64| if all >= 1.0 { count / all } else { 1.0 / CELLS as f64 };
    let shares: Vec<f64> = counts.iter().map(share).collect();
    let ends = first.iter().skip(1).copied().chain([1 << 16]);
    let middles: Vec<f64> = first.iter().zip(ends).map(|(start, end)| f64::from(start + end) / 2.0).collect();
    let mut below = 0.0;
    let up_to: Vec<f64> = shares
        .iter()
        .map(|share| {
            below += share;
            below
        })
        .collect();
    let quantile = |q: f64| {
        let place = up_to.partition_point(|share| *share < q).min(middles.len().saturating_sub(1));
        middles.get(place).copied().unwrap_or(0.0)
    };
    let low = quantile(TAIL);
    // Where nearly all have one value the others are above it or not.
    let high = quantile(1.0 - TAIL).max(low + 0.5);
    let value = |((middle, up_to), share): ((&f64, &f64), &f64)| {
        let place = (middle.clamp(low, high) - low) / (high - low);
        let rank = up_to - share / 2.0;
        place + rank - 1.0
    };
    let values: Vec<f64> = middles.iter().zip(&up_to).zip(&shares).map(value).collect();
    let mean: f64 = values.iter().zip(&shares).map(|(value, share)| value * share).sum();
    let most = values.iter().map(|value| (value - mean).abs()).fold(0.0, f64::max).max(1e-9);
    let values: Vec<f64> = values.iter().map(|value| (value - mean) / most).collect();
    let variance = values.iter().zip(&shares).map(|(value, share)| value * value * share).sum();
    let mut knots: Vec<(u16, u16)> = Vec::with_capacity(CELLS);
    for (start, value) in first.iter().zip(&values) {
        // Within 1 to 65535, as the value is within ±1 but for rounding.
        let code = (32768.0 + (value * f64::from(UNIT)).round()).clamp(1.0, 65535.0) as u16;
        match (u16::try_from(*start), knots.last_mut()) {
            // A cell without codes has the first code of the next, which stands for both.
            (Ok(start), Some(last)) if last.0 == start => last.1 = code.max(last.1),
            // They ascend but for rounding.
            (Ok(start), last) => {
                let before = last.map_or(1, |last| last.1);
                knots.push((start, code.max(before)));
            }
            (Err(_), _) => {}
        }
    }
    (Recode::Scale(knots), variance)
}

struct Regression {
    settings: Settings,
    columns: Vec<Column>,
    places: Vec<Range<usize>>,
    /// The histograms to come first, if there are numbers.
    fine: Option<Fine>,
    /// How much noise a gradient will have for that in the sums by label, in units of one.
    noise_ratio: f64,
    recoding: Option<Recoding>,
    /// Of each feature that is a number, after recoding.
    variances: Vec<f64>,
    /// Once the sums by label are there.
    descent: Option<Descent>,
}

impl Train for Regression {
    fn input(&self) -> Input {
        let parameters = self.descent.as_ref().map_or(Parameters::None, |descent| {
            let going_on = descent.gradients < self.settings.rounds;
            if going_on { descent.parameters() } else { descent.mean() }
        });
        Input { recoding: self.recoding.clone(), parameters, unit: 1.0 }
    }

    fn absorb(&mut self, sum: &[&[i64]], sd: &[f64]) -> Result<(), Implausible> {
        let wrong = || Implausible("the sum of a round has another form than the release's".into());
        let (&[sum], &[sd]) = (sum, sd) else { return Err(wrong()) };
        if !sd.is_finite() || sd < 0.0 {
            return Err(wrong());
        }
        if let (Some(fine), None) = (&self.fine, &self.recoding) {
            let histograms = fine.read(self.columns.len(), sum, sd)?;
            let mut columns = vec![Recode::Keep; self.columns.len()];
            for (i, (recode, cells)) in columns.iter_mut().zip(&histograms.features).enumerate() {
                if let Some(first) = fine.first_codes(i) {
                    (*recode, self.variances[i]) = scale(cells, &first);
                }
            }
            self.recoding = Some(Recoding { columns });
            return Ok(());
        }
        let dims = rows::dims(&self.columns);
        // Residuals are released in steps of 1/UNIT, and customers by label with one weight.
        let one = f64::from(UNIT) * f64::from(if self.descent.is_none() { WEIGHT } else { UNIT });
        let entries: Vec<f64> = sum.iter().map(|entry| *entry as f64 / one).collect();
        let sd = sd / one;
        let next = match &self.descent {
            None if entries.len() == 2 * dims => {
                let (events, others) = entries.split_at(dims);
                self.labelled("customers with the event", events, sd)?;
                self.labelled("customers without it", others, sd)?;
                self.begin(events, others, sd)
            }
            Some(descent) if entries.len() == dims && descent.gradients < self.settings.rounds => {
                let slack = SLACK * std::f64::consts::SQRT_2 * descent.counted;
                let most = self.settings.clip * (descent.customers + slack);
                self.plausible("residuals", &entries, most, sd)?;
                let mut next = descent.clone();
                next.gradient(&self.settings, &entries, sd);
                next
            }
            _ => return Err(wrong()),
        };
        if !next.is_finite() {
            return Err(Implausible("the noise is larger than numbers can say".into()));
        }
        self.descent = Some(next);
        Ok(())
    }

    fn finish(&self) -> Parameters {
        self.descent.as_ref().map_or(Parameters::None, Descent::mean)
    }
}

impl Regression {
    /// Whether customers can have brought the sum of one label, in customers.
    fn labelled(&self, what: &str, sum: &[f64], sd: f64) -> Result<(), Implausible> {
        let count = sum.last().copied().unwrap_or(0.0);
        let least = -SLACK * sd - ROUNDING;
        let indicators = self.columns.iter().zip(&self.places).flat_map(|(column, place)| {
            let first = if *column == Column::Number { place.start + 1 } else { place.start };
            &sum[first..place.end]
        });
        match indicators.chain([&count]).find(|entry| **entry < least) {
            Some(few) => Err(Implausible(format!("a count of {what} is {few:.0}, less than noise explains: {WHOSE}"))),
            None => self.plausible(what, sum, count.max(0.0) + SLACK * sd, sd),
        }
    }

    /// Whether customers can have brought a sum, of which each entry is at most `most` but for noise.
    fn plausible(&self, what: &str, sum: &[f64], most: f64, sd: f64) -> Result<(), Implausible> {
        if let Some(entry) = sum.iter().find(|entry| entry.abs() > most + SLACK * sd + ROUNDING) {
            return Err(Implausible(format!(
                "a sum of {what} is {entry:.0}, where customers can bring {most:.0} at most: {WHOSE}"
            )));
        }
        let constant = sum.last().copied().unwrap_or(0.0);
        for (column, place) in self.columns.iter().zip(&self.places) {
            let total: f64 = sum[place.clone()].iter().sum();
            let slack = SLACK * sd * ((place.len() + 1) as f64).sqrt() + ROUNDING;
            if *column != Column::Number && (total - constant).abs() > slack {
                return Err(Implausible(format!(
                    "the sums of {what} by category have a total of {total:.0}, where that of all is {constant:.0} \
                     (the noise of each is {sd:.1}): {WHOSE}"
                )));
            }
        }
        Ok(())
    }

    /// The first step, from the sums of customers with the event and of others, in customers.
    fn begin(&self, events: &[f64], others: &[f64], sd: f64) -> Descent {
        let count = |sum: &[f64]| sum.last().copied().unwrap_or(0.0).max(FEWEST);
        let customers = count(events) + count(others);
        let share = count(events) / customers;
        let curvature = share * (1.0 - share);
        let mut axes = Vec::with_capacity(events.len());
        for ((column, place), variance) in self.columns.iter().zip(&self.places).zip(&self.variances) {
            for i in place.clone() {
                let number = *column == Column::Number && i == place.start;
                let mean = ((events[i] + others[i]) / customers).clamp(if number { -1.0 } else { 0.0 }, 1.0);
                let variance = if number { variance.max(LEAST_VARIANCE) } else { mean.max(1.0 / customers) };
                let prior = if number { 4.0 } else { 1.0 };
                let curvature = curvature * customers * variance;
                axes.push(Axis { mean, curvature, prior, weight: 0.0, change: 0.0, slope: 0.0, total: 0.0 });
            }
        }
        let noise = sd * share.hypot(1.0 - share);
        let mut descent = Descent {
            customers,
            counted: sd,
            first_noise: noise,
            curvature: curvature * customers,
            axes,
            constant: (share / (1.0 - share)).ln(),
            rate: RATE,
            noise,
            gradients: 0,
            averaged: 0,
            constants: 0.0,
        };
        let gradient: Vec<f64> =
            events.iter().zip(others).map(|(event, other)| event * (1.0 - share) - other * share).collect();
        descent.step(&self.settings, &gradient, sd * self.noise_ratio);
        descent
    }
}

/// An entry of the design vector, but the constant.
#[derive(Clone)]
struct Axis {
    /// μ.
    mean: f64,
    /// D, in customers.
    curvature: f64,
    /// τ².
    prior: f64,
    weight: f64,
    /// The last change of the weight.
    change: f64,
    /// The slope of the penalised likelihood at the last step, in customers.
    slope: f64,
    /// The sum of the weights that are averaged.
    total: f64,
}

/// The descent as it stands; noise and sums are in customers.
#[derive(Clone)]
struct Descent {
    /// N.
    customers: f64,
    /// The noise of the sums by label.
    counted: f64,
    /// The noise of the gradient at weights of zero.
    first_noise: f64,
    /// h·N.
    curvature: f64,
    axes: Vec<Axis>,
    /// The log-odds of a customer at the means.
    constant: f64,
    rate: f64,
    /// The noise of the last gradient.
    noise: f64,
    /// How many gradients were absorbed besides the first, which came with the sums by label.
    gradients: u32,
    /// How many iterates are averaged.
    averaged: u32,
    /// The sum of their constants.
    constants: f64,
}

impl Descent {
    /// Takes a gradient at the weights as they stand, the constant's entry last, with its noise.
    fn gradient(&mut self, settings: &Settings, gradient: &[f64], noise: f64) {
        self.constant += CONSTANT_RATE * gradient.last().copied().unwrap_or(0.0) / self.curvature;
        self.gradients += 1;
        self.step(settings, gradient, noise);
        self.noise = noise;
    }

    /// Moves the weights by a gradient; `noise` is that of gradients after the first.
    fn step(&mut self, settings: &Settings, gradient: &[f64], noise: f64) {
        let all = gradient.last().copied().unwrap_or(0.0);
        let rounds = f64::from(settings.rounds);
        let together = 1.0 / (self.first_noise.powi(-2) + rounds * noise.powi(-2));
        // Σ of the products of two gradients, each scaled, and the variance of that if both were noise.
        let (mut agreement, mut chance) = (0.0, 0.0);
        let steps: Vec<f64> = (self.axes.iter_mut().zip(gradient))
            .map(|(axis, entry)| {
                let ridge = settings.regularisation * (1.0 + together / axis.curvature) / axis.prior;
                let slope = entry - axis.mean * all - ridge * axis.weight;
                let step = slope / (axis.curvature + ridge);
                agreement += axis.slope * step;
                chance += (axis.curvature + ridge).powi(-2);
                axis.slope = slope;
                step
            })
            .collect();
        let alarm = self.gradients > 0 && agreement < -ALARM * chance.sqrt() * noise * self.noise;
        if alarm {
            self.rate /= 2.0;
        }
        // Beginning with the iterate after four tenths of the gradients.
        let late = 5 * u64::from(self.gradients) >= 2 * u64::from(settings.rounds);
        for (axis, step) in self.axes.iter_mut().zip(steps) {
            axis.change = if alarm { 0.0 } else { MOMENTUM * axis.change } + self.rate * step;
            axis.weight += axis.change;
            axis.total += if late { axis.weight } else { 0.0 };
        }
        self.constants += if late { self.constant } else { 0.0 };
        self.averaged += u32::from(late);
    }

    /// The model as it stands.
    fn parameters(&self) -> Parameters {
        self.weights(self.constant, |axis| axis.weight)
    }

    /// The mean of the iterates that are averaged; before the first of them, the model as it stands.
    fn mean(&self) -> Parameters {
        if self.averaged == 0 {
            return self.parameters();
        }
        let count = f64::from(self.averaged);
        self.weights(self.constants / count, |axis| axis.total / count)
    }

    fn weights(&self, constant: f64, weight: impl Fn(&Axis) -> f64) -> Parameters {
        let at_zero = constant - self.axes.iter().map(|axis| weight(axis) * axis.mean).sum::<f64>();
        Parameters::Weights { weights: self.axes.iter().map(weight).chain([at_zero]).collect() }
    }

    fn is_finite(&self) -> bool {
        let finite = |parameters| match parameters {
            Parameters::Weights { weights } => weights.iter().all(|weight: &f64| weight.is_finite()),
            _ => true,
        };
        finite(self.parameters()) && finite(self.mean())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::model::Model;
    use super::super::recipe::{Feature, Values};
    use super::super::training::{Method, Place, Trainer};
    use super::*;
    use crate::privacy::bounds::Layout;

    const PLACE: Place = Place { position: 0, participants: 3 };
    const DEFAULT: Settings = Settings { rounds: 12, clip: 0.8, regularisation: 1.0 };

    fn training(settings: Settings, features: Vec<Values>) -> Training {
        let feature = |(i, values)| Feature { name: format!("f{i}"), values };
        Training {
            recipe: Recipe { features: features.into_iter().enumerate().map(feature).collect() },
            target: Some(Target { name: "y".into(), values: Values::Bool }),
            method: Method::Logistic(settings),
            evaluation: None,
        }
    }

    fn range(low: f64, high: f64) -> Values {
        Values::Number { low, high }
    }

    fn letters(count: u8) -> Values {
        Values::Category { values: (0..count).map(|i| char::from(b'a' + i).to_string()).collect() }
    }

    /// Customers: codes feature by feature, target codes, and the log-odds that targets were drawn by.
    struct Customers {
        codes: Vec<Vec<u16>>,
        target: Vec<u16>,
        truth: Vec<f64>,
    }

    /// Uniform numbers, always the same.
    struct Random(u64);

    impl Random {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as f64 / (1u64 << 31) as f64
        }

        /// About a standard normal number.
        fn normal(&mut self) -> f64 {
            (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
        }
    }

    impl Customers {
        fn new(count: usize, seed: u64, mut one: impl FnMut(&mut Random) -> (Vec<u16>, f64)) -> Self {
            let mut random = Random(seed);
            let mut all = Self { codes: Vec::new(), target: Vec::new(), truth: Vec::new() };
            for _ in 0..count {
                let (codes, truth) = one(&mut random);
                all.codes.resize(codes.len(), Vec::new());
                all.codes.iter_mut().zip(codes).for_each(|(column, code)| column.push(code));
                all.target.push(1 + u16::from(random.uniform() < 1.0 / (1.0 + (-truth).exp())));
                all.truth.push(truth);
            }
            all
        }

        /// The exact sum of a release, and its layout.
        fn sum(&self, training: &Training, release: usize, input: &Input) -> (Vec<i64>, Arc<Layout>) {
            let layout = Arc::new(training.releases(3)[release].layout());
            let mut sums = Sums::new(layout.clone());
            let recode = |(i, codes): (usize, &Vec<u16>)| match &input.recoding {
                Some(recoding) => codes.iter().map(|code| recoding.columns[i].apply(*code)).collect(),
                None => codes.clone(),
            };
            let codes = self.codes.iter().enumerate().map(recode).collect();
            let block = Block::new(training.recipe.columns().into(), codes).unwrap();
            training.contributor(release, input, PLACE).unwrap().add(&block, &self.target, &mut sums);
            (sums.finish().values, layout)
        }

        /// A whole training at this ρ.
        fn train(&self, training: &Training, rho: f64) -> Model {
            let mut random = Random(99);
            let mut trainer = Trainer::new(training, 3);
            for (i, release) in training.releases(3).iter().enumerate() {
                let (mut sum, layout) = self.sum(training, i, &trainer.input());
                let rho = rho * f64::from(release.components[0].1) / f64::from(MILLION);
                let sd = (layout.sensitivity_squared(0) as f64 / (2.0 * rho)).sqrt();
                sum.iter_mut().for_each(|entry| *entry += (sd * random.normal()) as i64);
                trainer.absorb(&sum, &[sd]).unwrap();
            }
            let model = trainer.model();
            assert_eq!(model.check(), Ok(()));
            assert_eq!(trainer.input().parameters, model.parameters, "what is evaluated is what comes out");
            model
        }

        fn scores(&self, model: &Model) -> Vec<f64> {
            let row = |i: usize| self.codes.iter().map(|codes| codes[i]).collect::<Vec<u16>>();
            (0..self.target.len()).map(|i| model.raw(&row(i))).collect()
        }

        fn auc(&self, scores: &[f64]) -> f64 {
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
            let (mut others, mut pairs) = (0.0, 0.0);
            for i in order {
                if self.target[i] == 2 {
                    pairs += others;
                } else {
                    others += 1.0;
                }
            }
            pairs / (others * (scores.len() as f64 - others))
        }
    }

    /// Four numbers, two conditions and two categories, with a missing value here and there; one event in four.
    fn mixed() -> Vec<Values> {
        let numbers = (0..4).map(|_| range(-1.0, 1.0));
        numbers.chain([Values::Bool, Values::Bool, letters(4), letters(3)]).collect()
    }

    fn mixed_customer(random: &mut Random) -> (Vec<u16>, f64) {
        let x: Vec<f64> = (0..4).map(|_| 2.0 * random.uniform() - 1.0).collect();
        let mut codes: Vec<u16> = x.iter().map(|x| (32768.0 + 32767.0 * x) as u16).collect();
        let mut truth = -1.6 + 1.5 * x[0] - x[1] + 0.7 * x[2];
        if random.uniform() < 0.1 {
            truth += 0.4 - 0.7 * x[2];
            codes[2] = 0;
        }
        for effect in [0.9, 0.0] {
            let yes = random.uniform() < 0.3;
            truth += if yes { effect } else { 0.0 };
            codes.push(1 + u16::from(yes));
        }
        for effects in [[0.0, 0.8, -0.6, 0.3], [0.2, 0.0, -0.5, 0.0]] {
            let values = if effects[3] == 0.0 { 3.0 } else { 4.0 };
            let value = (values * random.uniform()) as usize;
            truth += effects[value];
            codes.push(1 + value as u16);
        }
        (codes, truth)
    }

    #[test]
    fn without_noise_the_model_is_found() {
        let (train, test) = (Customers::new(20_000, 1, mixed_customer), Customers::new(20_000, 2, mixed_customer));
        let training = training(Settings { rounds: 40, clip: 1.0, ..DEFAULT }, mixed());
        let model = train.train(&training, 1e12);
        let Parameters::Weights { weights } = &model.parameters else { panic!("no weights") };
        // Conditions start behind eight entries of numbers.
        let effects = [weights[10] - weights[9], weights[13] - weights[12], weights[16] - weights[15]];
        for (effect, truth) in effects.into_iter().zip([0.9, 0.0, 0.8]) {
            assert!((effect - truth).abs() < 0.12, "{effect} {truth}: {weights:?}");
        }
        let scores = test.scores(&model);
        let probability = |score: &f64| 1.0 / (1.0 + (-score).exp());
        let wrong = scores.iter().zip(&test.truth).map(|(a, b)| (probability(a) - probability(b)).abs());
        let wrong = wrong.sum::<f64>() / scores.len() as f64;
        assert!(wrong < 0.015, "{wrong}");
        assert!(test.auc(&test.truth) - test.auc(&scores) < 0.002);
    }

    #[test]
    fn with_noise_it_ranks_nearly_as_well() {
        let (train, test) = (Customers::new(20_000, 1, mixed_customer), Customers::new(20_000, 2, mixed_customer));
        let model = train.train(&training(DEFAULT, mixed()), 0.03);
        let (auc, best) = (test.auc(&test.scores(&model)), test.auc(&test.truth));
        assert!(best - auc < 0.01, "{auc} of {best}");
        // With next to no budget: nothing said, and nothing wild.
        let model = train.train(&training(DEFAULT, mixed()), 1e-6);
        let Parameters::Weights { weights } = &model.parameters else { panic!("no weights") };
        assert!(weights.iter().take(weights.len() - 1).all(|weight| weight.abs() < 3.0), "{weights:?}");
    }

    #[test]
    fn long_tails_are_learned() {
        let spend = range(0.0, 100_000.0);
        let customer = |random: &mut Random| {
            let log = 3.0 + 1.2 * random.normal();
            (vec![spend.code_of_number(log.exp())], 1.5 * (log - 3.0) / 1.2 - 0.5)
        };
        let (train, test) = (Customers::new(20_000, 3, customer), Customers::new(20_000, 4, customer));
        let model = train.train(&training(DEFAULT, vec![spend.clone()]), 0.03);
        let (auc, best) = (test.auc(&test.scores(&model)), test.auc(&test.truth));
        assert!(best - auc < 0.01, "{auc} of {best}");
        // Not by rank alone: the log-odds follow, which are the same for all on the range as it is.
        let odds = |x: f64| model.raw(&[spend.code_of_number(x)]);
        assert!(odds(100.0) - odds(5.0) > 1.5, "{} {}", odds(100.0), odds(5.0));
    }

    #[test]
    fn scales_ascend_whatever_histograms_say() {
        let fine = Fine::new(&training(DEFAULT, vec![range(-3.0, 50.0)]).recipe, false);
        let first = fine.first_codes(0).unwrap();
        let mut random = Random(5);
        let mut cells = vec![vec![0.0; 257], vec![4.0; 257], vec![1e12; 257]];
        cells.extend((0..20).map(|i| (0..257).map(|_| random.uniform().powi(i)).collect()));
        for place in [0, 1, 128, 256] {
            let mut alone = vec![0.0; 257];
            alone[place] = 1000.0;
            cells.push(alone);
        }
        for cells in &cells {
            let (recode, variance) = scale(cells, &first);
            assert!((0.0..=1.0).contains(&variance));
            let Recode::Scale(knots) = &recode else { panic!("no scale") };
            assert!(!knots.is_empty() && knots.len() <= CELLS, "{}", knots.len());
            let recoding = Recoding { columns: vec![recode] };
            assert_eq!(recoding.check(&training(DEFAULT, vec![range(-3.0, 50.0)]).recipe), Ok(()));
            assert!(
                [recoding.columns[0].apply(1), recoding.columns[0].apply(65535)].iter().any(|x| [1, 65535].contains(x))
            );
        }
        let (even, variance) = scale(&cells[1], &first);
        assert!((variance - 0.3).abs() < 0.15, "{variance}");
        assert!(even.apply(65535) == 65535 && even.apply(1) < 20_000);
    }

    #[test]
    fn shares_and_norms_are_as_stated() {
        let with = training(DEFAULT, mixed());
        let names: Vec<String> = with.releases(3).into_iter().map(|release| release.name).collect();
        assert_eq!((names.len(), names[1].as_str(), names[13].as_str()), (14, "sums by label", "gradient 12"));
        let without = training(DEFAULT, vec![Values::Bool, letters(3)]);
        let releases = without.releases(3);
        assert_eq!((releases.len(), releases[0].components[0].1, releases[1].components[0].1), (13, 150_000, 70_833));
        // √3 in steps of 1/32767, rounded up; times 1024, and ⌊0.8·32767⌋.
        assert_eq!(releases[0].components[0].0, Component::Vector { length: 16, norm: 1024 * 56755 });
        assert_eq!(releases[1].components[0].0, Component::Vector { length: 8, norm: 26213 * 56755 });
        for training in [with, without] {
            let shares: u32 = training.releases(3).iter().map(|release| release.components[0].1).sum();
            assert!((MILLION - 20..=MILLION).contains(&shares));
        }
    }

    #[test]
    fn residuals_are_clipped_and_customers_without_a_label_do_not_count() {
        let training = training(Settings { rounds: 1, ..DEFAULT }, vec![letters(2)]);
        let customers = Customers { codes: vec![vec![1, 2, 2, 0]], target: vec![2, 1, 0, 7], truth: Vec::new() };
        let input = |parameters| Input { recoding: None, parameters, unit: 1.0 };
        let (sum, _) = customers.sum(&training, 0, &input(Parameters::None));
        let one = 1024 * i64::from(UNIT);
        assert_eq!(sum, [0, one, 0, one, 0, 0, one, one]);
        let (sum, _) = customers.sum(&training, 1, &input(Parameters::Weights { weights: vec![0.0, -1.0, 9.0, 1.0] }));
        let (half, most) = (i64::from(UNIT / 2) * i64::from(UNIT), 26213 * i64::from(UNIT));
        assert_eq!(sum, [0, half, -most, half - most]);
        // Finite as 64 bits alone.
        let wild = Parameters::Weights { weights: vec![0.0, 1e300, -1e300, 1e300] };
        assert_eq!(customers.sum(&training, 1, &input(wild)).0, [0; 4]);
    }

    #[test]
    fn inputs_of_another_form_are_refused() {
        let training = training(DEFAULT, vec![range(0.0, 1.0), letters(2)]);
        let weights = Parameters::Weights { weights: vec![0.0; 6] };
        let scale = Recoding { columns: vec![Recode::Scale(vec![(1, 1), (65535, 65535)]), Recode::Keep] };
        let bins = Recoding { columns: vec![Recode::Bins(vec![5]), Recode::Keep] };
        let fits = |release, recoding: Option<&Recoding>, parameters: &Parameters| {
            let input = Input { recoding: recoding.cloned(), parameters: parameters.clone(), unit: 1.0 };
            training.contributor(release, &input, PLACE).is_ok()
        };
        assert!(fits(0, None, &Parameters::None) && fits(1, Some(&scale), &Parameters::None));
        assert!(fits(2, Some(&scale), &weights) && fits(13, Some(&scale), &weights));
        assert!(!fits(0, Some(&scale), &Parameters::None) && !fits(0, None, &weights));
        assert!(!fits(1, None, &Parameters::None) && !fits(1, Some(&bins), &Parameters::None));
        assert!(
            !fits(2, Some(&scale), &Parameters::None) && !fits(2, None, &weights) && !fits(14, Some(&scale), &weights)
        );
        let number =
            Training { target: Some(Target { name: "y".into(), values: range(0.0, 1.0) }), ..training.clone() };
        let input = Input { recoding: None, parameters: Parameters::None, unit: 1.0 };
        assert!(number.contributor(0, &input, PLACE).is_err());
    }

    #[test]
    fn sums_that_no_customers_can_bring_are_named() {
        let training = training(DEFAULT, vec![letters(2), Values::Bool]);
        let customers = Customers::new(300, 6, |random| {
            (vec![1 + u16::from(random.uniform() < 0.5), 1 + u16::from(random.uniform() < 0.5)], 0.0)
        });
        let mut trainer = Trainer::new(&training, 3);
        let (labels, _) = customers.sum(&training, 0, &trainer.input());
        let one = i64::from(UNIT) * 1024;
        let refusal = |trainer: &mut Trainer, honest: &[i64], sd: f64, changes: &[(usize, i64)]| {
            let mut sum = honest.to_vec();
            changes.iter().for_each(|(place, change)| sum[*place] = sum[*place].wrapping_add(*change));
            let before = trainer.input();
            let refusal = trainer.absorb(&sum, &[sd]).unwrap_err().0;
            assert_eq!(trainer.input(), before);
            refusal
        };
        let sd = one as f64;
        assert!(refusal(&mut trainer, &labels, sd, &[(6, -500 * one)]).contains("less than noise explains"));
        assert!(refusal(&mut trainer, &labels, sd, &[(1, 500 * one)]).contains("at most"));
        assert!(refusal(&mut trainer, &labels, sd, &[(8, 50 * one)]).contains("by category"));
        assert!(refusal(&mut trainer, &labels, f64::NAN, &[]).contains("another form"));
        assert!(refusal(&mut trainer, &labels, 1e200, &[]).contains("larger than numbers"));
        assert!(refusal(&mut trainer, &labels[1..], sd, &[]).contains("length"));
        trainer.absorb(&labels, &[sd]).unwrap();
        let (gradient, _) = customers.sum(&training, 1, &trainer.input());
        let one = i64::from(UNIT) * i64::from(UNIT);
        let sd = one as f64;
        assert!(refusal(&mut trainer, &gradient, sd, &[(6, 1 << 60)]).contains("at most"));
        assert!(refusal(&mut trainer, &gradient, sd, &[(4, 60 * one)]).contains("residuals by category"));
        trainer.absorb(&gradient, &[sd]).unwrap();
    }

    #[test]
    fn the_same_sums_make_the_same_model() {
        let training = training(Settings { rounds: 3, ..DEFAULT }, mixed());
        let customers = Customers::new(500, 8, mixed_customer);
        assert_eq!(customers.train(&training, 0.05), customers.train(&training, 0.05));
        assert_eq!(Trainer::new(&training, 3).model().parameters, Parameters::None);
    }

    #[test]
    fn options_are_checked() {
        let recipe = training(DEFAULT, mixed()).recipe;
        let choose = |options: &Options, rho| Settings::choose(options, &recipe, rho);
        assert_eq!(choose(&Options::default(), 0.01), Ok(DEFAULT));
        let options = Options { rounds: Some(200), clip: Some(1.0), regularisation: Some(0.0), ..Options::default() };
        assert_eq!(choose(&options, 0.01), Ok(Settings { rounds: 200, clip: 1.0, regularisation: 0.0 }));
        for wrong in [
            Options { rounds: Some(0), ..Options::default() },
            Options { rounds: Some(201), ..Options::default() },
            Options { clip: Some(f64::NAN), ..Options::default() },
            Options { clip: Some(0.0), ..Options::default() },
            Options { regularisation: Some(-1.0), ..Options::default() },
            Options { bins: Some(3), ..Options::default() },
        ] {
            assert!(choose(&wrong, 0.01).is_err());
        }
        assert!(choose(&Options::default(), 1e-9).unwrap_err().contains("select fewer"));
    }

    proptest! {
        /// Whatever sums are, they are refused or make a model that scores.
        #[test]
        fn no_sum_panics(
            changes in proptest::collection::vec((0usize..400, prop_oneof![any::<i64>(), -1i64 << 40..1 << 40]), 0..6),
            sd in prop_oneof![Just(0.0), Just(4.0), 1e8..1e15, Just(1e19), Just(1e200)],
            regularisation in prop_oneof![Just(0.0), Just(1.0)],
            numbers in any::<bool>(),
        ) {
            let features = if numbers { vec![range(0.0, 9.0), letters(2)] } else { vec![letters(2), Values::Bool] };
            let training = training(Settings { rounds: 3, regularisation, ..DEFAULT }, features);
            let customers = Customers::new(20, 7, |random| (vec![1 + (2.0 * random.uniform()) as u16; 2], 0.0));
            let mut trainer = Trainer::new(&training, 3);
            for release in 0..training.releases(3).len() {
                let (mut sum, _) = customers.sum(&training, release, &trainer.input());
                let length = sum.len();
                changes.iter().for_each(|(place, change)| sum[place % length] = *change);
                if trainer.absorb(&sum, &[sd]).is_err() {
                    break;
                }
                prop_assert_eq!(trainer.model().check(), Ok(()));
            }
        }
    }
}
