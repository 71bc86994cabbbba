//! Clusters: Lloyd's iterations on noisy sums (Su, Cao, Li, Bertino, Jin 2016, arXiv 1504.05998, and 2017, TOPS 20:4).
//!
//! **Distances** are those of design vectors ([`crate::privacy::rows`]) in units of one: a number counts with its place
//! in its range from −1 to 1, and two different categories are √2 apart, as far as numbers are at 0.7 of the range.
//!
//! **First release: where customers are.** A coarse histogram of each feature ([`BINS`] bins of a number's range; the
//! values of a category), a tenth of the budget. Seeds are chosen among points drawn from the product of these noisy
//! histograms, with a generator that starts at the study's `seed`: the one nearest to the mean first, then again and
//! again the one farthest from all chosen before, so that no two start in the same place. There are four candidates for
//! each cluster.
//!
//! **First round: a summary.** However many sums a round has, each customer is in one of them, so that many cost no
//! more than few. The first round moves all candidates; the moved ones, weighed by their customers, stand for all
//! customers (noisy ones are pulled towards where they were), and the coordinator finds clusters among them as often
//! and as long as it wants (k-means++, Arthur & Vassilvitskii 2007, the best of eight). Started from there, Lloyd's
//! iterations seldom end with one centre for two clusters and two for another, which they never leave again.
//!
//! **All rounds**, with equal parts of the rest: each customer is added to the sum of the nearest centre's vectors. The
//! sum's constant entry is the number of customers, in the very same weights as the rest, so that a count of its own,
//! which would cost half of the round's budget, is not needed. Customers with a norm above a typical one's (1 for the
//! constant and each category, ½ for each number) are weighed down. A new centre is the mean, put back into the box
//! (numbers in −1 to 1, indicators in 0 to 1) and where the indicators of a category do not sum to 1, scaled so that
//! they do. A cluster that cannot be distinguished from an empty one (fewer customers than 4 standard deviations of the noise)
//! keeps its centre in the last round; before it, it restarts beside the largest one, which it splits.

mod search;

use std::ops::Range;

use search::{RESTARTS, Random, distance, search};

use super::frame::{Contribute, Implausible, Input, Release, Role, SLACK, Train, Unfit};
use super::model::Parameters;
use super::options::{Options, affordable, only};
use super::recipe::Recipe;
use crate::privacy::bounds::Component;
use crate::privacy::rho::MILLION;
use crate::privacy::rows::{self, Block, Codes, Column, UNIT};
use crate::privacy::sums::{Part, Sums};

/// Settings.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode)]
pub struct Settings {
    /// How many clusters.
    pub clusters: u32,
    /// How many times centres are moved.
    pub rounds: u32,
    /// Where the choice of first centres begins.
    pub seed: u64,
}

/// Bins of a number in the first release, besides the missing values.
pub const BINS: usize = 8;
/// The largest number of clusters.
pub const MAX_CLUSTERS: u32 = 100;
/// The largest number of rounds.
pub const MAX_ROUNDS: u32 = 50;
/// The first release's share, in millionths.
const FIRST: u32 = MILLION / 10;
/// The weight of a customer, so that others can have less; also its value in a cell.
const WEIGHT: i32 = 1024;
/// Points drawn for each seed that is chosen.
const DRAWS: usize = 32;
/// Candidates for each cluster.
const CANDIDATES: usize = 4;
/// Standard deviations that a cluster's size must be above zero.
const PRESENT: f64 = 4.0;

impl Settings {
    /// What is chosen for a recipe and a budget (ρ of the method's releases), within what the study says.
    ///
    /// # Errors
    ///
    /// A refusal that says what is wrong with an option, or how many features the budget can carry.
    pub fn choose(options: &Options, recipe: &Recipe, rho: f64) -> Result<Self, String> {
        only(options, "kmeans", &["clusters", "rounds"])?;
        let clusters = options.clusters.ok_or("model = \"kmeans\" needs `clusters`: how many there are to be")?;
        let settings = Self { clusters, rounds: options.rounds.unwrap_or(6), seed: options.seed.unwrap_or(0) };
        settings.check()?;
        let noise = (recipe.features.len() as f64 * f64::from(settings.rounds) / (2.0 * rho)).sqrt();
        affordable(recipe.features.len(), noise)?;
        Ok(settings)
    }

    /// Whether these can find clusters; if not, why.
    pub fn check(&self) -> Result<(), String> {
        if !(2..=MAX_CLUSTERS).contains(&self.clusters) {
            return Err(format!("`clusters` is between 2 and {MAX_CLUSTERS}, not {}", self.clusters));
        }
        if !(1..=MAX_ROUNDS).contains(&self.rounds) {
            return Err(format!("`rounds` is between 1 and {MAX_ROUNDS}, not {}", self.rounds));
        }
        Ok(())
    }
}

pub(super) fn releases(settings: &Settings, recipe: &Recipe) -> Vec<Release> {
    let columns = recipe.columns();
    let cells = columns.iter().map(|column| cells(*column) as u64).sum();
    // Columns are no more than a block can have, 2^20.
    let histograms = Component::Cells { cells, touches: columns.len() as u32, per_cell: WEIGHT as u64 };
    let numbers = columns.iter().filter(|column| **column == Column::Number).count() as f64;
    let typical = (1.0 + columns.len() as f64 - numbers / 2.0).sqrt();
    let norm = (f64::from(WEIGHT) * f64::from(UNIT) * typical).floor() as u64;
    let sums = |round| Component::Vector { length: (centres(settings, round) * rows::dims(&columns)) as u64, norm };
    let release =
        |name: String, component, share| Release { name, role: Role::Training, components: vec![(component, share)] };
    let each = (MILLION - FIRST) / settings.rounds.max(1);
    let rounds = (1..=settings.rounds).map(|round| release(format!("clusters, round {round}"), sums(round), each));
    std::iter::once(release("histograms".into(), histograms, FIRST)).chain(rounds).collect()
}

/// The releases that move as many centres as the model has; in the first round there are more of them, which no distance
/// compares with fewer.
pub(super) fn moves(settings: &Settings) -> Range<usize> {
    2..1 + settings.rounds.max(1) as usize
}

/// The most bytes that a model takes in an input: the variant, a length, and centres with a length each.
pub(super) fn size(settings: &Settings, recipe: &Recipe) -> usize {
    12 + settings.clusters as usize * 8 * rows::dims(&recipe.columns())
}

pub(super) fn contributor(
    settings: &Settings,
    recipe: &Recipe,
    release: usize,
    input: &Input,
) -> Result<Box<dyn Contribute>, Unfit> {
    if release == 0 {
        return Ok(Box::new(Histograms { cells: recipe.columns().into_iter().map(cells).collect() }));
    }
    let count = centres(settings, u32::try_from(release).unwrap_or(u32::MAX));
    match &input.parameters {
        Parameters::Centres { centres } if centres.len() == count => {
            Ok(Box::new(Nearest { centres: input.parameters.clone() }))
        }
        _ => Err(Unfit(format!("the round needs {count} centres"))),
    }
}

pub(super) fn start(settings: &Settings, recipe: &Recipe) -> Box<dyn Train> {
    let columns = recipe.columns();
    Box::new(Lloyd {
        settings: settings.clone(),
        places: rows::places(&columns),
        columns,
        spread: Vec::new(),
        centres: Vec::new(),
        rounds: 0,
    })
}

/// How many centres a round moves; rounds are counted from 1.
fn centres(settings: &Settings, round: u32) -> usize {
    settings.clusters as usize * if round <= 1 { CANDIDATES } else { 1 }
}

/// Cells of a column in the first release: its codes, those of numbers in bins; missing first.
fn cells(column: Column) -> usize {
    match column {
        Column::Number => BINS + 1,
        Column::Category { values } => usize::from(values) + 1,
    }
}

/// The cell of a code.
fn cell(column: Column, code: u16) -> u16 {
    match (column, code) {
        (Column::Category { .. }, code) => code,
        (Column::Number, 0) => 0,
        // Below BINS: the code less one is below 2^16.
        (Column::Number, code) => 1 + ((u32::from(code - 1) * BINS as u32) >> 16) as u16,
    }
}

struct Histograms {
    cells: Vec<usize>,
}

impl Contribute for Histograms {
    fn add(&self, block: &Block, _: &[u16], _: &[u16], sums: &mut Sums) {
        let coarse = |(i, column): (usize, &Column)| -> Vec<u16> {
            block.codes(i).iter().map(|code| cell(*column, *code)).collect()
        };
        let codes: Vec<Vec<u16>> = block.columns().iter().enumerate().map(coarse).collect();
        let columns: Vec<Codes<'_>> =
            codes.iter().zip(&self.cells).map(|(codes, &cells)| Codes { codes, cells }).collect();
        sums.add(&[Part::Cells { columns: &columns, values: &vec![WEIGHT; block.rows()] }]);
    }
}

struct Nearest {
    centres: Parameters,
}

impl Contribute for Nearest {
    fn add(&self, block: &Block, _: &[u16], _: &[u16], sums: &mut Sums) {
        let columns = block.columns();
        let mut codes = vec![0; columns.len()];
        // The very function that scores customers later, so that the two cannot disagree.
        let slot = |row: usize| {
            codes.iter_mut().enumerate().for_each(|(i, code)| *code = block.codes(i)[row]);
            self.centres.score(columns, &codes) as u16
        };
        let slots: Vec<u16> = (0..block.rows()).map(slot).collect();
        sums.add(&[Part::Vectors { block, weights: &vec![WEIGHT; block.rows()], slots: Some(&slots) }]);
    }
}

struct Lloyd {
    settings: Settings,
    columns: Vec<Column>,
    places: Vec<std::ops::Range<usize>>,
    /// Standard deviation of each entry of the design vector over all customers, about.
    spread: Vec<f64>,
    centres: Vec<Vec<f64>>,
    /// Rounds absorbed.
    rounds: u32,
}

impl Train for Lloyd {
    fn input(&self) -> Input {
        Input { recoding: None, parameters: self.finish(), unit: 1.0, checkpoints: Vec::new() }
    }

    fn absorb(&mut self, sum: &[&[i64]], sd: &[f64]) -> Result<(), Implausible> {
        let wrong = || Implausible("the sum of a round has another form than the release's".into());
        let (&[sum], &[sd]) = (sum, sd) else { return Err(wrong()) };
        let expected = if self.centres.is_empty() {
            self.columns.iter().map(|column| cells(*column)).sum()
        } else {
            self.centres.len() * rows::dims(&self.columns)
        };
        if sum.len() != expected || !sd.is_finite() || sd < 0.0 {
            return Err(wrong());
        }
        if self.centres.is_empty() { self.seed(sum, sd) } else { self.step(sum, sd) }
    }

    fn finish(&self) -> Parameters {
        if self.centres.is_empty() {
            return Parameters::None;
        }
        Parameters::Centres { centres: self.centres.clone() }
    }
}

impl Lloyd {
    /// First centres from the histograms.
    fn seed(&mut self, sum: &[i64], sd: f64) -> Result<(), Implausible> {
        let unit = f64::from(WEIGHT);
        if let Some(cell) = sum.iter().map(|cell| *cell as f64).find(|cell| *cell < -SLACK * sd) {
            return Err(Implausible(format!(
                "a cell of a histogram counts {:.0} customers, less than noise explains: some participant sent \
                 something else than its customers' counts; the masks hide which one",
                cell / unit
            )));
        }
        let mut rest = sum;
        let histograms: Vec<Vec<f64>> = self
            .columns
            .iter()
            .map(|column| {
                let (own, others) = rest.split_at(cells(*column).min(rest.len()));
                rest = others;
                shares(own, sd)
            })
            .collect();
        let mut random = Random(self.settings.seed);
        let count = centres(&self.settings, 1);
        let points: Vec<Vec<f64>> = (0..count * DRAWS).map(|_| self.draw(&histograms, &mut random)).collect();
        let entries = points.first().map_or(0, Vec::len);
        let mean = |i: usize| points.iter().map(|point| point[i]).sum::<f64>() / points.len() as f64;
        let mean: Vec<f64> = (0..entries).map(mean).collect();
        let variance = |i: usize| points.iter().map(|p| (p[i] - mean[i]).powi(2)).sum::<f64>() / points.len() as f64;
        self.spread = (0..entries).map(|i| variance(i).sqrt()).collect();
        // The first is nearest to the mean: farthest by the negative distance.
        let mut nearest: Vec<f64> = points.iter().map(|point| -distance(point, &mean)).collect();
        for chosen in 0..count {
            let next = nearest.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
            let Some(point) = next.and_then(|(next, _)| points.get(next)) else { break };
            for (nearest, other) in nearest.iter_mut().zip(&points) {
                let distance = distance(point, other);
                *nearest = if chosen == 0 { distance } else { nearest.min(distance) };
            }
            self.centres.push(point.clone());
        }
        Ok(())
    }

    /// A customer out of the product of the histograms, as a design vector without its constant.
    fn draw(&self, histograms: &[Vec<f64>], random: &mut Random) -> Vec<f64> {
        let mut point = vec![0.0; self.places.last().map_or(0, |last| last.end)];
        for ((column, place), histogram) in self.columns.iter().zip(&self.places).zip(histograms) {
            let mut left = random.uniform();
            let passed = |share: &&f64| {
                left -= **share;
                left >= 0.0
            };
            let cell = histogram.iter().take_while(passed).count().min(histogram.len() - 1);
            match column {
                Column::Category { .. } => point[place.start + cell] = 1.0,
                Column::Number if cell == 0 => point[place.start + 1] = 1.0,
                Column::Number => {
                    point[place.start] = 2.0 * ((cell - 1) as f64 + random.uniform()) / BINS as f64 - 1.0;
                }
            }
        }
        point
    }

    /// Next centres from the sums over clusters.
    fn step(&mut self, sum: &[i64], sd: f64) -> Result<(), Implausible> {
        let dims = rows::dims(&self.columns);
        let unit = f64::from(WEIGHT) * f64::from(UNIT);
        let sd = sd / unit;
        let clusters: Vec<Vec<f64>> =
            sum.chunks_exact(dims).map(|sum| sum.iter().map(|entry| *entry as f64 / unit).collect()).collect();
        // The difference of two entries has √2 of the noise of one.
        let slack = SLACK * sd * std::f64::consts::SQRT_2;
        for cluster in &clusters {
            let size = cluster[dims - 1];
            if size < -slack || cluster.iter().any(|entry| entry.abs() > size.max(0.0) + slack) {
                return Err(Implausible(format!(
                    "the sum over a cluster is beyond what its {size:.0} customers can bring: some participant sent \
                     something else than its customers' vectors; the masks hide which one"
                )));
            }
        }
        self.rounds += 1;
        if self.rounds == 1 {
            self.summarise(&clusters, sd);
            return Ok(());
        }
        let last = self.rounds >= self.settings.rounds;
        let mut sizes: Vec<f64> = clusters.iter().map(|cluster| cluster[dims - 1]).collect();
        for (centre, cluster) in self.centres.iter_mut().zip(&clusters) {
            let size = cluster[dims - 1];
            if size > PRESENT * sd {
                *centre = cluster[..dims - 1].iter().map(|sum| sum / size).collect();
                into_box(centre, &self.columns, &self.places);
            }
        }
        if last {
            return Ok(());
        }
        let mut random = Random(self.settings.seed ^ (u64::from(self.rounds) << 32));
        for empty in 0..sizes.len() {
            let largest = (0..sizes.len()).max_by(|a, b| sizes[*a].total_cmp(&sizes[*b]).then(b.cmp(a)));
            let Some(largest) =
                largest.filter(|largest| sizes[empty] <= PRESENT * sd && sizes[*largest] > PRESENT * sd)
            else {
                continue;
            };
            let middle = self.centres[largest].clone();
            let step: Vec<f64> = self.spread.iter().map(|spread| 0.5 * random.sign() * spread).collect();
            for (centre, direction) in [(largest, 1.0), (empty, -1.0)] {
                let moved = middle.iter().zip(&step).map(|(middle, step)| middle + direction * step);
                self.centres[centre] = moved.collect();
                into_box(&mut self.centres[centre], &self.columns, &self.places);
            }
            sizes[largest] /= 2.0;
            sizes[empty] = sizes[largest];
        }
        Ok(())
    }
}

impl Lloyd {
    /// Centres among candidates that were moved by the first round's sums.
    fn summarise(&mut self, clusters: &[Vec<f64>], sd: f64) {
        let (dims, count) = (rows::dims(&self.columns), self.settings.clusters as usize);
        // As much noise as the mean of so many customers has in all entries together pulls a candidate halfway back.
        let pull = sd * (dims as f64).sqrt();
        let moved = |(centre, cluster): (&Vec<f64>, &Vec<f64>)| {
            let size = cluster[dims - 1];
            if size <= PRESENT * sd || size <= 0.0 {
                return (size.max(0.0), centre.clone());
            }
            let mean = |(centre, sum): (&f64, &f64)| (sum + pull * centre) / (size + pull);
            let mut centre: Vec<f64> = centre.iter().zip(cluster).map(mean).collect();
            into_box(&mut centre, &self.columns, &self.places);
            (size, centre)
        };
        let mut points: Vec<(f64, Vec<f64>)> = self.centres.iter().zip(clusters).map(moved).collect();
        points.sort_by(|a, b| b.0.total_cmp(&a.0));
        let present = points.iter().take_while(|point| point.0 > PRESENT * sd && point.0 > 0.0).count();
        points.truncate(present.max(count));
        if present > count {
            let mut random = Random(self.settings.seed ^ (1 << 32));
            let searched = (0..RESTARTS).map(|_| search(&points, count, &mut random));
            if let Some((_, centres)) = searched.min_by(|a, b| a.0.total_cmp(&b.0)) {
                self.centres = centres;
                return;
            }
        }
        self.centres = points.into_iter().map(|(_, centre)| centre).take(count).collect();
    }
}

/// Shares of the cells of one column: what is above the noise, or equal ones where nothing is.
fn shares(cells: &[i64], sd: f64) -> Vec<f64> {
    let kept: Vec<f64> =
        cells.iter().map(|cell| Some(*cell as f64).filter(|cell| *cell > 2.0 * sd).unwrap_or(0.0)).collect();
    let total: f64 = kept.iter().sum();
    if total > 0.0 {
        return kept.iter().map(|cell| cell / total).collect();
    }
    vec![1.0 / cells.len().max(1) as f64; cells.len()]
}

/// Puts a centre where means can be.
fn into_box(centre: &mut [f64], columns: &[Column], places: &[std::ops::Range<usize>]) {
    for (column, place) in columns.iter().zip(places) {
        let Some(entries) = centre.get_mut(place.clone()) else { continue };
        match column {
            Column::Number => {
                entries[0] = entries[0].clamp(-1.0, 1.0);
                entries[1] = entries[1].clamp(0.0, 1.0);
            }
            Column::Category { .. } => {
                entries.iter_mut().for_each(|entry| *entry = entry.clamp(0.0, 1.0));
                let total: f64 = entries.iter().sum();
                if total > 0.0 {
                    entries.iter_mut().for_each(|entry| *entry /= total);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
