//! Row expressions: from the parser's tree to typed, total expressions with public ranges, by allow-list.

use sqlparser::ast::{self, BinaryOperator, Ident, UnaryOperator};

use crate::language::expr::{Arithmetic, Comparison, Expr, Value, ValueType};

use super::error::{EXPRESSIONS, Refusal, listed, nearest};
use super::operators::{any_of, as_condition, connect, is_null, not};
use super::scope::{Name, Outcome, Scope, same_name};
use super::typed::{Domain, Typed};

/// Deepest expression, in levels of the parser's tree.
const MAX_DEPTH: usize = 64;
impl<'a> Scope<'a> {
    /// The typed expression for `expr`, or why there is none.
    pub fn expression(&self, expr: &ast::Expr) -> Outcome<'a> {
        self.at_depth(expr, 0)
    }

    /// A condition.
    pub fn condition(&self, expr: &ast::Expr, depth: usize) -> Outcome<'a> {
        let typed = self.at_depth(expr, depth)?;
        match typed.domain {
            Domain::Bool | Domain::Null => Ok(Typed { domain: Domain::Bool, ..typed.of_type(ValueType::Bool) }),
            _ => {
                let why = format!("it is {} where a condition is needed", typed.type_name());
                Err(self.refuse(expr, why, "Write a comparison, such as `age >= 18`"))
            }
        }
    }

    pub fn at_depth(&self, expr: &ast::Expr, depth: usize) -> Outcome<'a> {
        if depth > MAX_DEPTH {
            let instead = "Write lists of values with IN (…) and bins with one CASE, or ask in several studies";
            return Err(self.refuse(expr, "the expression is too deeply nested", instead));
        }
        let typed = self.dispatch(expr, depth + 1)?;
        self.check_size(expr, typed.size)?;
        Ok(typed)
    }

    fn dispatch(&self, expr: &ast::Expr, depth: usize) -> Outcome<'a> {
        use ast::Expr as Ast;
        match expr {
            Ast::Identifier(ident) => self.reference(expr, ident),
            Ast::CompoundIdentifier(parts) => self.qualified(expr, parts),
            Ast::Nested(inner) => self.at_depth(inner, depth),
            Ast::Value(value) => self.literal(expr, &value.value),
            Ast::TypedString(typed) => self.typed_string(expr, typed),
            Ast::UnaryOp { op, expr: operand } => self.unary(expr, *op, operand, depth),
            Ast::BinaryOp { left, op, right } => self.binary(expr, left, op, right, depth),
            Ast::IsNull(operand) => Ok(is_null(self.at_depth(operand, depth)?)),
            Ast::IsNotNull(operand) => Ok(not(is_null(self.at_depth(operand, depth)?))),
            Ast::InList { expr: operand, list, negated } => self.in_list(expr, operand, list, *negated, depth),
            Ast::Between { expr: operand, negated, low, high } => {
                let value = self.at_depth(operand, depth)?;
                let low = self.compare(Comparison::GreaterOrEqual, (operand, value.clone()), low, depth)?;
                let high = self.compare(Comparison::LessOrEqual, (operand, value), high, depth)?;
                let both = connect(Expr::And, low, high);
                Ok(if *negated { not(both) } else { both })
            }
            Ast::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.case(expr, operand.as_deref(), conditions, else_result.as_deref(), depth)
            }
            Ast::Cast { kind, expr: operand, data_type, array, format } => {
                if matches!(kind, ast::CastKind::TryCast | ast::CastKind::SafeCast) || *array || format.is_some() {
                    return Err(self.refuse(expr, "this form of CAST is not available", "Write CAST(… AS type)"));
                }
                let value = self.at_depth(operand, depth)?;
                self.cast(expr, value, data_type)
            }
            Ast::Extract { field, syntax: ast::ExtractSyntax::From, expr: operand } => {
                self.extract(expr, &field.to_string(), operand, depth)
            }
            Ast::Function(function) => self.function(expr, function, depth),
            other => Err(self.unavailable(other)),
        }
    }

    /// The refusal of what no expression of this version consists of, with words for what people will try.
    fn unavailable(&self, expr: &ast::Expr) -> Refusal {
        use ast::Expr as Ast;
        let (why, instead) = match expr {
            Ast::Subquery(_) | Ast::Exists { .. } | Ast::InSubquery { .. } => {
                ("subqueries are not available in this version", "Write the values themselves")
            }
            Ast::Like { .. } | Ast::ILike { .. } | Ast::SimilarTo { .. } | Ast::RLike { .. } => {
                ("text is compared whole, with the public values of its column", "Write = 'value' or IN ('value', …)")
            }
            Ast::IsTrue(_) | Ast::IsNotFalse(_) => ("this test is not available", "Write the condition itself"),
            Ast::IsFalse(_) | Ast::IsNotTrue(_) => ("this test is not available", "Write NOT and the condition"),
            Ast::IsUnknown(_) | Ast::IsNotUnknown(_) => ("this test is not available", "Write IS [NOT] NULL"),
            Ast::IsDistinctFrom(..) | Ast::IsNotDistinctFrom(..) => {
                ("this comparison is not available", "Write <> or =, and IS NULL where NULLs matter")
            }
            Ast::AnyOp { .. } | Ast::AllOp { .. } => ("this comparison is not available", "Write IN (value, …)"),
            Ast::Interval(_) => ("intervals are not available in this version", "Write the day as DATE '2025-01-31'"),
            Ast::Extract { .. } => ("this form of EXTRACT is not available", "Write EXTRACT(MONTH FROM date)"),
            Ast::GroupingSets(_) | Ast::Cube(_) | Ast::Rollup(_) => (
                "ROLLUP, CUBE and GROUPING SETS are not available in this version",
                "Write the keys themselves; add up the published groups afterwards, which costs nothing",
            ),
            Ast::Tuple(_) => ("lists of values stand after IN alone", "Write one value, or GROUP BY a, b"),
            Ast::Ceil { .. }
            | Ast::Floor { .. }
            | Ast::Position { .. }
            | Ast::Substring { .. }
            | Ast::Trim { .. }
            | Ast::Overlay { .. }
            | Ast::Convert { .. } => {
                return self.refuse(expr, "there is no such function in queries", self.source.form.functions());
            }
            _ => ("this is not an expression of queries", EXPRESSIONS),
        };
        self.refuse(expr, why, instead)
    }

    fn qualified(&self, expr: &ast::Expr, parts: &[Ident]) -> Outcome<'a> {
        match parts {
            [qualifier, column] if same_name(qualifier, self.qualifier) => self.reference(expr, column),
            _ => {
                let why = format!("columns belong to `{}` here", self.qualifier.value);
                let name = parts.last().map_or("column", |part| part.value.as_str());
                Err(self.refuse(expr, why, format!("Write {name} or {}.{name}", self.qualifier.value)))
            }
        }
    }

    fn reference(&self, expr: &ast::Expr, ident: &Ident) -> Outcome<'a> {
        match self.name(ident) {
            Name::Column(column) => Ok(column),
            Name::Unit => Err(self.refuse(
                expr,
                "it is the privacy unit, which is never part of an expression or condition: it would single out a \
                 customer",
                self.source.form.unit(&self.schema.privacy_unit),
            )),
            Name::Unknown => {
                let columns = || self.schema.columns.keys().map(String::as_str);
                let near = nearest(&ident.value, columns());
                let why = format!(
                    "no column of this name is declared by data set `{}`, and a column that is not declared does not \
                     exist for studies",
                    self.schema.name
                );
                let declared = format!("the declared columns are {}", listed(columns(), 40));
                let instead = match near.first() {
                    _ if ident.quote_style == Some('"') => {
                        format!(
                            "Write text in single quotes, '{}'; double quotes are for names of columns, and {declared}",
                            ident.value
                        )
                    }
                    Some(near) => format!("Write `{near}` if you mean that; {declared}"),
                    None if self.schema.columns.is_empty() => "Declare columns in node.toml at each partner".into(),
                    None => format!("Write another column; {declared}"),
                };
                Err(self.refuse(expr, why, instead))
            }
        }
    }

    fn literal(&self, expr: &ast::Expr, value: &ast::Value) -> Outcome<'a> {
        match value {
            ast::Value::Number(digits, false) => self.number(expr, digits, false),
            ast::Value::SingleQuotedString(text) => Ok(Typed::literal(Value::Text(text.clone()))),
            ast::Value::Boolean(value) => Ok(Typed::literal(Value::Bool(*value))),
            ast::Value::Null => Ok(Typed::null()),
            _ => Err(self.refuse(expr, "this form of literal is not available", "Write 42, 4.2, 'text' or TRUE")),
        }
    }

    /// A literal number; negative ones are folded here, since the smallest `i64` has no positive twin.
    fn number(&self, expr: &ast::Expr, digits: &str, negative: bool) -> Outcome<'a> {
        let text = format!("{}{digits}", if negative { "-" } else { "" });
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse() {
                Ok(value) => Ok(Typed::literal(Value::Int(value))),
                Err(_) => {
                    let instead = format!("Write {text}.0 for a number that is not counted exactly");
                    Err(self.refuse(expr, "a whole number has at most 64 bits", instead))
                }
            };
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Typed::literal(Value::Float(value))),
            _ => Err(self.refuse(expr, "it is not a finite number", "Write a number between -1e308 and 1e308")),
        }
    }

    fn unary(&self, expr: &ast::Expr, op: UnaryOperator, operand: &ast::Expr, depth: usize) -> Outcome<'a> {
        match op {
            UnaryOperator::Not => Ok(not(self.condition(operand, depth)?)),
            UnaryOperator::Minus => {
                if let ast::Expr::Value(value) = operand
                    && let ast::Value::Number(digits, false) = &value.value
                {
                    return self.number(expr, digits, true);
                }
                let value = self.at_depth(operand, depth)?;
                self.negative(expr, value)
            }
            UnaryOperator::Plus => Err(self.refuse(expr, "a sign + says nothing", "Write it without the +")),
            _ => Err(self.refuse(expr, "this operator is not available", EXPRESSIONS)),
        }
    }

    /// `0 - value`: the plan needs no operator of its own for it.
    pub fn negative(&self, expr: &ast::Expr, value: Typed<'a>) -> Outcome<'a> {
        self.arithmetic(expr, Arithmetic::Subtract, (expr, Typed::literal(Value::Int(0))), (expr, value))
    }

    fn binary(
        &self,
        expr: &ast::Expr,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        depth: usize,
    ) -> Outcome<'a> {
        enum Form {
            Arithmetic(Arithmetic),
            Comparison(Comparison),
            Connective(fn(Box<Expr>, Box<Expr>) -> Expr),
        }
        let form = match op {
            BinaryOperator::Plus => Form::Arithmetic(Arithmetic::Add),
            BinaryOperator::Minus => Form::Arithmetic(Arithmetic::Subtract),
            BinaryOperator::Multiply => Form::Arithmetic(Arithmetic::Multiply),
            BinaryOperator::Divide => Form::Arithmetic(Arithmetic::Divide),
            BinaryOperator::Eq => Form::Comparison(Comparison::Equal),
            BinaryOperator::NotEq => Form::Comparison(Comparison::NotEqual),
            BinaryOperator::Lt => Form::Comparison(Comparison::Less),
            BinaryOperator::LtEq => Form::Comparison(Comparison::LessOrEqual),
            BinaryOperator::Gt => Form::Comparison(Comparison::Greater),
            BinaryOperator::GtEq => Form::Comparison(Comparison::GreaterOrEqual),
            BinaryOperator::And => Form::Connective(Expr::And),
            BinaryOperator::Or => Form::Connective(Expr::Or),
            other => {
                return Err(self.refuse(expr, format!("the operator {other} is not available"), EXPRESSIONS));
            }
        };
        match form {
            Form::Arithmetic(op) => {
                let values = (self.at_depth(left, depth)?, self.at_depth(right, depth)?);
                self.arithmetic(expr, op, (left, values.0), (right, values.1))
            }
            Form::Comparison(op) => {
                let value = self.at_depth(left, depth)?;
                self.compare(op, (left, value), right, depth)
            }
            Form::Connective(make) => Ok(connect(make, self.condition(left, depth)?, self.condition(right, depth)?)),
        }
    }

    fn in_list(
        &self,
        expr: &ast::Expr,
        operand: &ast::Expr,
        list: &[ast::Expr],
        negated: bool,
        depth: usize,
    ) -> Outcome<'a> {
        let value = self.at_depth(operand, depth)?;
        self.check_size(expr, (value.size + 3).saturating_mul(list.len()))?;
        let alternatives: Vec<Typed<'a>> = list
            .iter()
            .map(|item| {
                let equal = self.compare(Comparison::Equal, (operand, value.clone()), item, depth)?;
                Ok(as_condition(equal))
            })
            .collect::<Result<_, Refusal>>()?;
        let any = any_of(alternatives).unwrap_or_else(|| Typed::literal(Value::Bool(false)));
        Ok(if negated { not(any) } else { any })
    }

    fn case(
        &self,
        expr: &ast::Expr,
        operand: Option<&ast::Expr>,
        branches: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
        depth: usize,
    ) -> Outcome<'a> {
        let operand = match operand {
            Some(ast) => {
                let value = self.at_depth(ast, depth)?;
                self.check_size(expr, (value.size + 3).saturating_mul(branches.len()))?;
                Some((ast, value))
            }
            None => None,
        };
        let mut conditions = Vec::with_capacity(branches.len());
        let mut results = Vec::with_capacity(branches.len() + 1);
        for ast::CaseWhen { condition, result } in branches {
            conditions.push(match &operand {
                Some((ast, value)) => {
                    as_condition(self.compare(Comparison::Equal, (ast, value.clone()), condition, depth)?)
                }
                None => self.condition(condition, depth)?,
            });
            results.push((result, self.at_depth(result, depth)?));
        }
        results.push(match otherwise {
            Some(otherwise) => (otherwise, self.at_depth(otherwise, depth)?),
            None => (expr, Typed::null()),
        });
        self.choose(expr, conditions, results)
    }

    fn typed_string(&self, expr: &ast::Expr, typed: &ast::TypedString) -> Outcome<'a> {
        let ast::TypedString { data_type, value, uses_odbc_syntax } = typed;
        match (&value.value, data_type) {
            (ast::Value::SingleQuotedString(text), ast::DataType::Date) if !uses_odbc_syntax => self.day(expr, text),
            _ => Err(self.refuse(expr, "this form of literal is not available", "Write DATE '2025-01-31'")),
        }
    }
}
