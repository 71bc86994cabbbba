//! The dialect that queries are parsed in.

use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};

/// PostgreSQL's names and precedences, and none of its other extensions, save FILTER, which is parsed so that it can
/// be refused with words.
///
/// PostgreSQL's own dialect is not used because it parses the arguments of a call twice, in case they are named, so
/// that n nested calls take 2^n steps.
#[derive(Debug)]
pub(super) struct StudyDialect;

const POSTGRESQL: PostgreSqlDialect = PostgreSqlDialect {};

impl Dialect for StudyDialect {
    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRESQL.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRESQL.is_identifier_part(ch)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"'
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRESQL.prec_value(precedence)
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }
}
