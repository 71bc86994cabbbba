//! Audiences: the customers of this node who were scored in a study, by name, with what each was given.
//!
//! ```text
//! scores by number ─▶ [naming] a second look at the units ─▶ audience/STUDY.parquet ─▶ [saved] the best ─▶ [table]
//!                              of customers who consent                                                    CSV, Parquet
//! ```
//!
//! An audience is a Parquet file of three columns: the privacy unit under its own name and as it is stored (text or a
//! whole number), `score` or `bucket`, and `percentile`: the share, in percent, of all scored customers who have at
//! most this score, so that 100 is the highest and equal scores have one. It is about real customers: it is readable by
//! the node's account alone, and nothing sends it anywhere.

mod format;
mod naming;
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "an audience is a file")]
mod saved;
mod scores;
mod table;

pub use format::{Header, Opened, StudyId, StudyIdError};
pub use naming::Naming;
pub use saved::{Audience, AudienceError, list};
pub use scores::Scores;
pub use table::{Chosen, Form, Selection};

#[cfg(test)]
mod tests;
