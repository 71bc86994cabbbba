//! An example alliance on real tables: a retailer, a bank and a telecom, each with a third of the customers of each table.
//!
//! The quickstart runs studies on it and prints the results beside the truth, which only it knows, as it split the tables.
//! The tests of whole alliances use it too.

pub mod alliance;
pub mod tables;
pub mod truth;
