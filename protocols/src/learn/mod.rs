//! Models: what they are, how rounds of released sums train them, how well they do.

pub mod recipe;
