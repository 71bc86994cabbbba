//! Group keys: the public values of each, in the order of the result.

use std::collections::HashSet;

use sqlparser::ast;

use crate::language::expr::{DateUnit, Expr, Value};
use crate::language::schema::Day;

use super::error::Refusal;
use super::functions::truncated;
use super::range::Range;
use super::scope::Scope;
use super::typed::{Domain, Typed};

/// Most values of a key that is counted out of a range; categories have as many as are declared.
const MAX_VALUES: u64 = 1000;

const BINS: &str =
    "Write bins, such as CASE WHEN age < 30 THEN 'under 30' WHEN age < 60 THEN '30 to 59' ELSE 'older' END";

impl<'a> Scope<'a> {
    /// The public values of a group key, without repeats.
    pub fn domain(&self, expr: &ast::Expr, key: &Typed<'a>) -> Result<Vec<Value>, Refusal> {
        let refuse = |why: String, instead: &str| Err(self.refuse(expr, why, instead));
        if let (Some(literals), false) =
            (literals(&key.expr), matches!(key.domain, Domain::Null | Domain::Text(_) | Domain::Bool))
        {
            return Ok(literals);
        }
        match &key.domain {
            Domain::Null => refuse("it is always NULL, and rows with a NULL key are left out".into(), BINS),
            Domain::Bool => Ok(vec![Value::Bool(false), Value::Bool(true)]),
            Domain::Text(words) => {
                let mut seen = HashSet::new();
                let distinct = words.iter().flat_map(|words| words.iter()).filter(|word| seen.insert(*word));
                Ok(distinct.map(|word| Value::Text(word.to_owned())).collect())
            }
            Domain::Float { .. } => refuse("a number that is not whole has no list of public values".into(), BINS),
            Domain::Int(range) => {
                let (low, high) = self.key_bounds(expr, range)?;
                let count = high.abs_diff(low).saturating_add(1);
                if count > MAX_VALUES {
                    return refuse(format!("it can have {count} values and a key has at most {MAX_VALUES}"), BINS);
                }
                Ok((low..=high).map(Value::Int).collect())
            }
            Domain::Date(range) => {
                let (low, high) = self.key_bounds(expr, range)?;
                let unit = match &key.expr {
                    Expr::DateTrunc(unit, _) => Some(*unit),
                    _ => None,
                };
                let days = days(unit, low, high);
                match days {
                    Some(days) => Ok(days.into_iter().map(Value::Date).collect()),
                    None => refuse(
                        format!("from {low} to {high} it can have more than the {MAX_VALUES} values of a key"),
                        "Write DATE_TRUNC('month', date), 'quarter' or 'year', or EXTRACT(YEAR FROM date)",
                    ),
                }
            }
        }
    }

    fn key_bounds<T: Copy>(&self, expr: &ast::Expr, range: &Range<T>) -> Result<(T, T), Refusal> {
        match range {
            Range::Within(low, high) => Ok((*low, *high)),
            Range::Unbounded(cause) => {
                let mut refusal = self.unbounded(expr, cause);
                refusal.instead = format!("{BINS}; or declare min and max for its column in node.toml at each partner");
                Err(refusal)
            }
        }
    }
}

/// The distinct literals that an expression picks from, in order of appearance; `None` if it is not made of literals.
fn literals(expr: &Expr) -> Option<Vec<Value>> {
    fn collect(expr: &Expr, found: &mut Vec<Value>) -> Option<()> {
        match expr {
            Expr::Literal(value) => {
                if !found.contains(value) {
                    found.push(value.clone());
                }
                Some(())
            }
            Expr::Null(_) => Some(()),
            Expr::Case(branches, otherwise) => {
                branches.iter().try_for_each(|(_, result)| collect(result, found))?;
                collect(otherwise, found)
            }
            _ => None,
        }
    }
    let mut found = Vec::new();
    collect(expr, &mut found)?;
    (found.len() as u64 <= MAX_VALUES).then_some(found)
}

/// The days of a range, or the first days of its units; `None` if there are too many.
fn days(unit: Option<DateUnit>, low: Day, high: Day) -> Option<Vec<Day>> {
    let mut days = Vec::new();
    let mut day = low;
    while day <= high {
        if days.len() as u64 == MAX_VALUES {
            return None;
        }
        days.push(day);
        // The longest unit after the first day of one lies in the next; so it is cut down to the next's first day.
        let next = match unit {
            None => Day(day.0.checked_add(1)?),
            Some(unit) => truncated(
                unit,
                Day(day.0.checked_add(match unit {
                    DateUnit::Month => 31,
                    DateUnit::Quarter => 92,
                    DateUnit::Year => 366,
                })?),
            ),
        };
        if next <= day {
            break; // The end of the calendar.
        }
        day = next;
    }
    Some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_dates_are_listed_without_gaps() {
        let day = |text| Day::parse(text).unwrap();
        let months = days(Some(DateUnit::Month), day("2015-01-01"), day("2030-12-01")).unwrap();
        assert_eq!(months.len(), 192);
        assert!(months.iter().all(|month| month.date().day() == 1));
        let quarters = days(Some(DateUnit::Quarter), day("2015-01-01"), day("2030-10-01")).unwrap();
        assert_eq!(quarters.len(), 64);
        let years = days(Some(DateUnit::Year), day("1900-01-01"), day("2030-01-01")).unwrap();
        assert_eq!(years.len(), 131);
        assert_eq!(days(None, day("2024-02-28"), day("2024-03-01")).unwrap().len(), 3);
        assert_eq!(days(None, day("2024-01-01"), day("2027-01-01")), None);
        assert!(days(Some(DateUnit::Year), day("9998-01-01"), Day(i32::MAX)).is_some());
    }
}
