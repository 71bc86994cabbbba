//! Seeds queries: customers who fulfil a condition, as one more item of a features query; and a second one, how much each counts,
//! where the seeds query has a second item.
//!
//! The new text is written from the parser's trees, and read again: only if that gives the same tree is it used, since the
//! parser's way of writing text and names is not exact for all of them.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{self, Ident};

use crate::language::expr::Expr;
use crate::language::rows::RowsPlan;

use super::columns::columns;
use super::error::Refusal;
use super::form::Form;
use super::scope::Scope;
use super::source::Source;
use super::statement::{self, Statement};

/// Which of two texts cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelRefusal {
    /// The seeds query.
    #[error("`seeds`: {0}")]
    Seeds(Refusal),
    /// The features query.
    #[error("`features`: {0}")]
    Features(Refusal),
    /// Both together.
    #[error(transparent)]
    Both(#[from] Refusal),
}

/// The features query with an item that says who is a seed and, where the seeds query says so, one that says how much a seed
/// counts, and whether it does.
pub(super) fn labelled(features: &str, seeds: &str, label: &str, weight: &str) -> Result<(String, bool), LabelRefusal> {
    use LabelRefusal::{Features, Seeds};
    let seeds = Source::read(seeds, Form::Seeds).map_err(Seeds)?;
    let named = statement::parse(&seeds).map_err(Seeds)?;
    let condition = condition(&seeds, &named).map_err(Seeds)?.clone();
    let value = named.items.get(1).map(|item| item.expr.clone());
    let source = Source::read(features, Form::Features).map_err(Features)?;
    let mut query = statement::parsed(&source).map_err(Features)?;
    let statement = statement::select(&source, query.clone()).map_err(Features)?;
    check_from(&seeds, &named, &statement).map_err(Seeds)?;
    check_label(&source, &statement, label, "what the model is to predict").map_err(Features)?;
    if value.is_some() {
        check_label(&source, &statement, weight, "how much a seed counts").map_err(Features)?;
    }
    let valued = value.is_some();
    let ast::SetExpr::Select(select) = &mut *query.body else {
        let why = "a query is one SELECT over one data set";
        return Err(Features(source.refuse(source.whole(), why, source.form.shape())));
    };
    let items = [(Some(total(condition)), label), (value, weight)];
    let items = items.into_iter().filter_map(|(expr, alias)| Some((expr?, Ident::new(alias))));
    select.projection.extend(items.map(|(expr, alias)| ast::SelectItem::ExprWithAlias { expr, alias }));
    let text = query.to_string();
    let together = |why: String, instead: &str| Refusal::outside("`seeds` with `features`", why, instead);
    let again = Source::read(&text, Form::Features).and_then(|source| statement::parsed(&source));
    match again {
        Ok(again) if again == query => Ok((text, valued)),
        Ok(_) => {
            let why = "a text or name in them has quotation marks that cannot be written anew".to_owned();
            Err(together(why, "Declare the value without quotation marks, or describe it with other columns").into())
        }
        Err(refusal) => Err(together(refusal.why, &refusal.instead).into()),
    }
}

/// The features of a plan that read a column which the condition reads as well.
pub(super) fn shared(scope: &Scope<'_>, statement: &Statement, features: &RowsPlan) -> Result<Vec<String>, Refusal> {
    let condition = scope.condition(condition(scope.source, statement)?, 0)?;
    for item in statement.items.iter().take(1) {
        if !scope.is_unit(&item.expr) {
            let unit = &scope.schema.privacy_unit;
            let why = format!("seeds are customers, named by the privacy unit `{unit}`, which comes first");
            return Err(scope.refuse(&item.expr, why, format!("Write SELECT {unit} FROM data_set WHERE condition")));
        }
    }
    let read = |expr: &Expr| columns(std::iter::once(expr), scope.schema);
    let seeds = read(&condition.expr);
    let shares = |expr: &Expr| read(expr).iter().any(|column| seeds.contains(column));
    Ok(features.outputs.iter().filter(|output| shares(&output.expr)).map(|output| output.name.clone()).collect())
}

/// The condition of a seeds query, which has one item, or two.
fn condition<'s>(source: &Source<'_>, statement: &'s Statement) -> Result<&'s ast::Expr, Refusal> {
    if let [_, _, third, ..] = statement.items.as_slice() {
        let why =
            "seeds are customers, named by the privacy unit, each with one number at most that says how much it counts";
        return Err(source.refuse(source.extent(&third.expr), why, source.form.shape()));
    }
    statement.filter.as_ref().ok_or_else(|| {
        let why = "it names every customer, and a model learns what tells seeds from others";
        source.refuse(source.whole(), why, source.form.shape())
    })
}

/// The condition may name its columns by the table or its alias, so the two queries must call it the same.
fn check_from(source: &Source<'_>, seeds: &Statement, features: &Statement) -> Result<(), Refusal> {
    let alias = match (&seeds.alias, &features.alias) {
        (Some(seeds), Some(features)) => alike(seeds, features),
        (None, None) => true,
        _ => false,
    };
    if alias && alike(&seeds.table, &features.table) {
        return Ok(());
    }
    let from = match &features.alias {
        Some(alias) => format!("{} {alias}", features.table),
        None => features.table.to_string(),
    };
    let why = "seeds and features are read from one data set, by one name";
    Err(source.refuse(source.clause("FROM"), why, format!("Write FROM {from}, as in `features`")))
}

fn check_label(source: &Source<'_>, features: &Statement, label: &str, meaning: &str) -> Result<(), Refusal> {
    for item in &features.items {
        let name = match (&item.alias, &item.expr) {
            (Some(alias), _) | (None, ast::Expr::Identifier(alias)) => Some(alias),
            (None, ast::Expr::CompoundIdentifier(parts)) => parts.last(),
            (None, _) => None,
        };
        if name.is_some_and(|name| name.value.eq_ignore_ascii_case(label)) {
            let why = format!("`{label}` is {meaning}");
            return Err(source.refuse(source.extent(&item.expr), why, "Write AS and another name after it"));
        }
    }
    Ok(())
}

/// Names that may be the same whatever the schema says.
fn alike(a: &Ident, b: &Ident) -> bool {
    match (a.quote_style, b.quote_style) {
        (Some(_), Some(_)) => a.value == b.value,
        _ => a.value.eq_ignore_ascii_case(&b.value),
    }
}

/// `CASE WHEN condition THEN true ELSE false END`: a condition that is never NULL.
fn total(condition: ast::Expr) -> ast::Expr {
    let truth = |value: bool| ast::Expr::value(ast::Value::Boolean(value));
    ast::Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![ast::CaseWhen { condition, result: truth(true) }],
        else_result: Some(Box::new(truth(false))),
    }
}
