//! The running coordinator: link, partners and studies together.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use entente_host::Error;
use entente_host::clock::Clock;
use entente_host::files;
use entente_host::locks::lock;
use entente_protocols::identity::{Member, Roster};
use entente_protocols::ledger::Head;
use entente_protocols::wire::message::ToNode;
use tokio::task::JoinHandle;

use crate::hall::alliance::Alliance;
use crate::hall::certificates::{self, Authority, RequestedKey};
use crate::hall::serving::Serving;
use crate::hall::sessions::Sessions;
use crate::link;
use crate::link::tls::{Access, Role};
use crate::scheduler::{Desk, NodeEvent};
use crate::store::{Admission, Store, TicketRefusal};
use crate::witnessing::Witnessing;

/// Starts coordinators.
pub struct Coordinator;

/// Which studies a coordinator takes up when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeUp {
    /// All that had not ended when the last one stopped.
    Unfinished,
    /// None: it serves for one new study alone.
    Nothing,
}

/// A running coordinator. Stops when it is dropped; [`Running::shutdown`] lets nodes know.
pub struct Running {
    shared: Arc<Shared>,
    endpoint: quinn::Endpoint,
    address: SocketAddr,
    accepting: JoinHandle<()>,
    _serving: Serving,
}

/// What link and studies share.
pub(crate) struct Shared {
    pub(crate) alliance: Alliance,
    pub(crate) clock: Clock,
    pub(crate) authority: Authority,
    pub(crate) store: Store,
    pub(crate) access: Access,
    pub(crate) sessions: Sessions,
    pub(crate) desk: Desk,
    /// Held while the roster changes.
    roster: Mutex<()>,
    /// Checkpoints that nodes ask to have witnessed.
    pub(crate) witnessing: Witnessing,
}

impl Coordinator {
    /// Starts the coordinator of the alliance in `dir` and takes up the studies that had not ended. Needs a runtime of
    /// tokio.
    pub async fn start(dir: &Path) -> Result<Running, Error> {
        Self::start_with(dir, TakeUp::Unfinished).await
    }

    /// The same, with a say on which studies are taken up.
    pub async fn start_with(dir: &Path, take_up: TakeUp) -> Result<Running, Error> {
        let alliance = Alliance::open(dir)?;
        let serving = Serving::claim(dir)?;
        let keys = alliance.keys();
        let authority = Authority::load(&keys)?;
        let store = Store::open(dir)?;
        let access = Access::default();
        let operator = certificates::certificate(&keys, "operator")?;
        let operator = certificates::key_digest(&operator)
            .ok_or_else(|| Error::failed("keys/operator.pem is damaged; restore it from a backup"))?;
        access.allow(operator, Role::Operator);
        for (name, partner) in store.partners()? {
            access.allow(partner.member.tls, Role::Node(name));
        }
        let endpoint = link::bind(&alliance, access.clone()).await?;
        let address = endpoint.local_addr().map_err(|error| Error::failed(error.to_string()))?;
        let shared = Arc::new(Shared {
            alliance,
            clock: Clock::default(),
            authority,
            store,
            access,
            sessions: Sessions::default(),
            desk: Desk::default(),
            roster: Mutex::new(()),
            witnessing: Witnessing::default(),
        });
        shared.publish_roster()?;
        if take_up == TakeUp::Unfinished {
            shared.take_up()?;
        }
        let accepting = tokio::spawn(link::accept(shared.clone(), endpoint.clone()));
        serving.announce(address)?;
        tracing::info!(%address, alliance = shared.alliance.name(), "listening");
        Ok(Running { shared, endpoint, address, accepting, _serving: serving })
    }
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether a partner's node is connected.
    pub fn is_connected(&self, partner: &str) -> bool {
        self.shared.sessions.is_connected(partner)
    }

    /// Whether all partners of a study are connected: those it names, or all.
    pub(crate) fn has_all(&self, study: &entente_protocols::study::Study) -> Result<bool, Error> {
        let connected = |name: &String| self.is_connected(name);
        Ok(if study.partners.is_empty() {
            self.shared.store.partners()?.keys().all(connected)
        } else {
            study.partners.iter().all(connected)
        })
    }

    /// Stops. Studies that go on are taken up by the next start.
    pub async fn shutdown(self) {
        self.shared.desk.stop();
        link::stop(&self.endpoint);
        self.accepting.abort();
        // Connections that do not answer are not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.endpoint.wait_idle()).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.desk.stop();
        link::stop(&self.endpoint);
        self.accepting.abort();
    }
}

impl Shared {
    /// The present roster.
    pub(crate) fn roster(&self) -> Result<Roster, Error> {
        let members = self.store.partners()?.into_iter().map(|(name, partner)| (name, partner.member)).collect();
        Ok(Roster {
            alliance: self.alliance.name().into(),
            authority: self.alliance.authority(),
            coordinator: self.alliance.identity().public(),
            members,
        })
    }

    /// Enrols a partner: uses its ticket up, issues its certificate, tells the others. The certificate; the same again if the
    /// partner is there again because it has not got it.
    pub(crate) fn enrol(
        &self,
        partner: &str,
        secret: &[u8; 32],
        request: &[u8],
        member: &Member,
    ) -> Result<Vec<u8>, Error> {
        let refused = |refusal: TicketRefusal| match refusal {
            TicketRefusal::Failed(error) => error,
            refusal => Error::refused(refusal.to_string()),
        };
        let _changing = lock(&self.roster);
        let admission = self.store.admit(partner, secret, member, self.clock.now().as_second()).map_err(refused)?;
        // Not before the ticket is known to be one: what strangers send is neither parsed nor signed.
        let key = RequestedKey::of(request, member.tls)?;
        if let Admission::Again(certificate) = admission {
            tracing::info!(partner, identity = %member.identity, "enrolled before; answered again");
            return Ok(certificate);
        }
        let certificate = self.authority.issue_node(partner, &key)?;
        self.store.enrol(partner, secret, member, &certificate, self.clock.now().as_second()).map_err(refused)?;
        self.access.allow(member.tls, Role::Node(partner.into()));
        self.publish_roster()?;
        tracing::info!(partner, identity = %member.identity, "enrolled");
        Ok(certificate.to_vec())
    }

    /// Ends a partner's membership at once. What was done, in words.
    pub(crate) async fn revoke(&self, partner: &str) -> Result<String, Error> {
        {
            let _changing = lock(&self.roster);
            let Some(member) = self.store.revoke(partner, self.clock.now().as_second())? else {
                let partners = self.store.partners()?;
                return Err(Error::refused(not_enrolled(partner, partners.keys().map(String::as_str))));
            };
            self.access.end(member.tls);
            self.publish_roster()?;
        }
        let reason = "the operator revoked this node's certificate; to take part again it needs a new invitation";
        self.sessions.expel(partner, reason);
        self.desk.tell_all(partner, || NodeEvent::Revoked).await;
        tracing::warn!(partner, "revoked");
        Ok(format!(
            "`{partner}` is no longer part of the alliance: its connection is closed and its certificate is worth nothing; entente invite {partner} lets it join anew"
        ))
    }

    /// Writes the roster for people, and sends it to the nodes that are connected: each asks for its owner's consent.
    fn publish_roster(&self) -> Result<(), Error> {
        let roster = self.roster()?;
        let text = serde_json::to_vec_pretty(&roster).map_err(|error| Error::failed(error.to_string()))?;
        files::write_private(&self.alliance.dir().join("roster.json"), &text)?;
        self.sessions.send_all(&ToNode::Roster(roster));
        Ok(())
    }

    /// Why a node's ledger cannot be the one that was witnessed, if it cannot.
    pub(crate) fn contradiction(&self, node: &str, head: Head) -> Result<Option<String>, Error> {
        let partners = self.store.partners()?;
        let Some(partner) = partners.get(node) else { return Ok(None) };
        let Some(checkpoint) = self.store.witnessed(&partner.member.identity)? else { return Ok(None) };
        let known = checkpoint.statement();
        let advice = "was it restored from an old backup, or does a copy run? Its staff can see what to do by `entente-node check`";
        Ok(if head.entries < known.size {
            Some(format!("its ledger has {} entries, but {} were witnessed; {advice}", head.entries, known.size))
        } else if head.entries == known.size && head.hash != known.head {
            Some(format!("its ledger is another than the one of {} entries that was witnessed; {advice}", known.size))
        } else {
            None
        })
    }
}

/// "`bnk` is not enrolled", with the nearest name that is.
pub(crate) fn not_enrolled<'a>(partner: &str, known: impl Iterator<Item = &'a str>) -> String {
    match entente_protocols::config::nearest(partner, known) {
        Some(near) => format!("`{partner}` is not enrolled; did you mean `{near}`?"),
        None => format!("`{partner}` is not enrolled; entente invite {partner} makes a ticket for it"),
    }
}
