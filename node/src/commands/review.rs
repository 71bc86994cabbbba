//! `entente-node review`.

use clap::Args;
use entente_host::Error;
use entente_host::terminal::print;

use super::options::Dir;

#[derive(Args)]
pub(super) struct Review {
    #[command(flatten)]
    dir: Dir,
}

impl Review {
    pub(super) fn run(self) -> Result<(), Error> {
        print(crate::review::url(&self.dir.folder())?)
    }
}
