//! The privacy units of all customers who consent, and nothing else of them.

use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::ArrayRef;

use crate::data::dataset::Dataset;
use crate::data::error::DataError;
use crate::data::options::Options;
use crate::data::pass::{checked, each_batch, on_threads};
use crate::data::rows::ScanError;
use crate::data::rows::input::{Asked, Input};

/// Gives the privacy units of all rows to `each`, batch by batch on all threads: as stored, and the number of each that the
/// consent predicate allows (none for a row without one, too). A customer is there as often as it has rows.
pub(crate) fn each_unit(
    dataset: &Dataset,
    options: &Options,
    stop: &AtomicBool,
    each: impl Fn(&ArrayRef, &[Option<u128>]) -> Result<(), ScanError> + Sync,
) -> Result<(), DataError> {
    let schema = dataset.schema();
    let asked = Asked { dataset: &schema.name, privacy_unit: &schema.privacy_unit, columns: &[], filter: None };
    let input = Input::new(dataset, asked)?;
    let scan = dataset.source().read(input.columns(), schema).map_err(DataError::opaque)?;
    let work = || {
        each_batch(&*scan, stop, |stored| {
            let rows = checked(&stored, input.columns().len())?;
            let mut numbers = options.key.units(&stored[0]);
            if let Some(allowed) = input.consenting(&stored, rows) {
                numbers.iter_mut().zip(&allowed).filter(|(_, allowed)| !allowed).for_each(|(number, _)| *number = None);
            }
            each(&stored[0], &numbers)
        })
    };
    on_threads(options.threads, stop, work).map_err(DataError::opaque)
}

/// Which of some customers, in their order, have a row that the consent predicate allows.
pub(crate) fn consenting(
    dataset: &Dataset,
    options: &Options,
    stop: &AtomicBool,
    units: &[u128],
) -> Result<Vec<bool>, DataError> {
    let mut order: Vec<usize> = (0..units.len()).collect();
    order.sort_unstable_by_key(|&at| units[at]);
    let found: Vec<AtomicBool> = units.iter().map(|_| AtomicBool::new(false)).collect();
    each_unit(dataset, options, stop, |_, numbers| {
        for number in numbers.iter().flatten() {
            let start = order.partition_point(|&at| units[at] < *number);
            // The same customer may be asked about twice.
            let same = order[start..].iter().take_while(|&&at| units[at] == *number);
            same.for_each(|&at| found[at].store(true, Ordering::Relaxed));
        }
        Ok(())
    })?;
    Ok(found.into_iter().map(AtomicBool::into_inner).collect())
}
