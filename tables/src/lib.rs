//! What the values of a table mean, decided once for whoever looks at them: nodes, and those who score a table by a model.
//!
//! ```text
//! stored values ─▶ [read] as declared, clipped, text as numbers
//!  (Arrow)          [texts] [calendar]
//! ```
//!
//! Total on every value: nothing in a row can make any of it fail.

pub mod calendar;
pub mod read;
pub mod texts;
