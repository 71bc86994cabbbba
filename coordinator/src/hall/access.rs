//! Who is let in: the keys of enrolled partners, and the operator's.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use entente_host::locks;
use entente_protocols::digest::Digest;
use rustls::pki_types::CertificateDer;

use super::certificates;

/// Who a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A partner's node.
    Node(String),
    /// A partner that asks for studies, beside its node.
    Requester(String),
    /// The operator's command line.
    Operator,
}

/// The keys that are let in, by their hash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access(Arc<RwLock<HashMap<Digest, Role>>>);

impl Access {
    pub(crate) fn allow(&self, key: Digest, role: Role) {
        locks::write(&self.0).insert(key, role);
    }

    pub(crate) fn end(&self, key: Digest) {
        locks::write(&self.0).remove(&key);
    }

    pub(crate) fn role(&self, certificate: &CertificateDer<'_>) -> Option<Role> {
        let key = certificates::key_digest(certificate)?;
        locks::read(&self.0).get(&key).cloned()
    }
}
