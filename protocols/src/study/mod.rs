//! What may be asked: one file or folder a study kind.
pub mod query;
pub mod schema;
