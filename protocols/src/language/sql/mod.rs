//! From SQL to a [`SumsPlan`] or a [`RowsPlan`]: the only maker of plans.
//!
//! ```text
//! SQL ─▶ tokens ─▶ SELECT, clause by clause ─▶ typed expressions with public ranges ─▶ SumsPlan or RowsPlan
//! ```
//!
//! What is not listed here is refused, with its place, the reason and what to write instead ([`Refusal`]).
//!
//! **Query.** One `SELECT` over one data set, with `WHERE` and `GROUP BY`. Its items are group keys and measures, each
//! with an optional name. Measures are `COUNT(*)`, `COUNT(DISTINCT unit)`, `SUM(x)` and `AVG(x)`, and stand alone.
//!
//! **Features query.** One `SELECT` over one data set, with `WHERE`. Its items are the privacy unit, once, and row
//! expressions with public values, each with a name of its own: numbers and dates within bounds, categories, conditions.
//!
//! **Seeds query.** One `SELECT` of the privacy unit over one data set, with `WHERE`. It becomes an item of a features query.
//!
//! **Privacy unit.** It appears in `COUNT(DISTINCT unit)`, or as an item of a features or seeds query, and nowhere else, so no
//! condition can single out a customer.
//!
//! **Row expressions.** Columns, literals, `+ - * /`, comparisons, `AND OR NOT`, `IS [NOT] NULL`, `IN (…)`, `BETWEEN`,
//! `CASE`, `CAST` and `::`, `ABS`, `COALESCE`, `NULLIF`, `EXTRACT`, `DATE_PART`, `DATE_TRUNC`. Types are strict; only a
//! whole number becomes a number, and a text literal a date, unasked. Every number has a range that follows from the
//! declared bounds. Arithmetic whose operands have none, or whose result could overflow, is refused, so a plan is
//! total and never makes a NaN or an infinity; `x / y` where `y` comes near zero can only be compared.
//!
//! **Bounds in the query.** A `CASE` that compares an expression with constants bounds that very expression in its
//! results, as in `CASE WHEN x < 0 THEN 0 WHEN x > 100 THEN 100 ELSE x END`.
//!
//! **Groups.** A key has public values: a category, a condition, whole numbers and dates within narrow bounds, and
//! `CASE` over literals.

mod columns;
mod dialect;
mod error;
mod expression;
mod form;
mod functions;
mod groups;
mod measures;
mod operators;
mod range;
mod rows;
mod scope;
mod seeds;
mod size;
mod source;
mod statement;
mod typed;

use std::collections::HashSet;

use sqlparser::ast;
use sqlparser::tokenizer::Span;

use crate::language::expr::Expr;
use crate::language::normal;
use crate::language::rows::RowsPlan;
use crate::language::schema::DatasetSchema;
use crate::language::sums::{BaseSum, GroupKey, Measure, MeasureKind, Output, Shown, ShownKey, SumsPlan};

use columns::columns;
use form::Form;
use measures::Sums;
use scope::{Name, Scope, same_name};
use size::Size;
use source::Source;
use statement::{Item, Statement};
use typed::Typed;

pub use error::Refusal;
pub use seeds::LabelRefusal;

/// What a study says about one customer's contribution, beside the SQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Largest number of groups one customer may touch; 1 where it is not given, at most the number of cells.
    pub max_groups: Option<u32>,
    /// Largest number of rows one customer may count with, up to 2^20; 1 where it is not given.
    pub max_rows: Option<u32>,
}

/// The plan of a query over the data set with this schema.
///
/// # Errors
///
/// A [`Refusal`], for anything outside the grammar, without public bounds or groups, or too large.
pub fn plan(sql: &str, limits: Limits, schema: &DatasetSchema) -> Result<SumsPlan, Refusal> {
    with_room(|| {
        let max_rows = max_rows(limits)?;
        parsed(sql, Form::Query, schema, |scope, statement| Planner::new(scope, statement).finish(limits, max_rows))
    })
}

/// The plan of a features query over the data set with this schema: `SELECT unit, expression [AS name], … FROM data_set
/// [WHERE condition]`, which yields one row a customer.
///
/// # Errors
///
/// A [`Refusal`], for anything outside the grammar, without public bounds or values, or too large.
pub fn rows(sql: &str, schema: &DatasetSchema) -> Result<RowsPlan, Refusal> {
    with_room(|| parsed(sql, Form::Features, schema, rows::plan))
}

/// A features query with one item more, called `label`: whether a customer is among those whom the seeds query `SELECT unit
/// FROM data_set WHERE condition` names. Where the condition is NULL, it is not. Where the seeds query is `SELECT unit, number …`,
/// that number is another item, called `weight`; whether it is there is said beside the text.
///
/// # Errors
///
/// A [`LabelRefusal`] where a text has another shape, or the two do not go together. What it takes a schema to find is left
/// to [`rows`] and [`shared`].
pub fn labelled(features: &str, seeds: &str, label: &str, weight: &str) -> Result<(String, bool), LabelRefusal> {
    with_room(|| Ok(seeds::labelled(features, seeds, label, weight)))?
}

/// The features of a plan that read a column which the condition of a seeds query over the same data set reads as well.
///
/// # Errors
///
/// A [`Refusal`] of the seeds query, for anything outside the grammar.
pub fn shared(seeds: &str, features: &RowsPlan, schema: &DatasetSchema) -> Result<Vec<String>, Refusal> {
    with_room(|| parsed(seeds, Form::Seeds, schema, |scope, statement| seeds::shared(scope, statement, features)))
}

/// The data set that a query, of any kind, is over, as written, so that the caller can find its schema.
///
/// # Errors
///
/// A [`Refusal`] where the text is not one SELECT over one data set; nothing else is looked at.
pub fn dataset_name(sql: &str) -> Result<String, Refusal> {
    with_room(|| Ok(statement::table_name(&Source::read(sql, Form::Either)?)?.value))
}

/// Most numbers in a release: cells × base sums.
const MAX_NUMBERS: usize = 1_000_000;
const MAX_MEASURES: usize = 64;
const MAX_KEYS: usize = 8;
const MAX_ROWS: u32 = 1 << 20;

/// Runs on a thread with a stack that fits the parser's recursion limit, whatever is left of the caller's: without
/// optimisation one level takes some 100 KiB.
fn with_room<T: Send>(work: impl FnOnce() -> Result<T, Refusal> + Send) -> Result<T, Refusal> {
    const STACK: usize = 32 << 20;
    std::thread::scope(|scope| {
        match std::thread::Builder::new().name("sql".into()).stack_size(STACK).spawn_scoped(scope, work) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => {
                let why = format!("this machine could not start a thread to parse it ({error})");
                Err(Refusal::outside("the query", why, "Ask again when the machine is less busy"))
            }
        }
    })
}

/// Takes a text apart and hands it to its planner.
fn parsed<T>(
    sql: &str,
    form: Form,
    schema: &DatasetSchema,
    planner: impl FnOnce(&Scope<'_>, &Statement) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    schema.validate().map_err(|error| {
        Refusal::outside(&schema.name, error.to_string(), "Correct the schema in node.toml at each partner")
    })?;
    let source = Source::read(sql, form)?;
    let statement = statement::parse(&source)?;
    let qualifier = statement.alias.as_ref().unwrap_or(&statement.table);
    let scope = Scope { source: &source, schema, qualifier };
    check_table(&scope, &statement)?;
    planner(&scope, &statement)
}

fn max_rows(limits: Limits) -> Result<u32, Refusal> {
    if limits.max_groups == Some(0) {
        let instead = "Write the largest number of groups in which one customer may count, at least 1";
        return Err(Refusal::outside("max_groups_per_customer = 0", "then nobody counts", instead));
    }
    match limits.max_rows.unwrap_or(1) {
        rows @ 1..=MAX_ROWS => Ok(rows),
        rows => {
            let part = format!("max_rows_per_customer = {rows}");
            let why = format!("it lies between 1 and {MAX_ROWS}");
            Err(Refusal::outside(part, why, "Write the largest number of rows with which one customer may count"))
        }
    }
}

fn check_table(scope: &Scope<'_>, statement: &Statement) -> Result<(), Refusal> {
    let name = &scope.schema.name;
    let table = &statement.table;
    if table.value == *name || (table.quote_style.is_none() && table.value.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(scope.source.refuse(table.span, "there is no such data set here", format!("Write FROM {name}")))
}

/// The name of a column of the result, and what it is the name of.
type Named = (String, Span);

/// A group key on its way into the plan.
struct Key<'e, 'a> {
    ast: &'e ast::Expr,
    typed: Typed<'a>,
    /// The item of the SELECT list that shows it.
    item: Option<usize>,
}

/// An item of the SELECT list on its way into the plan.
enum Taken<'a> {
    Key(Typed<'a>),
    Measure(measures::Unnamed),
}

struct Planner<'e, 'a> {
    scope: &'e Scope<'a>,
    statement: &'e Statement,
    sums: Sums,
    size: Size,
}

impl<'e, 'a> Planner<'e, 'a> {
    fn new(scope: &'e Scope<'a>, statement: &'e Statement) -> Self {
        Self { scope, statement, sums: Sums::default(), size: Size::default() }
    }

    fn finish(mut self, limits: Limits, max_rows: u32) -> Result<SumsPlan, Refusal> {
        let items = self.items()?;
        let filter = match &self.statement.filter {
            Some(filter) => Some(self.scope.condition(filter, 0)?),
            None => None,
        };
        self.grow(filter.as_ref().map_or(0, |filter| filter.size))?;
        let mut keys = self.keys(&items)?;
        let outputs = self.outputs(&items, &mut keys)?;
        let (names, groups): (Vec<_>, Vec<_>) = self.groups(keys)?.into_iter().unzip();
        let measures: Vec<(String, Span)> = self.measure_names(&items);
        self.check_names(&names, &measures)?;
        self.check_numbers(&names, &groups)?;
        let (groups, places) = normal::ordered(groups);
        let keys = names.into_iter().zip(places).map(|((name, _), group)| ShownKey { name, group });
        let (sums, places) = normal::ordered(self.sums.0.drain(..).map(in_normal_form).collect());
        let measures = measures.into_iter().zip(items.into_iter().filter_map(|item| match item {
            Taken::Measure(measure) => Some(measure.kind),
            Taken::Key(_) => None,
        }));
        let measures = measures.map(|((name, _), kind)| Measure { name, kind: placed(kind, &places) });
        let mut plan = SumsPlan {
            dataset: self.scope.schema.name.clone(),
            privacy_unit: self.scope.schema.privacy_unit.clone(),
            columns: Vec::new(),
            filter: filter.map(|filter| normal::expr(filter.expr)),
            groups,
            sums,
            shown: Shown { keys: keys.collect(), measures: measures.collect(), outputs },
            max_groups: 1,
            max_rows,
        };
        plan.columns = columns(plan.exprs(), self.scope.schema);
        let cells = u32::try_from(plan.cells()).unwrap_or(u32::MAX);
        plan.max_groups = limits.max_groups.unwrap_or(1).min(cells).max(1);
        Ok(plan)
    }

    /// The typed items of the SELECT list; an item is a measure or must turn out to be a group key.
    fn items(&mut self) -> Result<Vec<Taken<'a>>, Refusal> {
        let mut taken = Vec::new();
        let mut measures = 0;
        for Item { expr, .. } in &self.statement.items {
            taken.push(match measures::is_measure(expr) {
                true => {
                    let measure = self.scope.measure(expr, &mut self.sums)?;
                    self.grow(measure.size)?;
                    measures += 1;
                    Taken::Measure(measure)
                }
                false => {
                    let typed = self.key_expression(expr)?;
                    self.grow(typed.size)?;
                    Taken::Key(typed)
                }
            });
            if measures > MAX_MEASURES {
                let why = format!("a query has at most {MAX_MEASURES} measures");
                return Err(self.scope.refuse(expr, why, "Write several studies"));
            }
        }
        if measures == 0 {
            let instead = "Add COUNT(*), COUNT(DISTINCT unit), SUM(x) or AVG(x) to the items of SELECT";
            return Err(self.scope.source.refuse(self.scope.source.whole(), "it asks for no measure", instead));
        }
        Ok(taken)
    }

    fn grow(&mut self, nodes: usize) -> Result<(), Refusal> {
        self.size.grow(self.scope, nodes)
    }

    /// The keys of GROUP BY, equal ones once.
    fn keys(&mut self, items: &[Taken<'a>]) -> Result<Vec<Key<'e, 'a>>, Refusal> {
        let mut keys: Vec<Key<'e, 'a>> = Vec::new();
        for expr in &self.statement.groups {
            let (ast, typed) = self.key(expr, items)?;
            if keys.iter().all(|key| key.typed.expr != typed.expr) {
                self.grow(typed.size)?;
                keys.push(Key { ast, typed, item: None });
            }
            if keys.len() > MAX_KEYS {
                let why = format!("a query has at most {MAX_KEYS} keys");
                return Err(self.scope.source.refuse(self.scope.source.clause("GROUP"), why, "Write fewer keys"));
            }
        }
        Ok(keys)
    }

    /// One key: an ordinal or name of an item, or an expression.
    fn key(&self, expr: &'e ast::Expr, items: &[Taken<'a>]) -> Result<(&'e ast::Expr, Typed<'a>), Refusal> {
        if let ast::Expr::Nested(inner) = expr {
            return self.key(inner, items);
        }
        let item = match expr {
            ast::Expr::Value(value) => match &value.value {
                ast::Value::Number(digits, _) => Some(self.ordinal(expr, digits)?),
                _ => None,
            },
            ast::Expr::Identifier(ident) => self.alias(expr, ident, items)?,
            _ => None,
        };
        let Some(item) = item else { return Ok((expr, self.key_expression(expr)?)) };
        match &items[item] {
            Taken::Key(typed) => Ok((&self.statement.items[item].expr, typed.clone())),
            Taken::Measure(_) => {
                Err(self.scope.refuse(expr, "it is a measure, not a key", "Write the keys alone in GROUP BY"))
            }
        }
    }

    /// An expression that is a key or shows one, in its normal form, so that keys which say the same are one.
    fn key_expression(&self, expr: &ast::Expr) -> Result<Typed<'a>, Refusal> {
        let typed = self.scope.expression(expr)?;
        Ok(Typed { expr: normal::expr(typed.expr), ..typed })
    }

    fn ordinal(&self, expr: &ast::Expr, digits: &str) -> Result<usize, Refusal> {
        let count = self.statement.items.len();
        match digits.parse::<usize>() {
            Ok(ordinal) if (1..=count).contains(&ordinal) => Ok(ordinal - 1),
            _ => {
                let instead = format!("Write a number from 1 to {count}, or the key itself");
                Err(self.scope.refuse(expr, "there is no such item in SELECT", instead))
            }
        }
    }

    /// The item with this name, unless the name is that of a column. A name that is both must mean one thing.
    fn alias(&self, expr: &ast::Expr, ident: &ast::Ident, items: &[Taken<'a>]) -> Result<Option<usize>, Refusal> {
        let named = |item: &Item| item.alias.as_ref().is_some_and(|alias| same_name(ident, alias));
        let Some(item) = self.statement.items.iter().position(named) else { return Ok(None) };
        let Name::Column(column) = self.scope.name(ident) else { return Ok(Some(item)) };
        match &items[item] {
            Taken::Key(typed) if typed.expr == column.expr => Ok(Some(item)),
            _ => {
                let why = "it is the name of a column and of another item of SELECT";
                let number = match &items[item] {
                    Taken::Key(_) => format!(", or the number of the item: GROUP BY {}", item + 1),
                    Taken::Measure(_) => String::new(),
                };
                let instead = format!("Write another name after AS{number}");
                Err(self.scope.refuse(expr, why, instead))
            }
        }
    }

    /// The result's columns; finds the key that each other item shows.
    fn outputs(&self, items: &[Taken<'a>], keys: &mut [Key<'e, 'a>]) -> Result<Vec<Output>, Refusal> {
        let mut measures = 0..;
        let mut outputs = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let Taken::Key(typed) = item else {
                outputs.extend(measures.next().map(Output::Measure));
                continue;
            };
            let expr = &self.statement.items[at].expr;
            let Some(key) = keys.iter().position(|key| key.typed.expr == typed.expr) else {
                let instead = "Add it to GROUP BY, or put it into a measure such as SUM(…) or AVG(…)";
                return Err(self.scope.refuse(expr, "it is neither a measure nor a key of GROUP BY", instead));
            };
            if keys[key].item.replace(at).is_some() {
                return Err(self.scope.refuse(expr, "this key is shown already", "Write each key once in SELECT"));
            }
            outputs.push(Output::Group(key));
        }
        Ok(outputs)
    }

    /// The keys with their names, in the order of GROUP BY.
    fn groups(&self, keys: Vec<Key<'e, 'a>>) -> Result<Vec<(Named, GroupKey)>, Refusal> {
        let mut groups = Vec::with_capacity(keys.len());
        for Key { ast, typed, item } in keys {
            let domain = self.scope.domain(ast, &typed)?;
            let (name, span) = match item.map(|item| &self.statement.items[item]) {
                Some(Item { alias: Some(alias), .. }) => (alias.value.clone(), alias.span),
                _ => (self.key_name(ast, &typed), self.scope.source.extent(ast)),
            };
            groups.push(((name, span), GroupKey { expr: typed.expr, domain }));
        }
        Ok(groups)
    }

    /// The column's name, or the text of the expression.
    fn key_name(&self, ast: &ast::Expr, typed: &Typed<'_>) -> String {
        match &typed.expr {
            Expr::Column(column) => column.clone(),
            _ => self.scope.source.shortened(self.scope.source.extent(ast)),
        }
    }

    fn measure_names(&self, items: &[Taken<'a>]) -> Vec<(String, Span)> {
        let name = |(item, taken): (&Item, &Taken<'_>)| match (taken, &item.alias) {
            (Taken::Key(_), _) => None,
            (Taken::Measure(_), Some(alias)) => Some((alias.value.clone(), alias.span)),
            (Taken::Measure(measure), None) => Some((measure.name.clone(), self.scope.source.extent(&item.expr))),
        };
        self.statement.items.iter().zip(items).filter_map(name).collect()
    }

    fn check_names(&self, keys: &[(String, Span)], measures: &[(String, Span)]) -> Result<(), Refusal> {
        let mut seen = HashSet::new();
        for (name, span) in keys.iter().chain(measures) {
            if !seen.insert(name) {
                let why = format!("two columns of the result would be called `{name}`");
                return Err(self.scope.source.refuse(*span, why, "Write AS and another name after one of them"));
            }
        }
        Ok(())
    }

    fn check_numbers(&self, names: &[(String, Span)], groups: &[GroupKey]) -> Result<(), Refusal> {
        let (source, sums) = (self.scope.source, self.sums.0.len());
        let cells = groups.iter().try_fold(1usize, |cells, key| cells.checked_mul(key.domain.len()));
        match cells.and_then(|cells| cells.checked_mul(sums)) {
            Some(1..=MAX_NUMBERS) => Ok(()),
            _ => {
                let sizes =
                    names.iter().zip(groups).map(|((name, _), key)| format!("{} of `{name}`", key.domain.len()));
                let sizes = sizes.collect::<Vec<_>>().join(" × ");
                let why = format!("the result has more than {MAX_NUMBERS} numbers: {sizes} × {sums} sums");
                Err(source.refuse(source.clause("GROUP"), why, "Write fewer keys, coarser bins or fewer measures"))
            }
        }
    }
}

fn in_normal_form(sum: BaseSum) -> BaseSum {
    match sum {
        BaseSum::Rows | BaseSum::Customers => sum,
        BaseSum::Present(expr) => BaseSum::Present(normal::expr(expr)),
        BaseSum::Values { expr, low, high, center } => BaseSum::Values { expr: normal::expr(expr), low, high, center },
    }
}

/// A measure of sums that now stand at these places.
fn placed(kind: MeasureKind, places: &[usize]) -> MeasureKind {
    match kind {
        MeasureKind::CountRows { rows } => MeasureKind::CountRows { rows: places[rows] },
        MeasureKind::CountCustomers { customers } => MeasureKind::CountCustomers { customers: places[customers] },
        MeasureKind::Sum { sum } => MeasureKind::Sum { sum: places[sum] },
        MeasureKind::Average { sum, count } => MeasureKind::Average { sum: places[sum], count: places[count] },
    }
}

#[cfg(test)]
mod tests;
