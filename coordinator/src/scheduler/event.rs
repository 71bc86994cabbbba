//! What a study has to know while it runs, and what is known of it.

use entente_host::Error;
use entente_protocols::wire::message::{Contribution, FromAttempt, Progress};

/// Something that a study has to know.
pub(crate) enum AttemptEvent {
    /// Somebody gives the study up.
    Cancel(String),
    /// Something about a node.
    Node {
        /// The node.
        node: String,
        /// What happened.
        event: NodeEvent,
    },
}

/// What happened to a node, or came from it.
pub(crate) enum NodeEvent {
    Connected,
    Disconnected,
    Revoked,
    /// It said something of attempt `number`.
    Said {
        number: u32,
        said: Box<FromAttempt>,
    },
    Contribution(Contribution),
    /// It said something to another participant of attempt `number`, sealed.
    Relayed {
        number: u32,
        to: String,
    },
}

/// Where a study stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) progress: Progress,
    /// How it ended.
    pub(crate) end: Option<Result<(), Error>>,
}
