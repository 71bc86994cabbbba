//! `entente-node models list / export / import / remove`: the models that this node keeps.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use entente_host::terminal::{print, print_json, table, write};
use entente_host::{Error, clock, files};
use entente_protocols::learn::file::ModelFile;

use super::options::{Dir, studies};
use crate::store::StoredModel;

#[derive(Subcommand)]
pub(super) enum Models {
    /// List the models: those of studies that this node took part in, and those that were imported
    #[command(after_help = "Example:\n  entente-node models list --dir bank")]
    List(List),
    /// Write a model's file
    #[command(after_help = "Example:\n  entente-node models export 20261122-101500-ab12 --out model.json --dir bank")]
    Export(Export),
    /// Keep a model that was given as a file
    #[command(after_help = "Example:\n  entente-node models import results/churn/model.json --dir bank")]
    Import(Import),
    /// Forget a study's model: nothing is scored with it from now on, not even in a study that runs
    #[command(after_help = "Example:\n  entente-node models remove 20261122-101500-ab12 --dir bank")]
    Remove(Remove),
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    dir: Dir,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Export {
    /// The study that trained it.
    study: String,
    /// Where to write it; to the terminal without it.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    dir: Dir,
}

#[derive(Args)]
pub(super) struct Import {
    /// The model file.
    file: PathBuf,
    #[command(flatten)]
    dir: Dir,
}

#[derive(Args)]
pub(super) struct Remove {
    /// The study that trained it.
    study: String,
    #[command(flatten)]
    dir: Dir,
}

impl Models {
    pub(super) fn run(self) -> Result<(), Error> {
        match self {
            Self::List(list) => list.run(),
            Self::Export(export) => export.run(),
            Self::Import(import) => import.run(),
            Self::Remove(remove) => remove.run(),
        }
    }
}

impl List {
    fn run(self) -> Result<(), Error> {
        let models = studies(&self.dir.folder())?.models()?;
        if self.json {
            return print_json(&models);
        }
        if models.is_empty() {
            eprintln!(
                "there are no models; a study that trains one leaves it, and `entente-node models import FILE` adds one"
            );
            return Ok(());
        }
        let mut table = table(["study", "name", "predicts", "received", "from"]);
        for StoredModel { study, name, predicts, received, source, .. } in models {
            table.add_row([study, name, predicts, received, source]);
        }
        print(table)
    }
}

impl Export {
    fn run(self) -> Result<(), Error> {
        let Self { study, out, dir } = self;
        let model = studies(&dir.folder())?.model(&study)?;
        let model = model.ok_or_else(|| missing(&study))?;
        match out {
            Some(path) => files::write_public(&path, &model.bytes),
            None => write(&model.bytes),
        }
    }
}

impl Remove {
    fn run(self) -> Result<(), Error> {
        let Self { study, dir } = self;
        if !studies(&dir.folder())?.remove_model(&study)? {
            return Err(missing(&study));
        }
        print(format!(
            "the model of study {study} is not kept any more, and nothing is scored with it; `entente-node models import` brings it back"
        ))
    }
}

fn missing(study: &str) -> Error {
    Error::refused(format!("there is no model of study `{study}`")).help("`entente-node models list` shows all")
}

impl Import {
    fn run(self) -> Result<(), Error> {
        let (folder, path) = (self.dir.folder(), self.file);
        let bytes = files::read(&path)?;
        let file = ModelFile::parse(&bytes).map_err(|problem| Error::refused(problem.of(path.display())))?;
        let (source, now) = (format!("file {}", path.display()), clock::now().to_string());
        let model = StoredModel::new(&file.study.id, &file.study.name, &source, &file, &bytes, now);
        studies(&folder)?.put_model(&model)?;
        print(format!("model of study {} ({}) is kept", model.study, model.name))
    }
}
