//! The study kind `query`: SQL over a data set, parsed once into a typed plan; its result is a table of estimates.

pub mod outcome;

use std::sync::Arc;

use super::parts::{Learns, Parts, Schemas, Work, alike};
use super::refusal::{Line, Refusal};
use crate::language::schema::DatasetSchema;
use crate::language::sql;
use crate::language::sums::SumsPlan;

/// A query as its study states it.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct QuerySpec {
    /// The SQL.
    pub sql: String,
    /// Largest number of groups a customer may touch; 1 if not stated.
    pub max_groups: Option<u32>,
    /// Largest number of rows a customer may count with; 1 if not stated.
    pub max_rows: Option<u32>,
}

impl QuerySpec {
    /// Everybody sums over its own customers.
    pub(super) fn parts(&self, participants: &[String], schemas: &impl Schemas) -> Result<Parts, Refusal> {
        let dataset = sql::dataset_name(&self.sql)?;
        let work = alike(participants, schemas, &dataset, |schema| Ok(Work::Sums(Arc::new(self.plan(schema)?))))?;
        Ok(Parts::of_all(participants, work, Learns::Nothing))
    }

    pub(super) fn asks(&self, line: Line<'_>) -> String {
        format!("for noisy numbers: {}", line(&self.sql))
    }

    /// The typed plan over a data set of this schema.
    pub fn plan(&self, schema: &DatasetSchema) -> Result<SumsPlan, sql::Refusal> {
        sql::plan(&self.sql, sql::Limits { max_groups: self.max_groups, max_rows: self.max_rows }, schema)
    }
}

#[cfg(test)]
mod tests;
