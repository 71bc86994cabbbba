use entente_protocols::ledger::Ledger;
use entente_protocols::ledger::store::Memory;
use entente_protocols::release::{Distributed, Noised};

fn send(ledger: &mut Ledger<Memory>, noised: Noised<Distributed>) {
    let _ = ledger.computed(noised, None, "now");
}

fn main() {}
