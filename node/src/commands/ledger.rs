//! `entente-node ledger show / verify / export`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use entente_host::Error;
use entente_host::files::{exists, write_private};
use entente_host::terminal::{print, print_json_text, table, write};
use entente_protocols::ledger::absence::day;
use entente_protocols::ledger::carry::CarriedOver;
use entente_protocols::ledger::entry::{Entry, Record, StudyRecord};
use entente_protocols::ledger::office::Action;
use entente_protocols::ledger::store::Store;
use entente_protocols::ledger::verify::{export, verify_export};
use entente_protocols::ledger::{self, Budgets};

use super::office;
use super::options::Dir;
use crate::state::{Folder, SOFTWARE};
use crate::store::LedgerStore;

#[derive(Subcommand)]
pub(super) enum Ledger {
    /// Show the entries
    #[command(after_help = "Example:\n  entente-node ledger show --dir bank")]
    Show(Show),
    /// Check chain, sums, caps, states and signatures
    #[command(after_help = "Example:\n  entente-node ledger verify --dir bank")]
    Verify(Verify),
    /// Write the whole ledger as JSON lines, which `entente verify` checks anywhere
    #[command(after_help = "Example:\n  entente-node ledger export --dir bank --out bank-ledger.jsonl")]
    Export(Export),
    /// Attach a note to an entry
    #[command(
        after_help = "Example:\n  entente-node ledger note 12 --officer ann --text \"see contract 7\" --dir bank"
    )]
    Note(office::Note),
    /// Pause a data set or a study kind: nothing leaves from now on, not even in a study that runs
    #[command(
        after_help = "Example:\n  entente-node ledger pause --dataset customers --officer ann --reason \"legal hold\" --dir bank"
    )]
    Pause(office::Hold),
    /// Let a data set or a study kind go on
    #[command(
        after_help = "Example:\n  entente-node ledger resume --dataset customers --officer ann --reason \"hold is over\" --dir bank"
    )]
    Resume(office::Hold),
    /// Change a population's cap: lower at once, higher once a second officer runs the same command
    #[command(
        after_help = "Example:\n  entente-node ledger cap customers --epsilon 5 --officer ann --reason \"board of May\" --dir bank"
    )]
    Cap(office::Cap),
    /// Add to a population's cap for this calendar year, once a second officer runs the same command in it
    #[command(
        after_help = "Example:\n  entente-node ledger allow customers --year 2027 --epsilon 2 --officer ann --reason \"board of January\" --dir bank"
    )]
    Allow(office::Allow),
    /// Confirm that what node.toml says holds where it admits more than the ledger records; takes a second officer, if two are named
    #[command(after_help = "Example:\n  entente-node ledger rules --officer ann --reason \"board of May\" --dir bank")]
    Rules(office::Rules),
    /// End the quarantine of a ledger that is not what witnesses saw: takes over what was spent, once a second officer runs it too
    #[command(
        after_help = "Example:\n  entente-node ledger recover --officer ann --reason \"disk of 3 May lost\" --dir bank"
    )]
    Recover(office::Recover),
}

#[derive(Args)]
pub(super) struct Show {
    #[command(flatten)]
    dir: Dir,
    /// Print the entries as JSON lines.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Verify {
    #[command(flatten)]
    dir: Dir,
    /// Be content with a ledger that nothing outside of the node supports.
    #[arg(long)]
    alone: bool,
}

#[derive(Args)]
pub(super) struct Export {
    #[command(flatten)]
    dir: Dir,
    /// The file to write; standard output by default.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn open(folder: &Folder) -> Result<LedgerStore, Error> {
    let path = folder.state("ledger.sqlite");
    folder.read(&folder.config())?;
    // A node that has never served has an empty ledger.
    let store = if exists(&path) { LedgerStore::open_read_only(&path) } else { LedgerStore::open(&path) };
    Ok(store?)
}

impl Ledger {
    pub(super) fn run(self) -> Result<(), Error> {
        match self {
            Self::Show(show) => show.run(),
            Self::Verify(verify) => verify.run(),
            Self::Export(export) => export.run(),
            Self::Note(note) => note.run(),
            Self::Pause(hold) => hold.run(true),
            Self::Resume(hold) => hold.run(false),
            Self::Cap(cap) => cap.run(),
            Self::Allow(allow) => allow.run(),
            Self::Rules(rules) => rules.run(),
            Self::Recover(recover) => recover.run(),
        }
    }
}

impl Show {
    fn run(self) -> Result<(), Error> {
        let folder = self.dir.folder();
        let lines = open(&folder)?.entries()?;
        if self.json {
            return lines.iter().try_for_each(|line| print_json_text(&line.json));
        }
        if lines.is_empty() {
            return print("the ledger has no entries yet");
        }
        let mut table =
            table(["#", "time", "state", "data set", "study", "charge ρ", "spent ρ", "cap ρ", "ε spent", "note"]);
        for line in lines {
            let entry = line
                .entry()
                .map_err(|error| Error::failed(format!("an entry of the ledger cannot be read: {error}")))?;
            table.add_row(row(&entry));
        }
        print(table)?;
        checked(&folder)?.quarantine().map_or(Ok(()), print)
    }
}

impl Verify {
    fn run(self) -> Result<(), Error> {
        let folder = self.dir.folder();
        let report = verify_export(&text(&folder)?, folder.pinned_roster()?.as_ref());
        print(report.text().trim_end())?;
        // The report has said what fails.
        match report.passed() {
            false => Err(Error::failed("")),
            true if report.is_witnessed() || self.alone => Ok(()),
            true => Err(Error::refused("")),
        }
    }
}

impl Export {
    fn run(self) -> Result<(), Error> {
        let text = text(&self.dir.folder())?;
        match self.out {
            None => write(text.as_bytes()),
            Some(path) => {
                write_private(&path, text.as_bytes())?;
                print(format!("wrote {}; check it anywhere with `entente verify {0} --roster ROSTER`", path.display()))
            }
        }
    }
}

/// The ledger, checked from its first entry on; to be read, and not charged.
pub(super) fn checked(folder: &Folder) -> Result<ledger::Ledger<LedgerStore>, Error> {
    under(folder, Budgets::default())
}

/// The same, under what `node.toml` says may be spent.
pub(super) fn under(folder: &Folder, budgets: Budgets) -> Result<ledger::Ledger<LedgerStore>, Error> {
    Ok(ledger::Ledger::open(open(folder)?, budgets, SOFTWARE)?)
}

fn row(entry: &Entry) -> [String; 10] {
    let state = format!("{:?}", entry.state()).to_uppercase();
    let (number, time) = (entry.sequence.to_string(), entry.time.chars().take(19).collect());
    let away: Vec<String> = entry.away.iter().map(|away| absent(&away.partner, &away.until)).collect();
    let away = if away.is_empty() { String::new() } else { format!(" ({})", away.join(", ")) };
    if let Some(record) = entry.study() {
        let account = &record.account;
        return [
            number,
            time,
            state,
            record.dataset.clone(),
            format!("{} ({})", record.study.name, record.study.id),
            record.charge().to_string(),
            spent(record),
            account.cap.to_string(),
            format!("{:.3}", account.epsilon_after),
            record.reason.clone().or_else(|| record.approved_by.clone()).unwrap_or_default() + &away,
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
                Action::Cap { account, to } => (account.name().to_owned(), to.to_string()),
                Action::Allow { account, for_year, rho } => {
                    (account.name().to_owned(), format!("+ {rho} for {for_year}"))
                }
                Action::Recover(_) | Action::Rules(_) | Action::Away(_) => (String::new(), String::new()),
            };
            let what = match &proposal.action {
                Action::Away(absence) => format!("{}, ", absent(&absence.partner, &absence.until)),
                Action::Cap { .. } | Action::Allow { .. } | Action::Recover(_) | Action::Rules(_) => String::new(),
            };
            (dataset, cap, format!("{what}by {}: {}", proposal.officer, proposal.reason))
        }
        Record::Cap(change) => {
            let by = change.officers.join(" and ");
            let by = if by.is_empty() { by } else { format!("by {by}: ") };
            let year = change.for_year.map_or_else(String::new, |year| format!("allowance for {year}, "));
            (change.account.name().to_owned(), change.to.to_string(), year + &by + &change.reason)
        }
        Record::Carried(carried) => {
            let CarriedOver { dataset, population, spent, cap, .. } = carried;
            (dataset.clone(), cap.to_string(), format!("ρ = {spent} carried over to population `{population}`"))
        }
        Record::Rules(change) => {
            let by = change.officers.join(" and ");
            let by = if by.is_empty() { by } else { format!("by {by}: ") };
            (String::new(), String::new(), format!("rules, {by}{}", change.reason))
        }
        Record::Recovered(recovery) => {
            (String::new(), String::new(), format!("by {}: {}", recovery.officers.join(" and "), recovery.reason))
        }
        Record::Away(away) => {
            // As of its own day, it is an absence that ends.
            let is_back = *away.until <= *day(&entry.time);
            let what =
                if is_back { format!("WITNESS {} BACK", away.partner) } else { absent(&away.partner, &away.until) };
            (String::new(), String::new(), format!("{what}, by {}: {}", away.by(), away.reason))
        }
        Record::Reserved(_) | Record::Computed(_) | Record::Released(_) | Record::Repeated(_) | Record::Refused(_) => {
            Default::default()
        }
    };
    let none = String::new;
    [number, time, state, dataset, none(), none(), none(), cap, none(), note]
}

fn absent(partner: &str, until: &str) -> String {
    format!("WITNESS {partner} AWAY until {until}")
}

/// What was spent of the account that is charged; of each year that is, and of all time and years together.
fn spent(record: &StudyRecord) -> String {
    let Some(by_year) = &record.by_year else { return record.account.spent_after.to_string() };
    let years = by_year.accounts.iter().map(|year| format!("{} in {}, ", year.account.spent_after, year.year));
    format!("{}{} over all time", years.collect::<String>(), by_year.spent_all_time)
}

fn text(folder: &Folder) -> Result<String, Error> {
    let config = crate::config::load(folder)?;
    Ok(export(&config.name, &folder.signer(&config.name)?, &open(folder)?)?)
}
