use std::sync::Arc;

use aqueduct_core::Record;

use super::{Fault, Piece, Template, pieces};
use crate::expression::Expression;
use crate::redacted::Redacted;

fn template(written: &str) -> Template {
    let part = |piece| match piece {
        Piece::Text(text) => Ok(Redacted::plain(text)),
        Piece::Place(source, _) => Err(Arc::new(Expression::compile(source).unwrap())),
    };
    Template::new(pieces(written).unwrap().into_iter().map(part).collect())
}

fn record(text: &str) -> Record {
    Record::parse(text.as_bytes().to_vec()).unwrap()
}

fn url(written: &str, item: &str) -> Result<String, String> {
    template(written).url(&record(item)).map_err(|error| error.to_string())
}

#[test]
fn a_template_is_texts_and_places_and_references_are_texts() {
    let taken = pieces("https://h/${env:A}/{item.a + '}'}?q={{{item.b}}}").unwrap();
    let expected = [
        Piece::Text("https://h/${env:A}/".to_owned()),
        Piece::Place("item.a + '}'", 20),
        Piece::Text("?q={".to_owned()),
        Piece::Place("item.b", 39),
        Piece::Text("}".to_owned()),
    ];
    assert_eq!(taken, expected);
    let open = Fault { offset: 1, message: "a place is not closed with }" };
    assert_eq!(pieces("a{item.b"), Err(open));
    assert!(pieces("a}b").is_err() && pieces("${env:A").is_err());
    assert_eq!(pieces("$${x}}").unwrap(), [Piece::Text("$${x}".to_owned())]);
}

#[test]
fn what_an_item_puts_into_a_url_stays_in_its_segment_or_value() {
    let written = "http://api.example/v1/{item.a}/x?q={item.b}&n={item.n}";
    let evil = r#"{"a":"../../admin?x=#@evil.example:80//\\","b":"1&admin=true#é \r\nHost: x","n":1.5}"#;
    let made = url(written, evil).unwrap();
    assert_eq!(
        made,
        "http://api.example/v1/..%2F..%2Fadmin%3Fx%3D%23%40evil.example%3A80%2F%2F%5C/x\
         ?q=1%26admin%3Dtrue%23%C3%A9%20%0D%0AHost%3A%20x&n=1.5"
    );
}

#[test]
fn a_segment_that_is_only_dots_or_nothing_is_refused() {
    for dots in ["", ".", ".."] {
        let item = format!("{{\"a\":\"{dots}\"}}");
        let error = url("http://h/x/{item.a}/y", &item).unwrap_err();
        assert!(error.contains("segment of a path") || error.contains("leave its place"), "{error}");
        assert!(url("http://h/x/{item.a}", &item).is_err());
        assert!(
            dots.is_empty() || url("http://h/{item.a}{item.e}", &item.replace('}', ",\"e\":\"\"}")).is_err()
        );
        // As a part of a segment, or as a value, they are letters.
        assert!(url("http://h/x/a{item.a}", &item).is_ok());
        assert!(url("http://h/x?q={item.a}", &item).is_ok());
    }
}

#[test]
fn what_is_no_text_cannot_fill_a_place() {
    for (item, kind) in [(r#"{"a":null}"#, "null"), (r#"{"a":[1]}"#, "a list"), (r#"{"a":{}}"#, "an object")]
    {
        let error = url("http://h/{item.a}", item).unwrap_err();
        assert_eq!(
            error,
            format!("{{item.a}} is {kind}, and a place takes a text, a number or a truth value")
        );
    }
    assert!(url("http://h/{item.b}", r#"{"a":1}"#).unwrap_err().contains("cannot be computed"));
}

#[test]
fn a_header_field_cannot_be_ended_by_an_item() {
    let token = template("Bearer {item.t}");
    assert_eq!(token.header("authorization", &record(r#"{"t":"a b"}"#)).unwrap(), "Bearer a b");
    for evil in [r"a\r\nX: y", r"a\ny", r"a\u0000"] {
        let item = record(&format!("{{\"t\":\"{evil}\"}}"));
        let error = token.header("authorization", &item).unwrap_err().to_string();
        assert!(error.contains("would end the header field authorization"), "{error}");
    }
}

#[test]
fn no_place_stands_where_it_would_name_host_or_scheme() {
    for wrong in [
        "{item.u}",
        "https://{item.h}/x",
        "https://h{item.h}/x",
        "{item.s}://h/",
        "ftp://h/x",
        "https:///x",
        "https://h/x#{item.f}",
    ] {
        assert!(template(wrong).url_fault(false).is_some(), "{wrong}");
    }
    for right in ["https://h", "https://h/{item.a}", "http://h:80?q={item.a}", "https://h/x"] {
        assert_eq!(template(right).url_fault(false), None, "{right}");
    }
    for (path, right) in [
        ("/x/{item.a}", true),
        ("//evil/x", false),
        ("x", false),
        ("https://h/x", false),
        ("{item.a}", false),
    ] {
        assert_eq!(template(path).url_fault(true).is_none(), right, "{path}");
    }
}
