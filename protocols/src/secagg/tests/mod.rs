//! Attacks on masks: real keys that colluders choose, all choices in a small model, and what the code must compute to the last bit.

mod colluders;
mod known;
mod search;
