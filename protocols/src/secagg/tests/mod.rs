//! Attacks on masks: real keys that colluders choose, and all choices in a small model.

mod colluders;
mod search;
