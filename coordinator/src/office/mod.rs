//! What nodes, operators and those who join ask of the coordinator, and what it answers. Whoever they are is known when they come
//! here; how they are connected is not.
//!
//! ```text
//! Peer without a role ─▶ enrolment   ─┬▶ members     who is enrolled
//! the operator        ─▶ operators   ─┤  overview    what is known, to be shown
//! a partner that asks ─▶ requesters  ─┤  answers     what a command is answered, and how a study gets on
//! a partner's node    ─▶ nodes, desk ─┴▶ witnesses   ledgers that are held against what was seen of them
//!                          └ notices    what it has missed
//! ```

mod answers;
pub(crate) mod desk;
#[expect(clippy::disallowed_methods, reason = "whoever enrols is waited for by this machine's clock")]
pub(crate) mod enrolment;
pub(crate) mod members;
mod nodes;
pub(crate) mod notices;
mod operators;
pub(crate) mod overview;
mod requesters;
mod witnesses;

use std::sync::Arc;

use entente_host::link::LinkError;

use crate::hall::Hall;
use crate::hall::access::Role;
use crate::link::peer::Peer;
use crate::scheduler::Scheduler;
use crate::scheduler::check::Checks;
use answers::Followed;
use members::Members;
use nodes::Nodes;
use operators::Operators;
use requesters::Requesters;

/// Serves whoever connects.
pub(crate) struct Office {
    nodes: Nodes,
    operators: Operators,
    requesters: Requesters,
    members: Arc<Members>,
}

impl Office {
    pub(crate) fn new(hall: &Arc<Hall>, scheduler: &Arc<Scheduler>, members: &Arc<Members>) -> Self {
        let checks = Arc::new(Checks::new(hall.clone()));
        let followed = Arc::new(Followed::new(hall.clone(), scheduler.clone()));
        Self {
            nodes: Nodes::new(hall.clone(), scheduler.clone(), checks.clone()),
            requesters: Requesters::new(hall.clone(), scheduler.clone(), checks.clone(), followed.clone()),
            operators: Operators::new(hall.clone(), scheduler.clone(), checks, members.clone(), followed),
            members: members.clone(),
        }
    }

    /// Serves a peer until the connection may be closed.
    pub(crate) async fn serve(&self, peer: Peer) -> Result<(), LinkError> {
        match &peer.role {
            None => enrolment::serve(&self.members, &peer).await,
            Some(Role::Node(name)) => self.nodes.serve(name, &peer).await,
            Some(Role::Requester(name)) => self.requesters.serve(name, &peer).await,
            Some(Role::Operator) => self.operators.serve(&peer).await,
        }
    }
}
