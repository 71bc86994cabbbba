//! `entente-node witness away` and `back`: which partners are not waited for to witness this node's ledger.

use clap::{Args, Subcommand};
use entente_host::Error;
use entente_host::clock;
use entente_host::terminal::print;
use entente_protocols::ledger::Outcome;
use entente_protocols::ledger::absence::Absence;

use super::desk::account;
use super::office::{By, open};
use super::options::Dir;
use crate::state::Folder;

#[derive(Subcommand)]
pub(super) enum Witness {
    /// Go on without a partner's cosignatures until a day, once a second officer runs the same command
    #[command(
        after_help = "Example:\n  entente-node witness away telecom --until 2027-01-05 --officer ann --reason \"moves its data centre\" --dir bank"
    )]
    Away(Away),
    /// Wait for a partner's cosignatures again, from now on
    #[command(
        after_help = "Example:\n  entente-node witness back telecom --officer ann --reason \"it is up again\" --dir bank"
    )]
    Back(Back),
}

/// Who acts, and why.
#[derive(Args)]
struct Who {
    /// The officer; one of `officers` in [policy] of node.toml. Where that names none, the steward decides.
    #[arg(long)]
    officer: Option<String>,
    /// Why; the ledger records it.
    #[arg(long)]
    reason: String,
}

#[derive(Args)]
pub(super) struct Away {
    /// The partner.
    partner: String,
    /// The first day, in UTC, on which it is waited for again.
    #[arg(long, value_name = "YYYY-MM-DD")]
    until: jiff::civil::Date,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    dir: Dir,
}

#[derive(Args)]
pub(super) struct Back {
    /// The partner.
    partner: String,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    dir: Dir,
}

impl Witness {
    pub(super) fn run(self) -> Result<(), Error> {
        match self {
            Self::Away(away) => away.run(),
            Self::Back(back) => back.run(),
        }
    }
}

impl Who {
    /// Who acts, and whether that is the steward.
    fn by(self, folder: &Folder) -> Result<(By, bool), Error> {
        let is_steward = crate::config::load(folder)?.oversight.officers.is_empty() && self.officer.is_none();
        let officer = match self.officer {
            Some(officer) => officer,
            None if is_steward => account(),
            None => {
                return Err(Error::refused("it is not said who decides").help("name one of the officers by --officer"));
            }
        };
        Ok((By { officer, reason: self.reason }, is_steward))
    }
}

impl Away {
    fn run(self) -> Result<(), Error> {
        let Self { partner, until, who, dir } = self;
        let folder = dir.folder();
        let (by, is_steward) = who.by(&folder)?;
        let (config, mut ledger) = open(&folder, &by, is_steward)?;
        let now = clock::now().to_string();
        let pinned = folder.pinned_roster()?.map(|roster| roster.members).unwrap_or_default();
        let away = ledger.chain().away(&now);
        let others = pinned.keys().filter(|name| **name != config.name);
        let mut witnesses: Vec<&String> =
            others.filter(|name| away.iter().all(|away| away.partner != **name)).collect();
        if !pinned.contains_key(&partner) || partner == config.name {
            let known: Vec<&str> = witnesses.iter().map(|name| name.as_str()).collect();
            return Err(Error::refused(format!(
                "`{partner}` is not a partner in the roster that this node has confirmed"
            ))
            .help(format!("its witnesses are: {}", known.join(", "))));
        }
        witnesses.retain(|name| **name != partner);
        if witnesses.is_empty() {
            return Err(Error::refused(format!("`{partner}` is this node's last witness")).help(
                "without any, nobody would notice a ledger that was put back; wait for it, or for another partner",
            ));
        }
        let absence = Absence { partner, until: until.to_string() };
        match ledger.away(&absence, is_steward, by.act(&now))? {
            Outcome::Done => print(format!(
                "witness {absence}: a running node goes on without it at once, and every entry until then says so"
            )),
            Outcome::Proposed => print(format!(
                "proposed as entry {}: going on without a witness takes two officers; another one has to run the same command",
                ledger.head().entries
            )),
        }
    }
}

impl Back {
    fn run(self) -> Result<(), Error> {
        let Self { partner, who, dir } = self;
        let folder = dir.folder();
        let (by, is_steward) = who.by(&folder)?;
        let (_, mut ledger) = open(&folder, &by, is_steward)?;
        ledger.back(&partner, is_steward, by.act(&clock::now().to_string()))?;
        print(format!("witness {partner} is waited for again from now on"))
    }
}
