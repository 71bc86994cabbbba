//! What officers do with the ledger: `entente-node ledger note / pause / resume / cap / allow / rules / recover`, beside a running node or
//! without one.

use clap::Args;
use entente_host::Error;
use entente_host::clock;
use entente_host::terminal::print;
use entente_protocols::kind::Kind;
use entente_protocols::ledger::office::Subject;
use entente_protocols::ledger::{Act, Ledger, Outcome};
use entente_protocols::privacy::rho::Rho;

use super::options::Dir;
use crate::config::Config;
use crate::state::{Folder, SOFTWARE};
use crate::store::LedgerStore;

/// Who acts, and why.
#[derive(Args)]
pub(super) struct By {
    /// The officer; one of `officers` in [policy] of node.toml.
    #[arg(long)]
    pub(super) officer: String,
    /// Why; the ledger records it.
    #[arg(long)]
    pub(super) reason: String,
}

/// What is paused or goes on.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct What {
    /// A data set.
    #[arg(long)]
    dataset: Option<String>,
    #[arg(long, help = format!("A study kind: {}", Kind::names()))]
    kind: Option<String>,
}

#[derive(Args)]
pub(super) struct Note {
    /// The entry's number, as `show` shows it.
    entry: u64,
    /// The officer; one of `officers` in [policy] of node.toml.
    #[arg(long)]
    officer: String,
    /// What the note says.
    #[arg(long)]
    text: String,
    #[command(flatten)]
    dir: Dir,
}

#[derive(Args)]
pub(super) struct Hold {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    dir: Dir,
}

#[derive(Args)]
pub(super) struct Cap {
    /// The population, or a data set of it.
    population: String,
    /// The cap over its lifetime, at the δ of [budget].
    #[arg(long)]
    epsilon: f64,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    dir: Dir,
}

#[derive(Args)]
pub(super) struct Allow {
    /// The population, or one of its data sets.
    #[arg(value_name = "POPULATION")]
    of: String,
    /// The calendar year: this one. Each has one allowance at most.
    #[arg(long)]
    year: i16,
    /// What is added to the cap, as the ρ of so much at the δ of [budget].
    #[arg(long)]
    epsilon: f64,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    dir: Dir,
}

#[derive(Args)]
pub(super) struct Rules {
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    dir: Dir,
}

#[derive(Args)]
pub(super) struct Recover {
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    dir: Dir,
}

/// Opens the ledger for an officer whom node.toml names, or for the steward of a node that names none.
pub(super) fn open(folder: &Folder, by: &By, is_steward: bool) -> Result<(Config, Ledger<LedgerStore>), Error> {
    let config = crate::config::load(folder)?;
    if !is_steward {
        by.is_named(&config)?;
    }
    let ledger = opened(folder, &config, by)?;
    Ok((config, ledger))
}

/// Opens the ledger for somebody who gives a reason.
fn opened(folder: &Folder, config: &Config, by: &By) -> Result<Ledger<LedgerStore>, Error> {
    if by.reason.trim().is_empty() {
        return Err(Error::refused("a reason is missing").help("write one with --reason; the ledger records it"));
    }
    let mut ledger = Ledger::open(LedgerStore::open(&folder.state("ledger.sqlite"))?, config.budgets(), SOFTWARE)?;
    // As a node does that starts: a cap is a population's.
    ledger.carry_over(&now())?;
    Ok(ledger)
}

fn now() -> String {
    clock::now().to_string()
}

impl By {
    fn is_named(&self, config: &Config) -> Result<(), Error> {
        let officers = &config.oversight.officers;
        if officers.contains(&self.officer) {
            return Ok(());
        }
        let named = match officers.as_slice() {
            [] => "node.toml names no officers; add `officers = [\"…\", \"…\"]` to [policy]".to_owned(),
            officers => format!("the officers in node.toml are: {}", officers.join(", ")),
        };
        Err(Error::refused(format!("`{}` is not an officer of this node", self.officer)).help(named))
    }

    pub(super) fn act<'a>(&'a self, now: &'a str) -> Act<'a> {
        Act { officer: &self.officer, reason: &self.reason, now }
    }
}

impl Note {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { entry, officer, text, dir } = self;
        let by = By { officer, reason: text };
        let (_, mut ledger) = open(&dir.folder(), &by, false)?;
        ledger.note(entry, by.act(&now()))?;
        print(format!("entry {} is a note about entry {entry}", ledger.head().entries))
    }
}

impl Hold {
    pub(super) fn run(self, paused: bool) -> Result<(), Error> {
        let Self { what, by, dir } = self;
        let (config, mut ledger) = open(&dir.folder(), &by, false)?;
        let subject = match (what.dataset, what.kind) {
            (Some(name), _) => {
                let known = config.datasets.contains_key(&name);
                // A pause of a data set that is gone can still be ended.
                if paused && !known {
                    let names: Vec<&str> = config.datasets.keys().map(String::as_str).collect();
                    return Err(Error::refused(format!("there is no data set `{name}`"))
                        .help(format!("there are: {}", names.join(", "))));
                }
                Subject::Dataset(name)
            }
            (None, Some(kind)) => {
                let unknown = |_| {
                    Error::refused(format!("there is no study kind `{kind}`"))
                        .help(format!("there are: {}", Kind::names()))
                };
                Subject::Kind(kind.parse().map_err(unknown)?)
            }
            (None, None) => {
                return Err(Error::refused("it is not said what this is about").help("name a --dataset or a --kind"));
            }
        };
        ledger.hold(&subject, paused, by.act(&now()))?;
        print(if paused {
            format!("{subject} is paused from now on, also for studies that run; `entente-node ledger resume` ends it")
        } else {
            format!("{subject} goes on")
        })
    }
}

impl Cap {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { population: of, epsilon, by, dir } = self;
        let (config, mut ledger) = open(&dir.folder(), &by, false)?;
        let delta = config.caps.delta;
        let to = Rho::within(epsilon, delta).filter(|rho| *rho > Rho::ZERO);
        let to =
            to.ok_or_else(|| Error::refused(format!("--epsilon is {epsilon}")).help("it must be a number above 0"))?;
        match ledger.set_cap(&of, to, by.act(&now()))? {
            Outcome::Done => print(format!(
                "the cap of {} is ρ = {to} (ε = {epsilon} at δ = {delta:e}) from now on",
                config.budgets().called(&of).map_or(of, |(account, _)| account.to_string())
            )),
            Outcome::Proposed => print(format!(
                "proposed as entry {}: raising a cap takes two officers; another one has to run the same command",
                ledger.head().entries
            )),
        }
    }
}

impl Allow {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { of, year, epsilon, by, dir } = self;
        let (config, mut ledger) = open(&dir.folder(), &by, false)?;
        let delta = config.caps.delta;
        let rho = Rho::within(epsilon, delta).filter(|rho| *rho > Rho::ZERO);
        let rho =
            rho.ok_or_else(|| Error::refused(format!("--epsilon is {epsilon}")).help("it must be a number above 0"))?;
        let outcome = ledger.allow(&of, year, rho, by.act(&now()))?;
        let Some((account, _)) = config.budgets().called(&of).filter(|_| outcome == Outcome::Done) else {
            return print(format!(
                "proposed as entry {}: an allowance takes two officers; another one has to run the same command, in {year}",
                ledger.head().entries
            ));
        };
        let cap = ledger.chain().cap(&account).unwrap_or_default();
        print(format!(
            "{account} has ρ = {rho} more for {year}; over all time its cap is ρ = {cap} (ε = {:.3} at δ = {delta:e}) from now on",
            cap.epsilon(delta)
        ))
    }
}

impl Rules {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { by, dir } = self;
        let folder = dir.folder();
        // Who may confirm is what the ledger has recorded, and not what node.toml says by now.
        let mut ledger = opened(&folder, &crate::config::load(&folder)?, &by)?;
        for loosened in ledger.loosened() {
            print(loosened.what)?;
        }
        match ledger.confirm_rules(by.act(&now()))? {
            Outcome::Done => print("this holds from now on; a running node is to be started again to follow node.toml"),
            Outcome::Proposed => print(format!(
                "proposed as entry {}: rules that admit more take two officers; another one has to run the same command",
                ledger.head().entries
            )),
        }
    }
}

impl Recover {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { by, dir } = self;
        let folder = dir.folder();
        let config = crate::config::load(&folder)?;
        let mut ledger = opened(&folder, &config, &by)?;
        // What earlier identities had spent can be taken over where no officers are named.
        let is_own = ledger.contradictions().any(|sighting| sighting.identity.is_none());
        if is_own || !config.oversight.officers.is_empty() {
            by.is_named(&config)?;
        }
        for sighting in ledger.contradictions() {
            print(format!("shown by {} on {}:", sighting.by, sighting.time))?;
            print(sighting.checkpoint.trim_end())?;
        }
        match ledger.recover(by.act(&now()))? {
            Outcome::Done => {
                print(
                    "the ledger has taken over what was witnessed; a running node shows that to its witnesses at once. Spent is now:",
                )?;
                ledger.chain().accounts().keys().try_for_each(|account| {
                    let spent = ledger.chain().spent(account);
                    print(format!("{account}: ρ = {}, and {} to a person at all partners", spent.rho, spent.person))
                })
            }
            Outcome::Proposed => print(format!(
                "proposed as entry {}: a recovery takes two officers; another one has to run the same command",
                ledger.head().entries
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(officer: &str) -> By {
        By { officer: officer.into(), reason: "a test".into() }
    }

    fn folder(dir: &std::path::Path, officers: &str) -> Folder {
        let folder = Folder::new(dir);
        folder.create().unwrap();
        let text = format!(
            "[node]\nname = \"bank\"\ncoordinator = \"127.0.0.1:1\"\n[[dataset]]\nname = \"d\"\nsource = \"d.csv\"\n\
             privacy_unit = \"id\"\n[budget]\nepsilon = 2.0\ndelta = 1e-6\n[policy]\nofficers = {officers}\n"
        );
        std::fs::write(folder.config(), text).unwrap();
        folder
    }

    fn words(result: Result<(), Error>) -> String {
        result.unwrap_err().to_string()
    }

    fn what(dataset: &str) -> What {
        What { dataset: Some(dataset.into()), kind: None }
    }

    fn hold(folder: &Folder, what: What, paused: bool, by: By) -> Result<(), Error> {
        Hold { what, by, dir: dir(folder) }.run(paused)
    }

    fn note(folder: &Folder, entry: u64, officer: &str, text: &str) -> Result<(), Error> {
        Note { entry, officer: officer.into(), text: text.into(), dir: dir(folder) }.run()
    }

    fn cap(folder: &Folder, dataset: &str, epsilon: f64, by: By) -> Result<(), Error> {
        Cap { population: dataset.into(), epsilon, by, dir: dir(folder) }.run()
    }

    fn dir(folder: &Folder) -> Dir {
        Dir { dir: folder.path().into() }
    }

    #[test]
    fn officers_alone_act_and_are_told_what_is_wrong() {
        let place = tempfile::tempdir().unwrap();
        let nobody = folder(place.path(), "[]");
        assert!(words(hold(&nobody, what("d"), true, by("ann"))).contains("names no officers"));
        let folder = folder(place.path(), "[\"ann\", \"bob\"]");
        assert!(words(hold(&folder, what("d"), true, by("eve"))).contains("ann, bob"));
        assert!(words(hold(&folder, what("e"), true, by("ann"))).contains("there are: d"));
        let kind = What { dataset: None, kind: Some("trian".into()) };
        assert!(words(hold(&folder, kind, true, by("ann"))).contains("there are: query"));
        let silent = By { officer: "ann".into(), reason: " ".into() };
        assert!(words(hold(&folder, what("d"), true, silent)).contains("--reason"));
        hold(&folder, what("d"), true, by("ann")).unwrap();
        assert!(words(hold(&folder, what("d"), true, by("bob"))).contains("paused already, by ann"));
        note(&folder, 1, "bob", "see contract 7").unwrap();
        assert!(words(note(&folder, 9, "bob", "x")).contains("has 2"));
        hold(&folder, what("d"), false, by("bob")).unwrap();
        assert!(words(Recover { by: by("ann"), dir: dir(&folder) }.run()).contains("nothing to recover"));
        assert!(words(cap(&folder, "d", -1.0, by("ann"))).contains("above 0"));
        assert!(words(cap(&folder, "e", 1.0, by("ann"))).contains("no budget"));
        assert!(words(cap(&folder, "d", 3.0, by("ann"))).contains("never used"));
        cap(&folder, "d", 1.0, by("ann")).unwrap();
        cap(&folder, "d", 1.5, by("ann")).unwrap();
        assert!(words(cap(&folder, "d", 1.5, by("ann"))).contains("another officer"));
        cap(&folder, "d", 1.5, by("bob")).unwrap();
        let (_, ledger) = open(&folder, &by("ann"), false).unwrap();
        assert_eq!(ledger.cap("d"), Rho::within(1.5, 1e-6));
    }
}
