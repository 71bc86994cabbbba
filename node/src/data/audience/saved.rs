//! Audiences as they lie in the node's folder: what each is, and the best of one.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, LargeStringArray, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use entente_tables::read::floats;
use entente_tables::texts::{is_text, texts_of};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::format::{Header, Opened, StudyId, columns, key};
use super::table::{Chosen, Selection};
use crate::data::unit::UnitKey;

/// A file that is not an audience, or not a whole one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} cannot be read as an audience: {reason}; restore it from a backup, or run the study again")]
pub struct AudienceError {
    path: PathBuf,
    reason: String,
}

/// All audiences in a folder, the newest first; none where there is no folder. A file that cannot be read does not hide
/// the others.
pub fn list(folder: &Path) -> std::io::Result<Vec<Result<Header, AudienceError>>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(open(&path).map(|(header, _)| header));
        }
    }
    found.sort_by(|a, b| match (a, b) {
        (Ok(a), Ok(b)) => b.created.cmp(&a.created).then_with(|| a.study.0.cmp(&b.study.0)),
        _ => a.is_err().cmp(&b.is_err()),
    });
    Ok(found)
}

/// An audience in memory.
#[derive(Debug)]
pub struct Audience {
    header: Header,
    /// Privacy unit, value as a number, percentile.
    rows: RecordBatch,
}

impl Audience {
    /// Reads an audience.
    pub fn read(path: &Path) -> Result<Self, AudienceError> {
        let failed = |reason: &dyn fmt::Display| AudienceError { path: path.to_owned(), reason: reason.to_string() };
        let (header, builder) = open(path)?;
        let stored = builder.schema().field(0).data_type().clone();
        // Offsets of 32 bits would end at two gigabytes of names.
        let unit = if is_text(&stored) { DataType::LargeUtf8 } else { stored };
        let types = [unit, DataType::Float64, DataType::Float64];
        let names = columns(&header.privacy_unit, header.opened);
        let fields = names.into_iter().zip(types).map(|(name, form)| Field::new(name, form, true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut batches = Vec::new();
        for batch in builder.build().map_err(|error| failed(&error))? {
            let batch = batch.map_err(|error| failed(&error))?;
            let unit: ArrayRef = match schema.field(0).data_type() {
                DataType::LargeUtf8 => Arc::new(texts_of(batch.column(0), |texts| texts.collect::<LargeStringArray>())),
                _ => batch.column(0).clone(),
            };
            let numbers = batch.columns()[1..].iter().map(|column| Arc::new(floats(column)) as ArrayRef);
            let columns = std::iter::once(unit).chain(numbers).collect();
            batches.push(RecordBatch::try_new(schema.clone(), columns).map_err(|error| failed(&error))?);
        }
        let rows = concat_batches(&schema, &batches).map_err(|error| failed(&error))?;
        if rows.columns().iter().any(|column| column.null_count() > 0) {
            return Err(failed(&"it has rows that lack something"));
        }
        Ok(Self { header, rows })
    }

    /// What it says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The chosen ones, the best first. Between equals a keyed hash decides, so that the same selection is of the same
    /// customers whatever the order of the file.
    pub fn choose(&self, selection: &Selection, key: &UnitKey) -> Chosen {
        let values = self.rows.column(1).as_primitive::<Float64Type>().values();
        let ranks = key.pseudonyms("order of an audience", "");
        let all = key.units(self.rows.column(0));
        let wanted = |row: &u32| match selection {
            Selection::Share(_) | Selection::Count(_) => true,
            Selection::MinScore(least) => values[*row as usize] >= *least,
            Selection::Buckets(buckets) => buckets.contains(&(values[*row as usize] as u8)),
        };
        let rows = u32::try_from(values.len()).unwrap_or(u32::MAX);
        let mut order: Vec<(u128, u32)> =
            (0..rows).filter(wanted).map(|row| (ranks.rank(all[row as usize].unwrap_or(0)), row)).collect();
        order.sort_unstable_by(|(a_rank, a), (b_rank, b)| {
            let (a_value, b_value) = (values[*a as usize], values[*b as usize]);
            b_value.total_cmp(&a_value).then(a_rank.cmp(b_rank))
        });
        let most = match selection {
            // A hair more, so that 7 % of 100 are seven.
            Selection::Share(percent) => (f64::from(rows) * percent / 100.0 + 1e-9) as usize,
            Selection::Count(count) => usize::try_from(*count).unwrap_or(usize::MAX),
            Selection::MinScore(_) | Selection::Buckets(_) => usize::MAX,
        };
        order.truncate(most);
        let units = order.iter().map(|(_, row)| all[*row as usize].unwrap_or(0)).collect();
        let order: UInt32Array = order.into_iter().map(|(_, row)| Some(row)).collect();
        // Cannot fail: all places lie within.
        let rows = take_record_batch(&self.rows, &order).unwrap_or_else(|_| self.rows.slice(0, 0));
        Chosen::new(self.header.clone(), rows, units)
    }
}

type Builder = ParquetRecordBatchReaderBuilder<File>;

fn open(path: &Path) -> Result<(Header, Builder), AudienceError> {
    let failed = |reason: &dyn fmt::Display| AudienceError { path: path.to_owned(), reason: reason.to_string() };
    let file = File::open(path).map_err(|error| failed(&error))?;
    let builder = Builder::try_new(file).map_err(|error| failed(&error))?;
    let metadata = builder.metadata().file_metadata();
    let about = |key: &str| {
        let found = metadata.key_value_metadata().into_iter().flatten().find(|about| about.key == key);
        found.and_then(|about| about.value.clone()).ok_or_else(|| failed(&format!("it does not say its `{key}`")))
    };
    let study: StudyId = about(key::STUDY)?.parse().map_err(|error| failed(&error))?;
    if path.file_stem().is_none_or(|stem| stem.to_string_lossy() != study.0) {
        return Err(failed(&format!("it is of study {study}, and is not called so")));
    }
    let customers = u64::try_from(metadata.num_rows()).unwrap_or(0);
    if about(key::ROWS)? != customers.to_string() {
        return Err(failed(&"it has not as many rows as it says"));
    }
    let fields = builder.schema().fields();
    let opened = match &fields[..] {
        [_, value, _] if *value.data_type() == DataType::Int32 => Opened::Buckets,
        [_, value, _] if *value.data_type() == DataType::Float64 => Opened::Scores,
        _ => return Err(failed(&"its columns are others")),
    };
    let (unit, unit_type) = (fields[0].name().clone(), fields[0].data_type());
    if columns(&unit, opened).iter().zip(fields).any(|(name, field)| name != field.name())
        || !(is_text(unit_type) || unit_type.is_integer())
    {
        return Err(failed(&"its columns are others"));
    }
    let (dataset, created) = (about(key::DATASET)?, about(key::CREATED)?);
    Ok((Header { study, dataset, privacy_unit: unit, created, opened, customers }, builder))
}
