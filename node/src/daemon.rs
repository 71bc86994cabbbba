//! A node that runs: its link, its page, and what it does beside them.

use std::sync::Arc;
use std::time::Duration;

use entente_host::clock::Clock;
use entente_host::{Error, files};

use crate::participant::{self, Participant};
use crate::state::Folder;
use crate::{config, link, review};

/// How often files of data sets are looked at, to identify what has changed before it is asked for.
const LOOK_AT_DATA: Duration = Duration::from_secs(10);

/// Runs the node in `folder` until the future is dropped. `connected` is called with the coordinator's address each time a
/// connection stands.
pub async fn serve(folder: &Folder, connected: impl Fn(&str)) -> Result<std::convert::Infallible, Error> {
    let config = config::load(folder)?;
    let lock = folder.lock()?;
    // A crash may have left pieces of data behind.
    let _ = files::remove_folder(&participant::spill_folder(folder));
    let coordinator = config.coordinator.clone();
    let participant = Arc::new(Participant::open(folder, config.clone(), Clock::default())?.holding(lock));
    let _stop = StopOnDrop(participant.clone());
    let alarms = participant.alarms().clone();
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
        never = review::serve(folder, &config, alarms) => match never {},
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
