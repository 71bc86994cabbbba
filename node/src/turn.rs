//! Turns: few rounds are computed at once, and one that waits for another participant is not to keep others from it.

/// The turn of a round that is being computed.
pub trait Turn: Sync {
    /// Lets others compute: this round waits for another participant. What it holds in memory, it goes on to hold.
    fn give_back(&self);

    /// Waits until it is its turn again, if it has given that back, or until it `is_over`.
    fn take_again(&self, is_over: &dyn Fn() -> bool);
}

/// The turn of whoever takes turns with nobody.
pub struct Alone;

impl Turn for Alone {
    fn give_back(&self) {}

    fn take_again(&self, _: &dyn Fn() -> bool) {}
}
