//! Terms of two features, fitted to what the shapes leave over.
//!
//! Candidates are all pairs of the [`MOST`] features whose shapes matter most. Each feature's codes are merged into
//! [`GROUPS`] groups of about equal weight, so that a pair has 16 cells. One release gives each cell's customers and the
//! sum of their residuals (one cell a candidate: norm √c for c candidates), half of its budget each. The pairs that
//! explain most beyond what noise alone would are kept.

use super::residuals::Scorer;
use super::settings::{ONE, Settings};
use crate::learn::frame::{Contribute, Implausible, Input, SLACK, Unfit, weighed};
use crate::learn::model::{Pair, Parameters};
use crate::learn::recipe::{Recipe, Target};
use crate::privacy::bounds::Component;
use crate::privacy::rows::{Block, Codes, UNIT};
use crate::privacy::sums::{Part, Sums};

/// How many features are tried with one another.
const MOST: usize = 6;
/// Groups of a feature.
const GROUPS: usize = 4;
/// Cells of a pair.
const CELLS: usize = GROUPS * GROUPS;
/// The a-priori standard deviation of a cell's value.
const SPREAD: f64 = 0.5;
/// What rounding may do to a sum, in customers.
const ROUNDING: f64 = 0.5;

fn candidates(features: usize) -> usize {
    let tried = features.min(MOST);
    tried * tried.saturating_sub(1) / 2
}

/// The components of the release, which takes `share` of the method's budget.
pub(super) fn components(features: usize, clip: u64, share: u32) -> Vec<(Component, u32)> {
    let count = candidates(features);
    let component = |per_cell| Component::Cells { cells: (count * CELLS) as u64, touches: count as u32, per_cell };
    vec![(component(ONE as u64), share / 2), (component(clip), share / 2)]
}

/// The candidates as terms without values: of each feature its importance, its codes' weights and whether codes are
/// ordered (the first, which is missing values, never is).
pub(super) fn proposed(importance: &[f64], weights: &[Vec<f64>], ordered: &[bool]) -> Vec<Pair> {
    let mut ranked: Vec<usize> = (0..importance.len()).collect();
    ranked.sort_by(|a, b| importance[*b].total_cmp(&importance[*a]).then(a.cmp(b)));
    ranked.truncate(MOST);
    ranked.sort_unstable();
    let groups: Vec<Vec<u16>> = ranked.iter().map(|&feature| groups(&weights[feature], ordered[feature])).collect();
    let mut pairs = Vec::new();
    for second in 1..ranked.len() {
        for first in 0..second {
            pairs.push(Pair {
                features: (ranked[first] as u32, ranked[second] as u32),
                groups: (groups[first].clone(), groups[second].clone()),
                values: vec![0.0; count(&groups[first]) * count(&groups[second])],
            });
        }
    }
    pairs
}

/// Merges codes into at most [`GROUPS`] groups: of neighbours where they are ordered, else the heaviest values alone and
/// the others together.
fn groups(weights: &[f64], ordered: bool) -> Vec<u16> {
    let total: f64 = weights.iter().sum();
    let most = GROUPS as u16 - 1;
    if ordered {
        let mut before = 0.0;
        let group = |weight: &f64| {
            let middle = before + weight / 2.0;
            before += weight;
            ((middle / total.max(1.0) * GROUPS as f64) as u16).min(most)
        };
        return weights.iter().map(group).collect();
    }
    let mut heaviest: Vec<usize> = (0..weights.len()).collect();
    heaviest.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]).then(a.cmp(b)));
    let mut groups = vec![most; weights.len()];
    for (group, code) in heaviest.into_iter().take(usize::from(most)).enumerate() {
        groups[code] = group as u16;
    }
    groups
}

fn count(groups: &[u16]) -> usize {
    groups.iter().max().map_or(0, |most| usize::from(*most) + 1)
}

pub(super) fn contributor(
    settings: &Settings,
    recipe: &Recipe,
    target: Option<&Target>,
    input: &Input,
) -> Result<Box<dyn Contribute>, Unfit> {
    let scorer = Scorer::new(settings, recipe, target, input)?;
    let Parameters::Additive { pairs, .. } = &input.parameters else {
        return Err(Unfit("the model is not an additive one".into()));
    };
    let fits = |pair: &Pair| count(&pair.groups.0) <= GROUPS && count(&pair.groups.1) <= GROUPS;
    if pairs.len() > candidates(recipe.features.len()) || !pairs.iter().all(fits) {
        return Err(Unfit("there are more pairs, or more groups, than the plan has room for".into()));
    }
    Ok(Box::new(Pairs { scorer, pairs: pairs.clone() }))
}

struct Pairs {
    scorer: Scorer,
    pairs: Vec<Pair>,
}

impl Contribute for Pairs {
    fn add(&self, block: &Block, target: &[u16], weights: &[u16], sums: &mut Sums) {
        let cells = |pair: &Pair| -> Vec<u16> {
            let width = count(&pair.groups.1) as u16;
            let (first, second) = (block.codes(pair.features.0 as usize), block.codes(pair.features.1 as usize));
            let group = |groups: &[u16], code: u16| groups.get(usize::from(code)).copied().unwrap_or(0);
            let cell = |(a, b): (&u16, &u16)| group(&pair.groups.0, *a) * width + group(&pair.groups.1, *b);
            first.iter().zip(second).map(cell).collect()
        };
        let codes: Vec<Vec<u16>> = self.pairs.iter().map(cells).collect();
        let columns: Vec<Codes<'_>> = codes.iter().map(|codes| Codes { codes, cells: CELLS }).collect();
        let residuals = weighed(self.scorer.residuals(block, target), weights);
        sums.add(&[
            Part::Cells { columns: &columns, values: &weighed(vec![ONE; block.rows()], weights) },
            Part::Cells { columns: &columns, values: &residuals },
        ]);
    }
}

/// What fitting goes by besides the sums.
pub(super) struct Fitting {
    /// A.
    pub(super) clip: f64,
    /// Of the loss, for one customer.
    pub(super) curvature: f64,
    /// The most customers that are taken to be there.
    pub(super) customers: f64,
    /// How many pairs are kept.
    pub(super) most: usize,
}

/// Fits the candidates to the released sums and keeps the best; values are in the unit of residuals.
pub(super) fn fitted(
    proposed: &[Pair],
    parts: &[&[i64]],
    sd: &[f64],
    fitting: &Fitting,
) -> Result<Vec<Pair>, Implausible> {
    let ([counts, residuals], [counted, noise]) = (parts, sd) else {
        return Err(Implausible("the sum of pairs has another form than the release's".into()));
    };
    let scaled = |sums: &[i64], one: i32| sums.iter().map(|sum| *sum as f64 / f64::from(one)).collect::<Vec<f64>>();
    let (counts, residuals) = (scaled(counts, ONE), scaled(residuals, UNIT));
    let (counted, noise) = (counted / f64::from(ONE), noise / f64::from(UNIT));
    plausible(proposed, (&counts, counted), (&residuals, noise), fitting)?;
    let fit = |(candidate, pair): (usize, &Pair)| {
        let start = candidate * CELLS;
        let mut gain = 0.0;
        let mut pair = pair.clone();
        for (cell, value) in pair.values.iter_mut().enumerate() {
            let customers = counts[start + cell].max(1.0);
            let residual = residuals[start + cell];
            let weight = fitting.curvature * customers;
            // The mean of the value given the noisy sum, if it is normal a priori.
            *value = residual * weight / (weight * weight + weight / SPREAD.powi(2) + noise * noise / SPREAD.powi(2));
            gain += residual * residual / weight - noise * noise / weight;
        }
        (gain, candidate, pair)
    };
    let mut fitted: Vec<_> = proposed.iter().enumerate().map(fit).filter(|(gain, ..)| *gain > 0.0).collect();
    fitted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    Ok(fitted.into_iter().take(fitting.most).map(|(_, _, pair)| pair).collect())
}

/// Whether customers can have brought these sums, given with their noise: in all candidates the same ones, each with a
/// residual of at most A, and not more of them than there are.
fn plausible(
    proposed: &[Pair],
    (counts, counted): (&[f64], f64),
    (residuals, noise): (&[f64], f64),
    fitting: &Fitting,
) -> Result<(), Implausible> {
    let of = |sums: &[f64]| -> Vec<f64> {
        let pairs = proposed.iter().zip(sums.chunks(CELLS));
        pairs.map(|(pair, cells)| cells.iter().take(pair.values.len()).sum()).collect()
    };
    // Totals of the sums of all candidates, each beside their mean.
    let apart = |totals: &[f64], noise: f64| {
        let mean = totals.iter().sum::<f64>() / totals.len().max(1) as f64;
        totals.iter().any(|total| (total - mean).abs() > SLACK * noise * (CELLS as f64 + 1.0).sqrt() + ROUNDING)
    };
    let wild = |(count, residual): (&f64, &f64)| {
        *count < -SLACK * counted - ROUNDING
            || residual.abs() > fitting.clip * (count.max(0.0) + SLACK * counted) + SLACK * noise + ROUNDING
    };
    let slack = SLACK * counted * (CELLS as f64).sqrt() + ROUNDING;
    let many = of(counts).into_iter().any(|total| total > fitting.customers + slack);
    let cells = proposed.iter().zip(counts.chunks(CELLS).zip(residuals.chunks(CELLS)));
    let cells = cells.flat_map(|(pair, (counts, residuals))| counts.iter().zip(residuals).take(pair.values.len()));
    if apart(&of(counts), counted) || apart(&of(residuals), noise) || many || cells.into_iter().any(wild) {
        return Err(Implausible(format!(
            "the sums of pairs differ from pair to pair, or are larger than their customers can bring (the noise of a cell \
             is {counted:.1} customers): a participant sent something else"
        )));
    }
    Ok(())
}
