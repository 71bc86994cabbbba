//! `verify`: ledgers, receipts and result folders, offline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use entente_host::Error;
use entente_host::files;
use entente_host::terminal::{print, print_json};
use entente_protocols::identity::Roster;
use entente_protocols::ledger::Checkpoint;
use entente_protocols::ledger::cross::cross_check;
use entente_protocols::ledger::outside::{Outside, read_witnessed};
use entente_protocols::ledger::receipt::{Receipt, is_receipt, verify_files, verify_receipt};
use entente_protocols::ledger::report::{Check, Facts, Report};
use entente_protocols::ledger::verify::verify_outside;
use serde::Serialize;

use crate::store::RECEIPT;

#[derive(Args)]
pub(super) struct Verify {
    /// Ledgers that `entente-node ledger export` wrote, receipts, and result folders; several are held against each other
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The roster that says whose keys are whose: the alliance's roster.json, or a node's (JSON or TOML)
    #[arg(long, value_name = "FILE")]
    roster: Option<PathBuf>,
    /// What a witness holds: a file of `entente-node witnessed` or `entente partners --checkpoints`; can be given several times
    #[arg(long, value_name = "FILE")]
    witnessed: Vec<PathBuf>,
    /// How many partners must have cosigned everything that was computed or released; the coordinator is not counted
    #[arg(long, value_name = "N", default_value_t = 0, requires = "roster")]
    cosigned_by: usize,
    /// Be content with a ledger that nothing outside of its node supports
    #[arg(long, conflicts_with = "cosigned_by")]
    alone: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found out about one path, or about all together.
#[derive(Serialize)]
struct Checked {
    path: String,
    checks: Vec<Check>,
}

impl Verify {
    pub(super) fn run(self) -> Result<(), Error> {
        let roster = self.roster.as_deref().map(read_roster).transpose()?;
        let mut witnessed = Vec::new();
        for path in &self.witnessed {
            witnessed.extend(read_held(path)?);
        }
        let outside = Outside { roster: roster.as_ref(), witnessed: &witnessed, cosigned_by: self.cosigned_by };
        let (mut all, mut ledgers, mut receipts) = (Vec::new(), Vec::new(), Vec::new());
        for path in &self.paths {
            let (report, receipt) = verify(path, &outside, self.paths.len() > 1)?;
            receipts.extend(receipt);
            all.push((path.display().to_string(), report));
        }
        for (_, report) in &mut all {
            ledgers.extend(report.facts.take());
        }
        if ledgers.len() + receipts.len() > 1 && !ledgers.is_empty() {
            let mut report = Report::default();
            let ledgers: Vec<&Facts> = ledgers.iter().map(|ledger| &**ledger).collect();
            cross_check(&mut report, &ledgers, &receipts.iter().collect::<Vec<_>>());
            all.push(("together".into(), report));
        }
        let failed: Vec<&str> =
            all.iter().filter(|(_, report)| !report.passed()).map(|(path, _)| path.as_str()).collect();
        if self.json && self.paths.len() == 1 {
            print_json(&all[0].1.checks)?;
        } else if self.json {
            let checked =
                all.iter().map(|(path, report)| Checked { path: path.clone(), checks: report.checks.clone() });
            print_json(&checked.collect::<Vec<_>>())?;
        } else if let [(_, report)] = &all[..] {
            print(report.text().trim_end())?;
        } else {
            let text: Vec<String> = all.iter().map(|(path, report)| format!("{path}\n{}", report.text())).collect();
            print(text.join("\n").trim_end())?;
        }
        if !failed.is_empty() {
            return Err(Error::refused(format!("{} does not verify", failed.join(", "))));
        }
        let alone: Vec<&str> =
            all.iter().filter(|(_, report)| !report.is_witnessed()).map(|(path, _)| path.as_str()).collect();
        if self.alone || alone.is_empty() {
            return Ok(());
        }
        Err(Error::refused(format!("{} is not witnessed", alone.join(", ")))
            .help("give --roster FILE, and --witnessed FILE with what others hold; or --alone if that is what you want to know"))
    }
}

/// Verifies one path; of a result folder every file. Whether it is then compared with others decides what is kept of a ledger.
fn verify(path: &Path, outside: &Outside<'_>, compare: bool) -> Result<(Report, Option<Receipt>), Error> {
    let roster = outside.roster;
    if !path.is_dir() {
        let text = files::read_text(path)?;
        let is_receipt = is_receipt(&text);
        return Ok(if is_receipt {
            verify_receipt(&text, roster)
        } else {
            (verify_outside(&text, outside, compare), None)
        });
    }
    let file = path.join(RECEIPT);
    if !file.is_file() {
        return Err(Error::refused(format!("{} has no {RECEIPT}", path.display()))
            .help("give a result folder, or a ledger's export"));
    }
    let (mut report, receipt) = verify_receipt(&files::read_text(&file)?, roster);
    let mut contents = BTreeMap::new();
    let entries = std::fs::read_dir(path).map_err(|error| Error::file("read", path, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Error::file("read", path, &error))?;
        let (place, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if place.is_file() {
            contents.insert(name, files::read(&place)?);
        }
    }
    if let Some(receipt) = &receipt {
        verify_files(&mut report, &receipt.statement, &contents);
    }
    Ok((report, receipt))
}

fn read_held(path: &Path) -> Result<Vec<Checkpoint>, Error> {
    let held = read_witnessed(&files::read_text(path)?);
    held.map_err(|problem| Error::refused(format!("{} is not what a witness holds: {problem}", path.display())))
}

fn read_roster(path: &Path) -> Result<Roster, Error> {
    let text = files::read_text(path)?;
    let parsed = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map_err(|error| error.message().to_owned())
    };
    parsed.map_err(|problem| Error::refused(format!("{} is not a roster: {problem}", path.display())))
}
