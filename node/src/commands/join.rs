//! `entente-node join`.

use std::path::Path;

use clap::Args;
use entente_host::terminal::print;
use entente_host::{Error, files};
use entente_protocols::identity::Ticket;

use super::options::Dir;
use crate::link::enrol;

#[derive(Args)]
pub(super) struct Join {
    /// The ticket, or a file that holds it.
    ticket: String,
    #[command(flatten)]
    dir: Dir,
}

impl Join {
    pub(super) async fn run(self) -> Result<(), Error> {
        // A ticket, or the file that `entente invite --out` wrote.
        let text = match files::read_text(Path::new(&self.ticket)) {
            Ok(text) => text,
            Err(_) if self.ticket.trim_start().starts_with(Ticket::PREFIX) => self.ticket,
            Err(error) => {
                let help = "give the file that `entente invite --out` wrote, or paste the whole text that `entente invite` printed";
                return Err(error.help(help));
            }
        };
        let ticket = text.parse::<Ticket>().map_err(Error::refused)?;
        let folder = self.dir.folder();
        let is_configured = files::exists(&folder.config());
        let roster = enrol::join(&ticket, &folder).await?;
        print(format!("joined the alliance `{}` as `{}`", ticket.alliance, ticket.partner))?;
        print(format!("partners so far: {}", roster.members.keys().cloned().collect::<Vec<_>>().join(", ")))?;
        let config = folder.config();
        if is_configured {
            print(format!("{} was there before and is kept; see that `name` and `coordinator` fit", config.display()))?;
        }
        print(format!("next: describe your data in {}, then run", config.display()))?;
        print(format!("  entente-node check --dir {}", folder.path().display()))?;
        print(format!("  entente-node serve --dir {}", folder.path().display()))?;
        print("and, beside it, once all partners have joined and you have compared the fingerprint with them:")?;
        print(format!("  entente-node roster --accept --dir {}", folder.path().display()))
    }
}
