//! The study kind `train`: one model, trained together on features that a query yields for each customer.

pub mod rows;
