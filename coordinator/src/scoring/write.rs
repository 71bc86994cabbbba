//! Where scores go: stdout as CSV, or a file that is there whole or not at all.

use std::io::{self, StdoutLock, Write};
use std::path::{Path, PathBuf};

use super::text;
use arrow_array::RecordBatch;
use entente_host::Error;
use entente_host::files::NewFile;
use parquet::arrow::ArrowWriter;
/// A table that is being written.
pub(super) struct Sink {
    form: Form,
    /// The file, if it is not stdout.
    path: Option<PathBuf>,
}

enum Form {
    Stdout(Box<csv::Writer<StdoutLock<'static>>>),
    Csv(Box<csv::Writer<NewFile>>),
    Parquet(Box<ArrowWriter<NewFile>>),
}

impl Sink {
    /// Starts with the first batch.
    pub(super) fn start(out: Option<&Path>, batch: &RecordBatch) -> Result<Self, Error> {
        let form = match out {
            None => Form::Stdout(Box::new(csv::Writer::from_writer(io::stdout().lock()))),
            Some(path) => {
                let file = NewFile::public(path).map_err(|error| Error::file("write", path, &error))?;
                if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("parquet")) {
                    let writer = ArrowWriter::try_new(file, batch.schema(), None);
                    Form::Parquet(Box::new(writer.map_err(|error| failed(Some(path), error))?))
                } else {
                    Form::Csv(Box::new(csv::Writer::from_writer(file)))
                }
            }
        };
        let mut sink = Self { form, path: out.map(Path::to_owned) };
        let written = match &mut sink.form {
            Form::Stdout(writer) => header(writer, batch)?,
            Form::Csv(writer) => header(writer, batch)?,
            Form::Parquet(_) => Ok(()),
        };
        written.map_err(|error| sink.failed(error))?;
        sink.write(batch)?;
        Ok(sink)
    }

    /// Writes another batch.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let written = match &mut self.form {
            Form::Stdout(writer) => lines(writer, batch),
            Form::Csv(writer) => lines(writer, batch),
            Form::Parquet(writer) => writer.write(batch).map_err(|error| error.to_string()),
        };
        written.map_err(|error| self.failed(error))
    }

    /// Puts the file in its place.
    pub(super) fn finish(self) -> Result<(), Error> {
        let Self { form, path } = self;
        let finished = match form {
            Form::Stdout(mut writer) => gone_is_fine(writer.flush().map_err(csv::Error::from)),
            Form::Csv(writer) => placed(writer.into_inner().map_err(|error| error.to_string())),
            Form::Parquet(writer) => placed(writer.into_inner().map_err(|error| error.to_string())),
        };
        finished.map_err(|error| failed(path.as_deref(), error))
    }

    fn failed(&self, error: String) -> Error {
        failed(self.path.as_deref(), error)
    }
}

fn placed(written: Result<NewFile, String>) -> Result<(), String> {
    written?.place().map_err(|error| error.to_string())
}

/// Writes the names, of columns that all have a form in CSV; what could not be written is said by the inner error.
fn header(writer: &mut csv::Writer<impl Write>, batch: &RecordBatch) -> Result<Result<(), String>, Error> {
    let schema = batch.schema();
    if let Some(field) = schema.fields().iter().find(|field| !text::has_form(field.data_type())) {
        let (name, stored) = (field.name(), field.data_type());
        let what = format!("column `{name}` is stored as {stored}, which CSV has no form for");
        return Err(Error::refused(what).help("write Parquet, with --out FILE.parquet"));
    }
    Ok(gone_is_fine(writer.write_record(schema.fields().iter().map(|field| field.name()))))
}

fn lines(writer: &mut csv::Writer<impl Write>, batch: &RecordBatch) -> Result<(), String> {
    let mut field = String::new();
    for row in 0..batch.num_rows() {
        for column in batch.columns() {
            field.clear();
            text::write(column, row, &mut field);
            gone_is_fine(writer.write_field(&field))?;
        }
        gone_is_fine(writer.write_record(None::<&[u8]>))?;
    }
    Ok(())
}

/// A reader of stdout that has gone away is no failure.
fn gone_is_fine(written: Result<(), csv::Error>) -> Result<(), String> {
    match written {
        Err(error) => match error.kind() {
            csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error.to_string()),
        },
        Ok(()) => Ok(()),
    }
}

fn failed(path: Option<&Path>, error: impl std::fmt::Display) -> Error {
    match path {
        Some(path) => Error::failed(format!("could not write {}: {error}", path.display())),
        None => Error::failed(format!("could not write to stdout: {error}")),
    }
}
