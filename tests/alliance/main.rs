//! Whole alliances: real coordinators, nodes, QUIC, SQLite and tables.

mod answers;
mod approvals;
mod asking;
mod cases;
mod commits;
mod computing;
mod customers;
mod ends;
#[cfg(target_os = "linux")]
mod faults;
mod first_contact;
mod grid;
mod holds;
mod hostile;
mod hostile_lookalike;
mod hostile_training;
mod legs;
mod links;
mod lookalike;
mod membership;
#[cfg(target_os = "linux")]
mod memory;
mod messages;
mod notices;
mod processes;
mod queue;
mod receipts;
mod recovery;
mod refusals;
mod restarts;
mod resumed;
mod review;
mod snapshots;
mod steward;
mod studies;
mod training;
mod witnesses;
mod years;
