use entente_protocols::privacy::bounds::Bounded;

fn read(bounded: &Bounded) -> &[i64] {
    &bounded.values
}

fn main() {}
