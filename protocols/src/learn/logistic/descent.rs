//! What the coordinator makes of the sums: the descent.

use std::ops::Range;

use super::super::fine::Fine;
use super::super::frame::{Implausible, Input, SLACK, Train};
use super::super::model::{Parameters, Recode, Recoding};
use super::super::recipe::Recipe;
use super::scale::scale;
use super::settings::{LABELS, Settings, WEIGHT, has_numbers};
use crate::privacy::rows::{self, Column, UNIT};

/// The part of a step that is taken at first.
const RATE: f64 = 0.3;
/// The part of the last change that is made again.
const MOMENTUM: f64 = 0.3;
/// The part of the constant's Newton step that is taken: weights move at the same time, and it need not be shrunk.
const CONSTANT_RATE: f64 = 0.7;
/// Standard deviations of noise by which two gradients must point against each other to halve the rate.
const ALARM: f64 = 3.0;
/// The fewest customers of a label that are taken to be there.
const FEWEST: f64 = 10.0;
/// The smallest variance of a scaled number.
const LEAST_VARIANCE: f64 = 1e-4;

/// What is said of a sum that customers cannot have brought.
const WHOSE: &str = "some participant sent something else than its customers' sums; the masks hide which one";
/// What rounding may do to a sum, in customers.
const ROUNDING: f64 = 0.5;

/// A training as it stands.
pub(super) struct Regression {
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
        Input { recoding: self.recoding.clone(), parameters, unit: 1.0, checkpoints: Vec::new() }
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

    fn checkpoint(&self) -> Parameters {
        self.descent.as_ref().map_or(Parameters::None, Descent::parameters)
    }
}

impl Regression {
    pub(super) fn new(settings: &Settings, recipe: &Recipe) -> Self {
        let columns = recipe.columns();
        Self {
            settings: settings.clone(),
            fine: has_numbers(recipe).then(|| Fine::new(recipe, false)),
            // Norms differ by the factor A, budgets by their shares.
            noise_ratio: settings.clip * (f64::from(LABELS) / f64::from(settings.gradient(recipe).max(1))).sqrt(),
            places: rows::places(&columns),
            variances: vec![LEAST_VARIANCE; columns.len()],
            columns,
            recoding: None,
            descent: None,
        }
    }

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
