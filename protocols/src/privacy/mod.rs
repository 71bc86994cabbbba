//! What bounds, hides and counts the influence of one customer: clipping, noise and the accounting of both.
//!
//! - [`bounds`]: contribution bounding and clipping, which set the sensitivity;
//! - [`rows`] and [`sums`]: the same for training, where every customer is one row;
//! - [`mechanism`]: how much noise each node adds for a given loss, and what that costs;
//! - `gaussian`: the draw itself, by opendp, and where its randomness comes from;
//! - [`blocks`]: accounts by the year of what rows tell of;
//! - [`rho`]: the unit of account, and its conversion to and from (ε, δ);
//! - [`interval`]: what the noise means for a published number.

pub mod blocks;
pub mod bounds;
mod cells;
pub(crate) mod gaussian;
pub mod interval;
pub(crate) mod joint;
pub mod mechanism;
pub mod rho;
pub mod rows;
pub mod sums;
