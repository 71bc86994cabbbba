//! A plan's expressions as DataFusion's, computed over columns that have been [read](super::read).
//!
//! DataFusion compares, branches and knows three-valued logic; what could fail or has two answers there (arithmetic,
//! conversions, parts of dates) are functions of our own, so that every expression has a value or NULL on every row:
//!
//! - whole numbers wrap, rather than fail, although the planner's bounds leave them no occasion to;
//! - floating point has neither NaN (it is NULL) nor -0 (it is 0), so that comparing means what SQL says;
//! - text is a number out of [`Texts`].

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float64Array, Int64Array, PrimitiveArray,
    new_null_array,
};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int32Type, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_common::Result as FusionResult;
use datafusion_common::{Column, DFSchema, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr::Case;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{
    self as fusion, ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    binary_expr, lit,
};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use entente_protocols::language::expr::{Arithmetic, Comparison, DatePart, DateUnit, Expr, Value, ValueType};
use entente_tables::calendar;
use entente_tables::texts::Texts;

use super::bounding::NO_CELL;

/// An expression ready to be computed over batches of one schema.
#[derive(Debug)]
pub(crate) struct Compiled(Arc<dyn PhysicalExpr>);

impl Compiled {
    /// Compiles `expr` for batches whose columns have these names and types.
    pub(crate) fn new(expr: &Expr, schema: &Schema, texts: &mut Texts) -> FusionResult<Self> {
        let schema = DFSchema::try_from(schema.clone())?;
        let expr = translate(expr, texts);
        let context = PhysicalPlanningContext::default();
        Ok(Self(create_physical_expr(&expr, &schema, &ExecutionProps::new(), &context)?))
    }

    /// The expression's value on each row.
    pub(crate) fn evaluate(&self, batch: &RecordBatch) -> FusionResult<ArrayRef> {
        self.0.evaluate(batch)?.into_array(batch.num_rows())
    }

    /// Where the expression, a Bool, is true; NULL counts as false.
    pub(crate) fn holds(&self, batch: &RecordBatch) -> FusionResult<BooleanArray> {
        let array = self.evaluate(batch)?;
        Ok(match array.as_boolean_opt() {
            Some(values) => true_only(values),
            None => BooleanArray::from(vec![false; batch.num_rows()]),
        })
    }
}

/// NULL as false.
pub(crate) fn true_only(values: &BooleanArray) -> BooleanArray {
    match values.nulls() {
        None => values.clone(),
        Some(valid) => BooleanArray::new(values.values() & valid.inner(), None),
    }
}

/// The Arrow type of a value.
fn arrow_type(value_type: ValueType) -> DataType {
    match value_type {
        ValueType::Int => DataType::Int64,
        ValueType::Float => DataType::Float64,
        ValueType::Bool => DataType::Boolean,
        ValueType::Text => DataType::Int32,
        ValueType::Date => DataType::Date32,
    }
}

fn translate(expr: &Expr, texts: &mut Texts) -> fusion::Expr {
    match expr {
        Expr::Column(name) => fusion::Expr::Column(Column::new_unqualified(name)),
        Expr::Literal(value) => lit(literal(value, texts)),
        // Every Arrow type has a NULL.
        Expr::Null(value_type) => lit(ScalarValue::try_from(arrow_type(*value_type)).unwrap_or(ScalarValue::Null)),
        Expr::Arithmetic(operator, left, right) => {
            let arguments = vec![translate(left, texts), translate(right, texts)];
            Function::Arithmetic(*operator).call(arguments)
        }
        Expr::Compare(comparison, left, right) => {
            let operator = match comparison {
                Comparison::Equal => Operator::Eq,
                Comparison::NotEqual => Operator::NotEq,
                Comparison::Less => Operator::Lt,
                Comparison::LessOrEqual => Operator::LtEq,
                Comparison::Greater => Operator::Gt,
                Comparison::GreaterOrEqual => Operator::GtEq,
            };
            binary_expr(translate(left, texts), operator, translate(right, texts))
        }
        Expr::And(left, right) => translate(left, texts).and(translate(right, texts)),
        Expr::Or(left, right) => translate(left, texts).or(translate(right, texts)),
        Expr::Not(inner) => fusion::not(translate(inner, texts)),
        Expr::IsNull(inner) => translate(inner, texts).is_null(),
        Expr::Case(branches, otherwise) => {
            let branches = branches
                .iter()
                .map(|(when, then)| (Box::new(translate(when, texts)), Box::new(translate(then, texts))));
            let branches = branches.collect();
            fusion::Expr::Case(Case::new(None, branches, Some(Box::new(translate(otherwise, texts)))))
        }
        Expr::Cast(inner, to) => Function::Convert(*to).call(vec![translate(inner, texts)]),
        Expr::DatePart(part, inner) => Function::Part(*part).call(vec![translate(inner, texts)]),
        Expr::DateTrunc(unit, inner) => Function::Trunc(*unit).call(vec![translate(inner, texts)]),
    }
}

fn literal(value: &Value, texts: &mut Texts) -> ScalarValue {
    match value {
        Value::Int(value) => ScalarValue::Int64(Some(*value)),
        Value::Float(value) => ScalarValue::Float64(tidy(*value)),
        Value::Bool(value) => ScalarValue::Boolean(Some(*value)),
        Value::Text(value) => ScalarValue::Int32(Some(texts.code(value))),
        Value::Date(day) => ScalarValue::Date32(Some(day.0)),
    }
}

/// NaN as NULL and -0 as 0.
pub(crate) fn tidy(value: f64) -> Option<f64> {
    (!value.is_nan()).then_some(value + 0.0)
}

/// What DataFusion has no total form of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Arithmetic(Arithmetic),
    Convert(ValueType),
    Part(DatePart),
    Trunc(DateUnit),
}

impl Function {
    fn call(self, arguments: Vec<fusion::Expr>) -> fusion::Expr {
        let signature = Signature::any(arguments.len(), Volatility::Immutable);
        ScalarUDF::new_from_impl(Udf { name: format!("{self:?}"), function: self, signature }).call(arguments)
    }

    fn result(self, argument: Option<&DataType>) -> DataType {
        match (self, argument) {
            (Self::Arithmetic(Arithmetic::Divide), _) => DataType::Float64,
            (Self::Arithmetic(_), Some(argument)) => argument.clone(),
            (Self::Arithmetic(_), None) => DataType::Float64,
            (Self::Convert(to), _) => arrow_type(to),
            (Self::Part(_), _) => DataType::Int64,
            (Self::Trunc(_), _) => DataType::Date32,
        }
    }

    /// `None` where the arguments are not of types that the planner lets through.
    fn compute(self, arguments: &[ArrayRef]) -> Option<ArrayRef> {
        match (self, arguments) {
            (Self::Arithmetic(operator), [left, right]) => arithmetic(operator, left, right),
            (Self::Convert(to), [value]) => convert(to, value),
            (Self::Part(part), [value]) => {
                let days = value.as_primitive_opt::<Date32Type>()?;
                Some(Arc::new(days.unary::<_, Int64Type>(|day| calendar::part(part, day))))
            }
            (Self::Trunc(unit), [value]) => {
                let days = value.as_primitive_opt::<Date32Type>()?;
                Some(Arc::new(days.unary::<_, Date32Type>(|day| calendar::trunc(unit, day))))
            }
            _ => None,
        }
    }
}

fn arithmetic(operator: Arithmetic, left: &ArrayRef, right: &ArrayRef) -> Option<ArrayRef> {
    if let (Some(left), Some(right)) = (left.as_primitive_opt::<Int64Type>(), right.as_primitive_opt::<Int64Type>()) {
        let wrapping = match operator {
            Arithmetic::Add => i64::wrapping_add,
            Arithmetic::Subtract => i64::wrapping_sub,
            Arithmetic::Multiply => i64::wrapping_mul,
            Arithmetic::Divide => return None,
        };
        return Some(Arc::new(pairs::<Int64Type, Int64Type>(left, right, |a, b| Some(wrapping(a, b)))));
    }
    let (left, right) = (left.as_primitive_opt::<Float64Type>()?, right.as_primitive_opt::<Float64Type>()?);
    let result = match operator {
        Arithmetic::Add => pairs::<_, Float64Type>(left, right, |a, b| tidy(a + b)),
        Arithmetic::Subtract => pairs(left, right, |a, b| tidy(a - b)),
        Arithmetic::Multiply => pairs(left, right, |a, b| tidy(a * b)),
        Arithmetic::Divide => pairs(left, right, |a, b| if b == 0.0 { None } else { tidy(a / b) }),
    };
    Some(Arc::new(result))
}

fn pairs<S: ArrowPrimitiveType, T: ArrowPrimitiveType>(
    left: &PrimitiveArray<S>,
    right: &PrimitiveArray<S>,
    f: impl Fn(S::Native, S::Native) -> Option<T::Native>,
) -> PrimitiveArray<T> {
    left.iter().zip(right.iter()).map(|pair| f(pair.0?, pair.1?)).collect()
}

fn convert(to: ValueType, value: &ArrayRef) -> Option<ArrayRef> {
    if *value.data_type() == arrow_type(to) {
        return Some(value.clone());
    }
    match (value.data_type(), to) {
        (DataType::Int64, ValueType::Float) => {
            Some(Arc::new(value.as_primitive::<Int64Type>().unary::<_, Float64Type>(|value| value as f64)))
        }
        // Saturates, and NaN does not occur.
        (DataType::Float64, ValueType::Int) => {
            Some(Arc::new(value.as_primitive::<Float64Type>().unary::<_, Int64Type>(|value| value as i64)))
        }
        (DataType::Boolean, ValueType::Int) => {
            let values = value.as_boolean().iter();
            Some(Arc::new(values.map(|value| value.map(i64::from)).collect::<Int64Array>()))
        }
        (DataType::Boolean, ValueType::Float) => {
            let values = value.as_boolean().iter();
            Some(Arc::new(values.map(|value| value.map(|value| f64::from(u8::from(value)))).collect::<Float64Array>()))
        }
        _ => None,
    }
}

/// A [`Function`] as DataFusion wants it. Two are the same if their names are, which spell the function out.
#[derive(Debug)]
struct Udf {
    name: String,
    function: Function,
    signature: Signature,
}

impl PartialEq for Udf {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}

impl Eq for Udf {}

impl Hash for Udf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Udf {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> FusionResult<DataType> {
        Ok(self.function.result(arguments.first()))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> FusionResult<ColumnarValue> {
        let rows = call.number_rows;
        let arguments = call.args.into_iter().map(|argument| argument.into_array(rows));
        let arguments = arguments.collect::<FusionResult<Vec<_>>>()?;
        let result = self.function.result(arguments.first().map(|argument| argument.data_type()));
        let computed = self.function.compute(&arguments).filter(|array| *array.data_type() == result);
        Ok(ColumnarValue::Array(computed.unwrap_or_else(|| new_null_array(&result, rows))))
    }
}

/// The position of each value in a group key's public domain; [`NO_CELL`] for NULL and values outside.
#[derive(Debug)]
pub(crate) enum Domain {
    Bool([u32; 2]),
    /// Whole numbers, texts and days: position `lowest + i` at `i`.
    Dense {
        lowest: i64,
        positions: Vec<u32>,
    },
    Sparse(std::collections::HashMap<i64, u32>),
    /// By the bits of the number.
    Float(std::collections::HashMap<u64, u32>),
}

impl Domain {
    /// Prepares the lookup of a domain's values.
    pub(crate) fn new(values: &[Value], texts: &mut Texts) -> Self {
        let numbered = || values.iter().zip(0u32..);
        match values.first() {
            Some(Value::Bool(_)) => {
                let mut positions = [NO_CELL; 2];
                for (value, position) in numbered() {
                    if let Value::Bool(value) = value {
                        positions[usize::from(*value)] = position;
                    }
                }
                Self::Bool(positions)
            }
            Some(Value::Float(_)) => Self::Float(
                numbered()
                    .filter_map(|(value, position)| match value {
                        Value::Float(value) => Some((tidy(*value)?.to_bits(), position)),
                        _ => None,
                    })
                    .collect(),
            ),
            _ => {
                let number = |value: &Value, texts: &mut Texts| match value {
                    Value::Int(value) => Some(*value),
                    Value::Text(value) => Some(i64::from(texts.code(value))),
                    Value::Date(day) => Some(i64::from(day.0)),
                    Value::Bool(_) | Value::Float(_) => None,
                };
                let pairs: Vec<(i64, u32)> =
                    numbered().filter_map(|(value, position)| Some((number(value, texts)?, position))).collect();
                let lowest = pairs.iter().map(|pair| pair.0).min().unwrap_or(0);
                let span = pairs.iter().map(|pair| pair.0.abs_diff(lowest)).max().unwrap_or(0);
                if span >= 4096 + 4 * pairs.len() as u64 {
                    return Self::Sparse(pairs.into_iter().collect());
                }
                let mut positions = vec![NO_CELL; span as usize + 1];
                for (value, position) in pairs {
                    positions[value.abs_diff(lowest) as usize] = position;
                }
                Self::Dense { lowest, positions }
            }
        }
    }

    /// Extends `cells` (the cells by the keys so far) by this key, whose domain has `count` values.
    pub(crate) fn extend(&self, cells: &mut [u32], count: u32, values: &ArrayRef) {
        let integer = |value: i64| match self {
            Self::Dense { lowest, positions } => {
                let at = usize::try_from(value.wrapping_sub(*lowest)).unwrap_or(usize::MAX);
                positions.get(at).copied().unwrap_or(NO_CELL)
            }
            Self::Sparse(positions) => positions.get(&value).copied().unwrap_or(NO_CELL),
            _ => NO_CELL,
        };
        match (values.data_type(), self) {
            (DataType::Int64, _) => extend(cells, count, values.as_primitive::<Int64Type>(), integer),
            (DataType::Int32, _) => {
                extend(cells, count, values.as_primitive::<Int32Type>(), |value| integer(i64::from(value)));
            }
            (DataType::Date32, _) => {
                extend(cells, count, values.as_primitive::<Date32Type>(), |value| integer(i64::from(value)));
            }
            (DataType::Float64, Self::Float(positions)) => {
                extend(cells, count, values.as_primitive::<Float64Type>(), |value| {
                    positions.get(&value.to_bits()).copied().unwrap_or(NO_CELL)
                });
            }
            (DataType::Boolean, Self::Bool(positions)) => {
                for (cell, value) in cells.iter_mut().zip(values.as_boolean()) {
                    *cell = combine(*cell, count, value.map_or(NO_CELL, |value| positions[usize::from(value)]));
                }
            }
            _ => cells.fill(NO_CELL),
        }
    }
}

fn combine(cell: u32, count: u32, position: u32) -> u32 {
    if cell == NO_CELL || position == NO_CELL { NO_CELL } else { cell * count + position }
}

fn extend<T: ArrowPrimitiveType>(
    cells: &mut [u32],
    count: u32,
    values: &PrimitiveArray<T>,
    position: impl Fn(T::Native) -> u32,
) {
    for (cell, value) in cells.iter_mut().zip(values.values()) {
        *cell = combine(*cell, count, position(*value));
    }
    if let Some(nulls) = values.nulls() {
        for (cell, valid) in cells.iter_mut().zip(nulls) {
            if !valid {
                *cell = NO_CELL;
            }
        }
    }
}
