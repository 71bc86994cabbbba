//! Options that commands share.

use std::path::PathBuf;

use clap::Args;

/// Which alliance.
#[derive(Args)]
pub(super) struct Dir {
    /// The alliance's folder, which `entente init` made
    #[arg(long, value_name = "D", default_value = ".")]
    pub(super) dir: PathBuf,
}
