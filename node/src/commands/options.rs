//! What several commands have in common.

use std::path::PathBuf;

use clap::Args;
use entente_host::Error;

use crate::state::Folder;
use crate::store::StudyStore;

#[derive(Args, Clone)]
pub(super) struct Dir {
    /// The node's folder.
    #[arg(long, default_value = ".")]
    pub(super) dir: PathBuf,
}

impl Dir {
    pub(super) fn folder(&self) -> Folder {
        Folder::new(&self.dir)
    }
}

/// The studies and models of the node in a folder.
pub(super) fn studies(folder: &Folder) -> Result<StudyStore, Error> {
    // Says so where no node has joined.
    folder.read(&folder.config())?;
    Ok(StudyStore::open(&folder.state("studies.sqlite"))?)
}
