//! The planner of features queries: one row a customer, each value with what is publicly known about it.

use std::collections::HashSet;

use sqlparser::tokenizer::Span;

use crate::language::expr::{Expr, Value};
use crate::language::normal;
use crate::language::rows::{Output, RowsPlan};
use crate::learn::recipe::Values;

use super::columns::columns;
use super::error::Refusal;
use super::range::Range;
use super::scope::Scope;
use super::size::Size;
use super::statement::{Item, Statement};
use super::typed::{Domain, Typed};

/// Most items beside the privacy unit.
const MAX_OUTPUTS: usize = 1000;
/// Most values of a category.
const MAX_VALUES: usize = 1000;

/// The plan of a statement without groups.
pub(super) fn plan(scope: &Scope<'_>, statement: &Statement) -> Result<RowsPlan, Refusal> {
    let (source, unit) = (scope.source, &scope.schema.privacy_unit);
    let mut size = Size::default();
    let mut names = HashSet::new();
    let mut has_unit = false;
    let mut outputs = Vec::new();
    for item in &statement.items {
        if scope.is_unit(&item.expr) {
            if std::mem::replace(&mut has_unit, true) {
                return Err(scope.refuse(&item.expr, "the privacy unit is an item already", "Delete it here"));
            }
            let (name, span) = match &item.alias {
                Some(alias) => (&alias.value, alias.span),
                None => (unit, source.extent(&item.expr)),
            };
            check_name(scope, &mut names, name, span)?;
            continue;
        }
        if outputs.len() == MAX_OUTPUTS {
            let why = format!("there are at most {MAX_OUTPUTS} items beside the privacy unit");
            return Err(scope.refuse(&item.expr, why, "Write the features that matter most"));
        }
        let typed = scope.expression(&item.expr)?;
        size.grow(scope, typed.size)?;
        let values = values(scope, item, &typed)?;
        let (name, span) = name(scope, item, &typed)?;
        check_name(scope, &mut names, &name, span)?;
        outputs.push(Output { name, expr: normal::expr(typed.expr), values });
    }
    if !has_unit {
        let why = format!("it does not name the privacy unit, `{unit}`, whose rows these are");
        return Err(source.refuse(source.clause("SELECT"), why, format!("Write SELECT {unit}, and then the features")));
    }
    if outputs.is_empty() {
        return Err(source.refuse(source.clause("SELECT"), "it yields no feature", source.form.shape()));
    }
    let filter = match &statement.filter {
        Some(filter) => Some(scope.condition(filter, 0)?),
        None => None,
    };
    size.grow(scope, filter.as_ref().map_or(0, |filter| filter.size))?;
    let filter = filter.map(|filter| normal::expr(filter.expr));
    Ok(RowsPlan {
        dataset: scope.schema.name.clone(),
        privacy_unit: unit.clone(),
        columns: columns(filter.iter().chain(outputs.iter().map(|output| &output.expr)), scope.schema),
        filter,
        outputs,
    })
}

/// What an item's values are, by its type and public range.
fn values(scope: &Scope<'_>, item: &Item, typed: &Typed<'_>) -> Result<Values, Refusal> {
    let expr = &item.expr;
    if let Some((low, high)) = scope.number_bounds(expr, typed)? {
        // Without minus zero, which would be another plan.
        return Ok(Values::Number { low: low + 0.0, high: high + 0.0 });
    }
    match &typed.domain {
        Domain::Date(Range::Within(low, high)) => Ok(Values::Date { low: low.0, high: high.0 }),
        Domain::Date(Range::Unbounded(cause)) => {
            let mut refusal = scope.unbounded(expr, cause);
            let instead = "Declare min and max for its column in node.toml at each partner, or write EXTRACT(MONTH FROM \
                           date) or another part that has bounds of its own";
            refusal.instead = instead.into();
            Err(refusal)
        }
        Domain::Text(_) => {
            let domain = scope.domain(expr, typed)?.into_iter().filter_map(|value| match value {
                Value::Text(text) => Some(text),
                _ => None,
            });
            let values: Vec<String> = domain.collect();
            if values.len() > MAX_VALUES {
                let why = format!("it can have {} values and a feature has at most {MAX_VALUES}", values.len());
                let instead = "Write CASE WHEN x IN ('a', 'b') THEN 'first' ELSE 'other' END, or declare a coarser \
                               category in node.toml at each partner";
                return Err(scope.refuse(expr, why, instead));
            }
            Ok(Values::Category { values })
        }
        Domain::Bool => Ok(Values::Bool),
        Domain::Null | Domain::Int(_) | Domain::Float { .. } => {
            Err(scope.refuse(expr, "it is always NULL, which says nothing about a customer", "Delete it"))
        }
    }
}

/// The name after AS, or the column's.
fn name(scope: &Scope<'_>, item: &Item, typed: &Typed<'_>) -> Result<(String, Span), Refusal> {
    match (&item.alias, &typed.expr) {
        (Some(alias), _) => Ok((alias.value.clone(), alias.span)),
        (None, Expr::Column(column)) => Ok((column.clone(), scope.source.extent(&item.expr))),
        (None, _) => {
            let why = "a feature that is computed has no name of its own";
            Err(scope.refuse(&item.expr, why, "Write AS and a name after it"))
        }
    }
}

/// Refuses a name that is there already, also in another case: a model goes to tools that do not tell case apart.
fn check_name(scope: &Scope<'_>, names: &mut HashSet<String>, name: &str, span: Span) -> Result<(), Refusal> {
    if names.insert(name.to_lowercase()) {
        return Ok(());
    }
    let why = format!("two items would be called `{name}`, or differ in case alone");
    Err(scope.source.refuse(span, why, "Write AS and another name after one of them"))
}
