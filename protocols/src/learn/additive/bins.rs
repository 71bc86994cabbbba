//! Bins of numbers, from noisy fine histograms.

use crate::learn::fine::{CELLS, Fine, Histograms};
use crate::learn::model::{Recode, Recoding};

/// The recoding that bins every number: about `bins` bins of equal weight, and one for each cell that alone has as much;
/// none with less than `lightest` customers, as the noise would drown it. At most 2·`bins` + 1 a number.
pub(super) fn recoding(fine: &Fine, histograms: &Histograms, bins: usize, lightest: f64) -> Recoding {
    let column = |(feature, cells): (usize, &Vec<f64>)| {
        let (Some(first), Some(ordered)) = (fine.first_codes(feature), cells.get(1..)) else { return Recode::Keep };
        let starts = starts(ordered, histograms.customers, bins, lightest);
        let mut edges: Vec<u16> = starts.iter().filter_map(|start| u16::try_from(first[*start]).ok()).collect();
        edges.retain(|edge| *edge > 1);
        // Cells without a code of their own share one with the next.
        edges.dedup();
        Recode::Bins(edges)
    };
    Recoding { columns: histograms.features.iter().enumerate().map(column).collect() }
}

/// The cells at which a new bin starts, but for the first bin's; ascending.
fn starts(cells: &[f64], customers: f64, bins: usize, lightest: f64) -> Vec<usize> {
    let single = |weight: f64| weight >= customers / bins as f64;
    let spread: f64 = cells.iter().filter(|weight| !single(**weight)).sum();
    let enough = (spread / bins as f64).max(lightest);
    let mut starts = Vec::new();
    let mut weight = 0.0;
    for (cell, own) in cells.iter().enumerate() {
        if single(*own) {
            starts.extend([cell, cell + 1]);
            weight = 0.0;
        } else {
            weight += own;
            if weight >= enough {
                starts.push(cell + 1);
                weight = 0.0;
            }
        }
    }
    starts.retain(|start| (1..CELLS).contains(start));
    starts.dedup();
    // The lightest bin joins its lighter neighbour, until all are heavy and few enough.
    loop {
        let bounds: Vec<usize> = [0].into_iter().chain(starts.iter().copied()).chain([cells.len()]).collect();
        let weights: Vec<f64> = bounds.windows(2).map(|bin| cells[bin[0]..bin[1]].iter().sum()).collect();
        let least = weights.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
        let Some((bin, weight)) = least.filter(|_| !starts.is_empty()) else { return starts };
        if *weight >= lightest && weights.len() <= 2 * bins + 1 {
            return starts;
        }
        // `starts[i]` parts bin i from bin i + 1.
        let joins_next = bin == 0 || (bin + 1 < weights.len() && weights[bin + 1] <= weights[bin - 1]);
        starts.remove(if joins_next { bin } else { bin - 1 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_have_equal_weight_and_heavy_cells_one_each() {
        let mut cells = vec![1.0; CELLS];
        cells[100] = 300.0;
        let starts = starts(&cells, 555.0, 5, 1.0);
        assert!(starts.contains(&100) && starts.contains(&101));
        assert!((6..=8).contains(&(starts.len() + 1)), "{starts:?}");
    }

    #[test]
    fn light_bins_join_their_neighbours() {
        let cells = vec![1.0; CELLS];
        assert_eq!(starts(&cells, 256.0, 16, 100.0).len(), 1, "two bins of at least 100");
        assert!(starts(&cells, 256.0, 16, 1000.0).is_empty());
        assert_eq!(starts(&cells, 256.0, 4, 0.0), [64, 128, 192]);
        assert!(starts(&[0.0; CELLS], 100.0, 4, 0.0).len() <= 8);
    }
}
