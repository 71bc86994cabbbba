//! `entente-node ledger show / verify / export`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use entente_host::Error;
use entente_host::files::write_private;
use entente_protocols::ledger::Ledger;
use entente_protocols::ledger::entry::{Entry, Record};
use entente_protocols::ledger::office::Action;
use entente_protocols::ledger::store::Store;
use entente_protocols::ledger::verify::{export as write_export, verify_export};

use super::table;
use crate::SOFTWARE;
use crate::state::Folder;
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
        let entry =
            line.entry().map_err(|error| Error::failed(format!("an entry of the ledger cannot be read: {error}")))?;
        table.add_row(row(&entry));
    }
    say!("{table}");
    if let Some(words) = checked(folder)?.quarantine() {
        say!("{words}");
    }
    Ok(())
}

/// The ledger, checked from its first entry on; to be read, and not charged.
pub fn checked(folder: &Folder) -> Result<Ledger<LedgerStore>, Error> {
    Ok(Ledger::open(open(folder)?, BTreeMap::new(), SOFTWARE)?)
}

fn row(entry: &Entry) -> [String; 10] {
    let state = format!("{:?}", entry.state()).to_uppercase();
    let (number, time) = (entry.sequence.to_string(), entry.time.chars().take(19).collect());
    if let Some(record) = entry.study() {
        let account = &record.account;
        return [
            number,
            time,
            state,
            record.dataset.clone(),
            format!("{} ({})", record.study.name, record.study.id),
            account.charge.to_string(),
            account.spent_after.to_string(),
            account.cap.to_string(),
            format!("{:.3}", account.epsilon_after),
            record.reason.clone().or_else(|| record.approved_by.clone()).unwrap_or_default(),
        ];
    }
    let (dataset, cap, note) = match &entry.record {
        Record::Note(note) => {
            (String::new(), String::new(), format!("{} on {}: {}", note.officer, note.about, note.text))
        }
        Record::Paused(hold) | Record::Resumed(hold) => {
            (String::new(), String::new(), format!("{}, by {}: {}", hold.subject, hold.officer, hold.reason))
        }
        Record::Proposed(proposal) => {
            let (dataset, cap) = match &proposal.action {
                Action::Cap { dataset, to } => (dataset.clone(), to.to_string()),
                Action::Recover(_) => (String::new(), String::new()),
            };
            (dataset, cap, format!("by {}: {}", proposal.officer, proposal.reason))
        }
        Record::Cap(change) => {
            let by = change.officers.join(" and ");
            let by = if by.is_empty() { by } else { format!("by {by}: ") };
            (change.dataset.clone(), change.to.to_string(), by + &change.reason)
        }
        Record::Recovered(recovery) => {
            (String::new(), String::new(), format!("by {}: {}", recovery.officers.join(" and "), recovery.reason))
        }
        Record::Reserved(_) | Record::Computed(_) | Record::Released(_) | Record::Repeated(_) | Record::Refused(_) => {
            Default::default()
        }
    };
    let none = String::new;
    [number, time, state, dataset, none(), none(), none(), cap, none(), note]
}

fn text(folder: &Folder) -> Result<String, Error> {
    let config = crate::load(folder)?;
    Ok(write_export(&config.name, &folder.signer(&config.name)?, &open(folder)?)?)
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
