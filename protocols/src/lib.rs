//! What the parties of an alliance say to one another, and the maths that protects it.

pub mod attempt;
pub mod canonical;
pub mod config;
pub mod digest;
pub mod identity;
mod kernels;
pub mod kind;
pub mod language;
pub mod learn;
pub mod ledger;
pub mod lookalike;
pub mod policy;
pub mod privacy;
pub mod reason;
pub mod release;
pub mod secagg;
pub mod study;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wire;
