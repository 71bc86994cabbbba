//! Whole alliances: real coordinators, nodes, QUIC, SQLite and tables.

mod answers;
#[cfg(target_os = "linux")]
mod faults;
mod hostile;
mod hostile_training;
mod lookalike;
mod processes;
mod receipts;
mod refusals;
mod restarts;
mod review;
mod steward;
mod training;
mod witnesses;
