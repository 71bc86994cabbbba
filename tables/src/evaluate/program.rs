//! Expressions made ready: a list of steps, each of which is computed once for all who need it.

use std::collections::HashMap;

use entente_protocols::language::expr::{Expr, Value, ValueType};

use super::kernels::{Kernel, Operator};
use super::operand::{Lane, Operand};
use crate::texts::Texts;
use crate::truth::Truth;
use crate::vector::{Vector, tidy};

/// An expression that is not of these columns, or not well typed. The planner makes none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// A column that there is not.
    #[error("it reads column `{0}`, which is not among its columns")]
    Column(String),
    /// An operator on types that it has no kernel for.
    #[error("it computes {operator:?} of {types:?}, which have none")]
    Types {
        /// The operator.
        operator: Operator,
        /// The types of its operands.
        types: Vec<ValueType>,
    },
}

/// Expressions over the same columns, to be computed together.
///
/// What occurs several times in them is computed once; a value is dropped when nothing needs it any more.
#[derive(Debug)]
pub struct Program {
    columns: Vec<(String, ValueType)>,
    texts: Texts,
    steps: Vec<Step>,
    known: HashMap<Source, usize>,
    /// The step of each output.
    outputs: Vec<usize>,
}

#[derive(Debug)]
struct Step {
    source: Source,
    value_type: ValueType,
    /// The last step at which its value is needed.
    last_use: usize,
}

/// Where a value comes from. Equal sources have equal values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    Column(usize),
    Int(i64),
    /// By its bits.
    Float(u64),
    Bool(bool),
    Text(i32),
    Date(i32),
    Null(ValueType),
    /// Of the table, with the steps of its arguments.
    Kernel(usize, Vec<usize>),
}

impl Program {
    /// No expression yet, over columns of these names and types; `texts` are those that columns are read with.
    pub fn new(columns: Vec<(String, ValueType)>, texts: Texts) -> Self {
        Self { columns, texts, steps: Vec::new(), known: HashMap::new(), outputs: Vec::new() }
    }

    /// The numbers of texts in columns and outputs.
    pub fn texts(&mut self) -> &mut Texts {
        &mut self.texts
    }

    /// Adds an expression as the next output.
    ///
    /// # Errors
    ///
    /// If it is not one over these columns; the program then has no new output.
    pub fn add(&mut self, expr: &Expr) -> Result<(), Unfit> {
        let step = self.compile(expr)?;
        self.outputs.push(step);
        // It is handed over when all before it are.
        let due = self.outputs.iter().copied().max().unwrap_or(step);
        self.steps[step].last_use = self.steps[step].last_use.max(due);
        Ok(())
    }

    fn compile(&mut self, expr: &Expr) -> Result<usize, Unfit> {
        let Some((operator, operands)) = Operator::of(expr) else { return self.leaf(expr) };
        let operands = operands.into_iter().map(|operand| self.compile(operand)).collect::<Result<Vec<_>, _>>()?;
        let types: Vec<ValueType> = operands.iter().map(|operand| self.steps[*operand].value_type).collect();
        if let (Operator::Cast(to), [from]) = (operator, &types[..])
            && to == *from
        {
            return Ok(operands[0]);
        }
        let Some((number, kernel)) = Kernel::find(operator, &types) else {
            return Err(Unfit::Types { operator, types });
        };
        Ok(self.step(Source::Kernel(number, operands), kernel.result(&types)))
    }

    fn leaf(&mut self, expr: &Expr) -> Result<usize, Unfit> {
        let (source, value_type) = match expr {
            Expr::Column(name) => {
                let place = self.columns.iter().position(|(column, _)| column == name);
                let place = place.ok_or_else(|| Unfit::Column(name.clone()))?;
                (Source::Column(place), self.columns[place].1)
            }
            Expr::Literal(value) => {
                let source = match value {
                    Value::Int(value) => Source::Int(*value),
                    Value::Float(value) => {
                        tidy(*value).map_or(Source::Null(ValueType::Float), |value| Source::Float(value.to_bits()))
                    }
                    Value::Bool(value) => Source::Bool(*value),
                    Value::Text(value) => Source::Text(self.texts.code(value)),
                    Value::Date(day) => Source::Date(day.0),
                };
                (source, value.value_type())
            }
            Expr::Null(value_type) => (Source::Null(*value_type), *value_type),
            _ => unreachable!("all others have an operator"),
        };
        Ok(self.step(source, value_type))
    }

    /// The step of a source, a new one if there is none yet.
    fn step(&mut self, source: Source, value_type: ValueType) -> usize {
        if let Some(step) = self.known.get(&source) {
            return *step;
        }
        let number = self.steps.len();
        if let Source::Kernel(_, operands) = &source {
            operands.iter().for_each(|operand| self.steps[*operand].last_use = number);
        }
        self.known.insert(source.clone(), number);
        self.steps.push(Step { source, value_type, last_use: number });
        number
    }

    /// Computes all outputs on a batch of `rows` rows and gives each, with its number, to `output`, in the order in which
    /// they were added. Returns how many values kernels looked at.
    ///
    /// # Panics
    ///
    /// If `columns` are not of the types and number that the program was made for.
    pub fn run(&self, columns: &[Vector], rows: usize, mut output: impl FnMut(usize, Vector)) -> u64 {
        let fits = |(column, (_, value_type)): (&Vector, &(String, ValueType))| {
            column.value_type() == *value_type && column.len() == rows
        };
        assert!(
            columns.len() == self.columns.len() && columns.iter().zip(&self.columns).all(fits),
            "a batch has the columns that its program was made for"
        );
        let mut values: Vec<Option<Operand>> = self.steps.iter().map(|_| None).collect();
        let value = |values: &[Option<Operand>], step: usize| values[step].clone().expect(NEEDED);
        let mut outputs = self.outputs.iter().copied().enumerate().peekable();
        let mut looked_at = 0;
        for (at, step) in self.steps.iter().enumerate() {
            let mut needed = vec![at];
            values[at] = Some(match &step.source {
                Source::Column(column) => Operand::from(&columns[*column]),
                Source::Int(value) => Operand::Int(Lane::Constant(Some(*value))),
                Source::Float(bits) => Operand::Float(Lane::Constant(Some(f64::from_bits(*bits)))),
                Source::Bool(value) => Operand::Bool(Truth::constant(Some(*value), rows)),
                Source::Text(number) => Operand::Text(Lane::Constant(Some(*number))),
                Source::Date(day) => Operand::Date(Lane::Constant(Some(*day))),
                Source::Null(value_type) => Operand::null(*value_type, rows),
                Source::Kernel(kernel, operands) => {
                    needed.extend(operands);
                    let operands: Vec<&Operand> =
                        operands.iter().map(|operand| values[*operand].as_ref().expect(NEEDED)).collect();
                    looked_at += operands.iter().map(|operand| operand.len() as u64).sum::<u64>();
                    (Kernel::all()[*kernel].compute)(&operands, rows)
                }
            });
            while let Some((number, step)) = outputs.next_if(|(_, step)| *step <= at) {
                output(number, value(&values, step).vector(rows));
                needed.push(step);
            }
            for step in needed {
                if self.steps[step].last_use <= at {
                    values[step] = None;
                }
            }
        }
        looked_at
    }
}

const NEEDED: &str = "a value is kept until its last use";
