//! Scores of a local table's rows by a model file: no coordinator, no network, nothing but the two files.
//!
//! ```text
//! table (CSV, NDJSON, Parquet) ─▶ batches ─▶ codes (the model's recipe) ─▶ scores ─▶ CSV or Parquet
//!                                            entente_tables::codes
//! ```
//!
//! What a value means is as at a node, by the same code. What cannot be read is missing, and counted.

mod read;
mod text;
mod write;

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{Field, Schema};
use entente_host::{Error, files};
use entente_protocols::config::nearest;
use entente_protocols::learn::file::{MAX_BYTES, ModelFile};
use entente_tables::codes::FeatureReader;

/// Reads `model.json`.
///
/// # Errors
///
/// If it cannot be read, or is no model that can score every row.
pub fn read_model(path: &Path) -> Result<ModelFile, Error> {
    let size = std::fs::metadata(path).map_err(|error| Error::file("read", path, &error))?.len();
    let none = |problem: String| Error::refused(format!("{} {problem}", path.display()));
    if size > MAX_BYTES as u64 {
        return Err(none(format!("has more than {} MiB, more than any model file", MAX_BYTES >> 20)));
    }
    let bytes = files::read(path)?;
    ModelFile::parse(&bytes).map_err(|error| Error::refused(error.of(path.display())))
}

/// What was scored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scored {
    /// Rows.
    pub rows: u64,
    /// Of each feature with any, how many values could not be read as its type or are none of its categories; they
    /// count as missing.
    pub unread: Vec<(String, u64)>,
}

/// Scores each row of a table: writes its columns that are not the model's features, and `score`, to a file (Parquet where its
/// name ends so, else CSV) or to stdout.
///
/// # Errors
///
/// If the table cannot be read, lacks a feature, or the output cannot be written.
pub fn predict(file: &ModelFile, table: &Path, out: Option<&Path>) -> Result<Scored, Error> {
    let mistake = |problem: String| Error::refused(format!("{}: {problem}", table.display()));
    let mut batches = read::Batches::open(table).map_err(mistake)?;
    let features = &file.model.recipe.features;
    let names = batches.names();
    let places = places(file, &names).map_err(mistake)?;
    let kept: Vec<usize> = (0..names.len()).filter(|column| !places.contains(column)).collect();
    let score = {
        let mut name = "score".to_owned();
        while kept.iter().any(|column| names[*column].eq_ignore_ascii_case(&name)) {
            name.push('_');
        }
        name
    };
    let mut readers = Vec::with_capacity(features.len());
    for (feature, place) in features.iter().zip(&places) {
        let reader = FeatureReader::new(&feature.values);
        let stored = batches.schema().field(*place).data_type();
        reader.check(stored).map_err(|fix| {
            let (name, declared) = (&feature.name, reader.declared());
            mistake(format!("column `{name}` is stored as {stored} and cannot be read as {declared}; {fix}"))
        })?;
        readers.push(reader);
    }
    let mut sink = None;
    let mut scored = Scored::default();
    let mut unread = vec![0; features.len()];
    while let Some(batch) = batches.next().map_err(mistake)? {
        let mut columns = Vec::with_capacity(features.len());
        for ((reader, place), unread) in readers.iter().zip(&places).zip(&mut unread) {
            let coded = reader.read(batch.column(*place));
            *unread += coded.unread;
            columns.push(coded.codes);
        }
        let mut row = vec![0; features.len()];
        let scores = (0..batch.num_rows()).map(|at| {
            row.iter_mut().zip(&columns).for_each(|(code, codes)| *code = codes[at]);
            file.model.score(&row)
        });
        let scores: ArrayRef = match file.model.target {
            Some(_) => Arc::new(Float64Array::from_iter_values(scores)),
            None => Arc::new(Int64Array::from_iter_values(scores.map(|number| number as i64))),
        };
        let output = appended(&batch, &kept, &score, scores).map_err(|error| Error::failed(error.to_string()))?;
        scored.rows += output.num_rows() as u64;
        match &mut sink {
            None => sink = Some(write::Sink::start(out, &output)?),
            Some(sink) => sink.write(&output)?,
        }
    }
    match sink {
        Some(sink) => sink.finish()?,
        None => return Err(mistake("it has no rows".into())),
    }
    let names = features.iter().map(|feature| feature.name.clone());
    scored.unread = names.zip(unread).filter(|(_, unread)| *unread > 0).collect();
    Ok(scored)
}

fn appended(
    batch: &RecordBatch,
    kept: &[usize],
    name: &str,
    scores: ArrayRef,
) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let schema = batch.schema();
    let mut fields: Vec<_> = kept.iter().map(|column| schema.fields()[*column].clone()).collect();
    let mut columns: Vec<_> = kept.iter().map(|column| batch.column(*column).clone()).collect();
    fields.push(Arc::new(Field::new(name, scores.data_type().clone(), false)));
    columns.push(scores);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Where each feature is among the table's columns.
fn places(file: &ModelFile, names: &[String]) -> Result<Vec<usize>, String> {
    let mut missing = Vec::new();
    let mut places = Vec::new();
    for feature in &file.model.recipe.features {
        let mut found = names.iter().enumerate().filter(|(_, name)| **name == feature.name);
        match (found.next(), found.next()) {
            (Some((place, _)), None) => places.push(place),
            (Some(_), Some(_)) => return Err(format!("it has several columns `{}`", feature.name)),
            (None, _) => missing.push(match nearest(&feature.name, names.iter().map(String::as_str)) {
                Some(near) => format!("`{}` (did you mean its column `{near}`?)", feature.name),
                None => format!("`{}`", feature.name),
            }),
        }
    }
    if missing.is_empty() {
        return Ok(places);
    }
    Err(format!(
        "it does not have what the model scores by: {}. The model needs columns with the names of its features, computed \
         as the study's query does",
        missing.join(", ")
    ))
}

#[cfg(test)]
mod tests;
