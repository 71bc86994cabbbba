//! The standing connection: dialled, kept alive, made again with back-off whenever it is lost.

use std::sync::Arc;
use std::time::Duration;

use entente_host::Error;
use entente_host::clock;
use entente_host::link::{Frames, LinkError, dial, send};
use entente_protocols::wire::frame::{self, FrameReader};
use entente_protocols::wire::message::{COORDINATOR_NAME, ToNode};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{resolve, tls};
use crate::participant::Participant;
use crate::state::Folder;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often a waiting study looks for the steward's decision.
const DECISION_INTERVAL: Duration = Duration::from_millis(200);
/// The most frames that wait to be sent; what produces them waits as well.
const OUTGOING: usize = 16;

/// Keeps the node connected to `coordinator` until the future is dropped. `connected` is called with the address each time
/// the coordinator has answered.
pub async fn keep(
    folder: &Folder,
    coordinator: &str,
    participant: Arc<Participant>,
    connected: impl Fn(&str),
) -> Result<std::convert::Infallible, Error> {
    let config = tls::connection(folder)?;
    let mut pause = FIRST_PAUSE;
    let mut reported = String::new();
    loop {
        let mut welcomed = false;
        let ended = session(&config, coordinator, &participant, || {
            welcomed = true;
            connected(coordinator);
        });
        let reason = ended.await.err().map_or_else(|| "the coordinator ended it".to_owned(), |error| error.to_string());
        if welcomed {
            (pause, reported) = (FIRST_PAUSE, String::new());
        }
        // The same reason again and again is said once, at a level that people see.
        if kind(&reason) == reported {
            tracing::debug!(coordinator, reason, "still not connected");
        } else {
            warn!(coordinator, reason, hint = hint(&reason), "not connected; trying again");
            reported = kind(&reason);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What a person could do about a lost connection.
fn hint(reason: &str) -> &'static str {
    let reason = reason.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if says(&["timed out", "refused"]) {
        "is `entente serve` running there, and is UDP to this port let through?"
    } else if says(&["not valid yet", "notvalidyet", "expired"]) {
        "a certificate is not valid at this time; check this machine's clock"
    } else if says(&["unknownissuer", "unknown issuer", "badsignature"]) {
        "this coordinator belongs to another alliance than the node; check `coordinator` in node.toml"
    } else {
        ""
    }
}

/// A reason without its numbers (times, ports), by which it is told from another.
fn kind(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_ascii_digit()).collect()
}

async fn session(
    config: &quinn::ClientConfig,
    coordinator: &str,
    participant: &Arc<Participant>,
    mut welcomed: impl FnMut(),
) -> Result<(), LinkError> {
    let address = resolve(coordinator).await?[0];
    let dialling = dial(config.clone(), address, COORDINATOR_NAME);
    let lost = |reason: &str| LinkError::Connection(reason.to_owned());
    let dialled = tokio::time::timeout(CONNECT_TIMEOUT, dialling).await.map_err(|_| lost("timed out"))??;
    let connection = dialled.connection();
    let ended = exchange(connection, coordinator, participant, &mut welcomed).await;
    // What the coordinator said when it closed the connection says more than the stream that broke by it.
    let closed = tokio::time::timeout(Duration::from_secs(1), connection.closed()).await;
    match (closed, ended) {
        (Ok(reason), _) => Err(reason.into()),
        (Err(_), Err(error)) => Err(error),
        (Err(_), Ok(())) => Err(lost("the coordinator ended the stream")),
    }
}

/// Says hello, and answers messages until the stream ends.
async fn exchange(
    connection: &quinn::Connection,
    coordinator: &str,
    participant: &Arc<Participant>,
    welcomed: &mut impl FnMut(),
) -> Result<(), LinkError> {
    let (mut out, into) = connection.open_bi().await?;
    send(&mut out, &frame::encode(&participant.hello())).await?;
    let mut frames = Frames::new(into, FrameReader::to_nodes());
    let (sender, mut outgoing) = mpsc::channel::<Vec<u8>>(OUTGOING);
    participant.connected(sender.clone());
    let mut decisions = tokio::time::interval(DECISION_INTERVAL);
    // Reading, so that a frame half read is never dropped by the select below.
    let (received, mut incoming) = mpsc::channel(OUTGOING);
    let reader = tokio::spawn(async move {
        loop {
            let next = frames.next().await;
            let end = !matches!(next, Ok(Some(_)));
            if received.send(next).await.is_err() || end {
                break;
            }
        }
    });
    let _abort = AbortOnDrop(reader);
    loop {
        tokio::select! {
            frame = incoming.recv() => {
                let Some(frame) = frame.transpose()?.flatten() else { break };
                match frame.decode::<ToNode>()? {
                    ToNode::Welcome { roster, clock } => {
                        let ahead = clock::ahead(clock);
                        if clock::is_off(ahead) {
                            warn!(seconds = ahead, "this machine's clock and the coordinator's differ; set the one that is wrong");
                        }
                        participant.welcome(roster).map_err(|error| LinkError::Connection(error.to_string()))?;
                        info!(coordinator, "connected");
                        participant.begin_connection();
                        // A ledger that is not the one they saw is found before anything else happens.
                        answer(participant, &sender, Participant::ask_witnesses);
                        welcomed();
                    }
                    message => answer(participant, &sender, move |participant| participant.handle(message)),
                }
            }
            Some(frame) = outgoing.recv() => send(&mut out, &frame).await?,
            _ = decisions.tick() => {
                if participant.has_waiting() {
                    answer(participant, &sender, Participant::reconsider);
                }
            }
        }
    }
    Ok(())
}

/// Answers in a thread of its own, as the disk and computations block. If the connection is lost meanwhile, the answer is
/// on the disk, and the coordinator asks again.
fn answer(
    participant: &Arc<Participant>,
    sender: &mpsc::Sender<Vec<u8>>,
    handle: impl FnOnce(&Participant) -> Vec<Vec<u8>> + Send + 'static,
) {
    let (participant, sender) = (participant.clone(), sender.clone());
    tokio::task::spawn_blocking(move || {
        for frame in handle(&participant) {
            if sender.blocking_send(frame).is_err() {
                break;
            }
        }
    });
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As rustls words it when the clock is ten years back.
    #[test]
    fn a_wrong_clock_is_recognised_and_said_once() {
        let reason = |now: u64| {
            format!(
                "the cryptographic handshake failed: error 45: invalid peer certificate: certificate not valid yet: verification time {now} (UNIX)"
            )
        };
        assert!(hint(&reason(1)).contains("clock"));
        assert_eq!(kind(&reason(1_479_967_850)), kind(&reason(1_479_967_851)));
        assert!(hint("invalid peer certificate: UnknownIssuer").contains("another alliance"));
    }
}
