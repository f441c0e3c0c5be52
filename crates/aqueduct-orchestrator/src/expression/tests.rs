//! Our evaluator held against `cel`'s interpreter on expressions and records that chance makes.

use aqueduct_core::Record;
use proptest::prelude::*;

use super::evaluate::members;
use super::{Engine, Expression, Type, Value};

/// Field names that records have, mostly, and one that none has.
const NAMES: [&str; 8] = ["a", "b", "c", "text", "flag", "list", "inner", "absent"];

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(&NAMES[..]).prop_map(|name| format!("item.{name}")),
        1 => prop::sample::select(&NAMES[..]).prop_map(|name| format!("item[\"{name}\"]")),
        1 => Just("item.inner.x".to_owned()),
        1 => Just("item.list[0]".to_owned()),
        1 => Just("item.list[-1]".to_owned()),
        1 => Just("item.inner.deep.y[1]".to_owned()),
    ]
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        (-3_i64..4).prop_map(|number| number.to_string()),
        prop::sample::select(&["0.0", "0.5", "-1.25", "2.0", "1e300"][..]).prop_map(str::to_owned),
        prop::sample::select(&["9223372036854775807", "-9223372036854775808", "9007199254740993"][..])
            .prop_map(str::to_owned),
        prop::sample::select(&["\"\"", "\"a\"", "\"7\"", "\"1.5\"", "'\\u00e9'"][..]).prop_map(str::to_owned),
        prop::sample::select(&["true", "false", "null"][..]).prop_map(str::to_owned),
    ]
}

/// An expression that mostly gives a number, a text or a truth value, as asked.
fn typed(kind: Type, depth: u32) -> BoxedStrategy<String> {
    let leaf = match kind {
        Type::Number => prop_oneof![
            4 => prop::sample::select(&["item.a", "item.b", "item.c", "item.inner.x", "item.list[0]"][..])
                .prop_map(str::to_owned),
            2 => (-3_i64..4).prop_map(|number| number.to_string()),
            2 => prop::sample::select(&["0.5", "-1.25", "2.0"][..]).prop_map(str::to_owned),
        ]
        .boxed(),
        Type::Text => {
            prop_oneof![Just("item.text".to_owned()), Just("\"a\"".to_owned()), Just("'7'".to_owned())]
                .boxed()
        }
        _ => prop_oneof![
            4 => Just("item.flag".to_owned()),
            2 => Just("true".to_owned()),
            2 => Just("has(item.a)".to_owned()),
            1 => Just("has(item.inner.x)".to_owned()),
        ]
        .boxed(),
    };
    // Now and then anything at all, so that clashes and their absorption are met too.
    let leaf = prop_oneof![12 => leaf, 1 => field(), 1 => literal()].boxed();
    if depth == 0 {
        return leaf;
    }
    let (number, text, truth) =
        (typed(Type::Number, depth - 1), typed(Type::Text, depth - 1), typed(Type::Bool, depth - 1));
    let same = match kind {
        Type::Number => number.clone(),
        Type::Text => text.clone(),
        _ => truth.clone(),
    };
    let conditional = (truth.clone(), same.clone(), same)
        .prop_map(|(condition, yes, no)| format!("({condition} ? {yes} : {no})"))
        .boxed();
    let infix =
        |left: BoxedStrategy<String>, operators: &'static [&'static str], right: BoxedStrategy<String>| {
            (left, prop::sample::select(operators), right)
                .prop_map(|(left, op, right)| format!("({left} {op} {right})"))
                .boxed()
        };
    let call = |functions: &'static [&'static str], argument: BoxedStrategy<String>| {
        (prop::sample::select(functions), argument)
            .prop_map(|(function, value)| format!("{function}({value})"))
            .boxed()
    };
    let made = match kind {
        Type::Number => prop_oneof![
            6 => infix(number.clone(), &["+", "-", "*", "/", "%"], number.clone()),
            1 => call(&["-", "int", "double"], number),
            1 => call(&["size", "int", "double"], text),
            1 => Just("size(item.list)".to_owned()),
        ]
        .boxed(),
        Type::Text => prop_oneof![
            3 => infix(text.clone(), &["+"], text),
            2 => call(&["string"], number),
            1 => call(&["string"], truth),
        ]
        .boxed(),
        _ => prop_oneof![
            4 => infix(truth.clone(), &["&&", "||", "=="], truth.clone()),
            3 => infix(number.clone(), &["<", "<=", ">", ">=", "==", "!="], number.clone()),
            2 => infix(text.clone(), &["<", "<=", ">", ">=", "==", "!="], text.clone()),
            1 => call(&["!"], truth),
            1 => (number.clone(), prop::collection::vec(number.clone(), 0..3))
                .prop_map(|(needle, list)| format!("({needle} in [{}])", list.join(", "))),
            1 => infix(number, &["in", "=="], Just("item.list".to_owned()).boxed()),
            1 => infix(text.clone(), &["in"], Just("item.inner".to_owned()).boxed()),
            1 => infix(Just("item.list".to_owned()).boxed(), &["==", "!=", "+"], Just("item.inner.deep".to_owned()).boxed()),
            1 => (text.clone(), prop::sample::select(&["startsWith", "endsWith", "contains"][..]), text)
                .prop_map(|(hay, function, needle)| format!("({hay}).{function}({needle})")),
        ]
        .boxed(),
    };
    prop_oneof![2 => leaf, 6 => made, 1 => conditional].boxed()
}

fn source() -> impl Strategy<Value = String> {
    prop_oneof![typed(Type::Number, 3), typed(Type::Text, 3), typed(Type::Bool, 3)]
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => (-3_i64..4).prop_map(|number| number.to_string()),
        3 => prop::sample::select(&["0.5", "-0.0", "1.0", "1e3", "-1.25"][..]).prop_map(str::to_owned),
        1 => prop::sample::select(&["9223372036854775807", "-9223372036854775808", "18446744073709551616", "1e999"][..])
            .prop_map(str::to_owned),
        2 => prop::sample::select(&["\"\"", "\"a\"", "\"ab\"", "\"7\"", "\"\\u00e9\"", "\"\\\"q\""][..])
            .prop_map(str::to_owned),
        2 => prop::sample::select(&["true", "false", "null"][..]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec((prop::sample::select(&["x", "y", "deep", "a"][..]), inner), 0..3)
                .prop_map(|fields| {
                    let fields: Vec<String> =
                        fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                    format!("{{{}}}", fields.join(","))
                }),
        ]
    })
}

fn record() -> impl Strategy<Value = Record> {
    let mostly = |usual: BoxedStrategy<String>| {
        prop_oneof![
            8 => usual.prop_map(Some),
            1 => json().prop_map(Some),
            1 => Just(None),
        ]
    };
    let number = || {
        prop_oneof![
            3 => (-3_i64..9).prop_map(|number| number.to_string()),
            3 => prop::sample::select(&["0.5", "-0.0", "1.0", "1e3", "-1.25"][..]).prop_map(str::to_owned),
        ]
        .boxed()
    };
    let text = prop::sample::select(&["\"\"", "\"a\"", "\"ab\"", "\"7\"", "\"\\u00e9\""][..])
        .prop_map(str::to_owned)
        .boxed();
    let flag = prop::sample::select(&["true", "false"][..]).prop_map(str::to_owned).boxed();
    let list = prop::collection::vec(prop_oneof![3 => number(), 1 => json()], 1..4)
        .prop_map(|list| format!("[{}]", list.join(",")))
        .boxed();
    let inner = (number(), json()).prop_map(|(x, deep)| format!("{{\"x\":{x},\"deep\":{deep}}}")).boxed();
    (
        mostly(number()),
        mostly(number()),
        mostly(number()),
        mostly(text),
        mostly(flag),
        mostly(list),
        mostly(inner),
    )
        .prop_map(|(a, b, c, text, flag, list, inner)| {
            let fields: Vec<String> = NAMES
                .iter()
                .zip([a, b, c, text, flag, list, inner])
                .filter_map(|(name, value)| value.map(|value| format!("\"{name}\":{value}")))
                .collect();
            Record::parse(format!("{{{}}}", fields.join(","))).expect("the generator writes JSON")
        })
}

/// Lists and objects by content: the interpreter sorts keys and rewrites numbers.
fn same(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left.as_json(), right.as_json()) {
        (Some(left), Some(right)) if left.kind() == right.kind() => {
            let (left_members, right_members) = (members(left), members(right));
            let (left, right): (Vec<_>, Vec<_>) = (left.entries().collect(), right.entries().collect());
            if left_members.is_empty() && right_members.is_empty() {
                left.len() == right.len()
                    && left
                        .iter()
                        .zip(&right)
                        .all(|(left, right)| same(&Value::read(left.1), &Value::read(right.1)))
            } else {
                left_members.len() == right_members.len()
                    && left_members.iter().zip(&right_members).all(|(left, right)| {
                        left.0 == right.0 && same(&Value::read(*left.1), &Value::read(*right.1))
                    })
            }
        }
        (None, None) => match (left, right) {
            // To the bit: the sign of zero and what is not a number count.
            (Value::Double(left), Value::Double(right)) => left.to_bits() == right.to_bits(),
            (left, right) => left == right,
        },
        _ => false,
    }
}

/// A result that the interpreter refuses to write although it computed it.
fn unwritable(value: &Value<'_>) -> bool {
    value.as_json().is_some_and(|json| json.as_text().contains("1e999"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn both_engines_give_the_same_value_or_both_fail(source in source(), records in prop::collection::vec(record(), 1..4)) {
        let Ok(native) = Expression::compile(&source) else { return Ok(()) };
        let interpreted = Expression::interpreted(&source).expect("what compiles for one engine compiles for both");
        prop_assert_eq!(native.engine(), Engine::Native, "{}", source);
        for record in &records {
            match (native.evaluate(record), interpreted.evaluate(record)) {
                (Ok(ours), Ok(theirs)) => {
                    prop_assert!(same(&ours, &theirs), "{} over {:?}: {:?} against {:?}", source, record, ours, theirs);
                    let claimed = native.result_type();
                    let kept = match claimed {
                        None => true,
                        Some(Type::Number) => ours.value_type().is_number(),
                        Some(claimed) => ours.value_type() == claimed,
                    };
                    prop_assert!(kept, "{} promised {:?} and gave {:?}", source, claimed, ours);
                }
                (Err(_), Err(_)) => {}
                (Ok(ours), Err(_)) if unwritable(&ours) => {}
                (ours, theirs) => {
                    prop_assert!(false, "{} over {:?}: {:?} against {:?}", source, record, ours, theirs);
                }
            }
        }
    }
}

#[test]
fn the_generator_makes_expressions_that_succeed() {
    // Without this, a generator that makes nothing but errors would prove nothing.
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut succeeded = 0;
    for _ in 0..500 {
        let source = source().new_tree(&mut runner).expect("a source").current();
        let record = record().new_tree(&mut runner).expect("a record").current();
        if let Ok(expression) = Expression::compile(&source) {
            succeeded += usize::from(expression.evaluate(&record).is_ok());
        }
    }
    assert!(succeeded > 200, "{succeeded} of 500");
}
