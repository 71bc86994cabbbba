//! `verify`: an exported ledger, checked without trust in who wrote it.

use std::path::{Path, PathBuf};

use clap::Args;
use entente_protocols::identity::Roster;
use entente_protocols::ledger::verify::verify_export;

use super::{print, print_json};
use crate::error::Error;
use crate::files;

#[derive(Args)]
pub(super) struct Verify {
    /// The export: what `entente-node ledger export` wrote
    export: PathBuf,
    /// The roster that says whose keys are whose: the alliance's roster.json, or a node's (JSON or TOML)
    #[arg(long, value_name = "FILE")]
    roster: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(self) -> Result<(), Error> {
        let text = files::read_text(&self.export)?;
        let roster = self.roster.as_deref().map(read_roster).transpose()?;
        let report = verify_export(&text, roster.as_ref());
        if self.json {
            print_json(&report.checks)?;
        } else {
            print(report.text().trim_end())?;
        }
        if report.passed() { Ok(()) } else { Err(Error::refused(format!("{} does not verify", self.export.display()))) }
    }
}

fn read_roster(path: &Path) -> Result<Roster, Error> {
    let text = files::read_text(path)?;
    let parsed = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map_err(|error| error.message().to_owned())
    };
    parsed.map_err(|problem| Error::refused(format!("{} is no roster: {problem}", path.display())))
}
