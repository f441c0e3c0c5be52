use aqueduct_core::{Classified, ErrorClass, Record, RecordBuilder};
use aqueduct_orchestrator::{Engine, EvaluationError, Expression, Type, Value};
use proptest::prelude::*;

const RECORD: &str = r#"{"id":"a-1","passed":12,"failed":3,"coverage":0.25,"wide":18446744073709551616,"flag":true,"none":null,"tags":["x","y"],"package":{"name":"trac","versions":["0.8","0.9"]},"a key":1,"vector":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}"#;

fn record() -> Record {
    Record::parse(RECORD.as_bytes()).expect("a record")
}

/// The result as JSON.
fn result(source: &str) -> Result<String, EvaluationError> {
    let expression = Expression::compile(source).expect(source);
    let mut builder = RecordBuilder::default();
    expression.write(&record(), "x", &mut builder)?;
    Ok(builder.finish().get("x").expect("the field").as_text().to_owned())
}

fn check(source: &str, engine: Engine, expected: &str) {
    assert_eq!(Expression::compile(source).map(|expression| expression.engine()), Ok(engine), "{source}");
    assert_eq!(result(source).as_deref(), Ok(expected), "{source}");
}

#[test]
fn what_most_pipelines_use_runs_on_our_own_evaluator() {
    for (source, expected) in [
        ("item.passed", "12"),
        ("item[\"a key\"]", "1"),
        ("item.package.versions[1]", "\"0.9\""),
        ("item.package", r#"{"name":"trac","versions":["0.8","0.9"]}"#),
        ("1 + 2", "3"),
        ("1 + 2.5", "3.5"),
        ("7 / 2", "3"),
        ("-7 / 2", "-3"),
        ("-7 % 2", "-1"),
        ("7 / 2.0", "3.5"),
        ("1 < 2.5", "true"),
        ("1 == 1.0", "true"),
        ("item.passed > 10 && item.coverage < 0.5", "true"),
        ("item.absent > 10 || item.flag", "true"),
        ("!item.flag", "false"),
        ("-item.passed", "-12"),
        ("item.passed > item.failed ? \"good\" : \"bad\"", "\"good\""),
        ("item.id in [\"a-1\", \"b\"]", "true"),
        ("\"x\" in item.tags", "true"),
        ("\"name\" in item.package", "true"),
        ("\"id \" + item.id", "\"id a-1\""),
        ("item.tags + item.tags", r#"["x","y","x","y"]"#),
        ("has(item.absent) ? item.absent : \"none\"", "\"none\""),
        ("has(item.none)", "true"),
        ("item.none == null", "true"),
        ("has(item.package.name)", "true"),
        ("size(item.tags) + size(\"\u{e9}\u{e9}\") + item.package.size()", "6"),
        ("int(\"12\") + int(2.9)", "14"),
        ("double(\"1.5\")", "1.5"),
        ("string(1.0) + string(2) + string(true)", "\"12true\""),
        ("item.id.startsWith(\"a\") && item.id.endsWith(\"1\") && item.id.contains(\"-\")", "true"),
        ("cvss(item.vector)", "9.8"),
        ("html_text(\"<p>a&amp;b<br>c\")", "\"a&b\\nc\""),
        ("item.wide > 1", "true"),
        ("item.wide", "18446744073709551616"),
        ("item.flag ? item.wide : item.id", "18446744073709551616"),
        ("item.wide * 1", "1.8446744073709552e+19"),
    ] {
        check(source, Engine::Native, expected);
    }
}

#[test]
fn the_rest_of_cel_runs_on_the_interpreter_with_the_same_arithmetic() {
    for (source, expected) in [
        ("item.tags.exists(tag, tag == \"y\")", "true"),
        ("item.tags.map(tag, tag + \"!\")", r#"["x!","y!"]"#),
        ("item.package.map(key, key)", r#"["name","versions"]"#),
        ("[item.passed + 0.5, 7 / 2]", "[12.5,3]"),
        ("{\"b\": 1, \"a\": item.id}", r#"{"a":"a-1","b":1}"#),
        ("size(item)", "11"),
        ("type(item.id) == string", "true"),
        ("[\"c\"].map(x, cvss(item.vector))[0]", "9.8"),
        ("[\"<i>c\"].map(x, html_text(x))[0]", "\"c\""),
        ("item.tags[item.failed - 3]", "\"x\""),
    ] {
        check(source, Engine::Interpreter, expected);
    }
}

#[test]
fn an_object_is_walked_in_the_order_of_its_keys() {
    let object: Vec<String> = (0..40).rev().map(|number| format!("\"k{number:02}\":{number}")).collect();
    let record = Record::parse(format!("{{\"o\":{{{}}}}}", object.join(","))).expect("a record");
    let expression = Expression::compile("item.o.map(key, key)").expect("an expression");
    let expected: Vec<String> = (0..40).map(|number| format!("\"k{number:02}\"")).collect();
    assert_eq!(expression.evaluate(&record), Ok(Value::Built(format!("[{}]", expected.join(",")))));
}

#[test]
fn texts_and_json_are_borrowed_from_the_record() {
    let record = record();
    let id = Expression::compile("item.id").expect("an expression");
    match id.evaluate(&record) {
        Ok(Value::Text(std::borrow::Cow::Borrowed(text))) => assert_eq!(text, "a-1"),
        other => panic!("{other:?}"),
    }
}

fn compile_error(source: &str) -> (usize, String) {
    let error = Expression::compile(source).expect_err(source);
    assert_eq!(error.class(), ErrorClass::Invalid);
    (error.offset(), error.to_string())
}

#[test]
fn an_expression_that_does_not_compile_says_where_and_what_would_be_right() {
    for (source, offset, message) in [
        ("", 0, "the expression is empty"),
        ("1 +", 3, "the expression ends too early"),
        ("(1", 2, "missing \")\""),
        ("item.a = 3", 7, "unexpected \"=\"; a comparison is =="),
        ("item.a and item.b", 7, "unexpected \"and\"; the logical and is &&"),
        ("item.a & item.b", 7, "unexpected \"&\"; the logical and is &&"),
        ("not item.a", 4, "unexpected \"item\"; the logical not is !"),
        ("'abc", 0, "a text that is not closed"),
        ("itm.passed > 1", 0, "there is no variable \"itm\", only \"item\"; did you mean \"item\"?"),
        ("passed > 1", 0, "there is no variable \"passed\", only \"item\"; a field is written item.passed"),
        ("1 + siz(item.a)", 4, "there is no function \"siz\"; did you mean \"size\"?"),
        ("item.a.startWith(\"x\")", 7, "there is no function \"startWith\"; did you mean \"startsWith\"?"),
        ("startsWith(item.a, \"x\")", 0, "\"startsWith\" is called like item.id.startsWith(\"CVE-\")"),
        ("size(1)", 5, "size takes a text or a list or an object, found an integer"),
        ("cvss(2.0)", 5, "cvss takes a text, found a double"),
        ("\"a\" + 1", 4, "+ takes two numbers, two texts or two lists, found a text and an integer"),
        ("!5", 0, "! takes true or false, found an integer"),
        ("-\"a\"", 0, "- takes a number, found a text"),
        ("1 && true", 2, "&& takes true or false on both sides, found an integer"),
        ("\"a\" < 1", 4, "< takes two numbers, two texts or two truth values, found a text and an integer"),
        ("\"a\" == 1", 4, "== takes two values of one type, found a text and an integer"),
        ("1 ? 2 : 3", 2, "? takes true or false, found an integer"),
        ("5.5 % 2", 4, "% takes two integers, found a double"),
        ("1 in 2", 2, "in takes a list or an object on its right, found an integer"),
        ("item[0]", 4, "an item has named fields, such as item.id, and no positions"),
        ("Foo{a: 1}", 3, "there is no type \"Foo\"; an object is written {\"key\": value}"),
        ("\"\u{e9}\" + (item.b and 1)", 15, "unexpected \"and\"; the logical and is &&"),
    ] {
        assert_eq!(compile_error(source), (offset, message.to_owned()), "{source}");
    }
    assert!(
        compile_error("frobnicate(1)")
            .1
            .starts_with("there is no function \"frobnicate\"; there are all, bool, ")
    );
}

#[test]
fn an_expression_that_is_too_large_is_refused() {
    let deep = "nested deeper than 32 levels; split the expression over two fields";
    for source in [
        format!("{}1{}", "(".repeat(40), ")".repeat(40)),
        format!("{}1{}", "(".repeat(7_000), ")".repeat(7_000)),
        vec!["1"; 40].join(" + "),
        vec!["1"; 4_000].join("+"),
        format!("item{}", ".a".repeat(8_000)),
        format!("item{}", "[0]".repeat(5_000)),
        "true ? 1 : ".repeat(1_000) + "1",
        "!".repeat(16_000) + "true",
        "-".repeat(16_000) + "1",
    ] {
        assert_eq!(compile_error(&source).1, deep, "{} bytes", source.len());
    }
    assert!(compile_error(&vec!["true"; 1_200].join(" || ")).1.contains("more than 1000 parts"));
    assert!(compile_error(&" ".repeat(20_000)).1.contains("more than 16384"));
    assert!(Expression::compile(&vec!["item.a == \"b\""; 200].join(" || ")).is_ok());
}

#[test]
fn the_deepest_source_that_reaches_the_parser_fits_a_small_stack() {
    // A tokio worker has 2 MiB.
    const STACK_BYTES: usize = 1024 * 1024;
    let sources = [
        format!("item{}", ".a".repeat(250)),
        format!("item{}", "[0]".repeat(250)),
        vec!["1"; 250].join("+"),
        format!("{}1{}{}", "(".repeat(31), ")".repeat(31), "+1".repeat(200)),
        format!("{}1{}", "(".repeat(31), " + 1)".repeat(31)),
        format!("{}1", "true ? 1 : ".repeat(31)),
        format!("{}1{}", "(true ? 1 : ".repeat(31), ")".repeat(31)),
        format!("{}1{}", "size(".repeat(31), ")".repeat(31)),
        format!("item{}", ".map(x, x)".repeat(60)),
    ];
    std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || {
            for source in sources {
                let _ = Expression::compile(&source);
            }
        })
        .expect("a thread")
        .join()
        .expect("no panic");
}

#[test]
fn a_failure_on_one_item_says_what_the_item_lacks() {
    for (source, message) in [
        (
            "item.passd > 1",
            "item has no field \"passd\"; did you mean \"passed\"? it has id, passed, failed, coverage, wide, flag, none, tags, package, a key, vector",
        ),
        (
            "item.package.nam",
            "item.package has no field \"nam\"; did you mean \"name\"? it has name, versions",
        ),
        ("item.tags[5]", "item.tags has 2 elements and no index 5 (the first is 0)"),
        ("item.tags.name", "`item.tags.name` takes an object, found item.tags, which is a list"),
        (
            "item.id + 1",
            "`item.id + 1` takes two numbers, two texts or two lists, found a text and an integer",
        ),
        (
            "item.id > 10",
            "`item.id > 10` takes two numbers, two texts or two truth values, found a text and an integer",
        ),
        ("item.none * 2", "`item.none * 2` takes two numbers, found null and an integer"),
        ("item.passed && true", "`item.passed && true` takes true or false, found an integer"),
        (
            "9223372036854775807 + item.passed",
            "`9223372036854775807 + item.passed` is beyond the range of 64-bit integers",
        ),
        ("item.passed / 0", "`item.passed / 0` divides by zero"),
        ("item.coverage / 0.0", "`item.coverage / 0.0` divides by zero"),
        ("int(item.id)", "`int(item.id)` cannot convert the text \"a-1\""),
        ("int(item.wide)", "`int(item.wide)` cannot convert the double 18446744073709552000"),
        ("cvss(item.id)", "`cvss(item.id)` was given no valid vector"),
        ("1e300 * 1e300", "the result is inf, which JSON cannot hold"),
        (
            "item.passd + [1][0]",
            "item has no field \"passd\"; did you mean \"passed\"? it has id, passed, failed, coverage, wide, flag, none, tags, package, a key, vector",
        ),
        ("[1 / 0]", "a division by zero"),
    ] {
        let error = result(source).expect_err(source);
        assert_eq!(error.to_string(), message, "{source}");
        assert_eq!(error.class(), ErrorClass::Permanent);
    }
    let condition = Expression::compile("item.id").expect("an expression");
    let error = condition.evaluate_bool(&record()).expect_err("a text is no condition");
    assert_eq!(error.to_string(), "the condition gave a text, and must give true or false");
}

#[test]
fn the_fields_in_a_message_are_bounded() {
    let fields: Vec<String> = (0..500).map(|number| format!("\"field{number}\":1")).collect();
    let record = Record::parse(format!("{{{}}}", fields.join(","))).expect("a record");
    let expression = Expression::compile("item.other").expect("an expression");
    let message = expression.evaluate(&record).expect_err("no such field").to_string();
    assert!(message.ends_with("field11 and 488 more"), "{message}");
}

#[test]
fn the_type_of_the_result_is_known_where_it_can_be() {
    for (source, expected) in [
        ("item.a < 1", Some(Type::Bool)),
        ("item.a", None),
        ("item.a + 1", Some(Type::Number)),
        ("item.a + 1.0", Some(Type::Double)),
        ("item.a + item.b", None),
        ("item.a * item.b", Some(Type::Number)),
        ("\"a\" + item.b", Some(Type::Text)),
        ("1 + 1", Some(Type::Int)),
        ("item.a ? 1 : 2.0", Some(Type::Number)),
        ("item.a.exists(x, x)", Some(Type::Bool)),
        ("item.a.map(x, x)", Some(Type::List)),
        ("{}", Some(Type::Object)),
        ("cvss(item.a)", Some(Type::Double)),
    ] {
        let expression = Expression::compile(source).expect(source);
        assert_eq!(expression.result_type(), expected, "{source}");
    }
}

#[test]
fn threads_share_an_expression() {
    fn check<T: Send + Sync>() {}
    check::<Expression>();
    check::<EvaluationError>();
}

/// Pieces that look like an expression, so that chance gets past the first letter.
fn scraps() -> impl Strategy<Value = String> {
    let pieces = &[
        "item",
        ".",
        "a",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "\"",
        "'",
        "\\",
        "+",
        "-",
        "!",
        "&&",
        "||",
        "?",
        ":",
        ",",
        "1",
        "0x",
        "1e",
        "u",
        "b\"",
        "r'",
        "in",
        "has",
        "size",
        ".map(",
        ".exists(x,",
        "//",
        "\n",
        "\u{e9}",
        "\u{0}",
        "==",
        "=",
        "%",
        "`",
        "\"\"\"",
        "true",
        "null",
        " ",
        "cvss(",
    ][..];
    prop::collection::vec(prop::sample::select(pieces), 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_compiler_or_the_evaluator_panic(source in prop_oneof![scraps(), any::<String>()]) {
        match Expression::compile(&source) {
            Ok(expression) => {
                let _ = expression.evaluate(&record());
            }
            Err(error) => {
                prop_assert!(source.is_char_boundary(error.offset()), "{} of {:?}", error.offset(), source);
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
