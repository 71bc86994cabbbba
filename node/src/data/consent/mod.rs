//! Consent: the predicate that says which rows may be used ([`predicate`]), and whose rows these are now ([`lookup`]).

pub(super) mod lookup;
pub(super) mod predicate;
