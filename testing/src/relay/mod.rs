//! Links that fail: relays in user space, between whoever dials and whoever listens, on loopback alone.
//!
//! ```text
//! client ◀──▶ 127.0.0.1:relay ──rules, a seed──▶ 127.0.0.1:target
//! ```
//!
//! What becomes of each packet follows from the seed, the rules and the packet's number on its way, never from a clock: the same
//! seed makes the same choices. Rules can be changed while packets are on their way. A relay ends when it is dropped; all that waits
//! in it is bounded, and what finds no room is lost, as in a router.

mod fate;
mod link;
mod tcp;
mod udp;

pub use link::{Counts, Link, Rules, Way};
pub use tcp::TcpRelay;
pub use udp::UdpRelay;
