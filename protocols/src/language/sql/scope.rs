//! What expressions can refer to, and how one is refused.
//!
//! Expressions consist of expressions: the methods of [`Scope`] in [`super::expression`], [`super::operators`],
//! [`super::functions`], [`super::measures`] and [`super::groups`] call one another, down the parser's tree, as deep as
//! [`Scope::at_depth`] allows. That is the one recursion here; the files import no file that imports them.

use sqlparser::ast::{self, Ident};

use crate::language::schema::DatasetSchema;

use super::error::Refusal;
use super::source::Source;
use super::typed::Typed;

/// Most nodes of a typed expression, and of all expressions of a plan: every one is computed on every row, and a node's time for that
/// is what whoever asks could try to read.
pub(super) const MAX_NODES: usize = 2_000;

/// What expressions can refer to.
pub(super) struct Scope<'a> {
    pub source: &'a Source<'a>,
    pub schema: &'a DatasetSchema,
    /// What columns may be qualified with.
    pub qualifier: &'a Ident,
}

/// What a name stands for.
pub(super) enum Name<'a> {
    /// The privacy unit.
    Unit,
    /// A declared column.
    Column(Typed<'a>),
    /// Neither.
    Unknown,
}

pub(super) type Outcome<'a> = Result<Typed<'a>, Refusal>;

impl<'a> Scope<'a> {
    /// What a name without qualifier stands for.
    pub fn name(&self, ident: &Ident) -> Name<'a> {
        let columns = &self.schema.columns;
        if ident.value == self.schema.privacy_unit {
            return Name::Unit;
        }
        if let Some((name, column_type)) = columns.get_key_value(&ident.value) {
            return Name::Column(Typed::column(name, column_type));
        }
        if ident.quote_style.is_some() {
            return Name::Unknown;
        }
        // Unquoted names are the same in any case, as everywhere in SQL, unless that leaves a choice.
        if ident.value.eq_ignore_ascii_case(&self.schema.privacy_unit) {
            return Name::Unit;
        }
        let mut alike = columns.iter().filter(|(name, _)| name.eq_ignore_ascii_case(&ident.value));
        match (alike.next(), alike.next()) {
            (Some((name, column_type)), None) => Name::Column(Typed::column(name, column_type)),
            _ => Name::Unknown,
        }
    }

    pub fn refuse(&self, expr: &ast::Expr, why: impl Into<String>, instead: impl Into<String>) -> Refusal {
        self.source.refuse(self.source.extent(expr), why, instead)
    }

    /// Refuses an expression that is, or is about to become, too large: lists and some functions repeat their operand.
    pub fn check_size(&self, expr: &ast::Expr, nodes: usize) -> Result<(), Refusal> {
        if nodes > MAX_NODES {
            let why = format!("written out it has over {MAX_NODES} parts");
            return Err(self.refuse(expr, why, "Write a shorter list, or declare a coarser category in the schema"));
        }
        Ok(())
    }
}

/// Whether a name refers to what another names.
pub(super) fn same_name(reference: &Ident, declared: &Ident) -> bool {
    match reference.quote_style {
        Some(_) => reference.value == declared.value,
        None => reference.value.eq_ignore_ascii_case(&declared.value),
    }
}
