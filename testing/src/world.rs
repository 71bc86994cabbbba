//! An alliance of real parts below one folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use entente::views::{Files, StudyView};
use entente::{Client, Coordinator, Running};
use entente_examples::alliance::{
    DATASETS, Error, Folders, PARTNERS, RunningNode, configure, found, join, roster, start,
};
use entente_examples::tables;
use entente_node::state::Folder;
use entente_node::store::LedgerStore;
use entente_protocols::ledger::absence::Absence;
use entente_protocols::ledger::entry::{Entry, State, StudyRecord};
use entente_protocols::ledger::store::Store;
use entente_protocols::ledger::verify::export;
use entente_protocols::ledger::{Act, Ledger};
use entente_protocols::study::Study;
use entente_protocols::testing::NOW;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::relay::UdpRelay;

/// Budget and policy of nodes unless a test says otherwise.
pub const SETTINGS: &str = "\
[budget]
epsilon = 10.0
delta = 1e-6
per_study_epsilon = 4.0

[policy]
approve = \"auto\"
";

/// Far longer than any study here takes.
const LONG: Duration = Duration::from_secs(600);
/// How long a test waits for what comes at once.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// An alliance whose parts can be stopped and started.
pub struct World {
    folders: Folders,
    coordinator: Option<Running>,
    /// Those that run.
    nodes: BTreeMap<String, RunningNode>,
    /// The ways from nodes to the coordinator, where they are relayed.
    links: BTreeMap<String, UdpRelay>,
    /// Deletes the folder, where it is this one's, when all else has ended.
    _temporary: Option<TempDir>,
}

/// What an alliance is to be made of: see [`World::of`].
pub struct Founding<'a> {
    partners: Vec<&'a str>,
    settings: Box<dyn Fn(&str) -> String + 'a>,
    tables: Vec<Table<'a>>,
    seed: Option<u64>,
    confirmed: bool,
}

/// A table that the test makes up.
struct Table<'a> {
    name: &'a str,
    /// As `node.toml` declares it.
    declared: String,
    /// Each partner's rows, as CSV with a header.
    rows: Box<dyn Fn(&str) -> String + 'a>,
}

impl<'a> Founding<'a> {
    /// Budget and policy of each partner.
    #[must_use]
    pub fn settings(mut self, settings: impl Fn(&str) -> String + 'a) -> Self {
        self.settings = Box::new(settings);
        self
    }

    /// A table instead of the example's: its columns as `node.toml` declares them, its privacy unit, and each partner's rows as CSV.
    #[must_use]
    pub fn table(mut self, name: &'a str, columns: &str, unit: &str, rows: impl Fn(&str) -> String + 'a) -> Self {
        let source = format!("name = \"{name}\"\nsource = \"data/{name}.csv\"\nprivacy_unit = \"{unit}\"");
        let declared = format!("[[dataset]]\n{source}\n[dataset.columns]\n{columns}\n");
        self.tables.push(Table { name, declared, rows: Box::new(rows) });
        self
    }

    /// The event column of the table that was given last.
    #[must_use]
    pub fn events(mut self, column: &str) -> Self {
        if let Some(table) = self.tables.last_mut() {
            table.declared =
                table.declared.replacen("[dataset.columns]", &format!("event = \"{column}\"\n[dataset.columns]"), 1);
        }
        self
    }

    /// Nobody has confirmed the roster at any node.
    #[must_use]
    pub fn unconfirmed(mut self) -> Self {
        self.confirmed = false;
        self
    }

    /// Each node dials the coordinator through a relay, whose choices follow from `seed`.
    #[must_use]
    pub fn relayed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Founds the alliance, enrols the partners, and confirms the roster at each. The coordinator runs, no node does.
    pub async fn enrolled(self) -> Result<World, Error> {
        let temporary = tempfile::tempdir()?;
        let mut world = World::over(temporary.path());
        world._temporary = Some(temporary);
        let coordinator = found(&world.folders).await?;
        let address = coordinator.address();
        world.coordinator = Some(coordinator);
        let declared: String = self.tables.iter().map(|table| table.declared.as_str()).collect();
        let declared = if self.tables.is_empty() { DATASETS } else { &declared };
        for (number, partner) in (0..).zip(&self.partners) {
            let config = format!("{declared}\n{}", (self.settings)(partner));
            join(&world.folders, partner, &config).await?;
            let node = world.folders.node(partner);
            if self.tables.is_empty() {
                tables::write(&node, number, self.partners.len() as u64)?;
            }
            for table in &self.tables {
                std::fs::write(node.join(format!("data/{}.csv", table.name)), (table.rows)(partner))?;
            }
            if let Some(seed) = self.seed {
                let relay = UdpRelay::start(address, seed ^ number).await?;
                configure(&world.folders, partner, &relay.address().to_string(), &config)?;
                world.links.insert((*partner).to_owned(), relay);
            }
        }
        if self.confirmed {
            self.partners.iter().try_for_each(|partner| world.confirm(partner))?;
        }
        Ok(world)
    }

    /// The same with all nodes connected.
    pub async fn start(self) -> Result<World, Error> {
        let partners: Vec<String> = self.partners.iter().map(|partner| (*partner).to_owned()).collect();
        let mut world = self.enrolled().await?;
        for partner in partners {
            world.start(&partner).await?;
        }
        Ok(world)
    }
}

impl World {
    /// The three partners of the example, with its tables, all of whom are connected.
    pub async fn new() -> Result<Self, Error> {
        Self::with(|_| SETTINGS.to_owned()).await
    }

    /// The same with settings by partner.
    pub async fn with(settings: impl Fn(&str) -> String) -> Result<Self, Error> {
        Self::of(&PARTNERS).settings(settings).start().await
    }

    /// An alliance of these partners, with the example's tables unless it is given others.
    pub fn of<'a>(partners: &[&'a str]) -> Founding<'a> {
        let settings = Box::new(|_: &str| SETTINGS.to_owned());
        Founding { partners: partners.to_vec(), settings, tables: Vec::new(), seed: None, confirmed: true }
    }

    /// An alliance that was founded in `folder`, with nothing running yet.
    pub fn over(folder: &Path) -> Self {
        let (nodes, links) = Default::default();
        Self { folders: Folders::new(folder), _temporary: None, coordinator: None, nodes, links }
    }

    /// Its folders.
    pub fn folders(&self) -> &Folders {
        &self.folders
    }

    /// The coordinator's folder.
    pub fn alliance(&self) -> PathBuf {
        self.folders.coordinator()
    }

    /// A partner's folder.
    pub fn folder(&self, partner: &str) -> Folder {
        Folder::new(self.folders.node(partner))
    }

    /// The relay between a partner's node and the coordinator.
    ///
    /// # Panics
    ///
    /// If the alliance was not founded with relays.
    pub fn link(&self, partner: &str) -> &UdpRelay {
        self.links.get(partner).expect("the alliance is founded with relays")
    }

    /// Confirms the present roster at a partner's node, whether it runs or not, as if it had been offered it.
    pub fn confirm(&self, partner: &str) -> Result<(), Error> {
        let (folder, roster) = (self.folder(partner), roster(&self.folders)?);
        folder.keep_offered(&roster)?;
        entente_node::roster::accept(&folder, &roster.fingerprint().to_string())?;
        Ok(())
    }

    /// All other partners record that this one is away, whether they run or not.
    pub fn go_on_without(&self, partner: &str) -> Result<(), Error> {
        let members = roster(&self.folders)?.members;
        let absence = Absence { partner: partner.into(), until: "2999-01-01".into() };
        for other in members.keys().filter(|other| *other != partner) {
            let act = Act { officer: "ann", reason: "a test", now: NOW };
            self.open_ledger(other)?.away(&absence, true, act)?;
        }
        Ok(())
    }

    /// Starts a partner's node, and waits until it is connected.
    pub async fn start(&mut self, partner: &str) -> Result<(), Error> {
        let node = start(&self.folders, partner).await?;
        self.nodes.insert(partner.into(), node);
        Ok(())
    }

    /// Stops a partner's node.
    pub async fn stop(&mut self, partner: &str) {
        if let Some(node) = self.nodes.remove(partner) {
            node.stop().await;
        }
    }

    /// Ends a partner's node as a loss of power does: nobody is notified. Needs relays.
    pub async fn kill(&mut self, partner: &str) {
        self.link(partner).abandon();
        self.stop(partner).await;
    }

    /// Starts the coordinator.
    pub async fn start_coordinator(&mut self) -> Result<(), Error> {
        self.coordinator = Some(Coordinator::start(&self.alliance()).await?);
        Ok(())
    }

    /// Stops the coordinator.
    pub async fn stop_coordinator(&mut self) {
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.shutdown().await;
        }
    }

    /// Ends the coordinator as a loss of power does: no node is notified. Needs relays.
    pub async fn kill_coordinator(&mut self) {
        assert!(!self.links.is_empty(), "the alliance is founded with relays");
        self.links.values().for_each(|link| link.abandon());
        self.stop_coordinator().await;
    }

    /// The running coordinator.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn running(&self) -> &Running {
        self.coordinator.as_ref().expect("the coordinator runs")
    }

    /// A client of the running coordinator, for one request.
    pub async fn client(&self) -> Result<Client, Error> {
        Ok(Client::connect(&self.alliance()).await?)
    }

    /// Runs a study to its end: its files, or why there are none.
    pub async fn files(&self, study: Study) -> Result<Files, entente::Error> {
        let ended = timeout(LONG, entente::run_study(&self.alliance(), study, |_| ())).await;
        ended.unwrap_or_else(|_| Err(entente::Error::failed("the study did not end")))
    }

    /// The same: `result.json`.
    pub async fn run(&self, study: Study) -> Result<Value, Error> {
        result(&self.files(study).await?)
    }

    /// Why a study has no result.
    pub async fn refusal(&self, study: Study) -> Result<String, Error> {
        match self.files(study).await {
            Ok(_) => Err("it must be refused".into()),
            Err(error) => Ok(error.to_string()),
        }
    }

    /// Begins to run a study, beside what the test does meanwhile.
    pub fn spawn(&self, study: Study) -> JoinHandle<Result<Files, entente::Error>> {
        let folder = self.alliance();
        tokio::spawn(async move { entente::run_study(&folder, study, |_| ()).await })
    }

    /// Waits until a study is in a stage in which it waits for somebody.
    pub async fn stage(&self, id: &str, stage: &str) -> Result<StudyView, Error> {
        let mut found = None;
        until(&format!("the study is {stage}"), async || {
            let shown = self.client().await?.show(id).await?;
            found = Some(shown).filter(|shown| shown.stage.as_deref() == Some(stage) && !shown.waiting.is_empty());
            Ok(found.is_some())
        })
        .await?;
        Ok(found.ok_or("it is found, or there is an error")?)
    }

    /// A partner's ledger.
    pub fn ledger(&self, partner: &str) -> Result<Vec<Entry>, Error> {
        ledger(&self.folders.node(partner))
    }

    /// How many entries of a state a partner's ledger has.
    pub fn count(&self, partner: &str, state: State) -> Result<usize, Error> {
        Ok(self.ledger(partner)?.iter().filter(|entry| entry.state() == state).count())
    }

    /// The ledger of a partner, as an officer's command opens it beside the running node.
    pub fn open_ledger(&self, partner: &str) -> Result<Ledger<LedgerStore>, Error> {
        let folder = self.folder(partner);
        let config = entente_node::load(&folder)?;
        Ok(Ledger::open(LedgerStore::open(&folder.state("ledger.sqlite"))?, config.budgets(), "test")?)
    }

    /// The export of a partner's ledger.
    pub fn export(&self, partner: &str) -> Result<String, Error> {
        let folder = self.folder(partner);
        let store = LedgerStore::open_read_only(&folder.state("ledger.sqlite"))?;
        Ok(export(partner, &folder.signer(partner)?, &store)?)
    }
}

/// `result.json` among a study's files.
pub fn result(files: &Files) -> Result<Value, Error> {
    Ok(serde_json::from_slice(files.get("result.json").ok_or("a result without result.json")?)?)
}

/// What the last entry about a study says.
pub fn last_study(entries: &[Entry]) -> Result<&StudyRecord, Error> {
    Ok(entries.iter().rev().find_map(Entry::study).ok_or("entries about studies")?)
}

/// The entries of the ledger of the node in `dir`.
pub fn ledger(dir: &Path) -> Result<Vec<Entry>, Error> {
    let path = Folder::new(dir).state("ledger.sqlite");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let lines = LedgerStore::open_read_only(&path)?.entries()?;
    lines.iter().map(|line| Ok(line.entry()?)).collect()
}

/// Waits until something is so.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> Result<bool, Error>) -> Result<(), Error> {
    let wait = async {
        while !is().await? {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    timeout(SOON, wait).await.unwrap_or_else(|_| Err(format!("in vain: {what}").into()))
}
