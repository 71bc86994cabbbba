//! Who is enrolled: tickets become partners, and partners are revoked.

use std::sync::{Arc, Mutex};

use entente_host::Error;
use entente_host::files;
use entente_host::locks::lock;
use entente_protocols::identity::{Member, Roster};
use entente_protocols::wire::message::ToNode;

use crate::hall::access::Role;
use crate::hall::certificates::RequestedKey;
use crate::hall::{Hall, not_enrolled};
use crate::store::{Admission, TicketRefusal};

/// Changes the roster.
pub(crate) struct Members {
    hall: Arc<Hall>,
    /// Held while the roster changes.
    changing: Mutex<()>,
}

/// What a partner is handed that has enrolled.
pub(super) struct Enrolment {
    pub(super) certificate: Vec<u8>,
    pub(super) authority: Vec<u8>,
    pub(super) roster: Roster,
}

impl Members {
    pub(crate) fn new(hall: Arc<Hall>) -> Self {
        Self { hall, changing: Mutex::new(()) }
    }

    /// Enrols a partner: uses its ticket up, issues its certificate, tells the others. The same again if the partner is there again
    /// because it has not got the answer.
    pub(super) fn enrol(
        &self,
        partner: &str,
        secret: &[u8; 32],
        request: &[u8],
        member: &Member,
    ) -> Result<Enrolment, Error> {
        let certificate = self.certificate(partner, secret, request, member)?;
        let authority = self.hall.authority.certificate().to_vec();
        Ok(Enrolment { certificate, authority, roster: self.hall.roster()? })
    }

    fn certificate(&self, partner: &str, secret: &[u8; 32], request: &[u8], member: &Member) -> Result<Vec<u8>, Error> {
        let refused = |refusal: TicketRefusal| match refusal {
            TicketRefusal::Failed(error) => error,
            refusal => Error::refused(refusal.to_string()),
        };
        let Hall { store, authority, access, .. } = &*self.hall;
        let _changing = lock(&self.changing);
        let admission = store.admit(partner, secret, member, self.hall.clock.now().as_second()).map_err(refused)?;
        // Not before the ticket is known to be one: what strangers send is neither parsed nor signed.
        let key = RequestedKey::of(request, member.tls)?;
        if let Admission::Again(certificate) = admission {
            tracing::info!(partner, identity = %member.identity, "enrolled before; answered again");
            return Ok(certificate);
        }
        let certificate = authority.issue_node(partner, &key)?;
        store.enrol(partner, secret, member, &certificate, self.hall.clock.now().as_second()).map_err(refused)?;
        access.allow(member.tls, Role::Node(partner.into()));
        self.publish()?;
        tracing::info!(partner, identity = %member.identity, "enrolled");
        Ok(certificate.to_vec())
    }

    /// Ends a partner's membership at once; its studies are still to be told. What was done, in words.
    pub(crate) fn revoke(&self, partner: &str) -> Result<String, Error> {
        {
            let _changing = lock(&self.changing);
            let Some(member) = self.hall.store.revoke(partner, self.hall.clock.now().as_second())? else {
                let partners = self.hall.store.partners()?;
                return Err(Error::refused(not_enrolled(partner, partners.keys().map(String::as_str))));
            };
            self.hall.access.end(member.tls);
            self.publish()?;
        }
        let reason = "the operator revoked this node's certificate; to take part again it needs a new invitation";
        self.hall.sessions.expel(partner, reason);
        tracing::warn!(partner, "revoked");
        Ok(format!(
            "`{partner}` is no longer part of the alliance: its connection is closed and its certificate is not valid any more; entente invite {partner} lets it join anew"
        ))
    }

    /// Writes the roster for people, and sends it to the nodes that are connected: each asks for its owner's consent.
    pub(crate) fn publish(&self) -> Result<(), Error> {
        let roster = self.hall.roster()?;
        let text = serde_json::to_vec_pretty(&roster).map_err(|error| Error::failed(error.to_string()))?;
        files::write_private(&self.hall.alliance.dir().join("roster.json"), &text)?;
        self.hall.sessions.send_all(&ToNode::Roster(roster));
        Ok(())
    }
}
