//! Models: what they are, how rounds of released sums train them, how well they do.
//!
//! - [`recipe`]: from values to codes;
//! - [`frame`]: what all methods share: releases, what nodes bring, what the coordinator makes of sums;
//! - [`options`]: what a study may choose, and what every method holds its choices to;
//! - [`linear`], [`logistic`], [`additive`], [`kmeans`]: the methods;
//! - `sigmoid`: the logistic function, as a fast loop;
//! - [`training`]: what fixes one training, by whichever method;
//! - [`evaluation`]: how well a model does on customers it has not seen;
//! - [`trainer`]: a whole training, its evaluation included;
//! - [`model`] and [`mod@file`]: what comes out, how it scores, and how it is kept.

pub mod additive;
pub mod evaluation;
pub mod file;
mod fine;
pub mod frame;
pub mod kmeans;
pub mod linear;
pub mod logistic;
mod matrix;
pub mod model;
pub mod options;
pub mod recipe;
mod sigmoid;
pub mod trainer;
pub mod training;

#[cfg(test)]
mod tests;
