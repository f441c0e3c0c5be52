use aqueduct_core::Counts;
use aqueduct_stream::{Ended, Jsonl, OnError, Pipeline};

use crate::support::{Folder, words};

/// Runs `input` into a file and gives the output and the dead letters.
async fn through(input: impl AsRef<[u8]>) -> (String, Vec<(String, String)>, Counts) {
    let folder = Folder::new();
    folder.write("in.jsonl", input);
    let report = folder.pipeline().sink("out", folder.file_sink()).run().await.unwrap();
    assert_eq!(report.counts.check(), Ok(()));
    let output = if report.counts.delivered == 0 { String::new() } else { folder.read("out.jsonl") };
    (output, folder.letters().await, report.counts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_line_is_set_aside_with_its_reason_and_its_neighbours_pass() {
    let (output, letters, counts) = through("{\"n\":0}\n{\"n\":}\n{\"n\":2}\n").await;
    assert_eq!(output, "{\"n\":0}\n{\"n\":2}\n");
    assert_eq!(letters, [("line 2: not JSON: unexpected '}' at byte 6".to_owned(), "{\"n\":}".to_owned())]);
    assert_eq!(counts, Counts { read: 3, delivered: 2, dead_lettered: 1, ..Counts::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_utf_8_is_set_aside_byte_for_byte() {
    let (output, letters, _) = through(b"{\"n\":\"\xff\"}\n{\"n\":1}\n").await;
    assert_eq!(output, "{\"n\":1}\n");
    assert_eq!(letters[0].0, "line 1: not valid UTF-8 at byte 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_order_mark_and_carriage_returns_and_blank_lines_are_no_trouble() {
    let (output, letters, counts) = through("\u{feff}{\"n\":0}\r\n\r\n   \n{\"n\":1}\r\n\n").await;
    assert_eq!(output, "{\"n\":0}\n{\"n\":1}\n");
    assert!(letters.is_empty());
    assert_eq!(counts.read, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_is_nothing_to_do() {
    let folder = Folder::new();
    folder.write("in.jsonl", "");
    let report = folder.pipeline().sink("out", folder.file_sink()).run().await.unwrap();
    assert_eq!(report.ended, Ended::NothingToDo);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_and_a_folder_are_named() {
    let folder = Folder::new();
    let failure = folder.pipeline().sink("out", folder.file_sink()).run().await.unwrap_err();
    assert!(words(&failure).ends_with("in.jsonl does not exist"), "{failure}");
    std::fs::create_dir(folder.at("in.jsonl")).unwrap();
    let failure = folder.pipeline().sink("out", folder.file_sink()).run().await.unwrap_err();
    assert!(words(&failure).ends_with("in.jsonl is a folder; name one file in it"), "{failure}");
    assert!(!folder.at("data").exists(), "nothing was made for a run that could not begin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_64_mib_is_set_aside_by_its_digest_and_reading_goes_on() {
    let mut input = b"{\"n\":0}\n{\"long\":\"".to_vec();
    input.resize(input.len() + 64 * 1024 * 1024, b'x');
    input.extend_from_slice(b"\"}\n{\"n\":2}\n");
    let (output, letters, counts) = through(input).await;
    assert_eq!(output, "{\"n\":0}\n{\"n\":2}\n");
    assert_eq!(counts.read, 3);
    let expected = "line 2 has 67108876 bytes; the limit is 1048576 (source key line_bytes_max)";
    assert_eq!(letters, [(expected.to_owned(), "<67108876 bytes>".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_just_over_the_limit_is_set_aside_wherever_it_stands() {
    for position in ["first", "middle", "last", "unterminated"] {
        let folder = Folder::new();
        let long = format!("{{\"x\":\"{}\"}}", "y".repeat(200));
        let input = match position {
            "first" => format!("{long}\n{{\"n\":1}}\n{{\"n\":2}}\n"),
            "middle" => format!("{{\"n\":1}}\n{long}\n{{\"n\":2}}\n"),
            "last" => format!("{{\"n\":1}}\n{{\"n\":2}}\n{long}\n"),
            _ => format!("{{\"n\":1}}\n{{\"n\":2}}\n{long}"),
        };
        folder.write("in.jsonl", input);
        let source = || Jsonl::new(folder.at("in.jsonl")).named("in.jsonl").with_line_bytes_max(100);
        let run = || {
            Pipeline::named("test")
                .source(source())
                .sink("out", folder.file_sink())
                .data_dir(folder.at("data"))
                .run()
        };
        let report = run().await.unwrap();
        assert_eq!((report.counts.delivered, report.counts.dead_lettered), (2, 1), "{position}");
        assert_eq!(folder.read("out.jsonl"), "{\"n\":1}\n{\"n\":2}\n", "{position}");
        assert_eq!(run().await.unwrap().ended, Ended::NothingToDo, "{position}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_nested_a_hundred_thousand_deep_is_set_aside() {
    let deep = format!("{{\"n\":{}{}}}\n{{\"n\":1}}\n", "[".repeat(100_000), "]".repeat(100_000));
    let (output, letters, _) = through(deep).await;
    assert_eq!(output, "{\"n\":1}\n");
    assert_eq!(letters[0].0, "line 1: nested deeper than 128 levels at byte 133");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_duplicate_keys_wins_on_the_plain_and_on_the_typed_path() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Only {
        a: u64,
    }
    let (output, ..) = through("{\"a\":1,\"b\":2,\"a\":3}\n").await;
    assert_eq!(output, "{\"a\":3,\"b\":2}\n");
    let folder = Folder::new();
    folder.write("in.jsonl", "{\"a\":1,\"b\":2,\"a\":3}\n");
    folder
        .pipeline()
        .map("same", |o: &Only| Only { a: o.a })
        .sink("out", folder.file_sink())
        .run()
        .await
        .unwrap();
    assert_eq!(folder.read("out.jsonl"), "{\"a\":3}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_past_64_bits_keep_every_digit() {
    let (output, ..) = through("{\"n\":123456789012345678901234567890}\n").await;
    assert_eq!(output, "{\"n\":123456789012345678901234567890}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_byte_is_named() {
    let (_, letters, _) = through(b"{\"n\":\"a\x00b\"}\n").await;
    assert_eq!(
        letters[0].0,
        "line 1: not JSON: control character 0x00 inside a text at byte 8; it must be escaped"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_line_that_was_cut_off_says_so() {
    let (output, letters, _) = through("{\"n\":0}\n{\"n\":1,\"t\":\"half").await;
    assert_eq!(output, "{\"n\":0}\n");
    assert_eq!(letters[0].0, "line 2 (the last, without a line end): JSON cut off after 16 bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sources_rule_may_stop_or_skip_instead() {
    let folder = Folder::new();
    folder.write("in.jsonl", "{\"n\":0}\nnonsense\n{\"n\":2}\n");
    let with = |rule| {
        Pipeline::named("test")
            .source(Jsonl::new(folder.at("in.jsonl")).named("in.jsonl"))
            .on_error(rule)
            .sink("out", folder.file_sink())
            .data_dir(folder.at("data"))
            .run()
    };
    let failure = with(OnError::Stop).await.unwrap_err();
    let text = words(&failure);
    assert!(text.contains("the source failed on item a0a0a8"), "{text}");
    assert_eq!(folder.read("out.jsonl"), "{\"n\":0}\n");
    let report = with(OnError::Skip).await.unwrap();
    assert_eq!((report.counts.read, report.counts.skipped, report.counts.delivered), (2, 1, 1));
    assert_eq!(folder.read("out.jsonl"), "{\"n\":0}\n{\"n\":2}\n");
}
