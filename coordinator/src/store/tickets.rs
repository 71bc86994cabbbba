//! One-time tickets: only hashes of their secrets are kept.

use entente_host::Error;
use entente_protocols::digest::Digest;
use entente_protocols::identity::Member;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use subtle::ConstantTimeEq;

use super::database::{Store, failed};

/// Why a ticket does not let its bearer in. Said to the bearer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketRefusal {
    /// Nobody was invited with this secret under this name.
    #[error(
        "there is no such invitation for `{0}` (a newer ticket may have replaced it); ask the operator for one: entente invite {0}"
    )]
    Unknown(String),
    /// Too late.
    #[error("the ticket of `{0}` has expired; ask the operator for another: entente invite {0}")]
    Expired(String),
    /// Somebody was there before.
    #[error(
        "the ticket of `{0}` was used already; if it was not you, tell the operator at once. To let `{0}` join anew, the operator ends that \
         enrolment first, entente revoke {0}, and then invites again, entente invite {0}"
    )]
    Used(String),
    /// The name belongs to a partner.
    #[error("`{0}` is enrolled already; the operator can end that with entente revoke {0} and invite again")]
    Enrolled(String),
    /// The key was revoked.
    #[error(
        "the key that was sent is revoked, or another partner's; join from an empty folder, so that new keys are made"
    )]
    Revoked,
    /// The database.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// As whom a ticket lets its bearer in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nobody was there before.
    New,
    /// The same member was there before with the same ticket; the first answer may have been lost. It was given this certificate.
    Again(Vec<u8>),
}

fn hash(secret: &[u8; 32]) -> Digest {
    Digest::of("entente ticket secret 1", &[secret])
}

impl Store {
    /// Keeps a ticket's hash; older unused tickets of the same partner end.
    pub fn add_ticket(&self, partner: &str, secret: &[u8; 32], expires: i64) -> Result<(), Error> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let enrolled = transaction
            .query_row("SELECT 1 FROM partner WHERE name = ?1", [partner], |_| Ok(()))
            .optional()
            .map_err(failed)?;
        if enrolled.is_some() {
            return Err(Error::refused(format!("`{partner}` is enrolled already"))
                .help(format!("to let it join anew, end its certificate first: entente revoke {partner}")));
        }
        transaction.execute("DELETE FROM ticket WHERE partner = ?1 AND used IS NULL", [partner]).map_err(failed)?;
        transaction
            .execute(
                "INSERT INTO ticket (hash, partner, expires) VALUES (?1, ?2, ?3)",
                params![hash(secret).0.as_slice(), partner, expires],
            )
            .map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    /// Whether a ticket lets its bearer in, as whom. Nothing is changed.
    pub fn admit(
        &self,
        partner: &str,
        secret: &[u8; 32],
        member: &Member,
        now: i64,
    ) -> Result<Admission, TicketRefusal> {
        admit(&self.lock(), (partner, secret), member, now)
    }

    /// Uses a ticket up and enrols its bearer, both or neither. `certificate` is what was issued for it.
    pub fn enrol(
        &self,
        partner: &str,
        secret: &[u8; 32],
        member: &Member,
        certificate: &[u8],
        now: i64,
    ) -> Result<(), TicketRefusal> {
        let db = |error| TicketRefusal::Failed(failed(error));
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(db)?;
        if let Admission::Again(_) = admit(&transaction, (partner, secret), member, now)? {
            return Ok(());
        }
        transaction
            .execute("UPDATE ticket SET used = ?2 WHERE hash = ?1", params![hash(secret).0.as_slice(), now])
            .map_err(db)?;
        transaction
            .execute(
                "INSERT INTO partner (name, identity, tls, certificate, enrolled) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![partner, member.identity.0.as_slice(), member.tls.0.as_slice(), certificate, now],
            )
            .map_err(db)?;
        transaction.commit().map_err(db)
    }
}

fn admit(
    connection: &Connection,
    (partner, secret): (&str, &[u8; 32]),
    member: &Member,
    now: i64,
) -> Result<Admission, TicketRefusal> {
    let db = |error| TicketRefusal::Failed(failed(error));
    let wanted = hash(secret);
    let mut found = None;
    let mut tickets = connection.prepare("SELECT hash, expires, used FROM ticket WHERE partner = ?1").map_err(db)?;
    let mut rows = tickets.query([partner]).map_err(db)?;
    while let Some(row) = rows.next().map_err(db)? {
        let stored: Vec<u8> = row.get(0).map_err(db)?;
        if bool::from(stored.as_slice().ct_eq(wanted.0.as_slice())) {
            found = Some((row.get::<_, i64>(1).map_err(db)?, row.get::<_, Option<i64>>(2).map_err(db)?));
        }
    }
    let (expires, used) = found.ok_or_else(|| TicketRefusal::Unknown(partner.into()))?;
    let (identity, tls) = (member.identity.0.as_slice(), member.tls.0.as_slice());
    let known: Option<(Vec<u8>, Vec<u8>, Vec<u8>)> = connection
        .query_row("SELECT identity, tls, certificate FROM partner WHERE name = ?1", [partner], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()
        .map_err(db)?;
    match (used, known) {
        // It was used in time: what is given out once more is old.
        (Some(_), Some((i, t, certificate))) if i == identity && t == tls => return Ok(Admission::Again(certificate)),
        _ if now >= expires => return Err(TicketRefusal::Expired(partner.into())),
        (Some(_), _) => return Err(TicketRefusal::Used(partner.into())),
        (None, Some(_)) => return Err(TicketRefusal::Enrolled(partner.into())),
        (None, None) => {}
    }
    for table in ["revoked", "partner"] {
        let sql = format!("SELECT 1 FROM {table} WHERE tls = ?1 OR identity = ?2");
        let taken = connection.query_row(&sql, params![tls, identity], |_| Ok(())).optional().map_err(db)?;
        if taken.is_some() {
            return Err(TicketRefusal::Revoked);
        }
    }
    Ok(Admission::New)
}

#[cfg(test)]
mod tests {
    use entente_protocols::identity::PublicIdentity;

    use super::*;

    fn member(key: u8) -> Member {
        Member { identity: PublicIdentity([key; 32]), tls: Digest([key; 32]) }
    }

    #[test]
    fn a_ticket_lets_one_member_in_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.add_ticket("bank", &[1; 32], 100).unwrap();
        let enrol = |partner: &str, secret, key, now| store.enrol(partner, &[secret; 32], &member(key), b"c", now);
        let bank = || String::from("bank");
        assert_eq!(enrol("bank", 9, 1, 50), Err(TicketRefusal::Unknown(bank())), "another secret");
        assert_eq!(enrol("telecom", 1, 1, 50), Err(TicketRefusal::Unknown("telecom".into())), "another name");
        assert_eq!(enrol("bank", 1, 1, 100), Err(TicketRefusal::Expired(bank())));
        assert_eq!(enrol("bank", 1, 1, 50), Ok(()));
        assert_eq!(enrol("bank", 1, 1, 60), Ok(()), "the same again, as the answer may have been lost");
        let admit = |key, now| store.admit("bank", &[1; 32], &member(key), now);
        assert_eq!(admit(1, 200), Ok(Admission::Again(b"c".to_vec())), "it was used in time");
        assert_eq!(enrol("bank", 1, 2, 60), Err(TicketRefusal::Used(bank())));
        assert_eq!(admit(2, 60), Err(TicketRefusal::Used(bank())));
        // It holds for the next process as well.
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.enrol("bank", &[1; 32], &member(2), b"c", 60), Err(TicketRefusal::Used(bank())));
        assert!(store.add_ticket("bank", &[2; 32], 100).unwrap_err().to_string().contains("entente revoke bank"));
    }

    #[test]
    fn a_newer_ticket_replaces_an_older_one_and_revoked_keys_stay_out() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.add_ticket("bank", &[1; 32], 100).unwrap();
        store.add_ticket("bank", &[2; 32], 100).unwrap();
        assert_eq!(store.enrol("bank", &[1; 32], &member(1), b"c", 1), Err(TicketRefusal::Unknown("bank".into())));
        assert_eq!(store.enrol("bank", &[2; 32], &member(1), b"c", 1), Ok(()));
        assert!(store.revoke("bank", 2).unwrap().is_some());
        store.add_ticket("bank", &[3; 32], 100).unwrap();
        assert_eq!(store.enrol("bank", &[3; 32], &member(1), b"c", 3), Err(TicketRefusal::Revoked));
        assert_eq!(store.enrol("bank", &[3; 32], &member(2), b"c", 3), Ok(()));
    }
}
