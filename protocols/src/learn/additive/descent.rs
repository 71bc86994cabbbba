//! The coordinator's side: from released sums to shapes.
//!
//! Let g be the noisy sums of residuals in all bins, the negative gradient of the loss in the values θ of all shapes, and
//! h the loss's curvature for one customer (p(1−p) at the start; 1 for squares). A step is P·(g − Q·θ) with
//!
//! - D = h·(customers in each bin): the diagonal of the Hessian;
//! - Λ = 1/τ² + ΔᵀΔ/w²: the prior; values are about τ = 1, and those of neighbouring bins differ by about w = ¼ (missing
//!   values and categories have no neighbours);
//! - Q = Λ + s²/(D·τ²), P = (D + Q)⁻¹, with s² the variance of the noise of all gradients together: with the last term a
//!   direction is followed as far as a Wiener filter of signal τ and noise s/D would follow it.
//!
//! P is a tridiagonal system for each feature. Steps are a fifth of that, as D leaves out that features overlap; they are halved
//! where successive steps point against one another more than noise explains. The last iterates are averaged (Polyak and
//! Juditsky 1992), which averages their noise. After each step a shape that is to rise or fall is made to (pool adjacent
//! violators, weighted by customers), and all shapes are centred.

use std::sync::Arc;

use super::releases::{Step, releases, steps};
use super::settings::{FINE, ONE, START, Settings};
use super::{bins, pairs};
use crate::learn::fine::{CELLS, Fine, simplex};
use crate::learn::frame::{Implausible, Input, SLACK, Train};
use crate::learn::model::{Pair, Parameters, Recoding};
use crate::learn::recipe::Recipe;
use crate::privacy::rows::{Column, UNIT};

/// A-priori standard deviation of a value, and of the difference of neighbours.
const SPREAD: f64 = 1.0;
const ROUGHNESS: f64 = 0.25;
/// The length of steps.
const RATE: f64 = 0.2;
/// Of the intercept.
const INTERCEPT_RATE: f64 = 0.7;
/// The share of rounds before iterates are averaged.
const SETTLING: f64 = 0.4;
/// How many standard deviations of noise two steps must disagree by.
const DISAGREEMENT: f64 = 3.0;
/// The lightest bin, in standard deviations of a round's noise.
const LIGHTEST: f64 = 10.0;

/// More customers than any alliance has: all people alive, several times.
const MOST_CUSTOMERS: f64 = 1e11;
/// What rounding may do to a sum, in customers.
const ROUNDING: f64 = 0.5;

/// One feature's bins.
#[derive(Clone)]
struct Shape {
    /// Where its cells lie in a release, and how many it has there.
    start: usize,
    width: usize,
    /// Its number of codes; cells beyond are empty.
    codes: usize,
    /// Whether codes from 1 on are in order, and which way the shape may go.
    ordered: bool,
    monotone: Option<bool>,
    customers: Vec<f64>,
    values: Vec<f64>,
    gradient: Vec<f64>,
    /// The sum of averaged iterates.
    total: Vec<f64>,
    /// u of the step before.
    before: Vec<f64>,
}

#[derive(Clone)]
pub(super) struct Descent {
    settings: Settings,
    recipe: Arc<Recipe>,
    fine: Fine,
    steps: Vec<Step>,
    absorbed: usize,
    recoding: Option<Recoding>,
    /// Mean and spread of a target that is a number.
    scale: (f64, f64),
    shapes: Vec<Shape>,
    customers: f64,
    /// The noise of that number.
    counted: f64,
    curvature: f64,
    intercept: f64,
    /// Noise of the first gradient, of a round's, and of all together (squared).
    noise: (f64, f64, f64),
    rate: f64,
    iterations: u32,
    averaged: u32,
    total_intercept: f64,
    proposed: Vec<Pair>,
    pairs: Vec<Pair>,
}

impl Descent {
    pub(super) fn new(settings: &Settings, recipe: &Recipe) -> Self {
        let mut descent = Self {
            fine: settings.fine(recipe),
            steps: steps(settings, recipe),
            settings: settings.clone(),
            recipe: Arc::new(recipe.clone()),
            absorbed: 0,
            recoding: None,
            scale: (0.0, 1.0),
            shapes: Vec::new(),
            customers: 0.0,
            counted: 0.0,
            curvature: 1.0,
            intercept: 0.0,
            noise: (0.0, 0.0, 0.0),
            rate: RATE,
            iterations: 0,
            averaged: 0,
            total_intercept: 0.0,
            proposed: Vec::new(),
            pairs: Vec::new(),
        };
        if descent.steps.first() != Some(&Step::Fine) {
            descent.shape();
        }
        descent
    }

    /// Makes shapes without values, once bins are known.
    fn shape(&mut self) {
        let recipe = &self.recipe;
        let before = recipe.columns();
        let after = self.recoding.as_ref().map_or_else(|| before.clone(), |recoding| recoding.columns(recipe));
        let mut start = 0;
        let shape = |(feature, (before, after)): (usize, (&Column, &Column))| {
            let width = self.settings.width(*before);
            let codes = match after {
                Column::Category { values } => (usize::from(*values) + 1).min(width),
                Column::Number => 1,
            };
            let monotone = self.settings.monotone.iter().find(|(named, _)| *named as usize == feature);
            let zeroes = || vec![0.0; codes];
            let shape = Shape {
                start,
                width,
                codes,
                ordered: *before == Column::Number,
                monotone: monotone.map(|(_, rising)| *rising),
                customers: zeroes(),
                values: zeroes(),
                gradient: zeroes(),
                total: zeroes(),
                before: zeroes(),
            };
            start += width;
            shape
        };
        self.shapes = before.iter().zip(&after).enumerate().map(shape).collect();
    }

    fn fine(&mut self, sum: &[i64], sd: f64) -> Result<(), Implausible> {
        let features = self.recipe.features.len();
        let histograms = self.fine.read(features, sum, sd)?;
        // The noise of a round, from this release's and the shares and norms of both.
        let numbers = histograms.features.iter().filter(|cells| !cells.is_empty()).count();
        let cells = (numbers + 1 + usize::from(histograms.target.is_some())) as f64;
        let rest = 1.0 - f64::from(FINE) / 1e6;
        let all = sd / f64::from(ONE)
            * self.settings.clip
            * (features as f64 / cells).sqrt()
            * (f64::from(FINE) / 1e6 / rest).sqrt();
        self.recoding =
            (numbers > 0).then(|| bins::recoding(&self.fine, &histograms, self.settings.bins as usize, LIGHTEST * all));
        if let Some(cells) = &histograms.target {
            let total: f64 = cells.iter().sum::<f64>().max(1.0);
            // The middle of an even cell, in −1 to 1.
            let middle = |cell: usize| (2.0 * cell as f64 + 1.0) / CELLS as f64 - 1.0;
            let moment = |power: i32, around: f64| {
                let terms = cells.iter().enumerate().map(|(i, count)| count * (middle(i) - around).powi(power));
                terms.sum::<f64>() / total
            };
            let mean = moment(1, 0.0);
            self.scale = (mean, moment(2, mean).sqrt().max(1.0 / CELLS as f64));
        }
        self.shape();
        Ok(())
    }

    fn start(&mut self, parts: &[&[i64]], sd: &[f64]) -> Result<(), Implausible> {
        let (one, unit) = (f64::from(ONE), f64::from(UNIT));
        let noise = sd[0] / one;
        // Two numbers a code: customers without and with the event, or customers and sums of residuals.
        let mut read: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
        for shape in &self.shapes {
            let cells = |part: &[i64], start: usize, unit: f64| -> Vec<f64> {
                part[start..start + shape.codes].iter().map(|value| *value as f64 / unit).collect()
            };
            read.push(if self.settings.event {
                let start = 2 * shape.start;
                (cells(parts[0], start, one), cells(parts[0], start + shape.width, one))
            } else {
                (cells(parts[0], shape.start, one), cells(parts[1], shape.start, unit))
            });
        }
        let sum = |values: &[f64]| values.iter().sum::<f64>();
        let (firsts, seconds): (Vec<f64>, Vec<f64>) = read.iter().map(|both| (sum(&both.0), sum(&both.1))).unzip();
        let means = [self.mean(&firsts), self.mean(&seconds)];
        let sds = if self.settings.event { [noise; 2] } else { [noise, sd[1] / unit] };
        if means[0] + if self.settings.event { means[1] } else { 0.0 } > MOST_CUSTOMERS {
            return Err(Implausible(format!(
                "the bins hold {:.0} customers, which are more than there are people: a participant sent something else",
                means[0]
            )));
        }
        for (shape, (first, second)) in self.shapes.iter().zip(&read) {
            let few = |cells: &[f64]| cells.iter().any(|n| *n < -SLACK * noise - ROUNDING);
            let more = |(count, residual): (&f64, &f64)| {
                residual.abs() > self.settings.clip * (count.max(0.0) + SLACK * noise) + SLACK * sds[1] + ROUNDING
            };
            let wrong = if self.settings.event { few(second) } else { first.iter().zip(second).any(more) };
            let apart = |(cells, (mean, sd)): (&[f64], (f64, f64))| {
                (sum(cells) - mean).abs() > SLACK * sd * (shape.codes as f64).sqrt() + ROUNDING
            };
            let sums = [(first.as_slice(), (means[0], sds[0])), (second.as_slice(), (means[1], sds[1]))];
            if few(first) || wrong || sums.into_iter().any(apart) {
                return Err(Implausible(format!(
                    "the bins of a feature hold {:.0} and {:.0} where those of all do {:.0} and {:.0} each, or a bin what no \
                     customers can bring (the noise of a bin is {noise:.1}): a participant sent something else",
                    sum(first),
                    sum(second),
                    means[0],
                    means[1]
                )));
            }
        }
        let share = |release: usize| {
            let releases = releases(&self.settings, &self.recipe);
            releases.get(release).map_or(1.0, |r| r.components.iter().map(|(_, share)| f64::from(*share)).sum())
        };
        let round = share(self.absorbed + 1).max(1.0);
        let rounds = f64::from(self.settings.rounds);
        let first = if self.settings.event {
            let (without, with) = (means[0].max(10.0), means[1].max(10.0));
            self.customers = without + with;
            let p = with / self.customers;
            self.curvature = p * (1.0 - p);
            self.intercept = (p / (1.0 - p)).ln();
            for (shape, (without, with)) in self.shapes.iter_mut().zip(&read) {
                let both: Vec<f64> = without.iter().zip(with).map(|(a, b)| a + b).collect();
                shape.customers = simplex(&both, self.customers).into_iter().map(|n| n.max(1.0)).collect();
                shape.gradient = without.iter().zip(with).map(|(a, b)| b * (1.0 - p) - a * p).collect();
            }
            self.noise.1 = self.settings.clip * noise * (f64::from(START) / round).sqrt();
            noise * (p * p + (1.0 - p) * (1.0 - p)).sqrt()
        } else {
            self.customers = means[0].max(10.0);
            for (shape, (customers, residuals)) in self.shapes.iter_mut().zip(&read) {
                shape.customers = simplex(customers, self.customers).into_iter().map(|n| n.max(1.0)).collect();
                shape.gradient.clone_from(residuals);
            }
            self.noise.1 = self.settings.clip * noise * (f64::from(START) / 2.0 / round).sqrt();
            sd[1] / unit
        };
        self.counted = noise * (2.0 / self.precision().sum::<f64>()).sqrt();
        let together = 1.0 / (1.0 / first.powi(2).max(1e-12) + rounds / self.noise.1.powi(2).max(1e-12));
        (self.noise.0, self.noise.2) = (first, together);
        self.step();
        Ok(())
    }

    /// How much a feature's sum says of that of all, which is the same for every feature but for noise: as many bins as it
    /// has, so much noise. The mean's noise is that of a bin times the root of 1/Σ of these.
    fn precision(&self) -> impl Iterator<Item = f64> {
        self.shapes.iter().map(|shape| 1.0 / shape.codes.max(1) as f64)
    }

    /// The mean of the features' sums, weighed by precision. A feature's distance from it has less noise than its own sum.
    fn mean(&self, sums: &[f64]) -> f64 {
        let weighed: f64 = sums.iter().zip(self.precision()).map(|(sum, precision)| sum * precision).sum();
        weighed / self.precision().sum::<f64>()
    }

    fn round(&mut self, sum: &[i64], sd: f64) -> Result<(), Implausible> {
        let noise = sd / f64::from(UNIT);
        let mut gradients = Vec::with_capacity(self.shapes.len());
        for shape in &self.shapes {
            let cells = &sum[shape.start..shape.start + shape.codes];
            gradients.push(cells.iter().map(|value| *value as f64 / f64::from(UNIT)).collect::<Vec<f64>>());
        }
        let sums: Vec<f64> = gradients.iter().map(|gradient| gradient.iter().sum()).collect();
        let total = self.mean(&sums);
        let most = self.settings.clip * (self.customers + SLACK * self.counted) + SLACK * noise + ROUNDING;
        for (shape, gradient) in self.shapes.iter().zip(&gradients) {
            let own: f64 = gradient.iter().sum();
            if (own - total).abs() > SLACK * noise * (shape.codes as f64).sqrt() + ROUNDING
                || gradient.iter().any(|value| value.abs() > most)
            {
                return Err(Implausible(format!(
                    "the residuals of one feature sum to {own:.0}, those of all to {total:.0} each (the noise of a bin is \
                     {noise:.1}), or are larger than {:.0} customers can bring: a participant sent something else",
                    self.customers
                )));
            }
        }
        self.intercept += INTERCEPT_RATE * total / (self.customers * self.curvature);
        for (shape, gradient) in self.shapes.iter_mut().zip(gradients) {
            // Without what the intercept takes.
            let rest = gradient.iter().zip(&shape.customers).map(|(g, n)| g - n / self.customers * total);
            shape.gradient = rest.collect();
        }
        self.step();
        Ok(())
    }

    /// One step with the present gradient.
    fn step(&mut self) {
        let (first, round, together) = self.noise;
        let mut steps = Vec::with_capacity(self.shapes.len());
        let (mut agreement, mut size) = (0.0, 0.0);
        for shape in &self.shapes {
            let system = shape.system(self.curvature, together, self.settings.regularisation);
            let pull = system.prior(&shape.values);
            let u: Vec<f64> = shape.gradient.iter().zip(&pull).map(|(g, q)| g - q).collect();
            let step = system.solve(&u);
            agreement += step.iter().zip(&shape.before).map(|(a, b)| a * b).sum::<f64>();
            size += system.squares().iter().sum::<f64>();
            steps.push((u, step));
        }
        let one_before = if self.iterations == 1 { first } else { round };
        if self.iterations > 0 && agreement < -DISAGREEMENT * size.sqrt() * round * one_before {
            self.rate /= 2.0;
        }
        let averages = f64::from(self.iterations) >= SETTLING * f64::from(self.settings.rounds);
        for (shape, (u, step)) in self.shapes.iter_mut().zip(steps) {
            shape.before = u;
            for (value, step) in shape.values.iter_mut().zip(step) {
                *value += self.rate * step;
            }
            shape.keep_order();
            shape.centre();
            if averages {
                shape.total.iter_mut().zip(&shape.values).for_each(|(total, value)| *total += value);
            }
        }
        if averages {
            self.averaged += 1;
            self.total_intercept += self.intercept;
        }
        self.iterations += 1;
    }

    /// The values of all shapes and the intercept: of the last iterate, or of the averaged ones.
    fn values(&self, averaged: bool) -> Parameters {
        let (mean, spread) = self.scale;
        let average = averaged && self.averaged > 0;
        let divisor = if average { f64::from(self.averaged) } else { 1.0 };
        let intercept = if average { self.total_intercept } else { self.intercept } / divisor;
        let shape = |shape: &Shape| {
            let values = if average { &shape.total } else { &shape.values };
            values.iter().map(|value| spread * value / divisor).collect()
        };
        if self.shapes.is_empty() {
            return Parameters::None;
        }
        let mut pairs = self.pairs.clone();
        for value in pairs.iter_mut().flat_map(|pair| &mut pair.values) {
            *value *= spread;
        }
        let shapes = self.shapes.iter().map(shape).collect();
        Parameters::Additive { intercept: mean + spread * intercept, shapes, pairs }
    }

    fn proposed(&self) -> Vec<Pair> {
        let importance = |shape: &Shape| -> f64 {
            shape.total.iter().zip(&shape.customers).map(|(value, customers)| value.abs() * customers).sum()
        };
        let importance: Vec<f64> = self.shapes.iter().map(importance).collect();
        let customers: Vec<Vec<f64>> = self.shapes.iter().map(|shape| shape.customers.clone()).collect();
        let ordered: Vec<bool> = self.shapes.iter().map(|shape| shape.ordered).collect();
        pairs::proposed(&importance, &customers, &ordered)
    }
}

impl Train for Descent {
    fn input(&self) -> Input {
        let step = self.steps.get(self.absorbed);
        // Behind the rounds, the averaged model counts; the pairs' release has their groups with it.
        let mut parameters = self.values(!matches!(step, Some(Step::Fine | Step::Start | Step::Round)));
        if let (Some(Step::Pairs), Parameters::Additive { pairs, .. }) = (step, &mut parameters) {
            pairs.clone_from(&self.proposed);
        }
        let parameters = if step == Some(&Step::Fine) { Parameters::None } else { parameters };
        Input { recoding: self.recoding.clone(), parameters, unit: self.scale.1, checkpoints: Vec::new() }
    }

    fn absorb(&mut self, sum: &[&[i64]], sd: &[f64]) -> Result<(), Implausible> {
        let layout = releases(&self.settings, &self.recipe).get(self.absorbed).map(|release| release.layout());
        let fits = layout.is_some_and(|layout| {
            let lengths = layout.ranges().into_iter().map(|range| range.len());
            sd.len() == sum.len() && lengths.eq(sum.iter().map(|part| part.len()))
        });
        let Some(step) = self.steps.get(self.absorbed).filter(|_| fits) else {
            return Err(Implausible("the sum is not one of this release".into()));
        };
        if !sd.iter().all(|sd| sd.is_finite() && *sd >= 0.0) {
            return Err(Implausible("the noise of the sum is not a number".into()));
        }
        let mut next = self.clone();
        match step {
            Step::Fine => next.fine(sum[0], sd[0])?,
            Step::Start => next.start(sum, sd)?,
            Step::Round => next.round(sum[0], sd[0])?,
            Step::Pairs => {
                let fitting = pairs::Fitting {
                    clip: self.settings.clip,
                    curvature: self.curvature,
                    // A partner may have more by a later attempt, but hardly twice as many.
                    customers: 2.0 * (self.customers + SLACK * self.counted),
                    most: self.settings.pairs as usize,
                };
                next.pairs = pairs::fitted(&self.proposed, sum, sd, &fitting)?;
            }
        }
        next.absorbed += 1;
        if next.steps.get(next.absorbed) == Some(&Step::Pairs) {
            next.proposed = next.proposed();
        }
        let finite = |averaged| next.values(averaged).check(&next.recipe, next.recoding.as_ref()).is_ok();
        if !(next.scale.1.is_finite() && finite(false) && finite(true)) {
            return Err(Implausible("the noise is larger than numbers can say".into()));
        }
        *self = next;
        Ok(())
    }

    fn finish(&self) -> Parameters {
        self.values(true)
    }

    fn checkpoint(&self) -> Parameters {
        self.values(false)
    }

    fn noise(&self) -> Vec<Vec<f64>> {
        let sd = |shape: &Shape| {
            let system = shape.system(self.curvature, self.noise.2, self.settings.regularisation);
            system.squares().into_iter().map(|square| self.scale.1 * (self.noise.2 * square).sqrt()).collect()
        };
        self.shapes.iter().map(sd).collect()
    }
}

impl Shape {
    /// P⁻¹ = D + Q and Q, as tridiagonal systems.
    fn system(&self, curvature: f64, noise: f64, regularisation: f64) -> System {
        let differences = regularisation / ROUGHNESS.powi(2);
        let mut prior = vec![regularisation / SPREAD.powi(2); self.codes];
        let mut beside = vec![0.0; self.codes.saturating_sub(1)];
        if self.ordered {
            // Code 0 is missing values, which have no neighbour.
            for code in 1..beside.len() {
                beside[code] = -differences;
                prior[code] += differences;
                prior[code + 1] += differences;
            }
        }
        let diagonal: Vec<f64> = self.customers.iter().map(|customers| curvature * customers.max(1.0)).collect();
        for (prior, own) in prior.iter_mut().zip(&diagonal) {
            *prior += noise / (own * SPREAD.powi(2));
        }
        let whole = prior.iter().zip(&diagonal).map(|(q, d)| q + d).collect();
        System { whole, prior, beside }
    }

    /// Makes the shape rise or fall, if it has to: the nearest such one, weighted by customers.
    fn keep_order(&mut self) {
        let Some(rising) = self.monotone else { return };
        let sign = if rising { 1.0 } else { -1.0 };
        // Pools of neighbours: sum of weighted values, weight, length.
        let mut pools: Vec<(f64, f64, usize)> = Vec::new();
        for (value, customers) in self.values.iter().zip(&self.customers).skip(1) {
            pools.push((sign * value * customers, *customers, 1));
            while let [.., a, b] = pools[..]
                && a.0 / a.1 > b.0 / b.1
            {
                pools.truncate(pools.len() - 2);
                pools.push((a.0 + b.0, a.1 + b.1, a.2 + b.2));
            }
        }
        let pooled = pools.iter().flat_map(|pool| std::iter::repeat_n(sign * pool.0 / pool.1, pool.2));
        self.values.iter_mut().skip(1).zip(pooled).for_each(|(value, pooled)| *value = pooled);
    }

    fn centre(&mut self) {
        let customers: f64 = self.customers.iter().sum();
        let mean = self.values.iter().zip(&self.customers).map(|(v, n)| v * n).sum::<f64>() / customers.max(1.0);
        self.values.iter_mut().for_each(|value| *value -= mean);
    }
}

/// A symmetric tridiagonal system.
struct System {
    /// The diagonals of D + Q and of Q.
    whole: Vec<f64>,
    prior: Vec<f64>,
    /// Beside the diagonal, of both.
    beside: Vec<f64>,
}

impl System {
    /// Q·x.
    fn prior(&self, x: &[f64]) -> Vec<f64> {
        let mut product: Vec<f64> = self.prior.iter().zip(x).map(|(q, x)| q * x).collect();
        for (i, q) in self.beside.iter().enumerate() {
            product[i] += q * x[i + 1];
            product[i + 1] += q * x[i];
        }
        product
    }

    /// (D + Q)⁻¹·u, by elimination; it is diagonally dominant, so no pivot is small.
    fn solve(&self, u: &[f64]) -> Vec<f64> {
        let mut pivots = self.whole.clone();
        let mut x = u.to_vec();
        for (i, q) in self.beside.iter().enumerate() {
            let factor = q / pivots[i];
            pivots[i + 1] -= factor * q;
            x[i + 1] -= factor * x[i];
        }
        for i in (0..x.len()).rev() {
            let above = if i + 1 < x.len() { self.beside[i] * x[i + 1] } else { 0.0 };
            x[i] = (x[i] - above) / pivots[i];
        }
        x
    }

    /// Of each row of (D + Q)⁻¹ the sum of its entries' squares.
    fn squares(&self) -> Vec<f64> {
        let length = self.whole.len();
        // A category's values, which may be tens of thousands, have no neighbours: the inverse is a diagonal.
        if self.beside.iter().all(|q| *q == 0.0) {
            return self.whole.iter().map(|whole| whole.powi(-2)).collect();
        }
        let row = |i: usize| self.solve(&(0..length).map(|j| f64::from(u8::from(i == j))).collect::<Vec<_>>());
        (0..length).map(|i| row(i).iter().map(|entry| entry * entry).sum()).collect()
    }
}
