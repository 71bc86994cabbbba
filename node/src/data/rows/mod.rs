//! From batches of stored columns to rows on their way to bounding: the expressions of a plan, on every row.

pub(super) mod domain;
pub(super) mod features;
pub(super) mod input;
pub(super) mod pipeline;
