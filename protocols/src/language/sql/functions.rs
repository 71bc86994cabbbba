//! Calls: the allow-list of functions, conversions and parts of dates.

use sqlparser::ast;

use crate::language::expr::{Comparison, DatePart, DateUnit, Expr, Value, ValueType};
use crate::language::schema::Day;

use super::error::{Refusal, nearest};
use super::operators::{as_condition, is_null, not};
use super::range::Range;
use super::scope::{Outcome, Scope};
use super::typed::{Domain, Typed};

/// A call whose form is plain: nothing but a name and arguments.
pub(super) struct Call<'e> {
    /// In upper case.
    pub name: String,
    pub distinct: bool,
    /// Whether the argument is `*`.
    pub star: bool,
    pub args: Vec<&'e ast::Expr>,
}

impl<'a> Scope<'a> {
    /// Takes a call apart, and refuses every clause a call can carry.
    pub fn call<'e>(&self, expr: &ast::Expr, function: &'e ast::Function) -> Result<Call<'e>, Refusal> {
        let ast::Function { name, uses_odbc_syntax, parameters, args, filter, null_treatment, over, within_group } =
            function;
        let refuse = |why: &str, instead: &str| Err(self.refuse(expr, why, instead));
        let name = match name.0.as_slice() {
            [ast::ObjectNamePart::Identifier(name)] if name.quote_style.is_none() => name.value.to_uppercase(),
            _ => return refuse("there is no such function in queries", &self.source.form.functions()),
        };
        if let Some((why, instead)) = self.source.form.no_aggregates()
            && is_aggregate(&name)
        {
            return refuse(why, instead);
        }
        if let Some(Unavailable { why, instead, .. }) = unavailable(&name) {
            return refuse(why, instead);
        }
        if filter.is_some() {
            return refuse(
                "FILTER is not available in this version",
                "Write the condition in WHERE, or SUM(CASE WHEN condition THEN 1 ELSE 0 END)",
            );
        }
        if over.is_some() {
            return refuse("window functions are not available in this version", self.source.form.over());
        }
        if *uses_odbc_syntax || null_treatment.is_some() || !within_group.is_empty() {
            return refuse("this form of call is not available", "Write name(arguments) and nothing more");
        }
        let ast::FunctionArguments::None = parameters else {
            return refuse("this form of call is not available", "Write name(arguments) and nothing more");
        };
        let ast::FunctionArgumentList { duplicate_treatment, args, clauses } = match args {
            ast::FunctionArguments::List(list) => list,
            ast::FunctionArguments::None => {
                let why = "it is neither a declared column nor a value";
                return refuse(why, "Write a declared column, a number, 'text' or DATE '2025-01-31'");
            }
            ast::FunctionArguments::Subquery(_) => {
                return refuse("subqueries are not available in this version", "Write the values themselves");
            }
        };
        if !clauses.is_empty() {
            return refuse("this form of call is not available", "Write name(arguments) and nothing more");
        }
        let mut call = Call { name, distinct: duplicate_treatment.is_some(), star: false, args: Vec::new() };
        if matches!(duplicate_treatment, Some(ast::DuplicateTreatment::All)) {
            return refuse("ALL says nothing here", "Write it without ALL");
        }
        for arg in args {
            match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(arg)) => call.args.push(arg),
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard) if args.len() == 1 => call.star = true,
                _ => return refuse("this form of argument is not available", "Write plain arguments"),
            }
        }
        Ok(call)
    }

    /// A function of one row.
    pub fn function(&self, expr: &ast::Expr, function: &ast::Function, depth: usize) -> Outcome<'a> {
        let call = self.call(expr, function)?;
        if MEASURES.contains(&call.name.as_str()) {
            let why = "a measure stands alone as an item of SELECT, not inside an expression, WHERE or GROUP BY";
            let instead = "Write each measure as an item of its own and compute with the published results afterwards, \
                           which costs nothing";
            return Err(self.refuse(expr, why, instead));
        }
        if call.distinct || call.star {
            return Err(self.refuse(expr, "this form of call is not available", "Write plain arguments"));
        }
        match (call.name.as_str(), call.args.as_slice()) {
            ("ABS", &[arg]) => self.abs(expr, arg, depth),
            ("COALESCE", args @ [_, _, ..]) => self.coalesce(expr, args, depth),
            ("NULLIF", &[value, null]) => self.nullif(expr, value, null, depth),
            ("DATE_PART", &[part, date]) => {
                let part = self.unit_name(part, "Write DATE_PART('month', date)")?;
                self.extract(expr, &part, date, depth)
            }
            ("DATE_TRUNC", &[unit, date]) => self.date_trunc(expr, unit, date, depth),
            ("ABS" | "COALESCE" | "NULLIF" | "DATE_PART" | "DATE_TRUNC", _) => {
                let instead =
                    "Write ABS(x), COALESCE(a, b, …), NULLIF(a, b), DATE_PART('month', d), DATE_TRUNC('month', d)";
                Err(self.refuse(expr, "the number of arguments is another", instead))
            }
            (name, _) => {
                let form = self.source.form;
                let measures = MEASURES.into_iter().filter(|_| form.no_aggregates().is_none());
                let near = nearest(name, FUNCTION_NAMES.into_iter().chain(measures));
                let instead = match near.first() {
                    Some(near) => format!("Write {near} if you mean that. {}", form.functions()),
                    None => form.functions(),
                };
                Err(self.refuse(expr, "there is no such function in queries", instead))
            }
        }
    }

    /// `CASE WHEN x < 0 THEN 0 - x ELSE x END`.
    fn abs(&self, expr: &ast::Expr, arg: &ast::Expr, depth: usize) -> Outcome<'a> {
        let value = self.at_depth(arg, depth)?;
        if matches!(value.domain, Domain::Null) {
            return Ok(value);
        }
        self.check_size(expr, value.size.saturating_mul(3))?;
        let negative = self.negative(arg, value.clone())?;
        let zero = Typed::literal(Value::Int(0));
        let below = self.compare_typed(Comparison::Less, (arg, value.clone()), (arg, zero))?;
        let mut typed = self.choose(expr, vec![below], vec![(arg, negative), (arg, value)])?;
        // The hull of both branches reaches below zero, which no absolute value does.
        typed.domain = match typed.domain {
            Domain::Int(range) => Domain::Int(range.map(|value| value.max(0))),
            Domain::Float { range, whole } => Domain::Float { range: range.map(|value| value.max(0.0)), whole },
            domain => domain,
        };
        Ok(typed)
    }

    /// `CASE WHEN NOT a IS NULL THEN a … ELSE last END`.
    fn coalesce(&self, expr: &ast::Expr, args: &[&ast::Expr], depth: usize) -> Outcome<'a> {
        let mut values = Vec::with_capacity(args.len());
        for &arg in args {
            values.push((arg, self.at_depth(arg, depth)?));
        }
        let but_last = &values[..values.len().saturating_sub(1)];
        let present = but_last.iter().map(|(_, value)| not(is_null(value.clone()))).collect();
        self.choose(expr, present, values)
    }

    /// `CASE WHEN a = b THEN NULL ELSE a END`.
    fn nullif(&self, expr: &ast::Expr, value: &ast::Expr, null: &ast::Expr, depth: usize) -> Outcome<'a> {
        let typed = self.at_depth(value, depth)?;
        self.check_size(expr, typed.size.saturating_mul(2))?;
        let equal = as_condition(self.compare(Comparison::Equal, (value, typed.clone()), null, depth)?);
        self.choose(expr, vec![equal], vec![(null, Typed::null()), (value, typed)])
    }

    /// A conversion that cannot fail.
    pub fn cast(&self, expr: &ast::Expr, value: Typed<'a>, data_type: &ast::DataType) -> Outcome<'a> {
        use ast::DataType;
        let target = match data_type {
            DataType::Int(None) | DataType::Integer(None) | DataType::BigInt(None) | DataType::Int8(None) => {
                ValueType::Int
            }
            DataType::Double(ast::ExactNumberInfo::None)
            | DataType::DoublePrecision
            | DataType::Float(ast::ExactNumberInfo::None)
            | DataType::Float8
            | DataType::Float64 => ValueType::Float,
            DataType::Bool | DataType::Boolean => ValueType::Bool,
            DataType::Date => ValueType::Date,
            _ => {
                let why = format!("there is no type {data_type} in queries");
                return Err(self.refuse(expr, why, "Write BIGINT, DOUBLE PRECISION, BOOLEAN or DATE"));
            }
        };
        if value.value_type() == Some(target) {
            return Ok(value);
        }
        let to_int = |value: Typed<'a>, range| Typed {
            expr: Expr::Cast(Box::new(value.expr), ValueType::Int),
            domain: Domain::Int(range),
            size: value.size + 1,
        };
        match (&value.domain, target) {
            (Domain::Null, _) => Ok(value),
            (Domain::Int(_), ValueType::Float) => Ok(value.into_float()),
            (Domain::Bool, ValueType::Int) => Ok(to_int(value, Range::Within(0, 1))),
            (Domain::Bool, ValueType::Float) => Ok(to_int(value, Range::Within(0, 1)).into_float()),
            (Domain::Float { range, .. }, ValueType::Int) => {
                let (low, high) = self.bounds(expr, range)?;
                let limit = -(i64::MIN as f64); // 2^63, the first number above i64.
                if low < -limit || high >= limit {
                    let why = "within the declared bounds the whole number could leave 64 bits";
                    return Err(self.refuse(expr, why, "Write it without CAST, or declare narrower bounds"));
                }
                Ok(to_int(value, Range::Within(low as i64, high as i64)))
            }
            (Domain::Text(_), ValueType::Date) => match value.text_literal() {
                Some(text) => self.day(expr, text),
                None => Err(self.refuse(
                    expr,
                    "text of a column may not be a date on some row",
                    "Declare the column as a date in node.toml at each partner",
                )),
            },
            _ => {
                let why = format!("{} cannot become {data_type}", value.type_name());
                let instead = "Write CASE WHEN … END, or CAST between whole numbers, numbers and conditions";
                Err(self.refuse(expr, why, instead))
            }
        }
    }

    /// A part of a date.
    pub fn extract(&self, expr: &ast::Expr, part: &str, date: &ast::Expr, depth: usize) -> Outcome<'a> {
        let (part, bounds) = match part.to_uppercase().as_str() {
            "YEAR" => (DatePart::Year, None),
            "QUARTER" => (DatePart::Quarter, Some((1, 4))),
            "MONTH" => (DatePart::Month, Some((1, 12))),
            "DAY" => (DatePart::Day, Some((1, 31))),
            "DOW" => (DatePart::DayOfWeek, Some((0, 6))),
            other => {
                let why = format!("a date has no part {other} in queries");
                return Err(self.refuse(expr, why, "Write YEAR, QUARTER, MONTH, DAY or DOW (0 is Sunday)"));
            }
        };
        let Some((value, range)) = self.date(date, depth)? else { return Ok(Typed::null()) };
        let year = |day: Day| i64::from(day.date().year());
        let range = bounds.map_or_else(|| range.map(year), |(low, high)| Range::Within(low, high));
        let size = value.size + 1;
        Ok(Typed { expr: Expr::DatePart(part, Box::new(value.expr)), domain: Domain::Int(range), size })
    }

    fn date_trunc(&self, expr: &ast::Expr, unit: &ast::Expr, date: &ast::Expr, depth: usize) -> Outcome<'a> {
        const INSTEAD: &str = "Write DATE_TRUNC('month', date), with 'month', 'quarter' or 'year'";
        let unit = match self.unit_name(unit, INSTEAD)?.to_uppercase().as_str() {
            "YEAR" => DateUnit::Year,
            "QUARTER" => DateUnit::Quarter,
            "MONTH" => DateUnit::Month,
            _ => return Err(self.refuse(unit, "dates are not cut down to this unit", INSTEAD)),
        };
        let Some((value, range)) = self.date(date, depth)? else { return Ok(Typed::null()) };
        let size = value.size + 1;
        let domain = Domain::Date(range.map(|day| truncated(unit, day)));
        self.check_size(expr, size)?;
        Ok(Typed { expr: Expr::DateTrunc(unit, Box::new(value.expr)), domain, size })
    }

    fn date(&self, expr: &ast::Expr, depth: usize) -> Result<Option<(Typed<'a>, Range<Day>)>, Refusal> {
        let value = self.at_depth(expr, depth)?;
        match value.domain.clone() {
            Domain::Null => Ok(None),
            Domain::Date(range) => Ok(Some((value, range))),
            _ => {
                let why = format!("it is {} where a date is needed", value.type_name());
                Err(self.refuse(expr, why, "Write a date column, or DATE '2025-01-31'"))
            }
        }
    }

    fn unit_name(&self, expr: &ast::Expr, instead: &str) -> Result<String, Refusal> {
        if let ast::Expr::Value(value) = expr
            && let ast::Value::SingleQuotedString(text) = &value.value
        {
            return Ok(text.clone());
        }
        Err(self.refuse(expr, "the unit must be written out as text", instead))
    }
}

/// The measures.
pub(super) const MEASURES: [&str; 3] = ["COUNT", "SUM", "AVG"];
const FUNCTION_NAMES: [&str; 7] = ["ABS", "COALESCE", "NULLIF", "CAST", "EXTRACT", "DATE_PART", "DATE_TRUNC"];

/// The first day of the unit that a day lies in.
pub(super) fn truncated(unit: DateUnit, day: Day) -> Day {
    let date = day.date();
    let month = match unit {
        DateUnit::Year => 1,
        DateUnit::Quarter => (date.month() - 1) / 3 * 3 + 1,
        DateUnit::Month => date.month(),
    };
    Day::from_date(jiff::civil::date(date.year(), month, 1))
}

struct Unavailable {
    names: &'static [&'static str],
    /// Whether they take several rows to one value.
    aggregate: bool,
    why: &'static str,
    instead: &'static str,
}

/// Whether a function takes several rows to one value, as far as people will try such functions.
fn is_aggregate(name: &str) -> bool {
    MEASURES.contains(&name) || unavailable(name).is_some_and(|entry| entry.aggregate)
}

/// Functions that people will try and that are not there for a reason.
fn unavailable(name: &str) -> Option<&'static Unavailable> {
    const LATER: &str = "this measure is not available in this version";
    static ENTRIES: [Unavailable; 6] = [
        Unavailable {
            names: &["MEDIAN", "QUANTILE", "PERCENTILE_CONT", "PERCENTILE_DISC", "APPROX_PERCENTILE", "MODE"],
            aggregate: true,
            why: LATER,
            instead: "Write COUNT(*) grouped by bins, CASE WHEN x < 10 THEN 'low' ELSE 'high' END, and read it off the \
                      counts",
        },
        Unavailable {
            names: &["VARIANCE", "VAR_POP", "VAR_SAMP", "STDDEV", "STDDEV_POP", "STDDEV_SAMP"],
            aggregate: true,
            why: LATER,
            instead: "Write AVG(x) and AVG(x * x), whose difference AVG(x * x) - AVG(x)² is the variance",
        },
        Unavailable {
            names: &["CORR", "COVAR_POP", "COVAR_SAMP", "REGR_SLOPE"],
            aggregate: true,
            why: LATER,
            instead: "Write AVG(x), AVG(y) and AVG(x * y) and compute with the results",
        },
        Unavailable {
            names: &["MIN", "MAX", "FIRST", "LAST", "ANY_VALUE", "ARRAY_AGG", "STRING_AGG", "LISTAGG", "JSON_AGG"],
            aggregate: true,
            why: "it would reveal the value of a single row",
            instead: "Write COUNT(*) grouped by bins, CASE WHEN x < 10 THEN 'low' ELSE 'high' END",
        },
        Unavailable {
            names: &["NOW", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP", "TODAY", "GETDATE"],
            aggregate: false,
            why: "a query has the same result whenever it is run",
            instead: "Write the day itself, as DATE '2025-01-31'",
        },
        Unavailable {
            names: &[
                "RANDOM",
                "RAND",
                "UUID",
                "GEN_RANDOM_UUID",
                "VERSION",
                "INPUT_FILE_NAME",
                "CURRENT_USER",
                "PG_SLEEP",
            ],
            aggregate: false,
            why: "a query reads declared columns and nothing else of a partner's system",
            instead: "Write it with declared columns and values",
        },
    ];
    ENTRIES.iter().find(|entry| entry.names.contains(&name))
}
