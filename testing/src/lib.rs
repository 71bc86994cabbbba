//! What tests are made of. Nothing of it is in a product.
//!
//! ```text
//! relay    links between parties that lose, delay, repeat, reorder, shorten and cut
//! ```

pub mod relay;
