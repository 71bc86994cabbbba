use entente_protocols::ledger::Permit;
use entente_protocols::privacy::bounds::Bounded;
use entente_protocols::release::add_noise;

fn twice(permit: Permit, first: Bounded, second: Bounded) {
    let _ = add_noise(permit, first);
    let _ = add_noise(permit, second);
}

fn main() {}
