//! A source of rows that are given as values. As from a database, they arrive from elsewhere while they are read, can stop
//! arriving, and can be added up where they are.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::SchemaRef;
use entente_host::locks::lock;
use entente_protocols::digest::Digest;

use super::*;

/// Rows in batches, some of which may be empty.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) columns: SchemaRef,
    pub(super) batches: Vec<RecordBatch>,
    /// After how many batches the rows stop arriving.
    pub(super) breaks_after: usize,
    /// Whether nothing more comes behind its rows, and they do not end.
    pub(super) hangs: bool,
    /// Whether it adds up the rows of a customer in a cell, those of each batch by themselves.
    pub(super) adds_up: bool,
    /// What is wrong with its sums.
    pub(super) spoils: fn(&mut Rows),
}

impl Memory {
    /// A source of rows, in batches of so many.
    pub(super) fn new(rows: &[Row], batch_rows: usize) -> Self {
        let whole = record_batch(rows);
        let starts = (0..rows.len()).step_by(batch_rows);
        let cut = starts.map(|start| whole.slice(start, batch_rows.min(rows.len() - start)));
        // Nothing has arrived for a while.
        let batches = cut.chain([whole.slice(0, 0)]).collect();
        Self {
            columns: whole.schema(),
            batches,
            breaks_after: usize::MAX,
            hangs: false,
            adds_up: false,
            spoils: |_| (),
        }
    }

    pub(super) fn open(self, consent: Option<&str>) -> Dataset {
        Dataset::new(schema(), Arc::new(self), consent).unwrap()
    }
}

impl RowSource for Memory {
    fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    fn place(&self) -> String {
        format!("{} batches in memory", self.batches.len())
    }

    fn about(&self) -> u64 {
        self.batches.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    fn identity(&self, _: &dyn Fn(&Stamp) -> Option<Digest>) -> Option<Digest> {
        None
    }

    fn has_changed(&self) -> bool {
        false
    }

    fn read(&self, columns: &[String], _: &DatasetSchema) -> Result<Box<dyn Scan<Batch> + '_>, ScanError> {
        Ok(Box::new(Arriving::begin(self.stored(columns), self.breaks_after, self.hangs)))
    }

    fn sums(&self, plan: &SumsPlan, consent: Option<&Consent>) -> Result<Option<Box<dyn Scan<Rows> + '_>>, ScanError> {
        if !self.adds_up {
            return Ok(None);
        }
        let pipeline = Pipeline::new(&self.clone().open(consent.map(Consent::text)), plan)?;
        let stored = self.stored(pipeline.columns()).into_iter();
        let sums = stored.map(|batch| {
            let mut sums = added_up(&pipeline.rows(&batch, batch[0].len()));
            (self.spoils)(&mut sums);
            sums
        });
        let sums = sums.collect();
        Ok(Some(Box::new(Arriving::begin(sums, self.breaks_after, self.hangs))))
    }
}

impl Memory {
    fn stored(&self, columns: &[String]) -> Vec<Batch> {
        let column = |batch: &RecordBatch, name: &String| batch.column_by_name(name).unwrap().clone();
        self.batches.iter().map(|batch| columns.iter().map(|name| column(batch, name)).collect()).collect()
    }
}

/// The rows of each customer in each cell as one.
fn added_up(rows: &Rows) -> Rows {
    let units = rows.unit.as_primitive::<Int64Type>();
    let mut sums: BTreeMap<(Option<i64>, u32), Vec<i64>> = BTreeMap::new();
    for (row, unit) in units.iter().enumerate() {
        let sums = sums.entry((unit, rows.cells[row])).or_insert_with(|| vec![0; 1 + rows.values.len()]);
        sums[0] += 1;
        sums[1..].iter_mut().zip(&rows.values).for_each(|(sum, values)| *sum += values[row]);
    }
    let column = |at: usize| sums.values().map(|sums| sums[at]).collect::<Vec<i64>>();
    Rows {
        unit: Arc::new(sums.keys().map(|(unit, _)| *unit).collect::<Int64Array>()),
        cells: sums.keys().map(|(_, cell)| *cell).collect(),
        counts: Some(column(0)),
        values: (1..=rows.values.len()).map(column).collect(),
    }
}

/// Batches that another thread brings, one after the other, to whichever thread asks first.
struct Arriving<T>(Mutex<Receiver<Result<T, ScanError>>>);

impl<T: Clone + Send + 'static> Arriving<T> {
    fn begin(batches: Vec<T>, breaks_after: usize, hangs: bool) -> Self {
        let (sender, receiver) = sync_channel(1);
        thread::spawn(move || {
            let breaks = (breaks_after < batches.len()).then(|| Err("the connection broke".into()));
            let last = batches.last().cloned();
            for batch in batches.into_iter().take(breaks_after).map(Ok).chain(breaks) {
                if sender.send(batch).is_err() {
                    break;
                }
            }
            // The last one is empty.
            while hangs && sender.send(last.clone().ok_or_else(|| "there is none".into())).is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self(Mutex::new(receiver))
    }
}

impl<T: Send> Scan<T> for Arriving<T> {
    fn batches(&self) -> Batches<'_, T> {
        Box::new(std::iter::from_fn(|| lock(&self.0).recv().ok()))
    }
}
