use std::io::Write;
use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass, Timestamp};
use aqueduct_http::{BodyError, HttpError, Method, Request, StatusCode};
use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, FlushCompress};
use serde_json::Value;

use crate::server::{Reply, Server};
use crate::{alone, client, get, local};

const MIB: usize = 1 << 20;

async fn response_to(reply: Reply) -> Result<aqueduct_http::Response, HttpError> {
    let server = Server::saying(reply).await;
    get(&client(local().response_bytes_max(MIB)), server.url("/")).await
}

#[tokio::test]
async fn a_status_is_no_error() {
    for status in [200, 204, 302, 404, 429, 500, 503] {
        let response = response_to(Reply::new(status, &[], "")).await.expect("it is a response");
        assert_eq!(response.status().as_u16(), status);
    }
}

#[tokio::test]
async fn a_body_may_be_as_large_as_allowed_and_no_larger() {
    for (bytes, fits) in [(0, true), (1, true), (MIB - 1, true), (MIB, true), (MIB + 1, false)] {
        let body = vec![b'x'; bytes];
        let whole = response_to(Reply::ok(&body)).await;
        // Without its length being known before, in pieces that do not fit evenly.
        let pieces = response_to(Reply::chunked("", &body, usize::from(bytes > 0))).await;
        for response in [whole, pieces] {
            match response {
                Ok(response) => assert!(fits && response.body() == &body),
                Err(HttpError::TooLarge { max, .. }) => assert!(!fits && max == MIB),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_body_of_a_gibibyte_is_left_at_once_when_its_length_is_stated() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";
    let error = response_to(Reply::raw(head)).await.expect_err("it is too large");
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert!(matches!(error, HttpError::TooLarge { stated: Some(1_073_741_824), .. }), "{error:?}");
}

#[tokio::test]
async fn a_body_of_a_gibibyte_is_left_at_the_bound_when_nobody_says_so() {
    let server = Server::saying(Reply::chunked("", &[b'x'; 1 << 16], 1 << 14)).await;
    let client = client(local().response_bytes_max(MIB));
    let error = get(&client, server.url("/")).await.expect_err("it is too large");
    assert!(matches!(error, HttpError::TooLarge { stated: None, .. }), "{error:?}");
    crate::until(|| server.counts().open == 0).await;
    // What was on its way when the client hung up lay in the buffers of the system.
    assert!(server.counts().sent < 64 * MIB, "{:?}", server.counts());
}

#[tokio::test]
async fn head_has_the_length_of_a_body_that_does_not_come() {
    let server = Server::saying(Reply::raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n")).await;
    let request = Request::new(Method::HEAD, server.url("/"));
    let response = client(local()).call(request).await.expect("there is no body");
    assert_eq!((response.status(), response.body().len()), (StatusCode::OK, 0));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a vector takes all")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a vector takes all")
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.into_inner()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).expect("a vector takes all")
}

type Codec = (&'static str, fn(&[u8]) -> Vec<u8>);

const CODECS: [Codec; 4] = [("gzip", gzip), ("deflate", zlib), ("br", brotli), ("zstd", zstd)];

#[tokio::test]
async fn what_is_compressed_is_asked_for_and_read() {
    let text = "all of it, again and again. ".repeat(1000);
    for (name, encode) in CODECS {
        let server =
            Server::saying(Reply::new(200, &[("content-encoding", name)], encode(text.as_bytes()))).await;
        let response = get(&client(local()), server.url("/")).await.expect("it is right");
        assert_eq!(response.body(), text.as_bytes(), "{name}");
        assert!(response.headers().get("content-encoding").is_none(), "{name}");
        assert!(server.asked()[0].header("accept-encoding").expect("it asks").contains(name));
    }
}

#[tokio::test]
async fn a_bomb_is_left_at_the_bound_in_every_compression() {
    let zeros = vec![0; 64 * MIB];
    for (name, encode) in CODECS {
        let bomb = encode(&zeros);
        assert!(bomb.len() < MIB, "{name} has {} bytes", bomb.len());
        let error = response_to(Reply::new(200, &[("content-encoding", name)], bomb)).await;
        let error = error.expect_err("it is too large");
        assert!(matches!(error, HttpError::TooLarge { stated: None, .. }), "{name}: {error:?}");
    }
}

#[test]
fn a_bomb_takes_no_more_memory_than_the_bound() {
    alone("body::bomb_of_16_gibibytes");
}

/// The most memory that this process has had.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is counted");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

#[tokio::test]
#[ignore = "the test above runs it in a process of its own"]
async fn bomb_of_16_gibibytes() {
    // 16 GiB of zeros in 16 MiB: after a full flush the same bytes mean the same again.
    let mut deflate = flate2::Compress::new(Compression::best(), false);
    let mut block = Vec::with_capacity(MIB);
    deflate.compress_vec(&vec![0; MIB], &mut block, FlushCompress::Full).expect("there is room");
    let head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff";
    let bomb = [&head[..], &block.repeat(1 << 14)].concat();
    let server = Server::saying(Reply::chunked("content-encoding: gzip\r\n", &bomb, 1)).await;
    // One block alone is right as far as it goes, and has no end.
    let part = Reply::new(200, &[("content-encoding", "gzip")], [&head[..], &block].concat());
    let part = Server::saying(part).await;
    let client = client(local().response_bytes_max(4 * MIB));
    let error = get(&client, part.url("/")).await.expect_err("it has no end");
    assert!(matches!(error, HttpError::Decode { .. }), "{error:?}");

    let before = peak_bytes();
    let error = get(&client, server.url("/")).await.expect_err("it is too large");
    assert!(matches!(error, HttpError::TooLarge { stated: None, .. }), "{error:?}");
    // The server has a copy of its own of the reply; the client's buffer may be twice what is in it.
    let grown = peak_bytes() - before;
    assert!(grown < bomb.len() + 16 * MIB, "{grown} bytes");
}

#[tokio::test]
async fn what_is_not_compressed_as_it_says_is_an_error() {
    for (name, _) in CODECS {
        let error = response_to(Reply::new(200, &[("content-encoding", name)], "plain text")).await;
        let error = error.expect_err("it is not compressed");
        assert!(matches!(error, HttpError::Decode { .. }), "{name}: {error:?}");
        assert_eq!(error.class(), ErrorClass::Permanent);
    }
    // Raw deflate, which some servers send, is not what RFC 9110 calls deflate.
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
    raw.write_all(b"text").expect("a vector takes all");
    let raw = raw.finish().expect("a vector takes all");
    assert!(response_to(Reply::new(200, &[("content-encoding", "deflate")], raw)).await.is_err());
}

#[tokio::test]
async fn json_of_another_type_is_an_error_that_names_it() {
    let page = Reply::new(200, &[("content-type", "Text/HTML; charset=utf-8")], "<h1>Sign in</h1>");
    let response = response_to(page).await.expect("it is a response");
    let error = response.json::<Value>().expect_err("it is a page");
    assert_eq!(error.to_string(), "the response is text/html, not JSON");
    assert_eq!(error.class(), ErrorClass::Permanent);

    for typed in ["application/json", "application/problem+json; charset=utf-8", "text/json"] {
        let response = response_to(Reply::new(200, &[("content-type", typed)], r#"{"a":1}"#)).await;
        let value: Value = response.expect("it is a response").json().expect("it is JSON");
        assert_eq!(value["a"], 1);
    }
    let untyped = response_to(Reply::new(200, &[], "[1]")).await.expect("it is a response");
    assert_eq!(untyped.json::<Vec<u8>>().expect("nobody says that it is not"), [1]);
}

#[tokio::test]
async fn invalid_json_is_an_error() {
    let response = response_to(Reply::json(r#"{"a":"#)).await.expect("it is a response");
    assert!(matches!(response.json::<Value>(), Err(BodyError::Json(_))));
}

#[tokio::test]
async fn text_is_read_in_its_character_set() {
    for (typed, bytes, expected) in [
        ("text/plain", "gr\u{fc}n".as_bytes(), Some("gr\u{fc}n")),
        ("text/plain", b"\xef\xbb\xbfmarked", Some("marked")),
        ("text/plain; charset=\"UTF-8\"", b"a\xffb", Some("a\u{fffd}b")),
        ("text/plain; Charset=ISO-8859-1", b"gr\xfcn", Some("gr\u{fc}n")),
        ("text/plain;charset=windows-1252", b"\x80", Some("\u{80}")),
        ("text/plain; charset=shift_jis", b"?", None),
    ] {
        let response = response_to(Reply::new(200, &[("content-type", typed)], bytes)).await;
        let response = response.expect("it is a response");
        match expected {
            Some(expected) => assert_eq!(response.text().expect("it is known"), expected, "{typed}"),
            None => assert!(matches!(response.text(), Err(BodyError::Charset { .. }))),
        }
        assert_eq!(response.content_type().as_deref(), Some("text/plain"));
    }
}

#[tokio::test]
async fn how_long_to_wait_is_told_as_seconds_or_as_a_date() {
    // 2026-11-20 00:00:00 UTC.
    let now = Timestamp(1_795_132_800_000);
    for (value, expected) in [
        ("120", Some(120)),
        (" 0 ", Some(0)),
        ("Fri, 20 Nov 2026 00:01:30 GMT", Some(90)),
        ("Thu, 19 Nov 2026 23:59:59 GMT", Some(0)),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
    ] {
        let response =
            response_to(Reply::new(503, &[("retry-after", value)], "")).await.expect("it is a response");
        assert_eq!(response.retry_after(now), expected.map(Duration::from_secs), "{value:?}");
    }
    assert_eq!(response_to(Reply::ok("")).await.expect("it is a response").retry_after(now), None);
}
