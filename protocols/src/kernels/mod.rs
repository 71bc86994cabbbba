//! Loops over customers that are compiled for what the processor has, and say the same on every processor.

pub(crate) mod columns;
pub(crate) mod lookups;

/// What any processor can do.
#[derive(Clone, Copy)]
struct Portable;
