//! Clusters: every held-out customer counts once in its cluster, and brings its squared distance from the centre.
//!
//! Distances are those of the model ([`super::super::kmeans`]). A squared distance counts as at most 2 a feature, which
//! for categories is the largest that there is.
//!
//! **Metric**: `distance`, the mean squared distance. Its variance between customers is bounded as in
//! [`super::regression`].

use super::super::frame::{Contribute, Implausible, Unfit};
use super::super::model::Parameters;
use super::checkpoints::Changes;
use super::loss::{most, nearest};
use super::noisy::{Noisy, SAID, clamp, delta, implausible, repair, spread};
use super::outcome::{Cluster, Detail, Evaluation, Metric, Performance};
use crate::privacy::interval::Estimate;
use crate::privacy::rows::{Block, Codes, Column, UNIT};
use crate::privacy::sums::{Part, Sums};

/// One customer in a count, in grid units.
const COUNT: i32 = 1 << 10;

pub(super) fn components(clusters: usize) -> Vec<(u64, u64, u64)> {
    vec![(clusters as u64, 1, COUNT as u64), (clusters as u64, 1, UNIT as u64)]
}

/// What a node sums.
pub(super) struct Distances {
    model: Parameters,
    clusters: usize,
    position: Option<usize>,
    changes: Changes,
}

impl Distances {
    pub(super) fn new(model: Parameters, position: Option<usize>, changes: Changes) -> Result<Self, Unfit> {
        match &model {
            Parameters::Centres { centres } => Ok(Self { clusters: centres.len(), model, position, changes }),
            _ => Err(Unfit("clusters are evaluated by their centres".into())),
        }
    }
}

impl Contribute for Distances {
    fn add(&self, block: &Block, target: &[u16], weights: &[u16], sums: &mut Sums) {
        let rows = block.rows();
        let nearest = nearest(&self.model, block);
        let (slots, squares): (Vec<u16>, Vec<i32>) =
            nearest.into_iter().map(|(slot, square)| (slot, (square * f64::from(UNIT)) as i32)).unzip();
        let first = self.position.map_or(0, |position| u16::try_from(position).unwrap_or(u16::MAX));
        let (ones, own) = (vec![COUNT; rows], vec![first; rows]);
        let all = [Codes { codes: &slots, cells: self.clusters }];
        let own = [Codes { codes: &own, cells: usize::from(first) + 1 }];
        let parts = |columns| [Part::Cells { columns, values: &ones }, Part::Cells { columns, values: &squares }];
        let mut all = Vec::from(parts(&all[..]));
        if self.position.is_some() {
            all.extend(parts(&own[..]));
        }
        let changes = self.changes.of(block, target, weights);
        all.push(Part::Values { columns: &changes });
        sums.add(&all);
    }
}

pub(super) fn of(columns: &[Column], all: &[Noisy], each: &[Noisy], blocks: usize) -> Result<Evaluation, Implausible> {
    let most = most(columns);
    let [sizes, squares] = all else { return Err(implausible("an evaluation of clusters has two sums")) };
    sizes.counts()?;
    squares.within(sizes, 0.0)?;
    let count = |noisy: &Noisy| Noisy { cells: vec![noisy.total()], sd: noisy.total_sd() };
    let (mut customers, mut distances) = (count(sizes), count(squares));
    let mut partners = Vec::new();
    if let [counts, squares] = each {
        counts.counts()?;
        squares.within(counts, 0.0)?;
        customers = customers.with(&counts.sum(blocks, 1))?;
        distances = distances.with(&squares.sum(blocks, 1))?;
        let partner = |position: usize| performance(&counts.block(position, 1), &squares.block(position, 1), most);
        partners = (0..blocks).map(partner).collect();
    }
    let repaired = repair(&sizes.cells);
    let variances: Vec<f64> = repaired.iter().map(|size| size + sizes.sd.powi(2)).collect();
    let said = sizes.total() > (SAID * sizes.total_sd()).max(0.5);
    let cluster = |position: usize| {
        let (size, square) = (sizes.block(position, 1), squares.block(position, 1));
        Cluster {
            customers: size.count(),
            share: delta(&repaired, &variances, (0.0, 1.0), said, |sizes| sizes[position] / sizes.iter().sum::<f64>()),
            distance: distance(&size, &square, most),
        }
    };
    let clusters = (0..sizes.cells.len()).map(cluster).collect();
    let all = performance(&customers, &distances, most);
    Ok(Evaluation { all, partners, detail: Detail::Clusters { clusters }, changes: Vec::new() })
}

/// The components in customers for [`super::expected`].
pub(super) fn typical(clusters: usize) -> Vec<Vec<f64>> {
    let share = 1.0 / clusters.max(1) as f64;
    vec![vec![share; clusters], vec![share / 10.0; clusters]]
}

fn performance(customers: &Noisy, squares: &Noisy, most: f64) -> Performance {
    let metrics = vec![Metric { name: "distance", estimate: distance(customers, squares, most) }];
    Performance { customers: customers.count(), metrics }
}

/// The mean squared distance in one cell.
fn distance(customers: &Noisy, squares: &Noisy, most: f64) -> Estimate {
    let (count, sum) = (customers.total(), squares.total());
    if count <= 0.0 {
        return Estimate { value: most / 2.0, low: 0.0, high: most };
    }
    let sd = squares.sd.hypot((count * spread(sum / count)).sqrt());
    let mean = clamp(Estimate::of_average(sum, sd, count, customers.sd, 0.0, 0.0, 1.0), (0.0, 1.0));
    Estimate { value: mean.value * most, low: mean.low * most, high: mean.high * most }
}
