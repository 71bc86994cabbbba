//! What scoring gave each customer, by number, and where each stands among all.

use super::format::Opened;
use crate::data::error::DataError;

/// Scores or buckets of customers, each with its percentile: 32 bytes a customer.
pub struct Scores {
    opened: Opened,
    /// By unit.
    entries: Vec<Entry>,
}

/// What one customer was given.
pub(super) struct Entry {
    pub(super) unit: u128,
    pub(super) value: f64,
    pub(super) percentile: f64,
}

impl Scores {
    /// The scores of customers, each of whom is there once.
    ///
    /// # Errors
    ///
    /// [`DataError::Failed`] where one is no number, or a customer has two.
    pub fn of_scores(scores: Vec<(u128, f64)>) -> Result<Self, DataError> {
        Self::new(Opened::Scores, scores)
    }

    /// The buckets of customers, each of whom is there once.
    ///
    /// # Errors
    ///
    /// [`DataError::Failed`] where a customer has two.
    pub fn of_buckets(buckets: Vec<(u128, u8)>) -> Result<Self, DataError> {
        Self::new(Opened::Buckets, buckets.into_iter().map(|(unit, bucket)| (unit, f64::from(bucket))).collect())
    }

    /// The number of customers.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody was scored.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What they are.
    pub fn opened(&self) -> Opened {
        self.opened
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The place of a customer among the entries.
    pub(super) fn find(&self, unit: u128) -> Option<usize> {
        self.entries.binary_search_by_key(&unit, |entry| entry.unit).ok()
    }

    fn new(opened: Opened, given: Vec<(u128, f64)>) -> Result<Self, DataError> {
        if given.iter().any(|(_, value)| !value.is_finite()) {
            return Err(DataError::opaque("a score is not a number"));
        }
        let mut sorted: Vec<f64> = given.iter().map(|(_, value)| *value).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let all = sorted.len() as f64;
        // Zero has two forms, which are equal.
        let percentile = |value: f64| 100.0 * sorted.partition_point(|other| *other <= value) as f64 / all;
        let entries = given.into_iter().map(|(unit, value)| Entry { unit, value, percentile: percentile(value) });
        let mut entries: Vec<Entry> = entries.collect();
        entries.sort_unstable_by_key(|entry| entry.unit);
        if entries.windows(2).any(|pair| pair[0].unit == pair[1].unit) {
            return Err(DataError::opaque("a customer has two scores"));
        }
        Ok(Self { opened, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_is_at_100_and_ties_share() {
        let scores = Scores::of_scores(vec![(4, 0.0), (1, -0.0), (3, 7.5), (2, -3.0), (9, 0.0)]).unwrap();
        let percentiles: Vec<_> = scores.entries.iter().map(|entry| (entry.unit, entry.percentile)).collect();
        assert_eq!(percentiles, [(1, 80.0), (2, 20.0), (3, 100.0), (4, 80.0), (9, 80.0)]);
        assert_eq!((scores.find(3), scores.find(5), scores.len()), (Some(2), None, 5));
        let buckets = Scores::of_buckets(vec![(1, 0), (2, 15), (3, 15)]).unwrap();
        assert!(buckets.entries[1].percentile == 100.0 && buckets.opened() == Opened::Buckets);
        assert!(Scores::of_scores(Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_an_answer_is_none() {
        assert!(Scores::of_scores(vec![(1, f64::NAN)]).is_err());
        assert!(Scores::of_buckets(vec![(1, 2), (1, 2)]).is_err());
    }
}
