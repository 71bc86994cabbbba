//! `entente-node witnessed`.

use std::path::PathBuf;

use clap::Args;
use entente_host::Error;
use entente_host::files::write_private;
use entente_host::terminal::{print, write};
use entente_protocols::ledger::outside::write_witnessed;

use super::options::Dir;
use crate::store::WitnessStore;

#[derive(Args)]
pub(super) struct Witnessed {
    #[command(flatten)]
    dir: Dir,
    /// The file to write; standard output by default.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Witnessed {
    pub(super) fn run(self) -> Result<(), Error> {
        let folder = self.dir.folder();
        folder.read(&folder.config())?;
        let held = WitnessStore::open(&folder.state("witnessed.sqlite"))?.all()?;
        let count = held.len();
        let text = write_witnessed(held);
        match self.out {
            None => write(text.as_bytes()),
            Some(path) => {
                write_private(&path, text.as_bytes())?;
                print(format!("wrote {}: {count} checkpoints that this node has cosigned", path.display()))
            }
        }
    }
}
