//! `entente-node join`.

use entente_host::Error;
use entente_protocols::identity::Ticket;

use crate::link::enrol;
use crate::state::Folder;

pub async fn run(ticket: &str, folder: &Folder) -> Result<(), Error> {
    // A ticket, or the file that `entente invite --out` wrote.
    let text = match std::fs::read_to_string(ticket) {
        Ok(text) => text,
        Err(_) => ticket.to_owned(),
    };
    let ticket: Ticket = text.parse().map_err(|error| Error::refused(format!("{error}")))?;
    let roster = enrol::join(&ticket, folder).await?;
    let config = folder.config();
    say!("joined the alliance `{}` as `{}`", ticket.alliance, ticket.partner);
    say!("partners so far: {}", roster.members.keys().cloned().collect::<Vec<_>>().join(", "));
    say!("next: describe your data in {}, then run", config.display());
    say!("  entente-node check --dir {}", folder.path().display());
    say!("  entente-node serve --dir {}", folder.path().display());
    Ok(())
}
