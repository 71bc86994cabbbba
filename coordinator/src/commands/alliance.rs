//! `init`, `invite`, `serve`, `partners`, `revoke`, `acknowledge`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use entente_host::Error;
use entente_host::files;
use entente_host::process::stop_signal;
use entente_host::terminal::{print, print_json};
use entente_protocols::ledger::outside::write_witnessed;

use super::options::Dir;
use crate::client::Client;
use crate::coordinator::Coordinator;
use crate::hall::alliance::{self, Alliance};
use crate::store::Store;
use crate::tables;
use crate::{invite, page};

#[derive(Args)]
pub(super) struct Init {
    /// The folder to make
    #[arg(long, value_name = "D")]
    dir: PathBuf,
    /// The alliance's name: lower-case letters, digits, `-` and `_`
    #[arg(long)]
    name: String,
    /// Where the coordinator will listen (UDP)
    #[arg(long, value_name = "ADDR", default_value = alliance::DEFAULT_LISTEN)]
    listen: String,
    /// What tickets tell partners to dial, if it differs from where the coordinator listens
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

impl Init {
    pub(super) fn run(self) -> Result<(), Error> {
        let alliance = alliance::init(&self.dir, &self.name, &self.listen, self.address.as_deref())?;
        let dir = self.dir.display();
        if self.address.is_none() && alliance.listen().ip().is_unspecified() {
            eprintln!(
                "tickets will tell partners to dial {}; if they reach this machine under another name, change `address` in {dir}/alliance.toml",
                alliance.address()
            );
        }
        print(format!(
            "made the alliance `{}` in {dir}; its authority's fingerprint is {}\nnext: entente invite PARTNER --dir {dir}, then entente serve --dir {dir}",
            alliance.name(),
            alliance.authority()
        ))
    }
}

#[derive(Args)]
pub(super) struct Invite {
    /// The partner's name in the alliance: lower-case letters, digits, `-` and `_`
    partner: String,
    #[command(flatten)]
    dir: Dir,
    /// Write the ticket to this file instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How long the ticket lasts: 7d, 12h, 30m
    #[arg(long, value_parser = invite::parse_duration, default_value = "7d")]
    expires: Duration,
}

impl Invite {
    pub(super) fn run(self) -> Result<(), Error> {
        let ticket = invite::invite(&self.dir.dir, &self.partner, self.expires)?;
        let expires = jiff::Timestamp::from_second(ticket.expires).map(|time| time.to_string()).unwrap_or_default();
        eprintln!(
            "a ticket for `{}`, to be used once, before {expires}; it replaces earlier ones that were not used",
            self.partner
        );
        let text = ticket.to_string();
        match self.out {
            None => print(text),
            Some(path) => {
                files::write_private(&path, format!("{text}\n").as_bytes())?;
                eprintln!("written to {}; hand it over in private", path.display());
                Ok(())
            }
        }
    }
}

#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    dir: Dir,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Error> {
        let running = Coordinator::start(&self.dir.dir).await?;
        print(format!("listening on {}", running.address()))?;
        tokio::select! {
            () = stop_signal() => {}
            never = page::serve(&running) => match never {},
        }
        tracing::info!("stopping");
        running.shutdown().await;
        Ok(())
    }
}

#[derive(Args)]
pub(super) struct Partners {
    #[command(flatten)]
    dir: Dir,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write the newest checkpoint of each node's ledger that the coordinator has cosigned, for `entente verify --witnessed`
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    checkpoints: Option<PathBuf>,
}

impl Partners {
    pub(super) async fn run(self) -> Result<(), Error> {
        if let Some(path) = self.checkpoints {
            let _ = Alliance::open(&self.dir.dir)?;
            let held = Store::open(&self.dir.dir)?.all_witnessed()?;
            let words =
                format!("wrote {}: {} checkpoints that the coordinator has cosigned", path.display(), held.len());
            files::write_private(&path, write_witnessed(held).as_bytes())?;
            return print(words);
        }
        let view = Client::connect(&self.dir.dir).await?.partners().await?;
        if self.json { print_json(&view) } else { print(tables::partners(&view)) }
    }
}

#[derive(Args)]
pub(super) struct Revoke {
    /// The partner
    partner: String,
    #[command(flatten)]
    dir: Dir,
}

impl Revoke {
    pub(super) async fn run(self) -> Result<(), Error> {
        print(Client::connect(&self.dir.dir).await?.revoke(&self.partner).await?)
    }
}

#[derive(Args)]
pub(super) struct Acknowledge {
    /// The alarm's number, as `entente partners` shows it
    alarm: i64,
    /// What was found: who was asked, and why the ledger is as it is
    #[arg(long, value_name = "TEXT")]
    note: String,
    #[command(flatten)]
    dir: Dir,
}

impl Acknowledge {
    pub(super) async fn run(self) -> Result<(), Error> {
        print(Client::connect(&self.dir.dir).await?.acknowledge(self.alarm, &self.note).await?)
    }
}

#[derive(Args)]
pub(super) struct Page {
    #[command(flatten)]
    dir: Dir,
}

impl Page {
    pub(super) fn run(self) -> Result<(), Error> {
        print(page::url(&self.dir.dir)?)
    }
}
