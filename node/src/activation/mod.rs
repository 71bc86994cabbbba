//! Activation: from an audience in the node's folder to a file for whoever contacts these customers.
//!
//! ```text
//! audience ─▶ the best ─▶ consent as it is now ─▶ contact cap ─▶ contacts recorded ─▶ manifest ─▶ file
//!                                                  enough left?   durable
//! ```
//!
//! What it promises:
//!
//! - Who has withdrawn consent since the study, or is gone from the data, is not in the file: the data are read again,
//!   with their consent predicate.
//! - Nobody is in more exports within the window than the node's policy allows, over all its studies. Who is in a file
//!   was counted before it appeared; the same export again counts nobody twice. After a crash somebody may be counted who
//!   was not contacted. A crash between the file's appearance and the note that it did makes one export of two, if the
//!   same is exported again on another day.
//! - An audience smaller than the policy's smallest is not written, and nobody is counted for it.
//! - The file and its [`manifest`] appear complete or not at all, the manifest first.
//!
//! It works beside a running node, whose ledger and studies it does not touch.

pub mod manifest;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use entente_host::Error;
use entente_host::files::{NewFile, write_private};
use entente_protocols::digest::{Digest, PlainSum};
use jiff::Timestamp;

use crate::config::{Activation, Config, DatasetConfig};
use crate::data::audience::{Audience, Chosen, Form, Header, Opened, Selection, StudyId};
use crate::data::{Dataset, Engine, Options, UnitKey};
use crate::participant::spill_folder;
use crate::state::Folder;
use crate::store::{ContactCap, ContactStore, Export};
use manifest::{FORMAT, Manifest, Signed};

/// What is to be exported, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The study whose audience it is.
    pub study: StudyId,
    /// Which of its customers.
    pub selection: Selection,
    /// The file to write.
    pub out: PathBuf,
}

/// Where the manifest of an exported file is.
pub fn manifest_of(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".manifest.json");
    file.with_file_name(name)
}

/// Exports customers of an audience as of `now`, and says what was written.
pub async fn export(folder: &Folder, request: &Request, now: Timestamp) -> Result<Manifest, Error> {
    let config = crate::config::load(folder)?;
    let form = Form::of(&request.out).ok_or_else(|| {
        Error::refused(format!("{} is neither .csv nor .parquet", request.out.display()))
            .help("end its name with one of them")
    })?;
    if request.out.is_dir() {
        return Err(Error::refused(format!("{} is a folder", request.out.display())).help("name the file to write"));
    }
    let key = UnitKey::new(folder.local_secret("privacy units")?.0);
    let _alone = folder.lock_audiences()?;
    let audience = read(folder, &request.study)?;
    let header = audience.header();
    check_selection(header, &request.selection)?;
    let dataset = dataset(folder, &config, header)?;

    let mut chosen = audience.choose(&request.selection, &key);
    let selected = chosen.units().len() as u64;
    let engine = Engine::new(Options::new(spill_folder(folder), key.clone()));
    let consenting = engine.consenting(&dataset, chosen.units().to_vec()).await;
    chosen.keep(&consenting.map_err(|error| Error::failed(error.to_string()))?);
    let consented = chosen.units().len() as u64;

    // Where nothing can be written, nobody is to be counted.
    let file = NewFile::private(&request.out).map_err(|error| Error::file("write", &request.out, &error))?;
    let mut contacts = ContactStore::open(&folder.state("contacts.sqlite"))?;
    let record = {
        let pseudonyms = key.pseudonyms("contacts", &header.privacy_unit);
        let customers: Vec<[u8; 16]> = chosen.units().iter().map(|unit| pseudonyms.name(*unit)).collect();
        let export = Export { study: header.study.to_string(), selection: request.selection.to_string(), time: now };
        let Activation { min_audience, max_contacts, contact_days } = config.activation;
        let cap = ContactCap { most: max_contacts, days: contact_days };
        let recorded = contacts.record(&export, &customers, cap, min_audience)?;
        chosen.keep(&recorded.kept);
        recorded.id
    };
    let exported = chosen.units().len() as u64;
    let counts = Counts { selected, without_consent: selected - consented, over_cap: consented - exported, exported };
    let record = record.ok_or_else(|| too_few(&counts, &config.activation))?;

    let written = write(&chosen, form, &request.selection, file);
    let (file, sha256) = written.map_err(|error| Error::file("write", &request.out, &error))?;
    let key = folder.identity()?;
    let Activation { min_audience, max_contacts, contact_days } = config.activation;
    let manifest = Manifest {
        format: FORMAT.into(),
        node: config.name,
        identity: key.public(),
        study: header.study.to_string(),
        dataset: header.dataset.clone(),
        privacy_unit: header.privacy_unit.clone(),
        scored: header.created.clone(),
        selection: request.selection.to_string(),
        candidates: header.customers,
        selected: counts.selected,
        without_consent: counts.without_consent,
        over_contact_cap: counts.over_cap,
        exported: counts.exported,
        min_audience,
        max_contacts,
        contact_days,
        file: request.out.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        sha256,
        created: now.to_string(),
    };
    let signed = Signed::new(manifest, &key);
    write_private(&manifest_of(&request.out), signed.text().as_bytes())?;
    file.place().map_err(|error| Error::file("write", &request.out, &error))?;
    contacts.done(record)?;
    Ok(signed.manifest)
}

fn read(folder: &Folder, study: &StudyId) -> Result<Audience, Error> {
    let path = study.file(&folder.audiences());
    if !path.exists() {
        return Err(Error::refused(format!("there is no audience of study `{study}` here"))
            .help(format!("`entente-node audience list --dir {}` shows all", folder.path().display())));
    }
    Audience::read(&path).map_err(|error| Error::failed(error.to_string()))
}

fn check_selection(header: &Header, selection: &Selection) -> Result<(), Error> {
    let (has, ask) = match (header.opened, selection) {
        (Opened::Buckets, Selection::MinScore(_)) => ("buckets, not scores", "--bucket or --top"),
        (Opened::Scores, Selection::Buckets(_)) => ("scores, not buckets", "--min-score or --top"),
        _ => return Ok(()),
    };
    Err(Error::refused(format!("the audience of study `{}` has {has}", header.study)).help(format!("choose by {ask}")))
}

/// The data set of an audience, as node.toml describes it now.
fn dataset(folder: &Folder, config: &Config, header: &Header) -> Result<Dataset, Error> {
    let Header { study, dataset, privacy_unit, .. } = header;
    let unfit = |problem: String| {
        Err(Error::refused(format!("consent cannot be asked for the audience of study `{study}`: {problem}"))
            .help("fix it, or run the study again"))
    };
    let Some(DatasetConfig { source, consent, schema, .. }) = config.datasets.get(dataset) else {
        return unfit(format!("node.toml has no data set `{dataset}` any more"));
    };
    if schema.privacy_unit != *privacy_unit {
        let now = &schema.privacy_unit;
        return unfit(format!("data set `{dataset}` had privacy unit `{privacy_unit}` and has `{now}` now"));
    }
    match Dataset::open(schema.clone(), source, folder.path(), consent.as_deref()) {
        Ok(dataset) => Ok(dataset),
        Err(error) => unfit(error.to_string()),
    }
}

/// What became of the customers of an audience.
struct Counts {
    selected: u64,
    without_consent: u64,
    over_cap: u64,
    exported: u64,
}

fn too_few(counts: &Counts, rules: &Activation) -> Error {
    let Counts { selected, without_consent, over_cap, exported } = counts;
    let Activation { min_audience, max_contacts, contact_days } = rules;
    Error::refused(format!(
        "only {exported} customers would be exported, fewer than `min_audience` = {min_audience} in [policy] of node.toml. Of \
         {selected} selected, {without_consent} do not consent now or are gone, and {over_cap} were in {max_contacts} exports \
         within {contact_days} days. Nothing was written and nobody was counted"
    ))
    .help("select more customers, or wait until more may be contacted")
}

/// Writes the customers, and says the hash of what was written.
fn write(chosen: &Chosen, form: Form, selection: &Selection, file: NewFile) -> io::Result<(NewFile, Digest)> {
    let Summed { file, sum } = chosen.write(form, selection, Summed { file, sum: PlainSum::default() })?;
    Ok((file, sum.finish()))
}

/// A file and the hash of what went into it.
struct Summed {
    file: NewFile,
    sum: PlainSum,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sum.write_all(&bytes[..written])?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The plain SHA-256 of a file.
pub fn sha256_of(path: &Path) -> io::Result<Digest> {
    let mut sum = PlainSum::default();
    io::copy(&mut File::open(path)?, &mut sum)?;
    Ok(sum.finish())
}

#[cfg(test)]
mod tests;
