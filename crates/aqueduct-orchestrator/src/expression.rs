//! Expressions: CEL over one item.
//!
//! The parser is crate `cel`'s. What most pipelines use (fields, arithmetic, comparison, logic, the
//! conditional, `in`, `has`, `size`, conversions, searches in texts, `cvss`) runs on our own evaluator over the
//! record's bytes; everything else (macros over lists, list and object literals, bytes, `type`) falls back to
//! `cel`'s interpreter, and [`Expression::engine`] says which.
//!
//! Where it differs from CEL, in both engines alike:
//!
//! * Integers and doubles mix: `1 + 2.5` is 3.5. The quotient of two integers is truncated, as in CEL.
//! * A division by zero is an error for doubles too; JSON could not hold the infinity.
//! * Integers beyond 64 bits read as the nearest double.
//! * There are no clocks, no time zones, no regular expressions, no randomness.
//! * `==` between two types that are known before any item is seen, such as `"a" == 1`, does not compile.

mod compile;
mod cvss;
mod evaluate;
mod fault;
mod functions;
mod html;
mod interpreter;
mod limits;
mod parse;
mod program;
#[cfg(test)]
mod tests;
mod value;

use std::borrow::Cow;

use aqueduct_core::{Record, RecordBuilder};

use self::interpreter::Interpreter;
use self::program::{CompareOp, Literal, Node};
use crate::error::{EvaluationError, ExpressionError};

pub use self::cvss::cvss_base_score;
pub use self::html::html_text;
pub use self::value::{Type, Value};

/// A compiled expression. Threads share one.
///
/// # Example
///
/// ```
/// use aqueduct_core::Record;
/// use aqueduct_orchestrator::Expression;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let low = Expression::compile("item.passed > 10 && item.coverage < 0.5")?;
/// let record = Record::parse(&br#"{"id":"a","passed":12,"coverage":0.25}"#[..])?;
/// assert!(low.evaluate_bool(&record)?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Expression {
    source: String,
    program: Program,
    result: Option<Type>,
}

#[derive(Debug)]
enum Program {
    Native(Node),
    Interpreted(Interpreter),
}

/// What runs an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Our evaluator over the record's bytes.
    Native,
    /// Crate `cel`'s interpreter over converted values; slower.
    Interpreter,
}

impl Expression {
    /// Compiles a source.
    ///
    /// # Errors
    ///
    /// [`ExpressionError`] says what is wrong and where: it does not parse, names an unknown variable or
    /// function, puts types together that do not go together, or is larger than 1,000 parts, 32 levels or
    /// 16 KiB.
    pub fn compile(source: &str) -> Result<Self, ExpressionError> {
        let (tree, places) = parse::parse(source)?;
        let compiled = compile::compile(source, &tree, &places)?;
        let program = match compiled.node {
            Some(node) => Program::Native(node),
            None => Program::Interpreted(Interpreter::new(tree)),
        };
        Ok(Self { source: source.to_owned(), program, result: compiled.result })
    }

    /// Compiles a source for the interpreter whatever it holds, to hold the two engines against each other.
    #[cfg(test)]
    fn interpreted(source: &str) -> Result<Self, ExpressionError> {
        let (tree, places) = parse::parse(source)?;
        let compiled = compile::compile(source, &tree, &places)?;
        let program = Program::Interpreted(Interpreter::new(tree));
        Ok(Self { source: source.to_owned(), program, result: compiled.result })
    }

    /// The source as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What runs this expression.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.program {
            Program::Native(_) => Engine::Native,
            Program::Interpreted(_) => Engine::Interpreter,
        }
    }

    /// What the expression gives, as far as it is known before any item is seen.
    #[must_use]
    pub fn result_type(&self) -> Option<Type> {
        self.result
    }

    /// Evaluates over one record. Texts and JSON of the result are borrowed where nothing changed them.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] says what this record lacks or holds that the expression cannot use.
    ///
    /// # Complexity
    ///
    /// Linear in the size of the expression, times what reading a field costs.
    pub fn evaluate<'a>(&'a self, record: &'a Record) -> Result<Value<'a>, EvaluationError> {
        match &self.program {
            Program::Native(node) => evaluate::evaluate(node, record).map_err(|fault| fault.explain(record)),
            Program::Interpreted(interpreter) => interpreter.evaluate(record),
        }
    }

    /// Evaluates a condition.
    ///
    /// # Errors
    ///
    /// As [`Expression::evaluate`], and [`EvaluationError::NotBool`] when the result is something else.
    pub fn evaluate_bool(&self, record: &Record) -> Result<bool, EvaluationError> {
        match self.evaluate(record)? {
            Value::Bool(value) => Ok(value),
            other => Err(EvaluationError::NotBool { found: other.value_type() }),
        }
    }

    /// Evaluates over one record and writes the result as the field `key` of another. A field that is only
    /// carried over is copied as it is written, whatever its number of digits.
    ///
    /// # Errors
    ///
    /// As [`Expression::evaluate`], and [`EvaluationError::NotFinite`] for a number that JSON cannot hold.
    /// Nothing is written then.
    pub fn write(
        &self,
        record: &Record,
        key: &str,
        builder: &mut RecordBuilder,
    ) -> Result<(), EvaluationError> {
        if let Program::Native(node) = &self.program
            && let Some(copied) = evaluate::copied(node, record).map_err(|fault| fault.explain(record))?
        {
            builder.raw(key, copied);
            return Ok(());
        }
        match self.evaluate(record)? {
            Value::Null => builder.null(key),
            Value::Bool(value) => builder.boolean(key, value),
            Value::Int(value) => builder.integer(key, value),
            Value::Double(value) if !value.is_finite() => return Err(EvaluationError::NotFinite { value }),
            Value::Double(value) => builder.float(key, value),
            Value::Text(Cow::Borrowed(value)) => builder.text(key, value),
            Value::Text(Cow::Owned(value)) => builder.text(key, &value),
            ref built @ (Value::Json(_) | Value::Built(_)) => match built.as_json() {
                Some(json) => builder.raw(key, json),
                None => {
                    let message = "the result is nested too deep to be written".to_owned();
                    return Err(EvaluationError::Interpreter { message });
                }
            },
        }
        Ok(())
    }

    /// The field and the number, if the expression is `item.field < number` or another comparison of that form.
    pub(crate) fn threshold(&self) -> Option<(&str, f64)> {
        let Program::Native(Node::Compare(op, sides)) = &self.program else { return None };
        let (CompareOp::Less | CompareOp::LessOrEqual | CompareOp::Greater | CompareOp::GreaterOrEqual) = op;
        let Node::Field(field) = &sides[0] else { return None };
        if !field.steps.is_empty() {
            return None;
        }
        match &sides[1] {
            Node::Literal(Literal::Double(value)) => Some((&field.name, *value)),
            #[expect(
                clippy::cast_precision_loss,
                reason = "a threshold of more than 2^53 is not meant to the digit"
            )]
            Node::Literal(Literal::Int(value)) => Some((&field.name, *value as f64)),
            _ => None,
        }
    }
}
