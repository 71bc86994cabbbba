//! The columns that a plan reads.

use std::collections::BTreeSet;

use crate::language::expr::Expr;
use crate::language::schema::{ColumnType, DatasetSchema};

/// The columns that expressions read, by name.
pub(super) fn columns<'p>(exprs: impl Iterator<Item = &'p Expr>, schema: &DatasetSchema) -> Vec<(String, ColumnType)> {
    let mut names = BTreeSet::new();
    exprs.for_each(|expr| read_by(expr, &mut names));
    let declared = |name: &str| schema.columns.get(name).map(|column_type| (name.to_owned(), column_type.clone()));
    names.into_iter().filter_map(declared).collect()
}

fn read_by<'p>(expr: &'p Expr, names: &mut BTreeSet<&'p str>) {
    match expr {
        Expr::Column(name) => {
            names.insert(name);
        }
        Expr::Literal(_) | Expr::Null(_) => {}
        Expr::Arithmetic(_, left, right)
        | Expr::Compare(_, left, right)
        | Expr::And(left, right)
        | Expr::Or(left, right) => {
            read_by(left, names);
            read_by(right, names);
        }
        Expr::Not(inner)
        | Expr::IsNull(inner)
        | Expr::Cast(inner, _)
        | Expr::DatePart(_, inner)
        | Expr::DateTrunc(_, inner) => {
            read_by(inner, names);
        }
        Expr::Case(branches, otherwise) => {
            for (condition, result) in branches {
                read_by(condition, names);
                read_by(result, names);
            }
            read_by(otherwise, names);
        }
    }
}
