use std::sync::Arc;

use entente_protocols::digest::Digest;
use entente_protocols::ledger::Permit;
use entente_protocols::privacy::mechanism::Mechanism;

fn forge(mechanism: Arc<Mechanism>) -> Permit {
    Permit { release: Digest::ZERO, transcript: Digest::ZERO, mechanism }
}

fn main() {}
