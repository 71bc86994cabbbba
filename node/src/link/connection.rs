//! The standing connection: dialled, kept alive, made again with back-off whenever it is lost.

use std::sync::Arc;
use std::time::Duration;

use entente_host::Error;
use entente_host::clock::{Moment, is_off};
use entente_host::link::{Frames, LinkError, send};
use entente_protocols::attempt::AttemptId;
use entente_protocols::wire::frame::{self, FrameReader};
use entente_protocols::wire::message::ToNode;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::inbox::{Answerer, Inbox};
use super::{dial_any, resolve, tls};
use crate::participant::{Connection, Participant};
use crate::state::Folder;
use crate::turn::Turn;

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
    let inbox = Inbox::new(participant);
    let mut pause = FIRST_PAUSE;
    let mut reported = String::new();
    loop {
        let mut welcomed = false;
        let ended = session(&config, coordinator, &inbox, || {
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
pub(crate) fn hint(reason: &str) -> &'static str {
    let reason = reason.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if says(&["timed out", "refused"]) {
        "is `entente serve` running there, and is UDP to this port allowed?"
    } else if says(&["not valid yet", "notvalidyet", "expired"]) {
        "a certificate is not valid at this time; check this machine's clock"
    } else if says(&["unknownissuer", "unknown issuer", "badsignature"]) {
        "this coordinator belongs to another alliance than the node; check `coordinator` in node.toml"
    } else if says(&["revoked"]) {
        "the operator has revoked this node's certificate; ask for a new ticket, and join with it in an empty folder"
    } else {
        ""
    }
}

/// A reason without its numbers (times, ports), by which reasons are compared.
fn kind(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_ascii_digit()).collect()
}

async fn session(
    config: &quinn::ClientConfig,
    coordinator: &str,
    inbox: &Arc<Inbox<Participant>>,
    mut welcomed: impl FnMut(),
) -> Result<(), LinkError> {
    let dialled = dial_any(config, resolve(coordinator).await?, CONNECT_TIMEOUT).await?;
    let lost = |reason: &str| LinkError::Connection(reason.to_owned());
    let connection = dialled.connection();
    let ended = exchange(connection, coordinator, inbox, &mut welcomed).await;
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
    inbox: &Arc<Inbox<Participant>>,
    welcomed: &mut impl FnMut(),
) -> Result<(), LinkError> {
    let participant = inbox.answerer();
    let (mut out, into) = connection.open_bi().await?;
    send(&mut out, &frame::encode(&participant.hello())).await?;
    let mut frames = Frames::new(into, FrameReader::to_nodes());
    let ToNode::Welcome { roster, clock } = frames.next_within(CONNECT_TIMEOUT).await?.decode()? else {
        return Err(LinkError::Connection("the coordinator did not answer the hello".into()));
    };
    let ahead = participant.clock().ahead(clock);
    if is_off(ahead) {
        warn!(seconds = ahead, "this machine's clock and the coordinator's differ; set the one that is wrong");
    }
    participant.welcome(roster).map_err(|error| LinkError::Connection(error.to_string()))?;
    info!(coordinator, "connected");
    let (sender, mut outgoing) = mpsc::channel::<Vec<u8>>(OUTGOING);
    let line = Arc::new(inbox.connect(participant.begin_connection(), sender.clone()));
    participant.connected(sender);
    // A ledger that is not the one they saw is found before anything else happens.
    line.at_once(Participant::ask_witnesses).await;
    welcomed();
    // Beside what is sent: answers leave also while there is no room for more messages.
    let taking = line.clone();
    let mut reader = AbortOnDrop(tokio::spawn(async move {
        while let Some(frame) = frames.next().await? {
            taking.take(frame.decode()?, frame.size()).await;
        }
        Ok(())
    }));
    let mut decisions = tokio::time::interval(DECISION_INTERVAL);
    loop {
        tokio::select! {
            ended = &mut reader.0 => {
                return ended.unwrap_or_else(|error| Err(LinkError::Connection(error.to_string())));
            }
            Some(frame) = outgoing.recv() => send(&mut out, &frame).await?,
            leaving = participant.leaving() => line.beside(move |participant: &Participant| participant.leave(leaving)),
            // The disk may be slow, and what goes on here is not to wait for it.
            _ = decisions.tick() => {
                line.reconsider(Participant::reconsider);
                participant.taken_up().into_iter().for_each(|(attempt, told)| line.take_up(attempt, told));
            }
        }
    }
}

impl Answerer for Participant {
    fn answer(&self, message: ToNode, connection: Connection, turn: &dyn Turn) -> Vec<Vec<u8>> {
        self.handle_on(connection, message, turn)
    }

    fn max_computing(&self) -> usize {
        Self::max_computing(self)
    }

    fn moment(&self) -> Moment {
        self.clock().moment()
    }

    fn waits(&self, attempt: &AttemptId, others: usize) -> Vec<Vec<u8>> {
        Self::waits(self, attempt, others)
    }

    fn end(&self, attempt: &AttemptId) {
        Self::end(self, attempt);
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<Result<(), LinkError>>);

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
        assert!(hint("invalid peer certificate: Revoked").contains("new ticket"));
    }
}
