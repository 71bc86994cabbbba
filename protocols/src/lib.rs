//! What the parties of an alliance say to one another, and the maths that protects it.
mod columns;
pub mod config;
pub mod digest;
pub mod identity;
pub mod learn;
pub mod ledger;
pub mod lookalike;
mod lookups;
pub mod policy;
pub mod privacy;
pub mod release;
pub mod secagg;
pub mod study;
pub mod wire;
