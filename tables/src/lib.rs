//! What the values of a table mean, decided once for whoever looks at them: nodes, and those who score a table by a model.
//!
//! ```text
//! stored columns ─▶ [read] as declared ─▶ [Vector] ─▶ [evaluate] expressions ─▶ [Vector] ─▶ [codes] of a model's columns
//!  (Arrow)          [texts] [calendar]               [truth]                       └──────▶ a node's cells and sums
//! ```
//!
//! Total on every value: nothing in a row can make any of it fail. The table of [kernels](evaluate::kernels) says what
//! expressions can compute, and what can come of it.
//!
//! [Vector]: vector::Vector

pub mod calendar;
pub mod codes;
pub mod evaluate;
pub mod read;
pub mod texts;
pub mod truth;
pub mod vector;
