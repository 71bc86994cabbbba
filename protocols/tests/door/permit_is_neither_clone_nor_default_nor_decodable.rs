use entente_protocols::ledger::Permit;

fn clone<T: Clone>() {}
fn default<T: Default>() {}
fn deserialize<T: for<'de> serde::Deserialize<'de>>() {}
fn decode<T: bincode::Decode<()>>() {}

fn main() {
    clone::<Permit>();
    default::<Permit>();
    deserialize::<Permit>();
    decode::<Permit>();
}
