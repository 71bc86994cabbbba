//! `entente-node roster`.

use clap::Args;
use entente_host::Error;
use entente_host::terminal::print;
use entente_protocols::identity;

use super::{Dir, table};
use crate::state::Folder;

/// The fewest digits of a fingerprint that tell that somebody compared it.
const FEWEST_DIGITS: usize = 16;

#[derive(Args)]
pub(super) struct Roster {
    #[command(flatten)]
    dir: Dir,
    /// Accept the roster that the coordinator offers, if it has this fingerprint (its first 16 digits or more).
    #[arg(long, value_name = "FINGERPRINT")]
    accept: Option<String>,
}

impl Roster {
    pub(super) fn run(self) -> Result<(), Error> {
        let folder = self.dir.folder();
        folder.read(&folder.config())?;
        match self.accept {
            Some(fingerprint) => accept(&folder, &fingerprint),
            None => show(&folder),
        }
    }
}

fn show(folder: &Folder) -> Result<(), Error> {
    let (pinned, offered) = (folder.pinned_roster()?, folder.offered_roster()?);
    match (&pinned, &offered) {
        (Some(pinned), _) => describe("pinned", pinned)?,
        (None, Some(offered)) => {
            describe("offered, not pinned yet", offered)?;
            print(
                "The first study pins the roster as it is then. Compare the fingerprint with the other partners, out of band.",
            )?;
        }
        (None, None) => print("the coordinator has not offered a roster yet")?,
    }
    if let (Some(pinned), Some(offered)) = (&pinned, &offered)
        && pinned != offered
    {
        print("")?;
        describe("offered since, not accepted", offered)?;
        print("Compare its fingerprint with the other partners, out of band, then run")?;
        print(format!(
            "  entente-node roster --accept {} --dir {}",
            &offered.fingerprint().short(),
            folder.path().display()
        ))?;
    }
    Ok(())
}

fn describe(state: &str, roster: &identity::Roster) -> Result<(), Error> {
    print(format!("roster of alliance `{}` ({state})", roster.alliance))?;
    print(format!("fingerprint: {}", roster.fingerprint_words()))?;
    let mut table = table(&["partner", "identity key"]);
    table.add_row(["(coordinator)".to_owned(), roster.coordinator.to_string()]);
    for (name, member) in &roster.members {
        table.add_row([name.clone(), member.identity.to_string()]);
    }
    print(table)
}

fn accept(folder: &Folder, fingerprint: &str) -> Result<(), Error> {
    let digits: String = fingerprint.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
    let offered =
        folder.offered_roster()?.ok_or_else(|| Error::refused("the coordinator has not offered a roster yet"))?;
    let known = offered.fingerprint().to_string();
    if digits.len() < FEWEST_DIGITS || !known.starts_with(&digits) {
        return Err(Error::refused(format!(
            "the offered roster has fingerprint {}, not {fingerprint}; nothing was accepted",
            offered.fingerprint_words()
        )));
    }
    folder.pin(&offered)?;
    print(format!(
        "accepted; from now on studies with these partners are possible: {}",
        offered.members.keys().cloned().collect::<Vec<_>>().join(", ")
    ))?;
    print("a running node uses it from its next connection on: restart it to use it at once")
}
