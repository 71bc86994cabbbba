use entente_protocols::ledger::Protected;

struct Mine(Vec<i64>);

impl Protected for Mine {}

fn main() {}
