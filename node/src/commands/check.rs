//! `entente-node check`: what would keep this node from taking part, before anybody asks it to.

use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use entente_host::terminal::{print, print_json};
use entente_host::{Error, files};
use entente_protocols::ledger::AccountKey;
use entente_protocols::ledger::report;
use entente_protocols::ledger::verify::{export, verify_export};
use entente_protocols::reason::Reason;
use serde::Serialize;

use super::{Dir, table};
use crate::config::{Config, DatasetConfig};
use crate::data::{self, Engine, Options, Severity, UnitKey};
use crate::link;
use crate::participant::spill_folder;
use crate::state::Folder;
use crate::store::LedgerStore;

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    dir: Dir,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Error,
}

#[derive(Serialize)]
struct Line {
    part: String,
    verdict: Verdict,
    finding: String,
    fix: String,
}

impl Line {
    fn ok(part: &str, finding: String) -> Self {
        Self { part: part.into(), verdict: Verdict::Ok, finding, fix: String::new() }
    }

    fn error(part: &str, finding: impl ToString, fix: &str) -> Self {
        Self { part: part.into(), verdict: Verdict::Error, finding: finding.to_string(), fix: fix.into() }
    }

    /// With the error's own remedy, or else `fix`.
    fn failed(part: &str, error: &Error, fix: &str) -> Self {
        let Reason { problem, remedy } = error.reason();
        Self::error(part, problem, remedy.as_deref().unwrap_or(fix))
    }
}

impl Check {
    pub(super) async fn run(self) -> Result<(), Error> {
        let lines = findings(&self.dir.folder()).await?;
        let bad = lines.iter().any(|line| matches!(line.verdict, Verdict::Error));
        if self.json {
            print_json(&lines)?;
        } else {
            let mut table = table(&["part", "", "finding", "what to do"]);
            for Line { part, verdict, finding, fix } in lines {
                let verdict = match verdict {
                    Verdict::Ok => "ok",
                    Verdict::Warning => "warning",
                    Verdict::Error => "ERROR",
                };
                table.add_row([part, verdict.into(), finding, fix]);
            }
            print(table)?;
        }
        // The table has said what is wrong.
        if bad { Err(Error::refused("")) } else { Ok(()) }
    }
}

async fn findings(folder: &Folder) -> Result<Vec<Line>, Error> {
    let mut lines = Vec::new();
    match crate::load(folder) {
        Err(error) => lines.push(Line::failed("configuration", &error, "fix it and check again")),
        Ok(config) => {
            lines.push(configuration(folder, &config));
            for (name, dataset) in &config.datasets {
                data_set(&mut lines, folder, name, dataset).await?;
            }
            lines.push(ledger(folder, &config));
            lines.push(roster(folder));
            lines.push(reachability(folder, &config).await);
        }
    }
    Ok(lines)
}

/// What `node.toml` says, with the caps that hold: those of data sets in use are the ledger's.
fn configuration(folder: &Folder, config: &Config) -> Line {
    if config.datasets.is_empty() {
        return Line::error(
            "configuration",
            "no data set is described",
            "add a [[dataset]] to node.toml; `join` wrote an example",
        );
    }
    let mut budget = format!("ε = {} at δ = {:e} for each population", config.epsilon, config.caps.delta);
    // A ledger that cannot be read has a line of its own.
    if files::exists(&folder.state("ledger.sqlite"))
        && let Ok(ledger) = super::ledger::under(folder, config.budgets())
    {
        if let Err(raised) = ledger.check_configuration() {
            return Line::error("configuration", raised, "set `epsilon` in [budget] of node.toml back to what it was");
        }
        if let [first, ..] = ledger.loosened().as_slice() {
            let more = format!("node.toml admits more than the ledger records, and that is refused: {}", first.what);
            return Line::error("configuration", more, "set it back, or see `entente-node ledger rules --help`");
        }
        for population in config.budgets().populations().keys() {
            // What `node.toml` lowers is lowered when the node starts.
            let account = AccountKey::Population((*population).to_owned());
            let cap = ledger.chain().cap(&account).filter(|cap| *cap < config.caps.lifetime);
            if let Some(cap) = cap {
                let _ =
                    write!(budget, ", but {:.3} for {account}, whose cap was lowered", cap.epsilon(config.caps.delta));
            }
        }
    }
    let names: Vec<&str> = config.datasets.keys().map(String::as_str).collect();
    Line::ok("configuration", format!("node `{}`, data sets {}, {budget}", config.name, names.join(", ")))
}

async fn data_set(lines: &mut Vec<Line>, folder: &Folder, name: &str, dataset: &DatasetConfig) -> Result<(), Error> {
    let part = format!("data set {name}");
    let key = UnitKey::new(folder.local_secret("privacy units")?.0);
    let engine = Engine::new(Options::new(spill_folder(folder), key));
    let consent = dataset.consent.as_deref();
    let report =
        data::check(&dataset.schema, data::open_source(&dataset.source, folder.path()), consent, &engine).await;
    for finding in &report.findings {
        let verdict = match finding.severity {
            Severity::Warning => Verdict::Warning,
            Severity::Error => Verdict::Error,
        };
        let column = finding.column.as_ref().map_or_else(String::new, |column| format!("column {column}: "));
        lines.push(Line { part: part.clone(), verdict, finding: column + &finding.problem, fix: finding.fix.clone() });
    }
    if report.rows > 0 {
        let size = format!("{} rows of {} customers in {}", report.rows, report.customers, report.place);
        let most = format!("a customer has at most {} rows", report.most_rows);
        let consenting = consent.map_or_else(String::new, |_| format!("; {} rows with consent", report.consenting));
        lines.push(Line::ok(&part, format!("{size}; {most}{consenting}")));
    }
    Ok(())
}

fn ledger(folder: &Folder, config: &Config) -> Line {
    let path = folder.state("ledger.sqlite");
    if !files::exists(&path) {
        return Line::ok("ledger", "has no entries yet".into());
    }
    let text = LedgerStore::open_read_only(&path)
        .map_err(Error::from)
        .and_then(|store| Ok(export(&config.name, &folder.signer(&config.name)?, &store)?));
    let report = match text {
        Ok(text) => verify_export(&text, None),
        Err(error) => return Line::failed("ledger", &error, "restore the state folder from a backup"),
    };
    match super::ledger::checked(folder).map(|ledger| ledger.quarantine()) {
        Ok(None) => {}
        Ok(Some(words)) => return Line::error("ledger", words, "see `entente-node ledger recover --help`"),
        Err(error) => return Line::failed("ledger", &error, "see `entente-node ledger verify`"),
    }
    let failed = report.checks.iter().find(|check| check.verdict == report::Verdict::Failed);
    match failed {
        Some(check) => {
            Line::error("ledger", format!("{}: {}", check.check, check.detail), "see `entente-node ledger verify`")
        }
        None => {
            let passed = report.checks.iter().filter(|check| check.passed);
            Line::ok("ledger", passed.map(|check| check.detail.as_str()).collect::<Vec<_>>().join("; "))
        }
    }
}

fn roster(folder: &Folder) -> Line {
    match folder.pinned_roster() {
        Ok(Some(pinned)) => {
            let names: Vec<&str> = pinned.members.keys().map(String::as_str).collect();
            Line::ok("roster", format!("confirmed, with {}", names.join(", ")))
        }
        Ok(None) => Line {
            part: "roster".into(),
            verdict: Verdict::Warning,
            finding: "it is not confirmed: this node takes part in nothing until it is".into(),
            fix:
                "once all partners have joined, compare its fingerprint with them, then `entente-node roster --accept`"
                    .into(),
        },
        Err(error) => Line::failed("roster", &error, "see `entente-node roster --help`"),
    }
}

async fn reachability(folder: &Folder, config: &Config) -> Line {
    let address = &config.coordinator;
    match reach(folder, address).await {
        Ok(()) => Line::ok("coordinator", format!("reached at {address}")),
        Err(error) => {
            let fix = match link::connection::hint(&error.to_string()) {
                "" => {
                    "check that `entente serve` runs there, that UDP to this port is allowed, and this machine's clock"
                }
                hint => hint,
            };
            Line::error("coordinator", format!("not reached at {address}: {error}"), fix)
        }
    }
}

/// A handshake and no more: a hello would take the place of a running node's connection.
async fn reach(folder: &Folder, address: &str) -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Display| Error::failed(error.to_string());
    let config = link::tls::connection(folder)?;
    let remotes = link::resolve(address).await.map_err(|error| failed(&error))?;
    let dialled = link::dial_any(&config, remotes, Duration::from_secs(5)).await.map_err(|error| failed(&error))?;
    // A certificate that is refused shows only now: the handshake ends at this side first.
    match tokio::time::timeout(Duration::from_millis(300), dialled.connection().closed()).await {
        Ok(reason) => Err(failed(&format!("closed at once: {reason}"))),
        Err(_) => {
            dialled.end().await;
            Ok(())
        }
    }
}
