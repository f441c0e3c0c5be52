//! Our own evaluator: walks the compiled tree over the lazy record, borrowing what it reads.
//!
//! It builds no map and allocates nothing but the texts that `+` and `string` make. Failures are cheap values
//! as long as `&&` and `||` may still absorb them; the message is written once, when one gets out.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::atomic::Ordering::Relaxed;

use aqueduct_core::Record;
use aqueduct_core::json::{Kind, RawJson};

use super::cvss::cvss_base_score;
use super::fault::Fault;
use super::html::html_text;
use super::program::{ArithmeticOp, CompareOp, Conversion, Field, Literal, LogicOp, Node, SearchOp, Step};
use super::value::{Type, Value};

type Outcome<'a, T = Value<'a>> = Result<T, Fault<'a>>;

/// Evaluates one node. As deep as the tree, which compilation bounds.
pub(super) fn evaluate<'a>(node: &'a Node, record: &'a Record) -> Outcome<'a> {
    match node {
        Node::Literal(literal) => Ok(match literal {
            Literal::Null => Value::Null,
            Literal::Bool(value) => Value::Bool(*value),
            Literal::Int(value) => Value::Int(*value),
            Literal::Double(value) => Value::Double(*value),
            Literal::Text(value) => Value::Text(Cow::Borrowed(value)),
        }),
        Node::Field(field) => read(field, record).map(Value::read),
        Node::Has(field) => has(field, record).map(Value::Bool),
        Node::Not(inner) => truth(node, inner, record).map(|value| Value::Bool(!value)),
        Node::Negate(inner) => match evaluate(inner, record)? {
            Value::Int(value) => value.checked_neg().map(Value::Int).ok_or(Fault::Overflow(node)),
            Value::Double(value) => Ok(Value::Double(-value)),
            other => Err(clash(node, "a number", other.value_type())),
        },
        Node::Logic(op, sides) => logic(node, *op, sides, record).map(Value::Bool),
        Node::Conditional(parts) => {
            let [condition, yes, no] = &**parts;
            evaluate(if truth(node, condition, record)? { yes } else { no }, record)
        }
        Node::Arithmetic(op, sides) => {
            let left = evaluate(&sides[0], record)?;
            let right = evaluate(&sides[1], record)?;
            arithmetic(node, *op, left, right)
        }
        Node::Compare(op, sides) => {
            let left = evaluate(&sides[0], record)?;
            let right = evaluate(&sides[1], record)?;
            let order = compare(node, &left, &right)?;
            Ok(Value::Bool(match op {
                CompareOp::Less => order == Ordering::Less,
                CompareOp::LessOrEqual => order != Ordering::Greater,
                CompareOp::Greater => order == Ordering::Greater,
                CompareOp::GreaterOrEqual => order != Ordering::Less,
            }))
        }
        Node::Equal { negated, sides } => {
            let left = evaluate(&sides[0], record)?;
            let right = evaluate(&sides[1], record)?;
            Ok(Value::Bool(equal(&left, &right) != *negated))
        }
        Node::InList(needle, list) => {
            let needle = evaluate(needle, record)?;
            let mut found = false;
            // Every element is evaluated, as CEL builds the list first: a failing one fails the whole.
            for element in list {
                found |= equal(&evaluate(element, record)?, &needle);
            }
            Ok(Value::Bool(found))
        }
        Node::In(sides) => {
            let needle = evaluate(&sides[0], record)?;
            let hay = evaluate(&sides[1], record)?;
            contains(node, &needle, &hay).map(Value::Bool)
        }
        Node::Convert(conversion, inner) => convert(node, *conversion, evaluate(inner, record)?),
        Node::Size(inner) => size(node, &evaluate(inner, record)?).map(Value::Int),
        Node::Search(op, sides) => {
            let hay = evaluate(&sides[0], record)?;
            let needle = evaluate(&sides[1], record)?;
            match (&hay, &needle) {
                (Value::Text(hay), Value::Text(needle)) => Ok(Value::Bool(match op {
                    SearchOp::StartsWith => hay.starts_with(&**needle),
                    SearchOp::EndsWith => hay.ends_with(&**needle),
                    SearchOp::Contains => hay.contains(&**needle),
                })),
                (hay, needle) => Err(clash_of_two(node, "two texts", hay, needle)),
            }
        }
        Node::Cvss(inner) => match evaluate(inner, record)? {
            Value::Text(vector) => cvss_base_score(&vector)
                .map(Value::Double)
                .map_err(|error| Fault::Cvss(node, Box::new(error))),
            other => Err(clash(node, "a text", other.value_type())),
        },
        Node::HtmlText(inner) => match evaluate(inner, record)? {
            Value::Text(page) => Ok(Value::Text(html_text(&page).into())),
            other => Err(clash(node, "a text", other.value_type())),
        },
    }
}

/// The value as it is written in the record, if the node only picks a field.
pub(super) fn copied<'a>(node: &'a Node, record: &'a Record) -> Outcome<'a, Option<RawJson<'a>>> {
    match node {
        Node::Field(field) => read(field, record).map(Some),
        Node::Conditional(parts) => {
            let [condition, yes, no] = &**parts;
            // Only when both ways pick a field: the condition must not be evaluated twice.
            if !matches!((yes, no), (Node::Field(_), Node::Field(_))) {
                return Ok(None);
            }
            copied(if truth(node, condition, record)? { yes } else { no }, record)
        }
        _ => Ok(None),
    }
}

fn clash<'a>(node: &'a Node, expected: &'static str, found: Type) -> Fault<'a> {
    Fault::Clash { node, expected, found: (found, None) }
}

fn clash_of_two<'a>(
    node: &'a Node,
    expected: &'static str,
    left: &Value<'_>,
    right: &Value<'_>,
) -> Fault<'a> {
    Fault::Clash { node, expected, found: (left.value_type(), Some(right.value_type())) }
}

// Reading the item

fn top<'a>(field: &'a Field, record: &'a Record) -> Option<RawJson<'a>> {
    let guess = field.hint.load(Relaxed);
    let mut hint = guess;
    let value = record.get_hinted(&field.escaped, &mut hint);
    if hint != guess {
        field.hint.store(hint, Relaxed);
    }
    value
}

fn read<'a>(field: &'a Field, record: &'a Record) -> Outcome<'a, RawJson<'a>> {
    let value = top(field, record).ok_or(Fault::Missing { field, steps: 0 })?;
    follow(field, value, field.steps.len())
}

/// Walks the first `count` steps behind the top-level field.
fn follow<'a>(field: &'a Field, mut value: RawJson<'a>, count: usize) -> Outcome<'a, RawJson<'a>> {
    for (index, step) in field.steps[..count].iter().enumerate() {
        let steps = index + 1;
        let next = match (step, value.kind()) {
            (Step::Key(key), Kind::Object) => value.get(key),
            (Step::Index(at), Kind::Array) => usize::try_from(*at).ok().and_then(|at| value.index(at)),
            _ => return Err(Fault::NotThere { field, steps, found: Value::read(value).value_type() }),
        };
        value = next.ok_or(Fault::Missing { field, steps })?;
    }
    Ok(value)
}

fn has<'a>(field: &'a Field, record: &'a Record) -> Outcome<'a, bool> {
    let Some(last) = field.steps.len().checked_sub(1) else {
        return Ok(top(field, record).is_some());
    };
    let value = top(field, record).ok_or(Fault::Missing { field, steps: 0 })?;
    let parent = follow(field, value, last)?;
    match (&field.steps[last], parent.kind()) {
        (Step::Key(key), Kind::Object) => Ok(parent.get(key).is_some()),
        _ => Err(Fault::NotThere { field, steps: last + 1, found: Value::read(parent).value_type() }),
    }
}

// Logic

fn truth<'a>(node: &'a Node, inner: &'a Node, record: &'a Record) -> Outcome<'a, bool> {
    match evaluate(inner, record)? {
        Value::Bool(value) => Ok(value),
        other => Err(clash(node, "true or false", other.value_type())),
    }
}

/// CEL's logic absorbs errors: a side that decides the result alone hides the failure of the other side.
fn logic<'a>(node: &'a Node, op: LogicOp, sides: &'a [Node; 2], record: &'a Record) -> Outcome<'a, bool> {
    let decisive = op == LogicOp::Or;
    let left = truth(node, &sides[0], record);
    if matches!(left, Ok(value) if value == decisive) {
        return Ok(decisive);
    }
    let right = truth(node, &sides[1], record)?;
    if right == decisive { Ok(decisive) } else { left }
}

// Numbers and texts

fn arithmetic<'a>(node: &'a Node, op: ArithmeticOp, left: Value<'a>, right: Value<'a>) -> Outcome<'a> {
    match (&left, &right) {
        (Value::Int(left), Value::Int(right)) => integers(node, op, *left, *right).map(Value::Int),
        (Value::Int(_) | Value::Double(_), Value::Int(_) | Value::Double(_))
            if op != ArithmeticOp::Remainder =>
        {
            let (Some(left), Some(right)) = (left.as_f64(), right.as_f64()) else {
                return Err(clash_of_two(node, "numbers", &left, &right));
            };
            doubles(node, op, left, right).map(Value::Double)
        }
        (Value::Text(head), Value::Text(tail)) if op == ArithmeticOp::Add => {
            let mut text = String::with_capacity(head.len() + tail.len());
            text.push_str(head);
            text.push_str(tail);
            Ok(Value::Text(Cow::Owned(text)))
        }
        _ => match (op, left.as_json(), right.as_json()) {
            (ArithmeticOp::Add, Some(head), Some(tail))
                if head.kind() == Kind::Array && tail.kind() == Kind::Array =>
            {
                Ok(Value::Built(joined(head, tail)))
            }
            (ArithmeticOp::Add, ..) => {
                Err(clash_of_two(node, "two numbers, two texts or two lists", &left, &right))
            }
            (ArithmeticOp::Remainder, ..) => Err(clash_of_two(node, "two integers", &left, &right)),
            _ => Err(clash_of_two(node, "two numbers", &left, &right)),
        },
    }
}

fn joined(head: RawJson<'_>, tail: RawJson<'_>) -> String {
    let mut text = String::with_capacity(head.as_text().len() + tail.as_text().len());
    text.push('[');
    for (_, element) in head.entries().chain(tail.entries()) {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(element.as_text());
    }
    text.push(']');
    text
}

fn integers<'a>(node: &'a Node, op: ArithmeticOp, left: i64, right: i64) -> Outcome<'a, i64> {
    let result = match op {
        ArithmeticOp::Add => left.checked_add(right),
        ArithmeticOp::Subtract => left.checked_sub(right),
        ArithmeticOp::Multiply => left.checked_mul(right),
        ArithmeticOp::Divide | ArithmeticOp::Remainder if right == 0 => {
            return Err(Fault::DivisionByZero(node));
        }
        ArithmeticOp::Divide => left.checked_div(right),
        ArithmeticOp::Remainder => left.checked_rem(right),
    };
    result.ok_or(Fault::Overflow(node))
}

fn doubles<'a>(node: &'a Node, op: ArithmeticOp, left: f64, right: f64) -> Outcome<'a, f64> {
    Ok(match op {
        ArithmeticOp::Add => left + right,
        ArithmeticOp::Subtract => left - right,
        ArithmeticOp::Multiply => left * right,
        // CEL gives an infinity here, which no sink could hold; a person wants to know which item it was.
        ArithmeticOp::Divide | ArithmeticOp::Remainder if right == 0.0 => {
            return Err(Fault::DivisionByZero(node));
        }
        ArithmeticOp::Divide | ArithmeticOp::Remainder => left / right,
    })
}

fn compare<'a>(node: &'a Node, left: &Value<'_>, right: &Value<'_>) -> Outcome<'a, Ordering> {
    const EXPECTED: &str = "two numbers, two texts or two truth values";
    let order = match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        _ => match (left.as_f64(), right.as_f64()) {
            // None for what is not a number; it has no order.
            (Some(left), Some(right)) => left.partial_cmp(&right),
            _ => None,
        },
    };
    order.ok_or_else(|| clash_of_two(node, EXPECTED, left, right))
}

// Equality and membership

/// CEL's equality: numbers by value whatever their type, lists and objects by content, other types never equal.
fn equal(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Text(left), Value::Text(right)) => left == right,
        _ => match (left.as_f64(), right.as_f64()) {
            (Some(left), Some(right)) => left == right,
            (None, None) => match (left.as_json(), right.as_json()) {
                (Some(left), Some(right)) => equal_json(left, right),
                _ => false,
            },
            _ => false,
        },
    }
}

/// As deep as the values, which the record bounds.
fn equal_json(left: RawJson<'_>, right: RawJson<'_>) -> bool {
    match (left.kind(), right.kind()) {
        (Kind::Array, Kind::Array) => {
            let (mut left, mut right) = (left.entries(), right.entries());
            loop {
                match (left.next(), right.next()) {
                    (None, None) => return true,
                    (Some((_, left)), Some((_, right))) if equal(&Value::read(left), &Value::read(right)) => {
                    }
                    _ => return false,
                }
            }
        }
        (Kind::Object, Kind::Object) => {
            let (left, right) = (members(left), members(right));
            left.len() == right.len()
                && left.iter().zip(&right).all(|((left_key, left), (right_key, right))| {
                    left_key == right_key && equal(&Value::read(*left), &Value::read(*right))
                })
        }
        _ => false,
    }
}

/// The members of an object by key, each key once, the last of duplicates.
pub(super) fn members<'a>(object: RawJson<'a>) -> std::collections::BTreeMap<Cow<'a, str>, RawJson<'a>> {
    object.entries().filter_map(|(key, value)| key.map(|key| (key, value))).collect()
}

fn contains<'a>(node: &'a Node, needle: &Value<'_>, hay: &Value<'_>) -> Outcome<'a, bool> {
    match hay.as_json() {
        Some(list) if list.kind() == Kind::Array => {
            Ok(list.entries().any(|(_, element)| equal(&Value::read(element), needle)))
        }
        Some(object) => match needle {
            Value::Text(key) => Ok(object.get(key).is_some()),
            // CEL admits these as keys; JSON has none of them.
            Value::Bool(_) | Value::Int(_) | Value::Double(_) => Ok(false),
            other => Err(clash(node, "a key on the left", other.value_type())),
        },
        None => Err(clash(node, "a list or an object on the right", hay.value_type())),
    }
}

fn size<'a>(node: &'a Node, value: &Value<'_>) -> Outcome<'a, i64> {
    let count = match value {
        Value::Text(text) => text.chars().count(),
        other => match other.as_json() {
            Some(list) if list.kind() == Kind::Array => list.entries().count(),
            Some(object) => members(object).len(),
            None => return Err(clash(node, "a text, a list or an object", other.value_type())),
        },
    };
    i64::try_from(count).map_err(|_| Fault::Overflow(node))
}

// Conversions

fn convert<'a>(node: &'a Node, conversion: Conversion, value: Value<'a>) -> Outcome<'a> {
    match (conversion, value) {
        (Conversion::Int, Value::Int(value)) => Ok(Value::Int(value)),
        (Conversion::Int, Value::Double(value)) => match whole(value) {
            Some(whole) => Ok(Value::Int(whole)),
            None => Err(Fault::Conversion(node, Value::Double(value))),
        },
        (Conversion::Int, Value::Text(text)) => match text.parse() {
            Ok(value) => Ok(Value::Int(value)),
            Err(_) => Err(Fault::Conversion(node, Value::Text(text))),
        },
        (Conversion::Double, Value::Double(value)) => Ok(Value::Double(value)),
        (Conversion::Double, value @ Value::Int(_)) => {
            value.as_f64().map(Value::Double).ok_or(Fault::Conversion(node, value))
        }
        (Conversion::Double, Value::Text(text)) => match text.parse() {
            Ok(value) => Ok(Value::Double(value)),
            Err(_) => Err(Fault::Conversion(node, Value::Text(text))),
        },
        (Conversion::Text, Value::Text(text)) => Ok(Value::Text(text)),
        (Conversion::Text, Value::Bool(value)) => {
            Ok(Value::Text(Cow::Borrowed(if value { "true" } else { "false" })))
        }
        (Conversion::Text, Value::Int(value)) => Ok(Value::Text(Cow::Owned(value.to_string()))),
        (Conversion::Text, Value::Double(value)) => Ok(Value::Text(Cow::Owned(value.to_string()))),
        (Conversion::Text, other) => {
            Err(clash(node, "a text, a number or a truth value", other.value_type()))
        }
        (_, other) => Err(clash(node, "a number or a text", other.value_type())),
    }
}

/// The double without its fraction, if that fits 64 bits. The bounds are exclusive, as in cel-go: 2^63 is the
/// nearest double to the largest integer, and not one.
fn whole(value: f64) -> Option<i64> {
    const EDGE: f64 = 9_223_372_036_854_775_808.0;
    if value > -EDGE && value < EDGE {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the range was checked; dropping the fraction is asked for"
        )]
        return Some(value as i64);
    }
    None
}
