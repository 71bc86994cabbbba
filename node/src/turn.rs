//! Turns: few rounds are computed at once, and one that waits for another participant is not to keep others from it.

use entente_host::clock::Moment;

/// The turn of a round that is being computed.
pub trait Turn: Sync {
    /// When the round was told, which may be long before its turn; `None` if that is now.
    fn told(&self) -> Option<Moment>;

    /// Lets others compute: this round waits for another participant. What it holds in memory, it goes on to hold.
    fn give_back(&self);

    /// Waits until it is its turn again, if it has given that back, or until it `is_over`.
    fn take_again(&self, is_over: &dyn Fn() -> bool);
}

/// The turn of whoever takes turns with nobody.
pub struct Alone;

impl Turn for Alone {
    fn told(&self) -> Option<Moment> {
        None
    }

    fn give_back(&self) {}

    fn take_again(&self, _: &dyn Fn() -> bool) {}
}
