//! Measures: what is counted and summed, and the base sums that they share.

use sqlparser::ast;

use crate::language::sums::{BaseSum, MeasureKind};

use super::error::Refusal;
use super::functions::{Call, MEASURES};
use super::scope::{Name, Scope, same_name};
use super::typed::{Domain, Typed};

/// Largest magnitudes for which sums have a sensible grid.
const MAGNITUDES: std::ops::RangeInclusive<f64> = 1e-100..=1e100;

/// The base sums of a plan, each there once.
#[derive(Default)]
pub(super) struct Sums(pub Vec<BaseSum>);

impl Sums {
    /// The position of a base sum, which is added if it is new.
    fn position(&mut self, sum: BaseSum) -> usize {
        self.0.iter().position(|known| *known == sum).unwrap_or_else(|| {
            self.0.push(sum);
            self.0.len() - 1
        })
    }
}

/// A measure without its final name.
pub(super) struct Unnamed {
    pub kind: MeasureKind,
    /// What it is called without AS.
    pub name: String,
    /// The nodes of its expressions.
    pub size: usize,
}

/// Whether an item of the SELECT list is a measure, by its outermost call.
pub(super) fn is_measure(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Nested(inner) => is_measure(inner),
        ast::Expr::Function(function) => {
            let name = function.name.to_string().to_uppercase();
            MEASURES.contains(&name.as_str())
        }
        _ => false,
    }
}

impl<'a> Scope<'a> {
    /// The measure of an item for which [`is_measure`] holds.
    pub fn measure(&self, expr: &ast::Expr, sums: &mut Sums) -> Result<Unnamed, Refusal> {
        match expr {
            ast::Expr::Nested(inner) => self.measure(inner, sums),
            ast::Expr::Function(function) => {
                let call = self.call(expr, function)?;
                match call.name.as_str() {
                    "COUNT" => self.count(expr, &call, sums),
                    _ => self.sum(expr, &call, sums),
                }
            }
            _ => {
                Err(self.refuse(expr, "it is not a measure", "Write COUNT(*), COUNT(DISTINCT unit), SUM(x) or AVG(x)"))
            }
        }
    }

    fn count(&self, expr: &ast::Expr, call: &Call<'_>, sums: &mut Sums) -> Result<Unnamed, Refusal> {
        let unit = &self.schema.privacy_unit;
        if call.star && !call.distinct {
            let kind = MeasureKind::CountRows { rows: sums.position(BaseSum::Rows) };
            return Ok(Unnamed { kind, name: "count".into(), size: 0 });
        }
        let is_unit = match call.args.as_slice() {
            [arg] => self.is_unit(arg),
            _ => false,
        };
        if call.distinct && is_unit {
            let kind = MeasureKind::CountCustomers { customers: sums.position(BaseSum::Customers) };
            return Ok(Unnamed { kind, name: "customers".into(), size: 0 });
        }
        let argument =
            call.args.first().map_or_else(|| "x".to_owned(), |arg| self.source.text(self.source.extent(arg)));
        let (why, instead) = match (call.distinct, is_unit) {
            (false, true) => (
                "it would count rows by the privacy unit".to_owned(),
                format!("Write COUNT(DISTINCT {unit}) for customers or COUNT(*) for rows"),
            ),
            (true, _) => (
                "only customers are counted distinctly".to_owned(),
                format!("Write COUNT(DISTINCT {unit}), or GROUP BY the column with COUNT(*)"),
            ),
            (false, false) => (
                "rows and customers are counted, not values".to_owned(),
                format!("Write COUNT(*), or SUM(CASE WHEN {argument} IS NOT NULL THEN 1 ELSE 0 END)"),
            ),
        };
        Err(self.refuse(expr, why, instead))
    }

    /// Whether an expression is the privacy unit and nothing more.
    pub fn is_unit(&self, expr: &ast::Expr) -> bool {
        match expr {
            ast::Expr::Identifier(ident) => matches!(self.name(ident), Name::Unit),
            ast::Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [qualifier, ident] => same_name(qualifier, self.qualifier) && matches!(self.name(ident), Name::Unit),
                _ => false,
            },
            ast::Expr::Nested(inner) => self.is_unit(inner),
            _ => false,
        }
    }

    fn sum(&self, expr: &ast::Expr, call: &Call<'_>, sums: &mut Sums) -> Result<Unnamed, Refusal> {
        if call.distinct {
            let why = "duplicates are not removed before values are summed";
            return Err(self.refuse(expr, why, "Write it without DISTINCT, or GROUP BY the value with COUNT(*)"));
        }
        let arg = match call.args.as_slice() {
            [arg] if !call.star => *arg,
            _ => return Err(self.refuse(expr, "it has one argument", "Write SUM(x) or AVG(x), or COUNT(*) for rows")),
        };
        let value = self.expression(arg)?;
        let (low, high) = self.value_bounds(arg, &value)?;
        let name = self.default_name(expr, call, arg);
        let size = value.size;
        let kind = match call.name.as_str() {
            "SUM" => {
                MeasureKind::Sum { sum: sums.position(BaseSum::Values { expr: value.expr, low, high, center: 0.0 }) }
            }
            _ => {
                let count = BaseSum::Present(value.expr.clone());
                // Halved before they are added, so that the middle of a wide range does not overflow.
                let center = low / 2.0 + high / 2.0;
                let sum = sums.position(BaseSum::Values { expr: value.expr, low, high, center });
                MeasureKind::Average { sum, count: sums.position(count) }
            }
        };
        Ok(Unnamed { kind, name, size: 2 * size })
    }

    /// The public range of what is summed, refused where there is none.
    fn value_bounds(&self, arg: &ast::Expr, value: &Typed<'a>) -> Result<(f64, f64), Refusal> {
        if let Some(bounds) = self.number_bounds(arg, value)? {
            return Ok(bounds);
        }
        let text = self.source.text(self.source.extent(arg));
        let (why, instead) = match &value.domain {
            Domain::Bool => (
                "it is a condition where a number is needed".to_owned(),
                format!("Write SUM(CAST({text} AS BIGINT)), or AVG of it for a share"),
            ),
            Domain::Null => ("it is always NULL".to_owned(), "Write a number or a column".to_owned()),
            _ => (
                format!("it is {} where a number is needed", value.type_name()),
                format!("Write COUNT(*) with GROUP BY {text}"),
            ),
        };
        Err(self.refuse(arg, why, instead))
    }

    /// The public range of a number, refused where there is none or it is out of all proportion; `None` for what is not
    /// a number.
    pub fn number_bounds(&self, arg: &ast::Expr, value: &Typed<'a>) -> Result<Option<(f64, f64)>, Refusal> {
        let (low, high) = match &value.domain {
            Domain::Int(range) => {
                let (low, high) = self.bounds(arg, range)?;
                (low as f64, high as f64)
            }
            Domain::Float { range, .. } => self.bounds(arg, range)?,
            Domain::Null | Domain::Bool | Domain::Text(_) | Domain::Date(_) => return Ok(None),
        };
        let magnitude = low.abs().max(high.abs());
        if magnitude != 0.0 && !MAGNITUDES.contains(&magnitude) {
            let why = format!("its largest magnitude {magnitude:e} is not between 1e-100 and 1e100");
            return Err(self.refuse(arg, why, "Write it in another unit, multiplied or divided by a constant"));
        }
        Ok(Some((low, high)))
    }

    /// `sum_spend` for a column, the text of the call otherwise.
    fn default_name(&self, expr: &ast::Expr, call: &Call<'_>, arg: &ast::Expr) -> String {
        let column = match arg {
            ast::Expr::Identifier(column) => Some(column),
            ast::Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        match column {
            Some(column) => format!("{}_{}", call.name.to_lowercase(), column.value),
            None => self.source.shortened(self.source.extent(expr)),
        }
    }
}
