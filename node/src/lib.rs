//! A partner's node: its data, its policy, its ledger, and the execution of studies beside the data.
//!
//! ```text
//! link ──▶ participant ──▶ ledger (store)        what is answered, charged and stored
//!              │ │
//!              │ └──▶ works ──▶ data             what is computed, where the data are
//!              └────▶ dialogue   │               what is said to other participants, sealed
//!                                │
//! commands ──▶ activation ───────┘               what becomes of an audience, at this node alone
//!     ├──▶ asking ──▶ link                         studies that this partner asks for
//!     └──▶ roster                                with whom this node works, as a person decides
//! review ──▶ ledger (store)                      what a compliance officer sees
//! ```
//!
//! [`data`] knows nothing of the link, and the link nothing of the data: they meet in [`participant`] and [`works`] alone.

#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests make files and wait"))]

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "an export of an audience is a file")]
pub mod activation;
pub mod asking;
#[expect(clippy::disallowed_macros, reason = "what is not a result goes to stderr")]
pub mod commands;
pub mod config;
pub mod data;
pub mod dialogue;
pub mod identities;
pub mod link;
pub mod participant;
pub mod peers;
pub mod review;
pub mod roster;
pub mod state;
pub mod store;
pub mod turn;
pub mod works;

use std::sync::Arc;
use std::time::Duration;

use entente_host::clock::Clock;
use entente_host::{Error, files};
use participant::Participant;
use state::Folder;

/// Name and version of the software, as ledgers and the coordinator record it.
pub const SOFTWARE: &str = concat!("entente-node ", env!("CARGO_PKG_VERSION"));

/// How often files of data sets are looked at, to identify what has changed before it is asked for.
const LOOK_AT_DATA: Duration = Duration::from_secs(10);

/// Runs the node in `folder` until the future is dropped. `connected` is called with the coordinator's address each time a
/// connection stands.
pub async fn serve(folder: &Folder, connected: impl Fn(&str)) -> Result<std::convert::Infallible, Error> {
    let config = load(folder)?;
    let lock = folder.lock()?;
    // A crash may have left pieces of data behind.
    let _ = files::remove_folder(&participant::spill_folder(folder));
    let coordinator = config.coordinator.clone();
    let participant = Arc::new(Participant::open(folder, config.clone(), Clock::default())?.holding(lock));
    let _stop = StopOnDrop(participant.clone());
    let page = async {
        match review::serve(folder, &config).await {
            Ok(()) => {}
            // Studies go on without it.
            Err(error) => tracing::error!(%error, "the review page is not served"),
        }
        std::future::pending().await
    };
    let own = participant.clone();
    let identified = async move {
        loop {
            let participant = own.clone();
            match tokio::task::spawn_blocking(move || participant.identify()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::error!(%error, "what files contain could not be written down"),
                Err(error) => tracing::error!(%error, "data are not identified"),
            }
            tokio::time::sleep(LOOK_AT_DATA).await;
        }
    };
    tokio::select! {
        ended = link::connection::keep(folder, &coordinator, participant, connected) => ended,
        never = page => never,
        never = identified => never,
    }
}

/// What waits for other participants does not outlive the node.
struct StopOnDrop(Arc<Participant>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The configuration of the node in `folder`.
pub fn load(folder: &Folder) -> Result<config::Config, Error> {
    let path = folder.config();
    Ok(config::parse(&path, &folder.read(&path)?)?)
}
