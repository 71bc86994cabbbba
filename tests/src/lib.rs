//! What the tests of whole alliances share: an alliance in a temporary folder, with real QUIC on loopback, real SQLite
//! files and the example tables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use entente::Running;
use entente_examples::alliance::{Error, Folders, PARTNERS, RunningNode, enrol, found, start};
use entente_node::state::Folder;
use entente_node::store::LedgerStore;
use entente_protocols::ledger::entry::{Entry, State, StudyRecord};
use entente_protocols::ledger::store::Store;
use entente_protocols::study::Study;
use serde_json::Value;

/// An alliance of three whose parts can be stopped and started.
pub struct World {
    folder: PathBuf,
    /// Deletes the folder, where it is this one's.
    _temporary: Option<tempfile::TempDir>,
    /// The coordinator, while it runs.
    pub coordinator: Option<Running>,
    /// Nodes that run.
    pub nodes: BTreeMap<&'static str, RunningNode>,
}

/// Budget and policy under which tests run unless they say otherwise.
pub const SETTINGS: &str = "\
[budget]
epsilon = 10.0
delta = 1e-6
per_study_epsilon = 4.0

[policy]
approve = \"auto\"
";

impl World {
    /// An alliance of three with everything running.
    pub async fn new() -> Result<Self, Error> {
        Self::with(|_| SETTINGS.to_owned()).await
    }

    /// The same with settings by partner.
    pub async fn with(settings: impl Fn(&str) -> String) -> Result<Self, Error> {
        let temporary = tempfile::tempdir()?;
        let mut world = Self::over(temporary.path());
        world._temporary = Some(temporary);
        world.coordinator = Some(found(&world.folders()).await?);
        for (number, partner) in (0..).zip(PARTNERS) {
            enrol(&world.folders(), partner, number, &settings(partner)).await?;
            world.start(partner).await?;
        }
        Ok(world)
    }

    /// An alliance that was made below `folder`, with nothing running.
    pub fn over(folder: &Path) -> Self {
        Self { folder: folder.into(), _temporary: None, coordinator: None, nodes: BTreeMap::new() }
    }

    /// Its folders.
    pub fn folders(&self) -> Folders {
        Folders::new(&self.folder)
    }

    /// Starts a partner's node.
    pub async fn start(&mut self, partner: &'static str) -> Result<(), Error> {
        let node = start(&self.folders(), partner).await?;
        self.nodes.insert(partner, node);
        Ok(())
    }

    /// Stops a partner's node.
    pub async fn stop(&mut self, partner: &str) {
        if let Some(node) = self.nodes.remove(partner) {
            node.stop().await;
        }
    }

    /// Runs a study to its end: `result.json`, or the reason for which there is none.
    pub async fn run(&self, study: Study) -> Result<Value, Error> {
        let files = entente::run_study(&self.folders().coordinator(), study, |_| ()).await?;
        Ok(serde_json::from_slice(files.get("result.json").ok_or("a result without result.json")?)?)
    }

    /// A partner's ledger.
    pub fn ledger(&self, partner: &str) -> Result<Vec<Entry>, Error> {
        ledger(&self.folders().node(partner))
    }

    /// How many entries of a state a partner's ledger has.
    pub fn count(&self, partner: &str, state: State) -> Result<usize, Error> {
        Ok(self.ledger(partner)?.iter().filter(|entry| entry.state() == state).count())
    }
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

/// A study over the example data sets: `sql`, with one row and one group a customer.
pub fn study(name: &str, sql: &str) -> Result<Study, Error> {
    study_with(name, sql, "")
}

/// The same with further keys of the study file (of its top level).
pub fn study_with(name: &str, sql: &str, keys: &str) -> Result<Study, Error> {
    let text = format!(
        "name = \"{name}\"\npurpose = \"test\"\nkind = \"query\"\n{keys}\n[privacy]\nepsilon = 1.0\ndelta = 1e-6\n\
         [query]\nsql = \"{sql}\"\nmax_rows_per_customer = 1\nmax_groups_per_customer = 1\n"
    );
    Ok(entente_protocols::study::file::parse("test.toml", &text)?)
}
