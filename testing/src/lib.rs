//! One world to test in.
//!
//! ```text
//! World    real parts, in one process: a coordinator, nodes, QUIC on loopback, SQLite, files; stopped, started, killed
//! Driven   a real node whose frames a test may change, keep back or repeat
//! Puppets  real participants without a wire, by a coordinator that a test plays
//! Dialler  connections to a coordinator by hand, by whomever
//! Listener connections of real nodes, by a coordinator that a test plays
//! relay    links between them that lose, delay, repeat, reorder, shorten and cut
//! simulation  whole alliances in one thread, in virtual time, of whom a seed says what goes wrong
//! study    study files, as tests write them
//! Parties  in memory: what it takes to make a release, and no more
//! ```
//!
//! Nothing of it is in a product.

mod choices;
mod dial;
mod driven;
mod listen;
mod puppets;
pub mod relay;
pub mod simulation;
mod world;

pub use dial::{Applicant, Conversation, Dialler};
pub use driven::{Does, Driven, Manners};
pub use entente_examples::alliance::{Error, PARTNERS};
pub use entente_protocols::testing::{DATASET, Draft, NOW, Parties, Party, approved, attempt, charge, request, study};
pub use listen::Listener;
pub use puppets::{Proposed, Puppets, Signed, refused};
pub use world::{Founding, SETTINGS, World, last_study, ledger, result, until};
