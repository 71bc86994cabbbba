//! What all other parts stand on: the alliance's folder, and who is connected.

pub mod alliance;
pub(crate) mod certificates;
pub(crate) mod serving;
pub(crate) mod sessions;
