//! Which years of events a plan can touch: from its conditions on the event column, with nothing read off the data.
//!
//! ```text
//! filter ─▶ the days on which it can be true ─▶ the years that have one ─▶ what is charged, and which rows count
//! ```
//!
//! Looked at are comparisons of the column, or of its year, with constants, and what `AND` and `OR` make of them; `BETWEEN` and `IN`
//! are such. Any other condition may be true on any day, so that it is not worth while to write one that only looks like a
//! restriction. What follows is what days are *possible*; that rows of other years do not count is for whoever reads them to
//! see to, by the days in [`Restriction`].

use std::ops::RangeInclusive;

use super::expr::{Comparison, DatePart, Expr, Value};
use super::schema::{ColumnType, Day};
use crate::privacy::blocks::Years;

/// The most years that an event column may be declared for: each can have an account, which is in every checkpoint.
const MAX_YEARS: i16 = 50;

/// The event column of a data set: when that has happened which a row tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    column: String,
    first: Day,
    last: Day,
}

/// What a plan is restricted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// The years that it can touch; `None` where that is all time.
    pub years: Option<Years>,
    /// The days of rows that count, by the date that is stored. Those of other days, and those without a date, do not.
    pub days: RangeInclusive<Day>,
}

impl Event {
    /// The event column of this name, as declared.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what to do.
    pub fn new(column: &str, declared: Option<&ColumnType>) -> Result<Self, (String, &'static str)> {
        let Some(declared) = declared else {
            return Err((format!("`event` names `{column}`, which is not declared"), "declare it as a date"));
        };
        let ColumnType::Date { min: Some(first), max: Some(last) } = *declared else {
            let problem = format!("`event` names `{column}`, which is declared as {declared}");
            return Err((problem, "declare a date with min and max: years outside of them count in no study"));
        };
        if year(first) < 1 || year(last) - year(first) >= MAX_YEARS {
            let problem = format!(
                "`event` names `{column}`, whose range is longer than {MAX_YEARS} years or begins before year 1"
            );
            return Err((problem, "declare the years of which there are rows"));
        }
        Ok(Self { column: column.into(), first, last })
    }

    /// The column.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// What a plan with this filter is restricted to.
    pub fn restriction(&self, filter: Option<&Expr>) -> Restriction {
        let all = Days { first: self.first, last: self.last };
        // On a row that counts the column is as stored, not clipped: its day is within the declared range.
        let asked = filter.map_or(all, |filter| self.may_hold(filter).and(all));
        let years = Years::new(year(asked.first), year(asked.last)).filter(|_| !asked.is_empty());
        let is_all = |years: &Years| years.first() == year(all.first) && years.last() == year(all.last);
        // A question about no day at all would be free otherwise.
        let Some(years) = years.filter(|years| !is_all(years)) else {
            return Restriction { years: None, days: all.first..=all.last };
        };
        let whole = Days { first: of_year(years.first()).first, last: of_year(years.last()).last }.and(all);
        Restriction { years: Some(years), days: whole.first..=whole.last }
    }

    /// Days on which a condition may be true: a superset of those on which it is.
    fn may_hold(&self, condition: &Expr) -> Days {
        match condition {
            Expr::And(left, right) => self.may_hold(left).and(self.may_hold(right)),
            Expr::Or(left, right) => self.may_hold(left).or(self.may_hold(right)),
            Expr::Compare(comparison, left, right) => match (self.constant(left, right), self.constant(right, left)) {
                (Some(days), _) => days.that(*comparison),
                (_, Some(days)) => days.that(mirrored(*comparison)),
                (None, None) => Days::ALL,
            },
            Expr::Column(_)
            | Expr::Literal(_)
            | Expr::Null(_)
            | Expr::Arithmetic(..)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::Case(..)
            | Expr::Cast(..)
            | Expr::DatePart(..)
            | Expr::DateTrunc(..) => Days::ALL,
        }
    }

    /// The days of a constant, where the column or its year is compared with one.
    fn constant(&self, compared: &Expr, constant: &Expr) -> Option<Days> {
        let is_column = |expr: &Expr| matches!(expr, Expr::Column(name) if *name == self.column);
        match (compared, constant) {
            (column, Expr::Literal(Value::Date(day))) if is_column(column) => Some(Days { first: *day, last: *day }),
            (Expr::DatePart(DatePart::Year, column), Expr::Literal(Value::Int(year))) if is_column(column) => {
                // Years that no calendar here has are not looked at.
                i16::try_from(*year).ok().filter(|year| (-9998..=9998).contains(year)).map(of_year)
            }
            _ => None,
        }
    }
}

/// Days in a row; none where the first is behind the last.
#[derive(Clone, Copy)]
struct Days {
    first: Day,
    last: Day,
}

impl Days {
    const ALL: Self = Self { first: Day(i32::MIN), last: Day(i32::MAX) };

    fn is_empty(self) -> bool {
        self.first > self.last
    }

    /// Those in both.
    fn and(self, other: Self) -> Self {
        Self { first: self.first.max(other.first), last: self.last.min(other.last) }
    }

    /// Those in either, and those between them.
    fn or(self, other: Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other,
            (_, true) => self,
            _ => Self { first: self.first.min(other.first), last: self.last.max(other.last) },
        }
    }

    /// Days that compare so with one of these: `< 2026` are those before its first.
    fn that(self, comparison: Comparison) -> Self {
        let before = Day(self.first.0.saturating_sub(1));
        let after = Day(self.last.0.saturating_add(1));
        match comparison {
            Comparison::Equal => self,
            Comparison::NotEqual => Self::ALL,
            Comparison::Less => Self { last: before, ..Self::ALL },
            Comparison::LessOrEqual => Self { last: self.last, ..Self::ALL },
            Comparison::Greater => Self { first: after, ..Self::ALL },
            Comparison::GreaterOrEqual => Self { first: self.first, ..Self::ALL },
        }
    }
}

/// The same comparison with its sides the other way round.
fn mirrored(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        Comparison::Equal | Comparison::NotEqual => comparison,
    }
}

fn year(day: Day) -> i16 {
    day.date().year()
}

fn of_year(year: i16) -> Days {
    let day = |month, day| Day::from_date(jiff::civil::date(year, month, day));
    Days { first: day(1, 1), last: day(12, 31) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::language::schema::DatasetSchema;
    use crate::language::sql;

    const RANGE: [&str; 2] = ["2024-03-01", "2028-10-31"];

    fn day(text: &str) -> Day {
        Day::parse(text).unwrap()
    }

    fn schema() -> DatasetSchema {
        let date = |[min, max]: [&str; 2]| ColumnType::Date { min: Some(day(min)), max: Some(day(max)) };
        let columns = [
            ("bought".into(), date(RANGE)),
            ("paid".into(), date(RANGE)),
            ("age".into(), ColumnType::Int { min: Some(0), max: Some(99) }),
        ];
        DatasetSchema { name: "d".into(), privacy_unit: "id".into(), columns: columns.into() }
    }

    fn event() -> Event {
        Event::new("bought", schema().columns.get("bought")).unwrap()
    }

    fn restriction(condition: &str) -> Restriction {
        let plan = sql::plan(&format!("SELECT COUNT(*) AS n FROM d WHERE {condition}"), Default::default(), &schema());
        event().restriction(plan.unwrap().filter.as_ref())
    }

    fn years(condition: &str) -> Option<(i16, i16)> {
        restriction(condition).years.map(|years| (years.first(), years.last()))
    }

    #[test]
    fn comparisons_with_constants_restrict() {
        for (condition, expected) in [
            ("bought >= '2027-01-01' AND bought < '2028-01-01'", (2027, 2027)),
            ("bought BETWEEN '2025-06-01' AND '2026-02-01'", (2025, 2026)),
            ("bought = '2026-12-31'", (2026, 2026)),
            ("'2027-01-01' > bought", (2024, 2026)),
            ("bought <= '2027-01-01'", (2024, 2027)),
            ("bought > '2027-12-31'", (2028, 2028)),
            ("EXTRACT(YEAR FROM bought) = 2027", (2027, 2027)),
            ("EXTRACT(YEAR FROM bought) IN (2025, 2027)", (2025, 2027)),
            ("EXTRACT(YEAR FROM bought) > 2026 AND age > 30", (2027, 2028)),
            ("2026 <= EXTRACT(YEAR FROM bought) AND bought < '2027-05-01'", (2026, 2027)),
            ("bought = '2026-01-01' OR bought = '2025-01-01'", (2025, 2026)),
            ("(bought = '2026-01-01' OR age > 3) AND bought >= '2026-01-01'", (2026, 2028)),
            // What can never be true adds nothing.
            ("bought = '2026-01-01' OR (bought < '2025-01-01' AND bought > '2026-01-01')", (2026, 2026)),
        ] {
            assert_eq!(years(condition), Some(expected), "{condition}");
        }
    }

    /// Whoever asks writes what looks like a restriction, and is none.
    #[test]
    fn all_else_is_all_time() {
        for condition in [
            "age > 30",
            "paid = '2026-01-01'",
            "bought >= '2024-03-01'",
            "bought = '2026-01-01' OR 1 = 1",
            "bought = '2026-01-01' OR age * 0 = 0",
            "bought <> '2026-01-01'",
            "NOT (bought < '2026-01-01')",
            "CASE WHEN bought = '2026-01-01' THEN age = 1 ELSE age = 2 END",
            "bought IS NOT NULL",
            "bought >= paid",
            "EXTRACT(MONTH FROM bought) = 1",
            "EXTRACT(YEAR FROM paid) = 2026",
            "EXTRACT(YEAR FROM bought) * 0 = 0",
            // About no day: it is not free for that.
            "bought < '2025-01-01' AND bought > '2026-01-01'",
            "bought < '2020-01-01'",
        ] {
            assert_eq!(years(condition), None, "{condition}");
        }
        assert_eq!(event().restriction(None).years, None);
    }

    #[test]
    fn rows_count_that_are_of_the_years_and_within_the_declared_range() {
        let days = |condition: &str| restriction(condition).days;
        assert_eq!(days("bought = '2026-05-05'"), day("2026-01-01")..=day("2026-12-31"));
        assert_eq!(days("bought < '2024-05-01'"), day("2024-03-01")..=day("2024-12-31"));
        assert_eq!(days("bought > '2028-01-01'"), day("2028-01-01")..=day("2028-10-31"));
        assert_eq!(days("age > 30"), day("2024-03-01")..=day("2028-10-31"));
    }

    #[test]
    fn what_cannot_be_an_event_column_is_refused() {
        let date = |min, max| ColumnType::Date { min, max };
        let problem = |declared: Option<&ColumnType>| Event::new("c", declared).unwrap_err().0;
        assert!(problem(None).contains("not declared"));
        assert!(problem(Some(&ColumnType::Bool)).contains("declared as bool"));
        assert!(problem(Some(&date(None, None))).contains("without bounds"));
        let long = date(Some(day("1976-01-01")), Some(day("2026-01-01")));
        assert!(problem(Some(&long)).contains("50 years"));
        assert!(Event::new("c", Some(&date(Some(day("1976-12-31")), Some(day("2025-01-01"))))).is_ok());
    }

    fn any_condition() -> impl Strategy<Value = Expr> {
        let boxed = |expr: Expr| Box::new(expr);
        let column = || Expr::Column("bought".into());
        let comparison = prop::sample::select(vec![
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
        ]);
        let with_day =
            (comparison.clone(), 19_600i32..21_600, any::<bool>()).prop_map(move |(comparison, day, swap)| {
                let sides = (boxed(column()), boxed(Expr::Literal(Value::Date(Day(day)))));
                let (left, right) = if swap { (sides.1, sides.0) } else { sides };
                Expr::Compare(comparison, left, right)
            });
        let with_year = (comparison, 2023i64..2030).prop_map(move |(comparison, year)| {
            let part = Expr::DatePart(DatePart::Year, boxed(column()));
            Expr::Compare(comparison, boxed(part), boxed(Expr::Literal(Value::Int(year))))
        });
        let leaf = prop_oneof![3 => with_day, 2 => with_year, 1 => any::<bool>().prop_map(|value| Expr::Literal(Value::Bool(value)))];
        leaf.prop_recursive(4, 24, 2, move |inner| {
            let pair = (inner.clone(), inner.clone());
            prop_oneof![
                3 => pair.clone().prop_map(move |(left, right)| Expr::And(boxed(left), boxed(right))),
                3 => pair.prop_map(move |(left, right)| Expr::Or(boxed(left), boxed(right))),
                1 => inner.prop_map(move |inner| Expr::Not(boxed(inner))),
            ]
        })
    }

    /// Whether a condition of [`any_condition`] is true on a day, by the book.
    fn holds(condition: &Expr, on: Day) -> bool {
        let value = |expr: &Expr| match expr {
            Expr::Column(_) => i64::from(on.0),
            Expr::DatePart(..) => i64::from(year(on)),
            Expr::Literal(Value::Date(day)) => i64::from(day.0),
            Expr::Literal(Value::Int(value)) => *value,
            other => panic!("{other:?}"),
        };
        match condition {
            Expr::And(left, right) => holds(left, on) && holds(right, on),
            Expr::Or(left, right) => holds(left, on) || holds(right, on),
            Expr::Not(inner) => !holds(inner, on),
            Expr::Literal(Value::Bool(value)) => *value,
            Expr::Compare(comparison, left, right) => {
                let (left, right) = (value(left), value(right));
                match comparison {
                    Comparison::Equal => left == right,
                    Comparison::NotEqual => left != right,
                    Comparison::Less => left < right,
                    Comparison::LessOrEqual => left <= right,
                    Comparison::Greater => left > right,
                    Comparison::GreaterOrEqual => left >= right,
                }
            }
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        /// No row of another year is kept by a condition; else what is charged would not be what is asked.
        #[test]
        fn a_condition_holds_on_no_day_of_another_year(condition in any_condition()) {
            let restriction = event().restriction(Some(&condition));
            for on in (day(RANGE[0]).0..=day(RANGE[1]).0).step_by(13).map(Day) {
                prop_assert!(!holds(&condition, on) || restriction.days.contains(&on), "{on} {condition:?}");
            }
        }
    }
}
