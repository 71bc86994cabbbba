//! Typed plans of works, as they are made of a study and a schema. That of sums is the language's ([`crate::language::sums`]).

pub mod rounds;
pub mod score;
