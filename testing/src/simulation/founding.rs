//! Alliances to simulate: copies of one that is founded once a process, with rows of their own.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use entente::stepped::Stepped;
use entente_examples::alliance::Error;
use entente_host::clock::{Clock, Hands};
use entente_node::link::enrol::{admitted, application};
use entente_node::participant::Participant;
use entente_node::state::Folder;
use entente_protocols::identity::Roster;
use jiff::Timestamp;
use tempfile::TempDir;

use super::watch::Secrets;
use crate::choices::Choices;

/// Who may be in an alliance; the last ones enrol while it works.
pub(super) const NAMES: [&str; 12] =
    ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo", "lima"];
/// The most that are there from the beginning.
pub(super) const MOST: usize = 10;

const ROWS: usize = 8;
const TICKET: Duration = Duration::from_secs(365 * 24 * 3600);

const CONFIG: &str = "\
[[dataset]]
name = \"customers\"
source = \"data/customers.csv\"
privacy_unit = \"id\"

[dataset.columns]
region = { type = \"category\", values = [\"north\", \"south\"] }
age = { type = \"int\", min = 18, max = 95 }
spend = { type = \"float\", min = 0.0, max = 5000.0 }
churned = { type = \"bool\" }

[budget]
epsilon = 20.0
delta = 1e-6
per_study_epsilon = 20.0

[policy]
approve = \"auto\"
min_partners = 1
own_numbers = true
";

/// An alliance of the first so many partners, in each of [`Template`]'s folders that is named by their number.
static TEMPLATE: LazyLock<TempDir> = LazyLock::new(|| template().expect("an alliance can be founded"));

/// The time at which alliances begin.
pub(super) fn clock() -> (Clock, Hands) {
    Clock::by_hand("2026-01-01T00:00:00Z".parse::<Timestamp>().expect("it is a time"))
}

/// A folder in memory, if the system has one.
fn folder() -> Result<TempDir, Error> {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("entente-simulation-");
    Ok(if memory.is_dir() { builder.tempdir_in(memory)? } else { builder.tempdir()? })
}

fn template() -> Result<TempDir, Error> {
    let template = folder()?;
    let alliance = template.path().join("alliance");
    entente::init(&alliance, "simulated", "127.0.0.1:4433", None)?;
    for (count, name) in (1..).zip(&NAMES[..MOST]) {
        let node = Folder::new(template.path().join(name));
        let roster = enrol(&mut Stepped::open(&alliance, clock().0)?, &alliance, &node, name)?;
        // Its databases are made once.
        drop(Participant::open(&node, entente_node::load(&node)?, clock().0)?);
        copy(&alliance, &template.path().join(count.to_string()))?;
        fs::write(template.path().join(format!("{count}.json")), serde_json::to_vec(&roster)?)?;
    }
    Ok(template)
}

/// Enrols a partner by ticket, with a node in `node`.
pub(super) fn enrol(coordinator: &mut Stepped, alliance: &Path, node: &Folder, name: &str) -> Result<Roster, Error> {
    let ticket = entente::invite(alliance, name, TICKET)?;
    let application = application(&ticket, node)?;
    let roster = admitted(&ticket, node, &application, coordinator.enrol(&application))?;
    let named = format!("[node]\nname = \"{name}\"\ncoordinator = \"127.0.0.1:4433\"\n\n{CONFIG}");
    fs::write(node.config(), named)?;
    fs::create_dir_all(node.path().join("data"))?;
    Ok(roster)
}

/// An alliance that has been founded, of which nothing runs.
pub(super) struct Founded(TempDir);

impl Founded {
    /// Of the first `count` partners, all of whom have confirmed the roster.
    pub(super) fn new(count: usize) -> Result<Self, Error> {
        let founded = Self(folder()?);
        let template = TEMPLATE.path();
        copy(&template.join(count.to_string()), &founded.alliance())?;
        let roster: Roster = serde_json::from_slice(&fs::read(template.join(format!("{count}.json")))?)?;
        for name in &NAMES[..count] {
            let node = founded.node(name);
            copy(&template.join(name), node.path())?;
            node.keep_offered(&roster)?;
            node.pin(&roster)?;
        }
        Ok(founded)
    }

    /// The coordinator's folder.
    pub(super) fn alliance(&self) -> PathBuf {
        self.0.path().join("alliance")
    }

    /// A partner's.
    pub(super) fn node(&self, name: &str) -> Folder {
        Folder::new(self.0.path().join(name))
    }

    /// The coordinator runs so many studies at once.
    pub(super) fn at_once(&self, studies: usize) -> Result<(), Error> {
        let file = self.alliance().join("alliance.toml");
        let with = |line: &str| match line.starts_with("studies_at_once") {
            true => format!("studies_at_once = {studies}\n"),
            false => format!("{line}\n"),
        };
        let text: String = fs::read_to_string(&file)?.lines().map(with).collect();
        Ok(fs::write(&file, text)?)
    }

    /// From now on, a partner's steward decides on studies, not its rules.
    pub(super) fn by_steward(&self, name: &str) -> Result<(), Error> {
        let file = self.node(name).config();
        Ok(fs::write(&file, fs::read_to_string(&file)?.replace("\"auto\"", "\"manual\""))?)
    }

    /// Gives a partner its rows; what nobody else may ever see of them.
    pub(super) fn rows(&self, name: &str, choices: &mut Choices) -> Result<Secrets, Error> {
        let mut text = "id,region,age,spend,churned\n".to_owned();
        let mut secrets = Secrets::default();
        for _ in 0..ROWS {
            let id = format!("{:016x}", choices.next());
            let (region, age) = (choices.one_of(&["north", "south"]), 18 + choices.below(70));
            let (spend, churned) = (choices.unit() * 5000.0, choices.below(2) == 1);
            writeln!(text, "{id},{region},{age},{spend},{churned}")?;
            secrets.words.extend([id, spend.to_string()]);
            secrets.numbers.push(spend);
        }
        fs::write(self.node(name).path().join("data/customers.csv"), text)?;
        Ok(secrets)
    }
}

/// Copies a folder with all that is in it, but for what SQLite makes anew.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&path, &to.join(name))?;
        } else if !name.to_string_lossy().ends_with("-shm") {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
