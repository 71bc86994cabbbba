//! One SELECT over one data set: every clause of it is taken or refused, field by field.
//!
//! The parser's structures are taken apart without `..`, so that a clause a newer parser learns cannot pass unseen.

use sqlparser::ast::{self, Expr, Ident, Spanned};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token};

use super::dialect::StudyDialect;
use super::error::Refusal;
use super::source::Source;

/// The parts of a query.
pub(super) struct Statement {
    pub items: Vec<Item>,
    pub table: Ident,
    pub alias: Option<Ident>,
    pub filter: Option<Expr>,
    pub groups: Vec<Expr>,
}

/// One item of the SELECT list.
pub(super) struct Item {
    pub expr: Expr,
    pub alias: Option<Ident>,
}

/// Parses the text and takes its clauses apart.
pub(super) fn parse(source: &Source<'_>) -> Result<Statement, Refusal> {
    select(source, parsed(source)?)
}

/// The name in FROM, whatever the other clauses say.
pub(super) fn table_name(source: &Source<'_>) -> Result<Ident, Refusal> {
    Ok(table(source, plain_select(source, *parsed(source)?.body)?.from)?.0)
}

/// The parser's tree of the text.
pub(super) fn parsed(source: &Source<'_>) -> Result<ast::Query, Refusal> {
    let mut parser = Parser::new(&StudyDialect).with_tokens_with_locations(source.tokens());
    let query = parser.parse_query().map_err(|error| unparsed(source, error))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(source.refuse(next.span, "the query should end here", source.form.shape()));
    }
    Ok(*query)
}

fn unparsed(source: &Source<'_>, error: ParserError) -> Refusal {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            let instead = "Write lists of values with IN (…) and bins with one CASE, or ask in several studies";
            return source.refuse(source.whole(), "the expression is too deeply nested", instead);
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    // The parser gives the place in its message alone.
    let (problem, place) = message.rsplit_once(" at Line: ").unwrap_or((&message, ""));
    let place = place
        .split_once(", Column: ")
        .and_then(|(line, column)| Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?)));
    let place = place.unwrap_or(Location::new(u64::MAX, 1));
    let mut refusal =
        source.refuse(Span::new(place, place), format!("it is not SQL as read here ({problem})"), source.form.shape());
    if place.line == u64::MAX {
        let end = source.whole().end;
        (refusal.line, refusal.column) = (end.line, end.column);
    }
    refusal
}

/// A clause that may be there, and its refusal if it is.
type Clause = (bool, &'static str, &'static str, &'static str);

fn refuse_any(source: &Source<'_>, clauses: &[Clause]) -> Result<(), Refusal> {
    match clauses.iter().find(|(present, ..)| *present) {
        Some((_, keyword, why, instead)) => Err(source.refuse(source.clause(keyword), *why, *instead)),
        None => Ok(()),
    }
}

const DELETE: &str = "Delete it";
const UNAVAILABLE: &str = "this clause is not available in this version";

/// Takes the clauses of a query apart.
pub(super) fn select(source: &Source<'_>, query: ast::Query) -> Result<Statement, Refusal> {
    let ast::Query {
        with,
        body,
        order_by,
        limit_clause,
        fetch,
        locks,
        for_clause,
        settings,
        format_clause,
        pipe_operators,
    } = query;
    let (unsorted, sort_instead) = source.form.sorted();
    let (uncut, cut_instead) = source.form.cut();
    refuse_any(
        source,
        &[
            (with.is_some(), "WITH", "common table expressions are not available in this version", source.form.shape()),
            (order_by.is_some(), "ORDER", unsorted, sort_instead),
            (limit_clause.is_some(), limit_word(&limit_clause), uncut, cut_instead),
            (fetch.is_some(), "FETCH", uncut, cut_instead),
            (!locks.is_empty() || for_clause.is_some(), "FOR", UNAVAILABLE, DELETE),
            (settings.is_some(), "SETTINGS", UNAVAILABLE, DELETE),
            (format_clause.is_some(), "FORMAT", UNAVAILABLE, DELETE),
            (!pipe_operators.is_empty(), "|>", UNAVAILABLE, DELETE),
        ],
    )?;
    let ast::Select {
        select_token: _,
        optimizer_hints,
        distinct,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection,
        exclude,
        into,
        from,
        lateral_views,
        prewhere,
        selection,
        connect_by,
        group_by,
        cluster_by,
        distribute_by,
        sort_by,
        having,
        named_window,
        qualify,
        window_before_qualify: _,
        value_table_mode,
        flavor,
    } = plain_select(source, *body)?;
    let (all_rows, distinct_instead) = source.form.distinct();
    let (no_choice, having_instead) = source.form.having();
    refuse_any(
        source,
        &[
            (!optimizer_hints.is_empty() || select_modifiers.is_some(), "SELECT", "hints are not available", DELETE),
            (distinct.is_some(), "DISTINCT", all_rows, distinct_instead),
            (top.is_some(), "TOP", uncut, cut_instead),
            (exclude.is_some(), "EXCLUDE", UNAVAILABLE, DELETE),
            (into.is_some(), "INTO", "a query writes nothing", "Delete it; results are written by `study run --out`"),
            (!lateral_views.is_empty(), "LATERAL", UNAVAILABLE, DELETE),
            (prewhere.is_some(), "PREWHERE", UNAVAILABLE, "Write WHERE"),
            (!connect_by.is_empty(), "CONNECT", UNAVAILABLE, DELETE),
            (!cluster_by.is_empty(), "CLUSTER", UNAVAILABLE, sort_instead),
            (!distribute_by.is_empty(), "DISTRIBUTE", UNAVAILABLE, sort_instead),
            (!sort_by.is_empty(), "SORT", UNAVAILABLE, sort_instead),
            (having.is_some(), "HAVING", no_choice, having_instead),
            (!named_window.is_empty(), "WINDOW", "window functions are not available in this version", DELETE),
            (qualify.is_some(), "QUALIFY", "window functions are not available in this version", DELETE),
            (value_table_mode.is_some(), "AS", UNAVAILABLE, DELETE),
            (!matches!(flavor, ast::SelectFlavor::Standard), "FROM", "a query begins with SELECT", source.form.shape()),
        ],
    )?;
    let (table, alias) = table(source, from)?;
    Ok(Statement {
        items: projection.into_iter().map(|item| item_of(source, item)).collect::<Result<_, _>>()?,
        table,
        alias,
        filter: selection,
        groups: groups(source, group_by)?,
    })
}

fn plain_select(source: &Source<'_>, body: ast::SetExpr) -> Result<ast::Select, Refusal> {
    match body {
        ast::SetExpr::Select(select) => Ok(*select),
        _ => Err(source.refuse(source.whole(), "a query is one SELECT over one data set", source.form.shape())),
    }
}

fn limit_word(clause: &Option<ast::LimitClause>) -> &'static str {
    match clause {
        Some(ast::LimitClause::LimitOffset { limit: None, .. }) => "OFFSET",
        _ => "LIMIT",
    }
}

fn item_of(source: &Source<'_>, item: ast::SelectItem) -> Result<Item, Refusal> {
    match item {
        ast::SelectItem::UnnamedExpr(expr) => Ok(Item { expr, alias: None }),
        ast::SelectItem::ExprWithAlias { expr, alias } => {
            if alias.quote_style == Some('\'') {
                // The parser gives no place for such a name.
                let instead = format!("Write AS {}", alias.value);
                return Err(source.refuse(source.extent(&expr), "a name is not written as text", instead));
            }
            let empty = alias.value.trim().is_empty();
            if empty || alias.value.chars().any(char::is_control) || alias.value.len() > MAX_NAME {
                let why = format!("a name has 1 to {MAX_NAME} bytes and no control characters");
                return Err(source.refuse(alias.span, why, "Write a short name after AS"));
            }
            Ok(Item { expr, alias: Some(alias) })
        }
        ast::SelectItem::ExprWithAliases { expr, aliases: _ } => {
            Err(source.refuse(source.extent(&expr), "an item has one name", "Write AS name"))
        }
        item @ (ast::SelectItem::Wildcard(_) | ast::SelectItem::QualifiedWildcard(..)) => {
            let (why, instead) = source.form.everything();
            Err(source.refuse(item.span(), why, instead))
        }
    }
}

/// Longest name after AS, in bytes.
const MAX_NAME: usize = 128;

fn groups(source: &Source<'_>, group_by: ast::GroupByExpr) -> Result<Vec<Expr>, Refusal> {
    let none = matches!(&group_by, ast::GroupByExpr::Expressions(keys, _) if keys.is_empty());
    if let (Some((why, instead)), false) = (source.form.no_aggregates(), none) {
        return Err(source.refuse(source.clause("GROUP"), why, instead));
    }
    match group_by {
        ast::GroupByExpr::Expressions(keys, modifiers) if modifiers.is_empty() => Ok(keys),
        ast::GroupByExpr::Expressions(..) | ast::GroupByExpr::All(_) => Err(source.refuse(
            source.clause("GROUP"),
            "GROUP BY ALL, ROLLUP, CUBE and GROUPING SETS are not available in this version",
            "Write GROUP BY and the keys themselves; add up the published groups afterwards, which costs nothing",
        )),
    }
}

fn table(source: &Source<'_>, from: Vec<ast::TableWithJoins>) -> Result<(Ident, Option<Ident>), Refusal> {
    let joins_why = "a query reads one data set; joins are not available in this version";
    let joins_instead = "Write FROM one data set, and one study for each";
    let mut tables = from.into_iter();
    let (first, second) = (tables.next(), tables.next());
    let Some(first) = first else {
        return Err(source.refuse(source.whole(), "it does not say which data set is asked", source.form.shape()));
    };
    let ast::TableWithJoins { relation, joins } = first;
    if second.is_some() || !joins.is_empty() {
        return Err(source.refuse(source.clause("FROM"), joins_why, joins_instead));
    }
    let bare = |why: &str| source.refuse(source.clause("FROM"), why, "Write FROM and the name of the data set");
    let ast::TableFactor::Table {
        name,
        alias,
        args,
        with_hints,
        version,
        with_ordinality,
        partitions,
        json_path,
        sample,
        index_hints,
    } = relation
    else {
        return Err(bare("a query reads a data set; subqueries and table functions are not available"));
    };
    if args.is_some() || with_ordinality || json_path.is_some() {
        return Err(bare("table functions are not available"));
    }
    if sample.is_some() {
        return Err(bare("samples are not drawn by the query; a sample spends as much as the whole"));
    }
    if !with_hints.is_empty() || version.is_some() || !partitions.is_empty() || !index_hints.is_empty() {
        return Err(bare("hints, versions and partitions are not available"));
    }
    let table = match <[ast::ObjectNamePart; 1]>::try_from(name.0) {
        Ok([ast::ObjectNamePart::Identifier(table)]) => table,
        _ => return Err(bare("a data set has a name of one part")),
    };
    let alias = match alias {
        None => None,
        Some(ast::TableAlias { explicit: _, name, columns, at }) => {
            if !columns.is_empty() || at.is_some() {
                return Err(bare("columns are not renamed in FROM"));
            }
            Some(name)
        }
    };
    Ok((table, alias))
}
