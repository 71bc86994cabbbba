use entente_protocols::ledger::Outbound;
use entente_protocols::canonical::{Malformed, from_canonical};

fn forge(bytes: &[u8]) -> Result<Outbound, Malformed> {
    from_canonical(bytes, 4096)
}

fn main() {}
