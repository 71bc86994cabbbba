//! Messages.
/// x
pub struct Contribution;
