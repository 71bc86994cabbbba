//! `entente-node roster`.

use entente_host::Error;
use entente_protocols::identity::Roster;

use super::table;
use crate::state::Folder;

/// The fewest digits of a fingerprint that tell that somebody compared it.
const FEWEST_DIGITS: usize = 16;

pub fn run(folder: &Folder, accept: Option<&str>) -> Result<(), Error> {
    folder.read(&folder.config())?;
    if let Some(fingerprint) = accept {
        return self::accept(folder, fingerprint);
    }
    let (pinned, offered) = (folder.pinned_roster()?, folder.offered_roster()?);
    match (&pinned, &offered) {
        (Some(pinned), _) => print("pinned", pinned),
        (None, Some(offered)) => {
            print("offered, not pinned yet", offered);
            say!(
                "The first study pins the roster as it is then. Compare the fingerprint with the other partners, out of band."
            );
        }
        (None, None) => say!("the coordinator has not offered a roster yet"),
    }
    if let (Some(pinned), Some(offered)) = (&pinned, &offered)
        && pinned != offered
    {
        say!("");
        print("offered since, not accepted", offered);
        say!("Compare its fingerprint with the other partners, out of band, then run");
        say!("  entente-node roster --accept {} --dir {}", &offered.fingerprint().short(), folder.path().display());
    }
    Ok(())
}

fn print(state: &str, roster: &Roster) {
    say!("roster of alliance `{}` ({state})", roster.alliance);
    say!("fingerprint: {}", roster.fingerprint_words());
    let mut table = table(&["partner", "identity key"]);
    table.add_row(["(coordinator)".to_owned(), roster.coordinator.to_string()]);
    for (name, member) in &roster.members {
        table.add_row([name.clone(), member.identity.to_string()]);
    }
    say!("{table}");
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
    say!(
        "accepted; from now on studies with these partners are possible: {}",
        offered.members.keys().cloned().collect::<Vec<_>>().join(", ")
    );
    say!("a running node uses it from its next connection on: restart it to use it at once");
    Ok(())
}
