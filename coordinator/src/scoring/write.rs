//! Where scores go: stdout as CSV, or a file that is there whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use entente_host::Error;
use parquet::arrow::ArrowWriter;

/// A table that is being written.
pub(super) struct Sink {
    form: Form,
    file: Option<Unfinished>,
}

enum Form {
    Csv(Box<csv::Writer<Box<dyn Write>>>),
    Parquet(Box<ArrowWriter<File>>),
}

/// A file beside its place; gone again unless it is finished.
struct Unfinished {
    temporary: PathBuf,
    path: PathBuf,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.temporary);
    }
}

impl Sink {
    /// Starts with the first batch.
    pub(super) fn start(out: Option<&Path>, batch: &RecordBatch) -> Result<Self, Error> {
        let csv = |out: Box<dyn Write>| Form::Csv(Box::new(csv::Writer::from_writer(out)));
        let (form, file) = match out {
            None => (csv(Box::new(io::stdout().lock())), None),
            Some(path) => {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
                let created = File::create(&temporary).map_err(|error| crate::files::failed("write", path, &error))?;
                let file = Unfinished { temporary, path: path.to_owned() };
                let parquet = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("parquet"));
                let form = if parquet {
                    let writer = ArrowWriter::try_new(created, batch.schema(), None);
                    Form::Parquet(Box::new(writer.map_err(|error| failed(Some(&file), error))?))
                } else {
                    csv(Box::new(io::BufWriter::new(created)))
                };
                (form, Some(file))
            }
        };
        let mut sink = Self { form, file };
        if let Form::Csv(writer) = &mut sink.form {
            let schema = batch.schema();
            let written = writer.write_record(schema.fields().iter().map(|field| field.name()));
            gone_is_fine(written).map_err(|error| failed(sink.file.as_ref(), error))?;
        }
        sink.write(batch)?;
        Ok(sink)
    }

    /// Writes another batch.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let written = match &mut self.form {
            Form::Parquet(writer) => writer.write(batch).map_err(|error| error.to_string()),
            Form::Csv(writer) => lines(writer, batch),
        };
        written.map_err(|error| failed(self.file.as_ref(), error))
    }

    /// Puts the file in its place.
    pub(super) fn finish(self) -> Result<(), Error> {
        let Self { form, file } = self;
        let finished = match form {
            Form::Parquet(writer) => writer.close().map(drop).map_err(|error| error.to_string()),
            Form::Csv(mut writer) => gone_is_fine(writer.flush().map_err(csv::Error::from)),
        };
        finished.map_err(|error| failed(file.as_ref(), error))?;
        match &file {
            Some(file) => std::fs::rename(&file.temporary, &file.path).map_err(|error| failed(Some(file), error)),
            None => Ok(()),
        }
    }
}

fn lines(writer: &mut csv::Writer<Box<dyn Write>>, batch: &RecordBatch) -> Result<(), String> {
    let options = FormatOptions::default();
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    for row in 0..batch.num_rows() {
        for column in &columns {
            let field = column.value(row).try_to_string().map_err(|error| error.to_string())?;
            gone_is_fine(writer.write_field(field))?;
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

fn failed(file: Option<&Unfinished>, error: impl std::fmt::Display) -> Error {
    match file {
        Some(file) => Error::failed(format!("could not write {}: {error}", file.path.display())),
        None => Error::failed(format!("could not write to stdout: {error}")),
    }
}
