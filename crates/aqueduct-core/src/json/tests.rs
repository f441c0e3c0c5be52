use proptest::prelude::*;

use super::{DEPTH_MAX, JsonErrorKind, Number, RawJson, Record, RecordBuilder};

fn kind_of(text: &str) -> Option<JsonErrorKind> {
    Record::parse(text.as_bytes().to_vec()).err().map(|error| error.kind())
}

#[test]
fn tells_what_is_wrong_and_where() {
    let error = Record::parse(&b"{\"a\": 1, \"b\": x}"[..]).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (JsonErrorKind::Unexpected(b'x'), 14));
    assert_eq!(kind_of(""), Some(JsonErrorKind::Empty));
    assert_eq!(kind_of("  \r\n"), Some(JsonErrorKind::Empty));
    assert_eq!(kind_of("[1]"), Some(JsonErrorKind::NotAnObject));
    assert_eq!(kind_of("{\"a\":1"), Some(JsonErrorKind::Truncated));
    assert_eq!(kind_of("{\"a\":\"x"), Some(JsonErrorKind::Truncated));
    assert_eq!(kind_of("{\"a\":1} {"), Some(JsonErrorKind::TrailingData));
    assert_eq!(kind_of("{\"a\":\"\u{0}\"}"), Some(JsonErrorKind::ControlCharacter(0)));
    assert_eq!(kind_of(r#"{"a":"\ud800"}"#), Some(JsonErrorKind::BadEscape));
    assert_eq!(kind_of(r#"{"a":"\x"}"#), Some(JsonErrorKind::BadEscape));
    assert_eq!(kind_of(r#"{"a":nul}"#), Some(JsonErrorKind::BadWord));
    assert_eq!(kind_of(r#"{"a":1,}"#), Some(JsonErrorKind::Unexpected(b'}')));
    for number in ["01", "-", "1.", ".5", "1e", "+1", "-a"] {
        assert!(kind_of(&format!("{{\"a\":{number}}}")).is_some(), "{number}");
    }
    let not_utf8 = Record::parse(&b"{\"a\":\"\xff\"}"[..]).unwrap_err();
    assert_eq!((not_utf8.kind(), not_utf8.offset()), (JsonErrorKind::NotUtf8, 6));
}

#[test]
fn refuses_a_hundred_thousand_levels_without_recursing() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(kind_of(&deep), Some(JsonErrorKind::TooDeep));
    let just = format!("{{\"a\":{}{}}}", "[".repeat(DEPTH_MAX - 1), "]".repeat(DEPTH_MAX - 1));
    assert_eq!(kind_of(&just), None);
    let over = format!("{{\"a\":{}{}}}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
    assert_eq!(kind_of(&over), Some(JsonErrorKind::TooDeep));
}

#[test]
fn the_last_of_duplicate_keys_wins() {
    let record = Record::parse(&br#" {"a":1,"b":2,"\u0061":3} "#[..]).unwrap();
    assert_eq!(record.as_text(), r#"{"a":3,"b":2}"#);
    let nested = Record::parse(&br#"{"a":{"x":1,"x":2}}"#[..]).unwrap();
    assert_eq!(nested.get("a").and_then(|a| a.get("x")).and_then(RawJson::as_i64), Some(2));
    let wide: String = (0..100).map(|n| format!("\"k{n}\":{n},")).collect();
    let record = Record::parse(format!("{{{wide}\"k7\":\"last\"}}").into_bytes()).unwrap();
    assert_eq!(record.len(), 100);
    assert_eq!(record.get("k7").unwrap().as_text(), "\"last\"");
}

#[test]
fn keys_that_need_escapes_are_found() {
    let record = Record::parse(&br#"{"a\"b\n":1,"plain":2}"#[..]).unwrap();
    assert_eq!(record.get("a\"b\n").and_then(RawJson::as_i64), Some(1));
    assert_eq!(record.get("plain").and_then(RawJson::as_i64), Some(2));
}

#[test]
fn integers_past_64_bits_keep_their_digits() {
    let record =
        Record::parse(&br#"{"a":123456789012345678901234567890,"b":-9223372036854775808}"#[..]).unwrap();
    let wide = record.get("a").unwrap();
    assert_eq!(wide.as_number(), Some(Number::Wide(1.234_567_890_123_456_8e29)));
    assert_eq!(wide.as_text(), "123456789012345678901234567890");
    assert_eq!(record.get("b").unwrap().as_i64(), Some(i64::MIN));
}

#[test]
fn white_space_around_the_object_is_dropped_and_the_index_follows() {
    let record = Record::parse(&b"  {\"a\" : 1 , \"b\":\t[ 1, {\"c\" : 2 } ]}\r\n"[..]).unwrap();
    assert_eq!(record.get("a").unwrap().as_text(), "1");
    let list = record.get("b").unwrap();
    assert_eq!(list.index(1).and_then(|object| object.get("c")).and_then(RawJson::as_i64), Some(2));
    assert_eq!(list.entries().count(), 2);
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e300_f64..1e300).prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((".{0,12}", inner), 0..6)
                .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn json_object() -> impl Strategy<Value = serde_json::Map<String, serde_json::Value>> {
    prop::collection::vec((".{0,12}", json_value()), 0..8).prop_map(|entries| entries.into_iter().collect())
}

proptest! {
    #[test]
    fn agrees_with_serde_json_on_objects(object in json_object(), pretty in any::<bool>()) {
        let text = if pretty {
            serde_json::to_string_pretty(&object).unwrap()
        } else {
            serde_json::to_string(&object).unwrap()
        };
        let record = Record::parse(text.into_bytes()).unwrap();
        prop_assert_eq!(record.len(), object.len());
        for (key, value) in &object {
            let raw = record.get(key).unwrap();
            prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(raw.as_text()).unwrap(), value);
            if let Some(text) = value.as_str() {
                let read = raw.as_str().unwrap();
                prop_assert_eq!(read.as_ref(), text);
            }
            if let Some(integer) = value.as_i64() {
                prop_assert_eq!(raw.as_i64(), Some(integer));
            }
        }
        let mut builder = RecordBuilder::with_capacity(64);
        for (key, value) in record.fields() {
            builder.raw_escaped(key, value);
        }
        let built = builder.finish();
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(built.as_text()).unwrap(), serde_json::Value::Object(object));
    }

    /// Any text at all, and any valid text with one byte spoilt: both readers say yes or both say no.
    #[test]
    fn agrees_with_serde_json_on_what_is_json(object in json_object(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = serde_json::to_vec(&object).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let ours = Record::parse(bytes.clone()).is_ok();
        let theirs = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes);
        // Numbers such as 1e999 are JSON; serde_json refuses them because no double can hold them.
        let out_of_range = theirs.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
        prop_assert!(ours == theirs.is_ok() || out_of_range, "{:?}: ours {ours}, theirs {theirs:?}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn texts_survive_a_round_trip(text in ".*") {
        let mut builder = RecordBuilder::default();
        builder.text(&text, &text);
        let record = Record::parse(builder.finish().to_bytes()).unwrap();
        let value = record.get(&text).unwrap().as_str().unwrap();
        prop_assert_eq!(value.as_ref(), text.as_str());
    }
}
