//! `models`: list, export and import the models that this node keeps.

use std::path::Path;

use entente_host::{Error, files};
use entente_protocols::learn::file::ModelFile;

use super::{print_json, studies, table};
use crate::state::Folder;
use crate::store::StoredModel;

pub fn list(folder: &Folder, json: bool) -> Result<(), Error> {
    let models = studies(folder)?.models()?;
    if json {
        return print_json(&models);
    }
    if models.is_empty() {
        eprintln!(
            "there are no models; a study of kind train leaves one, and `entente-node models import FILE` adds one"
        );
        return Ok(());
    }
    let mut table = table(&["study", "name", "predicts", "received", "from"]);
    for StoredModel { study, name, predicts, received, source, .. } in models {
        table.add_row([study, name, predicts, received, source]);
    }
    say!("{table}");
    Ok(())
}

pub fn export(folder: &Folder, study: &str, out: Option<&Path>) -> Result<(), Error> {
    let model = studies(folder)?.model(study)?;
    let model = model.ok_or_else(|| {
        Error::refused(format!("there is no model of study `{study}`; `entente-node models list` shows all"))
    })?;
    match out {
        Some(path) => files::write_public(path, &model.bytes),
        None => {
            super::print(&String::from_utf8_lossy(&model.bytes), "");
            Ok(())
        }
    }
}

pub fn import(folder: &Folder, path: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(path).map_err(|error| Error::file("read", path, &error))?;
    let file = ModelFile::parse(&bytes).map_err(|problem| Error::refused(format!("{}: {problem}", path.display())))?;
    let (source, now) = (format!("file {}", path.display()), jiff::Timestamp::now().to_string());
    let model = StoredModel::new(&file.study.id, &file.study.name, &source, &file, &bytes, now);
    studies(folder)?.put_model(&model)?;
    say!("model of study {} ({}) is kept", model.study, model.name);
    Ok(())
}
