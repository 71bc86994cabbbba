//! What nodes, operators and those who join ask of the coordinator, and what it answers. Whoever they are is known when they come
//! here; how they are connected is not.
//!
//! ```text
//! Peer without a role ─▶ enrolment   ─┬▶ members     who is enrolled
//! the operator        ─▶ operators   ─┤  overview    what is known, to be shown
//! a partner's node    ─▶ nodes, desk ─┴▶ witnesses   ledgers that are held against what was seen of them
//!                          └ notices    what it has missed
//! ```

pub(crate) mod desk;
#[expect(clippy::disallowed_methods, reason = "whoever enrols is waited for by this machine's clock")]
pub(crate) mod enrolment;
pub(crate) mod members;
mod nodes;
pub(crate) mod notices;
mod operators;
pub(crate) mod overview;
mod witnesses;

use std::sync::Arc;

use entente_host::link::LinkError;

use crate::hall::Hall;
use crate::hall::access::Role;
use crate::link::peer::Peer;
use crate::scheduler::Scheduler;
use crate::scheduler::check::Checks;
use members::Members;
use nodes::Nodes;
use operators::Operators;

/// Serves whoever connects.
pub(crate) struct Office {
    nodes: Nodes,
    operators: Operators,
    members: Arc<Members>,
}

impl Office {
    pub(crate) fn new(hall: &Arc<Hall>, scheduler: &Arc<Scheduler>, members: &Arc<Members>) -> Self {
        let checks = Arc::new(Checks::new(hall.clone()));
        Self {
            nodes: Nodes::new(hall.clone(), scheduler.clone(), checks.clone()),
            operators: Operators::new(hall.clone(), scheduler.clone(), checks, members.clone()),
            members: members.clone(),
        }
    }

    /// Serves a peer until the connection may be closed.
    pub(crate) async fn serve(&self, peer: Peer) -> Result<(), LinkError> {
        match &peer.role {
            None => enrolment::serve(&self.members, &peer).await,
            Some(Role::Node(name)) => self.nodes.serve(name, &peer).await,
            Some(Role::Operator) => self.operators.serve(&peer).await,
        }
    }
}
