use entente_protocols::canonical::canonical_bytes;
use entente_protocols::wire::message::Contribution;

fn send_on(contribution: &Contribution) -> Vec<u8> {
    canonical_bytes(contribution)
}

fn main() {}
