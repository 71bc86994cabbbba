//! The rows of a source as batches of some of its columns: pieces that threads take one after the other.
//!
//! A piece is up to half a million rows of a Parquet row group, some megabytes of an NDJSON file, or a CSV file (which
//! cannot be entered in the middle, since a line feed there may lie between quotes). Nothing is pruned by statistics
//! and nothing is skipped, so what is read does not depend on what the rows hold.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use entente_protocols::language::schema::{ColumnType, DatasetSchema};
use entente_tables::texts::is_text;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};

use super::csv::CsvReader;
use super::file::{Header, StoredFile};
use super::ndjson::NdJsonReader;
use crate::data::rows::{Batch, Batches, Scan, ScanError};

const BATCH_ROWS: usize = 8 << 10;
const PIECE_ROWS: usize = 512 << 10;
const PIECE_BYTES: u64 = 16 << 20;

/// A part of the files.
#[derive(Clone, Debug)]
enum Piece {
    Parquet { file: usize, group: usize, rows: Range<usize> },
    Csv { file: usize },
    NdJson { file: usize, bytes: Range<u64> },
}

/// The rows of files; several threads take pieces from it until it has no more.
#[derive(Debug)]
pub(super) struct FileScan<'a> {
    files: &'a [StoredFile],
    columns: Vec<String>,
    /// For each Parquet file how to read it, and which of its columns.
    parquet: Vec<(ArrowReaderMetadata, ProjectionMask)>,
    pieces: Vec<Piece>,
    next: AtomicUsize,
    malformed: AtomicU64,
}

impl<'a> FileScan<'a> {
    /// A scan of some columns; `schema` says which of them are better read with a dictionary.
    pub(super) fn new(files: &'a [StoredFile], columns: &[String], schema: &DatasetSchema) -> Result<Self, ScanError> {
        let mut pieces = Vec::new();
        let mut parquet = Vec::new();
        for (file, StoredFile { stamp, header, .. }) in files.iter().enumerate() {
            match header {
                Header::Parquet(metadata) => {
                    let metadata = with_text_forms(metadata, schema)?;
                    let roots = metadata.schema().fields().iter().enumerate();
                    let roots = roots.filter(|(_, field)| columns.contains(field.name())).map(|(root, _)| root);
                    let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
                    for (group, group_metadata) in metadata.metadata().row_groups().iter().enumerate() {
                        let rows = usize::try_from(group_metadata.num_rows()).unwrap_or(0);
                        pieces.extend((0..rows).step_by(PIECE_ROWS).map(|start| Piece::Parquet {
                            file,
                            group,
                            rows: start..rows.min(start + PIECE_ROWS),
                        }));
                    }
                    parquet.push((metadata, mask));
                }
                Header::Csv(names) if names.is_empty() => {}
                Header::Csv(_) => pieces.push(Piece::Csv { file }),
                Header::NdJson => {
                    let bytes = stamp.bytes;
                    let starts = (0..bytes).step_by(PIECE_BYTES as usize);
                    pieces.extend(starts.map(|start| {
                        // To the end of the file as it will be, so that a line which grew is still read whole.
                        let end = if start + PIECE_BYTES >= bytes { u64::MAX } else { start + PIECE_BYTES };
                        Piece::NdJson { file, bytes: start..end }
                    }));
                }
            }
        }
        let columns = columns.to_vec();
        Ok(Self { files, columns, parquet, pieces, next: AtomicUsize::new(0), malformed: AtomicU64::new(0) })
    }

    fn open(&self, piece: &Piece) -> Result<PieceReader, ScanError> {
        let open = |file: usize| File::open(&self.files[file].path);
        match piece {
            Piece::Parquet { file, group, rows } => {
                let (metadata, mask) = &self.parquet[*file];
                let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(open(*file)?, metadata.clone())
                    .with_projection(mask.clone())
                    .with_row_groups(vec![*group])
                    .with_batch_size(BATCH_ROWS);
                if i64::try_from(rows.len())? != metadata.metadata().row_group(*group).num_rows() {
                    let selectors = vec![RowSelector::skip(rows.start), RowSelector::select(rows.len())];
                    builder = builder.with_row_selection(RowSelection::from(selectors));
                }
                let reader = builder.build()?;
                let schema = arrow_array::RecordBatchReader::schema(&reader);
                let order = self.columns.iter().map(|name| schema.index_of(name)).collect::<Result<_, _>>()?;
                Ok(PieceReader::Parquet { reader: Box::new(reader), order })
            }
            Piece::Csv { file } => {
                let Header::Csv(names) = &self.files[*file].header else { return Err("not CSV".into()) };
                let places: HashMap<&str, usize> =
                    self.columns.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
                let wanted = names.iter().map(|name| places.get(name.as_str()).copied()).collect();
                Ok(PieceReader::Csv(CsvReader::new(open(*file)?, wanted, BATCH_ROWS)?))
            }
            Piece::NdJson { file, bytes } => {
                Ok(PieceReader::NdJson(NdJsonReader::new(open(*file)?, bytes.clone(), &self.columns, BATCH_ROWS)?))
            }
        }
    }
}

impl Scan<Batch> for FileScan<'_> {
    fn batches(&self) -> Batches<'_, Batch> {
        let mut piece: Option<PieceReader> = None;
        let mut next = move || loop {
            let reader = match &mut piece {
                Some(reader) => reader,
                None => match self.pieces.get(self.next.fetch_add(1, Ordering::Relaxed)) {
                    Some(next) => piece.insert(self.open(next)?),
                    None => return Ok(None),
                },
            };
            if let Some(batch) = reader.next()? {
                return Ok(Some(batch));
            }
            self.malformed.fetch_add(reader.malformed(), Ordering::Relaxed);
            piece = None;
        };
        Box::new(std::iter::from_fn(move || next().transpose()))
    }

    fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }
}

/// Batches of one piece.
enum PieceReader {
    Parquet { reader: Box<dyn Iterator<Item = Result<RecordBatch, arrow_schema::ArrowError>>>, order: Vec<usize> },
    Csv(CsvReader),
    NdJson(NdJsonReader),
}

impl PieceReader {
    fn next(&mut self) -> Result<Option<Batch>, ScanError> {
        match self {
            Self::Parquet { reader, order } => {
                let Some(batch) = reader.next().transpose()? else { return Ok(None) };
                Ok(Some(order.iter().map(|&column| batch.column(column).clone()).collect()))
            }
            Self::Csv(reader) => Ok(reader.batch()?.map(|(columns, _)| columns)),
            Self::NdJson(reader) => Ok(reader.batch()?.map(|(columns, _)| columns)),
        }
    }

    fn malformed(&self) -> u64 {
        match self {
            Self::Parquet { .. } => 0,
            Self::Csv(reader) => reader.malformed(),
            Self::NdJson(reader) => reader.malformed(),
        }
    }
}

/// Reads text of few values with its dictionary (each value is then looked at once, not on every row) and all other
/// text as views, which copies nothing.
fn with_text_forms(metadata: &ArrowReaderMetadata, schema: &DatasetSchema) -> Result<ArrowReaderMetadata, ScanError> {
    let fields = metadata.schema().fields().iter().map(|field| {
        if !is_text(field.data_type()) {
            return field.clone();
        }
        let few = matches!(schema.columns.get(field.name()), Some(ColumnType::Category { .. } | ColumnType::Bool));
        let form = match few {
            true => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            false => DataType::Utf8View,
        };
        Arc::new(Field::new(field.name(), form, field.is_nullable()))
    });
    let forms: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok(ArrowReaderMetadata::try_new(metadata.metadata().clone(), ArrowReaderOptions::new().with_schema(forms))?)
}
