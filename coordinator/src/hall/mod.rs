//! What all other parts stand on: the alliance's folder and database, who is let in, and who is connected. It knows neither how
//! connections are made nor what is said on them.

pub(crate) mod access;
#[expect(clippy::disallowed_types, reason = "a machine's own address is that of a socket")]
pub mod alliance;
#[expect(clippy::disallowed_methods, reason = "an authority's keys are drawn here")]
pub(crate) mod certificates;
pub(crate) mod close;
#[expect(clippy::disallowed_methods, reason = "another process is waited for by this machine's clock")]
pub(crate) mod serving;
pub(crate) mod sessions;

use entente_host::Error;
use entente_host::clock::Clock;
use entente_protocols::identity::Roster;
use entente_protocols::reason::Reason;

use crate::store::Store;
use access::{Access, Role};
use alliance::Alliance;
use certificates::Authority;
use sessions::Sessions;

/// An alliance that is being served.
pub(crate) struct Hall {
    pub(crate) alliance: Alliance,
    pub(crate) clock: Clock,
    pub(crate) authority: Authority,
    pub(crate) store: Store,
    pub(crate) access: Access,
    pub(crate) sessions: Sessions,
}

impl Hall {
    /// Opens the alliance's database, and lets in its operator and all that are enrolled.
    pub(crate) fn open(alliance: Alliance, clock: Clock) -> Result<Self, Error> {
        let keys = alliance.keys();
        let authority = Authority::load(&keys)?;
        let store = Store::open(alliance.dir())?;
        let access = Access::default();
        let operator = certificates::certificate(&keys, "operator")?;
        let operator = certificates::key_digest(&operator)
            .ok_or_else(|| Error::failed("keys/operator.pem is damaged").help("restore it from a backup"))?;
        access.allow(operator, Role::Operator);
        for (name, partner) in store.partners()? {
            access.allow(partner.member.tls, Role::Node(name));
        }
        Ok(Self { alliance, clock, authority, store, access, sessions: Sessions::default() })
    }

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
}

/// "`bnk` is not enrolled", with the nearest name that is.
pub(crate) fn not_enrolled<'a>(partner: &str, known: impl Iterator<Item = &'a str>) -> Reason {
    let reason = Reason::from(format!("`{partner}` is not enrolled"));
    match entente_protocols::config::nearest(partner, known) {
        Some(near) => reason.help(format!("did you mean `{near}`?")),
        None => reason.help(format!("entente invite {partner} makes a ticket for it")),
    }
}
