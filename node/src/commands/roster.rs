//! `entente-node roster`.

use std::collections::BTreeSet;

use clap::Args;
use entente_host::Error;
use entente_host::terminal::{ask, print, print_json, table};
use entente_protocols::digest::Digest;
use entente_protocols::identity;
use serde::Serialize;

use super::options::Dir;
use crate::roster::{accept_without, confirm, drop_partner, offered};
use crate::state::Folder;

#[derive(Args)]
pub(super) struct Roster {
    #[command(flatten)]
    dir: Dir,
    /// Accept the roster that the coordinator offers, if it has this fingerprint (its first 32 digits or more); without a
    /// fingerprint, show it and ask.
    #[arg(long, value_name = "FINGERPRINT", num_args = 0..=1)]
    accept: Option<Option<String>>,
    /// Drop a partner: studies with it are refused here until a roster that has it is accepted anew.
    #[arg(long, value_name = "PARTNER")]
    drop: Option<String>,
    /// Print the fingerprints of the pinned and the offered roster as JSON.
    #[arg(long, conflicts_with_all = ["accept", "drop"])]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Fingerprints {
    pinned: Option<Digest>,
    offered: Option<Digest>,
}

impl Roster {
    pub(super) fn run(self) -> Result<(), Error> {
        let folder = self.dir.folder();
        folder.read(&folder.config())?;
        let dropped = self.drop.as_deref();
        match (self.accept, dropped) {
            (Some(Some(fingerprint)), _) => {
                let before = folder.pinned_roster()?;
                accepted(before.as_ref(), &accept_without(&folder, &fingerprint, dropped)?)
            }
            (Some(None), _) => accept_seen(&folder, dropped),
            (None, Some(partner)) => {
                let left = drop_partner(&folder, partner)?;
                print(format!("dropped {partner}: studies with it are refused here, by a running node too"))?;
                print(format!("left are: {}", names(&left)))
            }
            (None, None) if self.json => {
                let fingerprint = |roster: Option<identity::Roster>| roster.map(|roster| roster.fingerprint());
                let (pinned, offered) = (folder.pinned_roster()?, folder.offered_roster()?);
                print_json(&Fingerprints { pinned: fingerprint(pinned), offered: fingerprint(offered) })
            }
            (None, None) => show(&folder),
        }
    }
}

fn show(folder: &Folder) -> Result<(), Error> {
    let (pinned, offered) = (folder.pinned_roster()?, folder.offered_roster()?);
    match (&pinned, &offered) {
        (Some(pinned), _) => describe("pinned", pinned, None)?,
        (None, Some(offered)) => {
            describe("offered, not confirmed yet", offered, None)?;
            print("This node takes part in nothing until the roster is confirmed.")?;
        }
        (None, None) => return print("the coordinator has not offered a roster yet"),
    }
    let Some(offered) = offered.filter(|offered| pinned.as_ref() != Some(offered)) else { return Ok(()) };
    if pinned.is_some() {
        print("")?;
        describe("offered, not accepted", &offered, pinned.as_ref())?;
    }
    print("Once all partners have joined, compare its fingerprint with theirs, out of band, then run")?;
    print(format!("  entente-node roster --accept {} --dir {}", offered.fingerprint(), folder.path().display()))
}

/// A roster as people compare it; where one is pinned, with what it would change.
fn describe(state: &str, roster: &identity::Roster, pinned: Option<&identity::Roster>) -> Result<(), Error> {
    print(format!("roster of alliance `{}` ({state})", roster.alliance))?;
    print(format!("fingerprint: {}", roster.fingerprint_words()))?;
    let mut table = match pinned {
        Some(_) => table(["partner", "identity key", "here"]),
        None => table(["partner", "identity key"]),
    };
    let mut row = |name: &str, key: String, here: &str| match pinned {
        Some(_) => drop(table.add_row([name, &key, here])),
        None => drop(table.add_row([name, &key])),
    };
    let same = |is: bool| if is { "pinned" } else { "pinned with ANOTHER KEY" };
    row(
        "(coordinator)",
        roster.coordinator.to_string(),
        same(pinned.is_none_or(|pinned| pinned.coordinator == roster.coordinator)),
    );
    for (name, member) in &roster.members {
        let here = match pinned.and_then(|pinned| pinned.members.get(name)) {
            Some(known) => same(known == member),
            None => "not pinned: new, or dropped",
        };
        row(name, member.identity.to_string(), here);
    }
    for name in pinned.iter().flat_map(|pinned| pinned.members.keys()) {
        if !roster.members.contains_key(name) {
            row(name, "is not in it".to_owned(), "pinned");
        }
    }
    print(table)
}

/// Shows what is offered and asks.
fn accept_seen(folder: &Folder, dropped: Option<&str>) -> Result<(), Error> {
    let (seen, before) = (offered(folder)?, folder.pinned_roster()?);
    let without = dropped.map_or_else(String::new, |partner| format!(" without {partner}"));
    let question = || {
        describe("offered", &seen, before.as_ref())?;
        print("Do the other partners see the same fingerprint?")?;
        Ok(format!("Accept this roster{without}? [y/N] "))
    };
    match ask(question)? {
        Some(true) => accepted(before.as_ref(), &confirm(folder, seen, dropped)?),
        Some(false) => Err(Error::refused("nothing was accepted")),
        None => Err(Error::refused("--accept without a fingerprint asks on a terminal, and there is none").help(format!("compare the fingerprint that `entente-node roster --dir {0}` shows with the other partners, then run `entente-node roster --accept FINGERPRINT --dir {0}`", folder.path().display()))),
    }
}

fn accepted(before: Option<&identity::Roster>, now: &identity::Roster) -> Result<(), Error> {
    print(format!("accepted; from now on studies with these partners are possible: {}", names(now)))?;
    if let Some(before) = before {
        let known: BTreeSet<&String> = before.members.keys().collect();
        let new: Vec<&str> = now.members.keys().filter(|name| !known.contains(name)).map(String::as_str).collect();
        if !new.is_empty() {
            print(format!("new among them: {}", new.join(", ")))?;
        }
    }
    print("a running node picks this up immediately")
}

fn names(roster: &identity::Roster) -> String {
    roster.members.keys().cloned().collect::<Vec<_>>().join(", ")
}
