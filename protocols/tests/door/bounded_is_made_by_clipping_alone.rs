use std::sync::Arc;

use entente_protocols::privacy::bounds::{Bounded, Layout};

fn main() {
    let layout = Arc::new(Layout::new(1, 1, 1, vec![]));
    let _ = Bounded { layout, values: vec![42] };
}
