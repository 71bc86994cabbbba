//! The example alliance: a coordinator and three nodes on loopback, each with its part of the tables.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

use entente::{Coordinator, Running};
use entente_node::link::enrol;
use entente_node::state::Folder;
use entente_protocols::identity::Roster;
use tokio::task::JoinHandle;

use crate::tables;

/// The partners.
pub const PARTNERS: [&str; 3] = ["retailer", "bank", "telecom"];

/// The data sets of each node, as agreed in public: a part of `node.toml`.
pub const DATASETS: &str = include_str!("../alliance/datasets.toml");

/// Any error.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The folders of an alliance.
#[derive(Clone, Debug)]
pub struct Folders(PathBuf);

impl Folders {
    /// Of an alliance below `path`.
    pub fn new(path: &Path) -> Self {
        Self(path.into())
    }

    /// The coordinator's.
    pub fn coordinator(&self) -> PathBuf {
        self.0.join("alliance")
    }

    /// A partner's.
    pub fn node(&self, partner: &str) -> PathBuf {
        self.0.join(partner)
    }
}

/// A UDP port of loopback that is free now.
pub fn free_port() -> Result<u16, Error> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Makes the alliance's folder and starts its coordinator.
pub async fn found(folders: &Folders) -> Result<Running, Error> {
    let dir = folders.coordinator();
    entente::init(&dir, "example", &format!("127.0.0.1:{}", free_port()?), None)?;
    Ok(Coordinator::start(&dir).await?)
}

/// Enrols partner number `number` by ticket and gives its node a part of each table. `settings` is the rest of its `node.toml`:
/// budget and policy.
pub async fn enrol(folders: &Folders, partner: &str, number: u64, settings: &str) -> Result<(), Error> {
    join(folders, partner, &format!("{DATASETS}\n{settings}")).await?;
    Ok(tables::write(&folders.node(partner), number, PARTNERS.len() as u64)?)
}

/// Enrols a partner by ticket, with a folder for its data. `config` is its `node.toml` behind the part that names node and
/// coordinator.
pub async fn join(folders: &Folders, partner: &str, config: &str) -> Result<(), Error> {
    let ticket = entente::invite(&folders.coordinator(), partner, Duration::from_secs(3600))?;
    let dir = folders.node(partner);
    enrol::join(&ticket, &Folder::new(&dir)).await?;
    fs::create_dir_all(dir.join("data"))?;
    configure(folders, partner, &ticket.address, config)
}

/// Confirms the roster at partners' nodes, which run, as their staff do once all have joined. They compare fingerprints by telephone;
/// here is one machine, and each compares with what the coordinator has written for them.
pub async fn confirm(folders: &Folders, partners: &[&str]) -> Result<(), Error> {
    let roster = roster(folders)?;
    for partner in partners {
        let folder = Folder::new(folders.node(partner));
        let offered = async {
            // A node that was connected when others joined is told a moment later.
            while folder.offered_roster()?.as_ref() != Some(&roster) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            entente_node::roster::accept(&folder, &roster.fingerprint().to_string())
        };
        let accepted = tokio::time::timeout(Duration::from_secs(20), offered).await;
        accepted.map_err(|_| format!("the node of {partner} is offered another roster"))??;
    }
    Ok(())
}

/// The present roster, as the coordinator writes it for people.
pub fn roster(folders: &Folders) -> Result<Roster, Error> {
    Ok(serde_json::from_slice(&fs::read(folders.coordinator().join("roster.json"))?)?)
}

/// Writes a partner's `node.toml`, which its node reads when it starts.
pub fn configure(folders: &Folders, partner: &str, coordinator: &str, config: &str) -> Result<(), Error> {
    let node = format!("[node]\nname = \"{partner}\"\ncoordinator = \"{coordinator}\"\n\n");
    Ok(fs::write(folders.node(partner).join("node.toml"), node + config)?)
}

/// Budget and policy of the example's nodes: rules approve what they admit.
pub const SETTINGS: &str = "\
[budget]
epsilon = 1.6
delta = 1e-6
per_study_epsilon = 1.0

[policy]
approve = \"auto\"
min_partners = 2
";

/// A node that runs in a task; stops when dropped.
pub struct RunningNode {
    task: JoinHandle<()>,
    folder: Folder,
}

impl RunningNode {
    /// Stops the node and waits until it has let go of its folder.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
        let_go(&self.folder).await;
    }
}

/// Waits until a node that was stopped has let go of its folder: what it was computing goes on to its end, and holds it until then.
pub async fn let_go(folder: &Folder) {
    while folder.lock().is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Drop for RunningNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a partner's node and waits until it is connected.
pub async fn start(folders: &Folders, partner: &str) -> Result<RunningNode, Error> {
    let folder = Folder::new(folders.node(partner));
    let (connected, mut is_connected) = tokio::sync::mpsc::unbounded_channel();
    let served = folder.clone();
    let task = tokio::spawn(async move {
        let failed = connected.clone();
        let ended = entente_node::serve(&served, |_| drop(connected.send(None))).await;
        let error = match ended {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let _ = failed.send(Some(error));
    });
    let node = RunningNode { task, folder };
    match tokio::time::timeout(Duration::from_secs(20), is_connected.recv()).await {
        Ok(Some(None)) => Ok(node),
        Ok(Some(Some(error))) => Err(error.into()),
        Ok(None) | Err(_) => Err(format!("the node of {partner} did not connect").into()),
    }
}
