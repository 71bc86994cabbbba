//! From scores by number to an audience by name: a look at the privacy units of customers who consent.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::take::take;
use entente_host::files::{NewFile, exists, private_folder};
use entente_host::locks::{into_inner, lock};
use entente_tables::read::ints;
use entente_tables::texts::{is_text, texts_of};
use parquet::arrow::ArrowWriter;

use super::format::{Opened, StudyId, columns, key};
use super::scores::{Entry, Scores};
use super::table::{key_value, writer};
use crate::data::consent::lookup::each_unit;
use crate::data::dataset::Dataset;
use crate::data::error::DataError;
use crate::data::options::Options;
use crate::data::rows::ScanError;

/// Where an audience is written, and what it says of itself.
#[derive(Clone, Debug)]
pub struct Naming {
    /// The folder of audiences, which is made if it is not there.
    pub folder: PathBuf,
    /// The study.
    pub study: StudyId,
    /// When it was made, RFC 3339.
    pub created: String,
}

impl Naming {
    /// Whether a file can be written where the audience will be, now.
    pub fn can_be_written(&self) -> Result<(), DataError> {
        private_folder(&self.folder).map_err(DataError::opaque)?;
        NewFile::private(&self.study.file(&self.folder)).map(drop).map_err(DataError::opaque)
    }

    /// Whether the audience is there.
    pub fn is_written(&self) -> bool {
        exists(&self.study.file(&self.folder))
    }

    /// Writes the audience and says how many customers are in it: each once who was scored, who is still in the data
    /// set and whom the consent predicate allows.
    pub(crate) fn write(
        &self,
        dataset: &Dataset,
        options: &Options,
        stop: &AtomicBool,
        scores: &Scores,
    ) -> Result<u64, DataError> {
        let schema = Arc::new(self.schema(dataset, scores.opened())?);
        private_folder(&self.folder).map_err(DataError::opaque)?;
        let file = NewFile::private(&self.study.file(&self.folder)).map_err(DataError::opaque)?;
        let about = [(key::STUDY, self.study.to_string()), (key::CREATED, self.created.clone())];
        let about = about.into_iter().chain([(key::DATASET, dataset.schema().name.clone())]);
        let writer = Mutex::new(writer(file, schema.clone(), about).map_err(DataError::opaque)?);
        let named: Vec<AtomicBool> = scores.entries().iter().map(|_| AtomicBool::new(false)).collect();
        each_unit(dataset, options, stop, |unit, numbers| {
            let found = numbers.iter().enumerate().filter_map(|(row, number)| Some((row, scores.find((*number)?)?)));
            // Whoever takes a customer first writes it.
            let (rows, entries): (Vec<u64>, Vec<usize>) = found
                .filter(|(_, entry)| !named[*entry].swap(true, Ordering::Relaxed))
                .map(|(row, entry)| (row as u64, entry))
                .unzip();
            if rows.is_empty() {
                return Ok(());
            }
            let batch = self::batch(&schema, unit, rows, entries.into_iter().map(|entry| &scores.entries()[entry]))?;
            Ok(lock(&writer).write(&batch)?)
        })?;
        let rows = named.iter().filter(|named| named.load(Ordering::Relaxed)).count() as u64;
        let writer = into_inner(writer);
        finish(writer, rows).map_err(DataError::opaque)?;
        Ok(rows)
    }

    fn schema(&self, dataset: &Dataset, opened: Opened) -> Result<Schema, DataError> {
        let unit = &dataset.schema().privacy_unit;
        let stored = dataset.source().columns().field_with_name(unit).map_err(DataError::opaque)?.data_type();
        let stored = match stored {
            text if is_text(text) => DataType::Utf8,
            // The upper half of these does not fit into signed numbers.
            DataType::UInt64 => DataType::UInt64,
            _ => DataType::Int64,
        };
        let value = match opened {
            Opened::Scores => DataType::Float64,
            Opened::Buckets => DataType::Int32,
        };
        let types = [stored, value, DataType::Float64];
        let fields = columns(unit, opened).into_iter().zip(types).map(|(name, form)| Field::new(name, form, false));
        Ok(Schema::new(fields.collect::<Vec<_>>()))
    }
}

fn batch<'s>(
    schema: &Arc<Schema>,
    unit: &ArrayRef,
    rows: Vec<u64>,
    entries: impl Iterator<Item = &'s Entry> + Clone,
) -> Result<RecordBatch, ScanError> {
    let unit = take(unit, &UInt64Array::from(rows), None)?;
    let unit: ArrayRef = match schema.field(0).data_type() {
        DataType::Utf8 => Arc::new(texts_of(&unit, |texts| texts.collect::<StringArray>())),
        DataType::UInt64 => unit,
        _ => Arc::new(ints(&unit)),
    };
    let values: ArrayRef = match schema.field(1).data_type() {
        DataType::Int32 => Arc::new(entries.clone().map(|entry| Some(entry.value as i32)).collect::<Int32Array>()),
        _ => Arc::new(entries.clone().map(|entry| Some(entry.value)).collect::<Float64Array>()),
    };
    let percentiles = entries.map(|entry| Some(entry.percentile)).collect::<Float64Array>();
    Ok(RecordBatch::try_new(schema.clone(), vec![unit, values, Arc::new(percentiles)])?)
}

fn finish(mut writer: ArrowWriter<NewFile>, rows: u64) -> Result<(), ScanError> {
    writer.append_key_value_metadata(key_value(key::ROWS, rows.to_string()));
    Ok(writer.into_inner()?.place()?)
}
