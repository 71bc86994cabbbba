//! What is kept to be sent, and nothing else is: the one maker of [`Outbound`].

use super::entry::{Record, State};
use super::error::LedgerError;
use super::ledger::Ledger;
use super::store::Store;
use crate::canonical::canonical_bytes;
use crate::digest::Digest;
use crate::policy::Approved;

/// A protected vector on its way into the outbox. Sealed: the types of [`crate::release`] implement it.
pub trait Protected: sealed::IntoParts {}

pub(crate) mod sealed {
    use crate::digest::Digest;

    /// A protected vector with the release and the transcript it was made for.
    pub struct Parts {
        pub release: Digest,
        pub transcript: Digest,
        pub values: Vec<i64>,
    }

    pub trait IntoParts {
        fn into_parts(self) -> Parts;
    }
}

/// The stored bytes of a release: the only thing computed from customers that a node sends. Made by the ledger alone,
/// from its outbox; cannot be decoded from anywhere.
pub struct Outbound {
    transcript: Digest,
    bytes: Vec<u8>,
}

impl Outbound {
    /// The transcript it is masked under.
    pub fn transcript(&self) -> Digest {
        self.transcript
    }

    /// The bytes to send, as [`crate::wire::message::Contribution`] decodes them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<S: Store> Ledger<S> {
    /// Stores the exact bytes of a release; from now on they are what is sent. `over` is the snapshot that they are of: none where it is
    /// not known to be one, as the data have changed meanwhile. They answer this attempt then, and no later question.
    pub fn computed(
        &mut self,
        protected: impl Protected,
        over: Option<Digest>,
        now: &str,
    ) -> Result<Outbound, LedgerError> {
        let parts = protected.into_parts();
        let known = self.known.releases.get(&parts.release).filter(|known| known.state == State::Reserved);
        known.ok_or(LedgerError::OutOfOrder(parts.release))?;
        let bytes = canonical_bytes(&(parts.transcript, parts.values));
        let result = Digest::plain(&bytes);
        self.append(now, Some((parts.release, &bytes)), |ledger| {
            let mut record = ledger.follow(parts.release, result)?;
            record.snapshot = over;
            Ok(Record::Computed(record))
        })?;
        Ok(Outbound { transcript: parts.transcript, bytes })
    }

    /// The stored bytes of a release.
    pub fn stored(&self, release: Digest) -> Result<Outbound, LedgerError> {
        let known = self.known.releases.get(&release).and_then(|known| Some((known.record.transcript?, known.bytes?)));
        let (transcript, hash) = known.ok_or(LedgerError::OutOfOrder(release))?;
        match self.store.release(release)? {
            Some(bytes) if Digest::plain(&bytes) == hash => Ok(Outbound { transcript, bytes }),
            _ => Err(LedgerError::Bytes(release)),
        }
    }

    /// Whether the bytes of a release are stored.
    pub fn is_stored(&self, release: Digest) -> bool {
        self.known.releases.get(&release).is_some_and(|known| known.state != State::Reserved)
    }

    /// Whether the bytes of a release are stored, and are of this snapshot.
    pub fn is_stored_over(&self, release: Digest, snapshot: Digest) -> bool {
        let known = self.known.releases.get(&release);
        self.is_stored(release) && known.is_some_and(|known| known.record.snapshot == Some(snapshot))
    }

    /// Records that a release's result is known, with its hash. Recording it again does nothing.
    pub fn released(&mut self, release: Digest, result: Digest, now: &str) -> Result<(), LedgerError> {
        let known = self.known.releases.get(&release).ok_or(LedgerError::OutOfOrder(release))?;
        match known.state {
            State::Released => return Ok(()),
            State::Computed => {}
            _ => return Err(LedgerError::OutOfOrder(release)),
        }
        self.append(now, None, |ledger| Ok(Record::Released(ledger.follow(release, result)?)))
    }

    /// Records that a stored answer was sent again, to `approved`, at no charge.
    pub fn repeated(&mut self, approved: Approved, release: Digest, now: &str) -> Result<Outbound, LedgerError> {
        let Approved { request, by } = approved;
        let outbound = self.stored(release)?;
        self.append(now, None, |ledger| {
            ledger.obstacle(&request.dataset, request.study.kind)?;
            let mut record = ledger.record(&request);
            record.release = Some(release);
            record.transcript = Some(outbound.transcript);
            record.approved_by = Some(by.clone());
            Ok(Record::Repeated(record))
        })?;
        Ok(outbound)
    }
}
