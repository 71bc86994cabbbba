//! The table of kernels: everything that an expression can compute, with what can come of it.
//!
//! Each kernel is total (it has a value or NULL whatever its arguments are) and looks at every row of every argument,
//! whatever stands in other rows or arguments. A kernel that may be pushed to a database gives the same there, to the last
//! bit; the others are computed here alone.

use ValueType::{Bool, Date, Float, Int, Text};
use entente_protocols::language::expr::{Arithmetic, Comparison, DatePart as Part, DateUnit as Unit, Expr, ValueType};

use super::compute::*;
use super::operand::Operand;

/// What an expression does to its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// See [`Expr::Arithmetic`].
    Arithmetic(Arithmetic),
    /// See [`Expr::Compare`].
    Compare(Comparison),
    /// See [`Expr::And`].
    And,
    /// See [`Expr::Or`].
    Or,
    /// See [`Expr::Not`].
    Not,
    /// See [`Expr::IsNull`].
    IsNull,
    /// See [`Expr::Case`]. Its operands are each condition before its result, and the last result.
    Case,
    /// See [`Expr::Cast`]; to the type that a value has already, there is nothing to do and no kernel.
    Cast(ValueType),
    /// See [`Expr::DatePart`].
    DatePart(Part),
    /// See [`Expr::DateTrunc`].
    DateTrunc(Unit),
}

impl Operator {
    /// An expression's operator and operands; none where it is a leaf.
    pub fn of(expr: &Expr) -> Option<(Self, Vec<&Expr>)> {
        Some(match expr {
            Expr::Column(_) | Expr::Literal(_) | Expr::Null(_) => return None,
            Expr::Arithmetic(arithmetic, left, right) => (Self::Arithmetic(*arithmetic), vec![left, right]),
            Expr::Compare(comparison, left, right) => (Self::Compare(*comparison), vec![left, right]),
            Expr::And(left, right) => (Self::And, vec![left, right]),
            Expr::Or(left, right) => (Self::Or, vec![left, right]),
            Expr::Not(inner) => (Self::Not, vec![inner]),
            Expr::IsNull(inner) => (Self::IsNull, vec![inner]),
            Expr::Case(branches, otherwise) => {
                let mut operands: Vec<&Expr> = branches.iter().flat_map(|(when, then)| [when, then]).collect();
                operands.push(otherwise);
                (Self::Case, operands)
            }
            Expr::Cast(inner, to) => (Self::Cast(*to), vec![inner]),
            Expr::DatePart(part, inner) => (Self::DatePart(*part), vec![inner]),
            Expr::DateTrunc(unit, inner) => (Self::DateTrunc(*unit), vec![inner]),
        })
    }
}

/// What a kernel is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// One of this type.
    One(ValueType),
    /// One of any type.
    Any,
    /// Two of this type.
    Two(ValueType),
    /// Two of the same, which is one of these types.
    Alike(&'static [ValueType]),
    /// Any number of pairs of a Bool and a value, and a value; all values of the same type, which is any.
    Branches,
}

impl Arguments {
    /// How many there are; `None` where that differs.
    pub fn arity(self) -> Option<usize> {
        match self {
            Self::One(_) | Self::Any => Some(1),
            Self::Two(_) | Self::Alike(_) => Some(2),
            Self::Branches => None,
        }
    }

    /// Whether operands of these types can be its arguments.
    pub fn accept(self, types: &[ValueType]) -> bool {
        match (self, types) {
            (Self::One(wanted), [found]) => wanted == *found,
            (Self::Any, [_]) => true,
            (Self::Two(wanted), [left, right]) => wanted == *left && wanted == *right,
            (Self::Alike(wanted), [left, right]) => left == right && wanted.contains(left),
            (Self::Branches, [branches @ .., otherwise]) => {
                let (pairs, rest) = branches.as_chunks::<2>();
                rest.is_empty() && pairs.iter().all(|[when, then]| *when == Bool && then == otherwise)
            }
            _ => false,
        }
    }
}

/// The type of a kernel's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// This one.
    Is(ValueType),
    /// The type of its last argument.
    Last,
}

/// Where a kernel's result is NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nulls {
    /// Where an argument is, and nowhere else.
    Strict,
    /// Where an argument is, and where there is no number: x / 0, infinity - infinity, infinity * 0.
    Undefined,
    /// As Kleene's logic says.
    Kleene,
    /// Nowhere.
    Never,
    /// Where that is which is chosen.
    Chosen,
}

/// What results are possible, beside NULL.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// Whole numbers from the first to the last, which both occur.
    Ints(i64, i64),
    /// All numbers and both infinities, but not NaN and not -0.
    Floats,
    /// Numbers from the first to the last, which both occur.
    Within(f64, f64),
    /// True and false.
    Bools,
    /// All days.
    Days,
    /// What its arguments can be.
    Arguments,
}

/// Where a kernel may be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here, or by a database.
    Anywhere,
    /// Here alone: databases do not agree on it, or nobody has shown that they do.
    Here,
}

/// One row of the table.
#[derive(Debug)]
pub struct Kernel {
    /// Its name, which no other has.
    pub name: &'static str,
    /// The operator that it computes.
    pub operator: Operator,
    /// What from.
    pub arguments: Arguments,
    /// The type of the value.
    pub returns: Returns,
    /// When there is none.
    pub nulls: Nulls,
    /// What it can be.
    pub range: Range,
    /// Where it may be computed.
    pub place: Place,
    /// Computes it on all rows of a batch.
    pub(super) compute: fn(&[&Operand], usize) -> Operand,
}

impl Kernel {
    /// All kernels.
    pub fn all() -> &'static [Self] {
        KERNELS
    }

    /// The kernel of an operator over operands of these types, and where it is in the table.
    pub(super) fn find(operator: Operator, types: &[ValueType]) -> Option<(usize, &'static Self)> {
        KERNELS.iter().enumerate().find(|(_, row)| row.operator == operator && row.arguments.accept(types))
    }

    /// The type of its result from arguments of these types.
    pub(super) fn result(&self, types: &[ValueType]) -> ValueType {
        match (self.returns, types.last()) {
            (Returns::Is(result), _) => result,
            (Returns::Last, last) => *last.expect("a kernel with the type of its last argument has one"),
        }
    }
}

macro_rules! kernels {
    ($($name:literal $operator:expr, $arguments:expr => $returns:expr, $nulls:ident, $range:expr, $place:ident, $compute:expr;)*) => {
        &[$(Kernel {
            name: $name,
            operator: $operator,
            arguments: $arguments,
            returns: $returns,
            nulls: Nulls::$nulls,
            range: $range,
            place: Place::$place,
            compute: $compute,
        }),*]
    };
}

use Arguments::{Alike, Any, Branches, One, Two};
use Arithmetic::{Add, Divide, Multiply, Subtract};
use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
use Operator::{Cast, Compare};
use Range::{Bools, Days, Floats, Ints, Within};
use Returns::{Is, Last};

const WHOLE: Range = Ints(i64::MIN, i64::MAX);
/// 2^63, which the largest whole numbers become.
const LARGEST: f64 = (1u64 << 63) as f64;
const ALL: &[ValueType] = &[Int, Float, Date, Bool, Text];
/// Texts have no order: their numbers are those of their first appearance.
const ORDERED: &[ValueType] = &[Int, Float, Date, Bool];

static KERNELS: &[Kernel] = kernels! {
    // Wraps. The planner's bounds leave whole numbers no occasion to, so that a database has none to refuse one.
    "int + int"     arithmetic(Add), Two(Int) => Is(Int), Strict, WHOLE, Anywhere, |o, _| ints(o, i64::wrapping_add);
    "int - int"     arithmetic(Subtract), Two(Int) => Is(Int), Strict, WHOLE, Anywhere, |o, _| ints(o, i64::wrapping_sub);
    "int * int"     arithmetic(Multiply), Two(Int) => Is(Int), Strict, WHOLE, Anywhere, |o, _| ints(o, i64::wrapping_mul);
    "float + float" arithmetic(Add), Two(Float) => Is(Float), Undefined, Floats, Anywhere, |o, _| floats(o, |a, b| a + b);
    "float - float" arithmetic(Subtract), Two(Float) => Is(Float), Undefined, Floats, Anywhere, |o, _| floats(o, |a, b| a - b);
    "float * float" arithmetic(Multiply), Two(Float) => Is(Float), Undefined, Floats, Anywhere, |o, _| floats(o, |a, b| a * b);
    "float / float" arithmetic(Divide), Two(Float) => Is(Float), Undefined, Floats, Anywhere, |o, _| floats(o, quotient);

    "="             Compare(Equal), Alike(ALL) => Is(Bool), Strict, Bools, Anywhere, |o, n| compare(Equal, o, n);
    "<>"            Compare(NotEqual), Alike(ALL) => Is(Bool), Strict, Bools, Anywhere, |o, n| compare(NotEqual, o, n);
    "<"             Compare(Less), Alike(ORDERED) => Is(Bool), Strict, Bools, Anywhere, |o, n| compare(Less, o, n);
    "<="            Compare(LessOrEqual), Alike(ORDERED) => Is(Bool), Strict, Bools, Anywhere, |o, n| compare(LessOrEqual, o, n);
    ">"             Compare(Greater), Alike(ORDERED) => Is(Bool), Strict, Bools, Anywhere, |o, n| compare(Greater, o, n);
    ">="            Compare(GreaterOrEqual), Alike(ORDERED) => Is(Bool), Strict, Bools, Anywhere, |o, n| compare(GreaterOrEqual, o, n);

    // What joins comparisons goes where they go.
    "AND"           Operator::And, Two(Bool) => Is(Bool), Kleene, Bools, Anywhere, |o, _| Operand::Bool(o[0].bool().and(o[1].bool()));
    "OR"            Operator::Or, Two(Bool) => Is(Bool), Kleene, Bools, Anywhere, |o, _| Operand::Bool(o[0].bool().or(o[1].bool()));
    "NOT"           Operator::Not, One(Bool) => Is(Bool), Strict, Bools, Anywhere, |o, _| Operand::Bool(o[0].bool().not());
    "IS NULL"       Operator::IsNull, Any => Is(Bool), Never, Bools, Anywhere, is_null;
    "CASE"          Operator::Case, Branches => Last, Chosen, Range::Arguments, Anywhere, |o, _| case(o);

    // Databases round where we truncate, and do not agree on what a condition is as a number.
    "int AS float"  Cast(Float), One(Int) => Is(Float), Strict, Within(-LARGEST, LARGEST), Here, |o, _| int_to_float(o);
    "float AS int"  Cast(Int), One(Float) => Is(Int), Strict, WHOLE, Here, |o, _| float_to_int(o);
    "bool AS int"   Cast(Int), One(Bool) => Is(Int), Strict, Ints(0, 1), Here, |o, _| bool_to_int(o);
    "bool AS float" Cast(Float), One(Bool) => Is(Float), Strict, Within(0.0, 1.0), Here, |o, _| bool_to_float(o);

    "YEAR"          part(Part::Year), One(Date) => Is(Int), Strict, Ints(-5_877_641, 5_881_580), Anywhere, |o, _| date_part(o, Part::Year);
    "QUARTER"       part(Part::Quarter), One(Date) => Is(Int), Strict, Ints(1, 4), Anywhere, |o, _| date_part(o, Part::Quarter);
    "MONTH"         part(Part::Month), One(Date) => Is(Int), Strict, Ints(1, 12), Anywhere, |o, _| date_part(o, Part::Month);
    "DAY"           part(Part::Day), One(Date) => Is(Int), Strict, Ints(1, 31), Anywhere, |o, _| date_part(o, Part::Day);
    "DOW"           part(Part::DayOfWeek), One(Date) => Is(Int), Strict, Ints(0, 6), Anywhere, |o, _| date_part(o, Part::DayOfWeek);
    "FIRST OF year"    trunc(Unit::Year), One(Date) => Is(Date), Strict, Days, Anywhere, |o, _| date_trunc(o, Unit::Year);
    "FIRST OF quarter" trunc(Unit::Quarter), One(Date) => Is(Date), Strict, Days, Anywhere, |o, _| date_trunc(o, Unit::Quarter);
    "FIRST OF month"   trunc(Unit::Month), One(Date) => Is(Date), Strict, Days, Anywhere, |o, _| date_trunc(o, Unit::Month);
};

const fn arithmetic(arithmetic: Arithmetic) -> Operator {
    Operator::Arithmetic(arithmetic)
}

const fn part(part: Part) -> Operator {
    Operator::DatePart(part)
}

const fn trunc(unit: Unit) -> Operator {
    Operator::DateTrunc(unit)
}
