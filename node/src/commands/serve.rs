//! `entente-node serve`.

use clap::Args;
use entente_host::Error;
use entente_host::process::stop_signal;
use entente_host::terminal::print;

use super::options::Dir;

#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    dir: Dir,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Error> {
        let folder = self.dir.folder();
        let connected = |address: &str| {
            // Whether anybody can read it is no matter of the node's.
            let _ = print(format!("connected to {address}"));
        };
        tokio::select! {
            ended = crate::daemon::serve(&folder, connected) => ended.map(|never| match never {}),
            () = stop_signal() => Ok(()),
        }
    }
}
