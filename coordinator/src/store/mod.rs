//! The coordinator's database: tickets, partners, studies and their results. SQLite; what a call has written when it
//! returns survives a crash of the machine.
//!
//! Several processes can have it open: `entente invite` writes a ticket while the coordinator serves.

mod alarms;
mod composed;
mod database;
mod partners;
mod receipts;
mod rounds;
mod studies;
mod tickets;

pub use alarms::Alarm;
pub use composed::ComposedRecord;
pub use database::Store;
pub use partners::{LastSeen, PartnerRecord};
pub use rounds::{LostRound, RoundRecord};
pub use studies::{Notice, RECEIPT, StudyRecord, StudyState};
pub use tickets::{Admission, TicketRefusal};
