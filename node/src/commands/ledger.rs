//! `entente-node ledger show / verify / export`.

use std::path::Path;
use std::process::ExitCode;

use entente_protocols::ledger::entry::Entry;
use entente_protocols::ledger::store::Store;
use entente_protocols::ledger::verify::{export as write_export, verify_export};

use super::table;
use crate::error::Error;
use crate::state::{Folder, write_private};
use crate::store::LedgerStore;

fn open(folder: &Folder) -> Result<LedgerStore, Error> {
    let path = folder.state("ledger.sqlite");
    folder.read(&folder.config())?;
    // A node that has never served has an empty ledger.
    let store = if path.exists() { LedgerStore::open_read_only(&path) } else { LedgerStore::open(&path) };
    Ok(store?)
}

pub fn show(folder: &Folder, json: bool) -> Result<(), Error> {
    let lines = open(folder)?.entries()?;
    if json {
        lines.iter().for_each(|line| say!("{}", line.json));
        return Ok(());
    }
    if lines.is_empty() {
        say!("the ledger has no entries yet");
        return Ok(());
    }
    let mut table =
        table(&["#", "time", "state", "data set", "study", "charge ρ", "spent ρ", "cap ρ", "ε spent", "note"]);
    for line in lines {
        let entry: Entry = serde_json::from_str(&line.json)
            .map_err(|error| Error::failure(format!("an entry of the ledger cannot be read: {error}")))?;
        let note = entry.reason.or(entry.approved_by).unwrap_or_default();
        table.add_row([
            entry.sequence.to_string(),
            entry.time.chars().take(19).collect(),
            format!("{:?}", entry.state).to_uppercase(),
            entry.dataset,
            format!("{} ({})", entry.study.name, entry.study.id),
            entry.account.charge.to_string(),
            entry.account.spent_after.to_string(),
            entry.account.cap.to_string(),
            format!("{:.3}", entry.account.epsilon_after),
            note,
        ]);
    }
    say!("{table}");
    Ok(())
}

fn text(folder: &Folder) -> Result<String, Error> {
    let config = crate::load(folder)?;
    Ok(write_export(&config.name, folder.identity()?.public(), &open(folder)?)?)
}

pub fn verify(folder: &Folder) -> Result<ExitCode, Error> {
    let report = verify_export(&text(folder)?, folder.pinned_roster()?.as_ref());
    super::print(&report.text(), "");
    Ok(ExitCode::from(if report.passed() { 0 } else { 2 }))
}

pub fn export(folder: &Folder, out: Option<&Path>) -> Result<(), Error> {
    let text = text(folder)?;
    match out {
        None => super::print(&text, ""),
        Some(path) => {
            write_private(path, text.as_bytes())?;
            say!("wrote {}; check it anywhere with `entente verify {0}`", path.display());
        }
    }
    Ok(())
}
