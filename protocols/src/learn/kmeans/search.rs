//! Clusters among a few weighted points, with public pseudo-randomness: post-processing at the coordinator.

/// How often the search among moved candidates starts.
pub(super) const RESTARTS: usize = 8;
/// The most steps of each.
const STEPS: usize = 20;

/// Clusters among weighted points, more than `count`: k-means++, then Lloyd's iterations. The sum of weighted squared
/// distances, and the centres.
pub(super) fn search(points: &[(f64, Vec<f64>)], count: usize, random: &mut Random) -> (f64, Vec<Vec<f64>>) {
    let mut nearest: Vec<f64> = vec![1.0; points.len()];
    let mut centres: Vec<Vec<f64>> = Vec::with_capacity(count);
    while centres.len() < count {
        let total: f64 = points.iter().zip(&nearest).map(|((weight, _), distance)| weight * distance).sum();
        let mut left = random.uniform() * total;
        let passed = |((weight, _), distance): &(&(f64, Vec<f64>), &f64)| {
            left -= weight * *distance;
            left >= 0.0
        };
        let chosen = points.iter().zip(&nearest).take_while(passed).count().min(points.len() - 1);
        let centre = points[chosen].1.clone();
        for (nearest, (_, point)) in nearest.iter_mut().zip(points) {
            let distance = distance(point, &centre);
            *nearest = if centres.is_empty() { distance } else { nearest.min(distance) };
        }
        centres.push(centre);
    }
    let assign = |centres: &[Vec<f64>], point: &[f64]| {
        let distances = centres.iter().map(|centre| distance(centre, point)).enumerate();
        distances.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
    };
    let mut cost = f64::INFINITY;
    for _ in 0..STEPS {
        let slots: Vec<(usize, f64)> = points.iter().map(|(_, point)| assign(&centres, point)).collect();
        let now = points.iter().zip(&slots).map(|((weight, _), (_, distance))| weight * distance).sum();
        if now >= cost {
            break;
        }
        cost = now;
        for (slot, centre) in centres.iter_mut().enumerate() {
            let own = || points.iter().zip(&slots).filter(|(_, (nearest, _))| *nearest == slot).map(|(point, _)| point);
            let total: f64 = own().map(|(weight, _)| weight).sum();
            if total > 0.0 {
                for (i, entry) in centre.iter_mut().enumerate() {
                    *entry = own().map(|(weight, point)| weight * point[i]).sum::<f64>() / total;
                }
            }
        }
    }
    (cost, centres)
}

/// The squared distance.
pub(super) fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// Public pseudo-randomness, the same everywhere: splitmix64 (Steele, Lea, Flood 2014). It protects nothing.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// In 0..1.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// 1 or −1.
    pub(super) fn sign(&mut self) -> f64 {
        if self.next() >> 63 == 0 { 1.0 } else { -1.0 }
    }
}
