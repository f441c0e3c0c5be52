//! The csv and lines sources: what becomes an item, and what is said of the rest.

use aqueduct_core::{PartitionId, Position};
use aqueduct_stream::{
    ChunkContent, Csv, CsvFormat, CsvHeader, CsvType, DecodeError, Ended, Jsonl, Lines, Pipeline, Source,
    Stdin, StdinFormat,
};
use proptest::prelude::*;

use crate::support::{Folder, words};

/// What a source makes of its partitions: each item as JSON or as its error, with the offset it stands at.
fn items(source: &mut dyn Source, most: usize) -> Vec<(u64, String)> {
    let mut items = Vec::new();
    let count = source.partitions().unwrap().len();
    let decoder = source.decoder();
    for index in 0..count {
        let id = PartitionId(u32::try_from(index).unwrap());
        source.open(index, id, None).unwrap();
        while let Some(chunk) = source.next(most).unwrap() {
            let decoded = decoder.decode(&chunk);
            assert_eq!(decoded.len(), chunk.items, "the source and the decoder count alike");
            items.extend(decoded.into_iter().map(|item| (item.offset, shown(item.record))));
        }
    }
    items
}

fn shown(record: Result<aqueduct_core::Record, DecodeError>) -> String {
    match record {
        Ok(record) => record.as_text().to_owned(),
        Err(error) => format!("! {}", words(&error)),
    }
}

/// The items of one file, without their offsets.
#[track_caller]
fn csv_of(content: impl AsRef<[u8]>, format: CsvFormat) -> Vec<String> {
    let folder = Folder::new();
    folder.write("in.csv", content);
    let mut source = Csv::new(folder.at("in.csv")).named("in.csv").with_format(format);
    items(&mut source, 1000).into_iter().map(|(_, item)| item).collect()
}

/// The error with which one file is refused.
fn refused(content: impl AsRef<[u8]>, format: CsvFormat) -> String {
    let folder = Folder::new();
    folder.write("in.csv", content);
    let mut source = Csv::new(folder.at("in.csv")).named("in.csv").with_format(format);
    let error = match source.partitions() {
        Ok(_) => source.open(0, PartitionId(0), None).unwrap_err(),
        Err(error) => error,
    };
    words(&error)
}

#[test]
fn a_row_becomes_a_record_of_texts_in_the_order_of_the_columns() {
    let rows = csv_of("id,b c,a\n007,\"x, \"\"y\"\"\nz\",\n", CsvFormat::new());
    assert_eq!(rows, [r#"{"id":"007","b c":"x, \"y\"\nz","a":""}"#]);
}

#[test]
fn a_mark_carriage_returns_empty_lines_and_a_missing_last_line_end_are_no_trouble() {
    let expected = [r#"{"a":"1","b":"2"}"#, r#"{"a":"3","b":"4"}"#];
    assert_eq!(csv_of("\u{feff}\"a\",b\r\n1,2\r\n\r\n3,4", CsvFormat::new()), expected);
    assert_eq!(csv_of("\n\na,b\n1,2\n\n3,4\n\n", CsvFormat::new()), expected);
    let none: [&str; 0] = [];
    for empty in ["", "\n", "\u{feff}", "a,b", "a,b\n", "a,b\r\n\r\n"] {
        assert_eq!(csv_of(empty, CsvFormat::new()), none, "{empty:?}");
    }
}

#[test]
fn other_delimiters_and_quotes_and_a_file_without_header() {
    let format = CsvFormat::new().with_delimiter(';').with_quote('\'');
    assert_eq!(csv_of("'a;1';b\n'it''s';\"\n", format), [r#"{"a;1":"it's","b":"\""}"#]);
    let format =
        CsvFormat::new().with_delimiter('\t').with_header(CsvHeader::Absent).with_columns(["x", "y"]);
    assert_eq!(csv_of("\u{feff}\"1\"\t2\n", format), [r#"{"x":"1","y":"2"}"#]);
    let format = CsvFormat::new().with_columns(["x", "y"]);
    assert_eq!(csv_of("a,a\n1,2\n", format), [r#"{"x":"1","y":"2"}"#], "declared names replace the header's");
}

#[test]
fn types_are_read_as_declared_and_an_empty_field_is_null() {
    let format = CsvFormat::new()
        .with_type("i", CsvType::Integer)
        .with_type("f", CsvType::Float)
        .with_type("b", CsvType::Boolean)
        .with_type("j", CsvType::Json);
    let rows = csv_of("i,f,b,j,t\n-7,1.50,TRUE,\"[1, {\"\"a\"\":2}]\",x\n+007,.5,0,null,\n,,,,\n", format);
    assert_eq!(
        rows,
        [
            r#"{"i":-7,"f":1.50,"b":true,"j":[1, {"a":2}],"t":"x"}"#,
            r#"{"i":7,"f":0.5,"b":false,"j":null,"t":""}"#,
            r#"{"i":null,"f":null,"b":null,"j":null,"t":""}"#,
        ]
    );
}

#[test]
fn a_field_of_the_wrong_type_is_named_with_line_column_and_value() {
    let check = |kind, field: &str, expected: &str| {
        let format = CsvFormat::new().with_type("v", kind);
        let rows = csv_of(format!("id,v\n\"two\nlines\",1\na,{field}\nb,1\n"), format);
        assert_eq!(rows[1], format!("! line 4, column v: {field:?} is not {expected}"));
        assert_eq!(rows.len(), 3);
    };
    check(CsvType::Integer, "1.5", "an integer of 64 bits");
    check(CsvType::Integer, "9223372036854775808", "an integer of 64 bits");
    check(CsvType::Integer, " 1", "an integer of 64 bits");
    check(CsvType::Float, "NaN", "a number such as 1.5");
    check(CsvType::Float, "1e999", "a number such as 1.5");
    check(CsvType::Boolean, "yes", "true or false");
    check(CsvType::Json, "{a:1}", "JSON");
}

#[test]
fn a_ragged_row_is_named_even_where_its_types_are_wrong_too() {
    let format = || CsvFormat::new().with_type("b", CsvType::Integer);
    let rows = csv_of("a,b,c\n1,2\n1,2,3\n", format());
    let expected = "! line 2: 2 fields, but there are 3 columns; c is the first that has none";
    assert_eq!(rows, [expected, r#"{"a":"1","b":2,"c":"3"}"#]);
    let rows = csv_of("a,b,c\n1,x,2,3\n", format());
    let expected = "! line 2: 4 fields, but there are 3 columns; c is the last of them; a delimiter inside of a \
                    field needs quotes around the field";
    assert_eq!(rows, [expected]);
}

#[test]
fn nul_bytes_are_kept_and_what_is_not_utf_8_is_named_with_its_column() {
    assert_eq!(csv_of("a\n\0\n", CsvFormat::new()), ["{\"a\":\"\\u0000\"}"]);
    let rows = csv_of(b"a,b\n1,x\xff\n3,4\n", CsvFormat::new());
    assert_eq!(rows, ["! line 2, column b: not valid UTF-8 at byte 4", r#"{"a":"3","b":"4"}"#]);
}

#[test]
fn a_header_that_is_wrong_is_refused_with_what_would_be_right() {
    let plain = || CsvFormat::new();
    let header = "the header of in.csv (line 1): ";
    for (content, format, message) in [
        ("a,b,a\n", plain(), "\"a\" is there twice; mend the file, or declare the columns"),
        ("a,,c\n", plain(), "column 2 has no name; mend the file, or declare the columns"),
        ("a,\"b\n1,2\n", plain(), "column 2: a quote is opened and never closed"),
        ("a,b\r1,2\r", plain(), "its lines end in carriage returns alone; end them in line feeds"),
        ("a,b\n", plain().with_type("c", CsvType::Json), "types names \"c\", but the columns are a, b"),
        ("a,b\n", plain().with_columns(["x"]), "it has 2 columns, but columns declares 1: a, b"),
    ] {
        assert_eq!(refused(content, format), format!("{header}{message}"), "{content:?}");
    }
    let message = refused(b"a,\xff\n", plain());
    assert_eq!(message, format!("{header}it is not valid UTF-8 at byte 3; save the file as UTF-8"));
    let message = refused(format!("\"{}", "x\n".repeat(1 << 20)), plain());
    assert!(
        message.starts_with(&format!("{header}it has 1048577 bytes or is not closed; the limit")),
        "{message}"
    );
}

#[test]
fn a_format_that_cannot_be_is_refused() {
    let plain = || CsvFormat::new();
    let one = "it must be one ASCII character that is no letter, digit or line end";
    for (format, message) in [
        (plain().with_delimiter('\n'), format!("delimiter is '\\n'; {one}")),
        (plain().with_delimiter('§'), format!("delimiter is '§'; {one}")),
        (plain().with_quote('a'), format!("quote is 'a'; {one}")),
        (plain().with_quote(','), "quote is ','; it must be another character than the delimiter".to_owned()),
        (
            plain().with_header(CsvHeader::Absent),
            "columns is absent; it must be a list of names where there is no header".to_owned(),
        ),
        (
            plain().with_columns(["a", "a"]),
            "columns is a list in which \"a\" is there twice; it must be names of their own".to_owned(),
        ),
        (
            plain().with_columns(["a"]).with_type("b", CsvType::Json),
            "types is for \"b\"; it must be for columns that are there: a".to_owned(),
        ),
    ] {
        assert_eq!(refused("a\n", format), message);
    }
}

#[test]
fn ten_thousand_columns_are_columns_like_others() {
    let line = |prefix: &str| (0..10_000).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>().join(",");
    let rows = csv_of(format!("{}\n{}\n", line("c"), line("")), CsvFormat::new());
    assert!(rows[0].ends_with(r#""c9999":"9999"}"#));
    let message = refused(format!("{},c0\n", line("c")), CsvFormat::new());
    assert!(message.contains("\"c0\" is there twice"), "{message}");
}

#[test]
fn a_quote_that_is_never_closed_costs_one_bounded_row_and_not_the_rest() {
    let folder = Folder::new();
    let content = format!("a,b\n0,0\n1,\"x\n{}", "2,2\n".repeat(1000));
    folder.write("in.csv", &content);
    let mut source = Csv::new(folder.at("in.csv")).named("in.csv").with_line_bytes_max(100);
    let found = items(&mut source, 1000);
    let rows: Vec<&str> = found.iter().map(|(_, row)| row.as_str()).collect();
    assert_eq!(rows[0], r#"{"a":"0","b":"0"}"#);
    assert_eq!(rows[1], "! line 3 has 101 bytes; the limit is 100 (source key line_bytes_max)");
    assert_eq!(rows.len(), 2 + 976);
    assert!(rows[2..].iter().all(|row| *row == r#"{"a":"2","b":"2"}"#));
    let again = source.reread("in.csv", found[1].0, 101).unwrap();
    assert_eq!(&again[..], &content.as_bytes()[8..109]);

    let rows = csv_of("a,b\n0,0\n1,\"x\n2,2\n", CsvFormat::new());
    let expected =
        "! line 3, column b: a quote is opened and never closed; a quote inside of quotes is doubled";
    assert_eq!(rows, [r#"{"a":"0","b":"0"}"#, expected], "near the end it takes what is left");
}

#[test]
fn lines_are_counted_through_rows_of_several_and_behind_rows_that_are_too_long() {
    let folder = Folder::new();
    let long = "y\n".repeat(100);
    folder.write("in.csv", format!("a\n\"1\n2\"\n\"{long}bad,2\n"));
    let source = || Csv::new(folder.at("in.csv")).named("in.csv").with_line_bytes_max(100);
    let mut whole = source();
    let found = items(&mut whole, 1);
    let last = &found.last().unwrap().1;
    assert!(last.starts_with("! line 104: 2 fields"), "{last}");
    // The same from every position.
    let decoder = whole.decoder();
    let mut position: Option<Position> = None;
    let mut seen = Vec::new();
    loop {
        whole.open(0, PartitionId(0), position.as_ref()).unwrap();
        let Some(chunk) = whole.next(1).unwrap() else { break };
        seen.extend(decoder.decode(&chunk).into_iter().map(|item| (item.offset, shown(item.record))));
        position = Some(decoder.position(&chunk, None));
    }
    assert_eq!(seen, found);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_one_pattern_may_have_their_columns_in_any_order() {
    let folder = Folder::new();
    folder.write("a.csv", "x,y\n1,2\n");
    folder.write("b.csv", "y,x\n3,4\n5\n");
    folder.write("c.csv", "");
    let run = || {
        Pipeline::named("test")
            .source(Csv::new(folder.at("?.csv")).named("?.csv"))
            .sink("out", folder.file_sink())
            .data_dir(folder.at("data"))
            .run()
    };
    run().await.unwrap();
    assert_eq!(folder.read("out.jsonl"), "{\"x\":\"1\",\"y\":\"2\"}\n{\"y\":\"3\",\"x\":\"4\"}\n");
    let expected = "in b.csv: line 3: 1 field, but there are 2 columns; x is the first that has none";
    assert_eq!(folder.letters().await[0].0, expected);
    folder.write("a.csv", "x,y\n1,2\n6,7\n");
    run().await.unwrap();
    assert!(folder.read("out.jsonl").ends_with("{\"x\":\"6\",\"y\":\"7\"}\n"));
    assert_eq!(run().await.unwrap().ended, Ended::NothingToDo);
    folder.write("a.csv", "y,x\n1,2\n6,7\n8,9\n");
    let text = words(&run().await.unwrap_err());
    assert!(text.contains("a.csv was read up to byte 12 before, and its header is different now"), "{text}");
}

#[test]
fn a_row_of_a_dead_letter_is_read_again_where_its_columns_are_clear() {
    let folder = Folder::new();
    folder.write("a.csv", "x,y\n1,2\n");
    folder.write("b.csv", "x,y,z\n1,2,3\n");
    let source = || Csv::new(folder.at("?.csv")).named("?.csv");
    let again = |row: &'static str| {
        let mut source = source();
        source.partitions().unwrap();
        shown(source.decoder().decode_original(&row.into()))
    };
    assert_eq!(again("3,4"), r#"{"x":"3","y":"4"}"#);
    assert_eq!(again("3,4,5\r\n"), r#"{"x":"3","y":"4","z":"5"}"#);
    assert!(again("3").starts_with("! the columns of this row are not known"));
    folder.write("c.csv", "y,x\n");
    assert!(again("3,4").starts_with("! the columns of this row are not known"));
}

#[test]
fn every_line_is_an_item_but_for_blank_ones() {
    let folder = Folder::new();
    folder.write("in.log", b"\xef\xbb\xbf a \"b\"\t\r\n\n  \nx\xff\nlast");
    let mut source = Lines::new(folder.at("in.log")).named("in.log").with_field("text");
    let found: Vec<String> = items(&mut source, 10).into_iter().map(|(_, item)| item).collect();
    let expected = [r#"{"text":" a \"b\"\t"}"#, "! line 4: not valid UTF-8 at byte 2", r#"{"text":"last"}"#];
    assert_eq!(found, expected);
    let again = source.decoder().decode_original(&"\u{feff}a\n".into()).unwrap();
    assert_eq!(again.as_text(), r#"{"text":"a"}"#);
}

/// Rows of a few letters, among them all that has a meaning, so that every neighbourhood comes up.
fn csv_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just("a"), 1 => Just("bc"), 3 => Just(","), 3 => Just("\""), 1 => Just("\"\""), 3 => Just("\n"),
        1 => Just("\r\n"), 1 => Just("é"), 1 => Just("\\"),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn rows_are_those_of_the_crate_csv(text in csv_text()) {
        // Without a header each row has columns of its own number, so both read the same rows as lists.
        let mut theirs = csv::ReaderBuilder::new();
        theirs.has_headers(false).flexible(true);
        let theirs: Vec<Vec<String>> = theirs
            .from_reader(text.as_bytes())
            .records()
            .map(|row| row.unwrap().iter().map(str::to_owned).collect())
            .collect();
        let folder = Folder::new();
        folder.write("in.csv", &text);
        let wide = (0..100).map(|n| n.to_string());
        let format = CsvFormat::new().with_header(CsvHeader::Absent).with_columns(wide);
        let mut source = Csv::new(folder.at("in.csv")).named("in.csv").with_format(format);
        source.partitions().unwrap();
        source.open(0, PartitionId(0), None).unwrap();
        let mut ours = Vec::new();
        let mut unclosed = false;
        while let Some(chunk) = source.next(7).unwrap() {
            for item in source.decoder().decode(&chunk) {
                match item.record {
                    Err(DecodeError::Fields { found, .. }) => {
                        // As many columns as the row has fields make it a record.
                        let names = (0..found).map(|n| n.to_string());
                        let format = CsvFormat::new().with_header(CsvHeader::Absent).with_columns(names);
                        let row = [&item.original[..], b"\n"].concat();
                        let record: serde_json::Value = serde_json::from_str(&csv_of(row, format)[0]).unwrap();
                        let fields = (0..found).map(|n| record[n.to_string()].as_str().unwrap().to_owned());
                        ours.push(fields.collect::<Vec<_>>());
                    }
                    Err(DecodeError::Unclosed { .. }) => unclosed = true,
                    other => panic!("{other:?}"),
                }
            }
        }
        if unclosed {
            // The crate takes what is left as a field; we say that the quote is not closed.
            prop_assert_eq!(&ours[..], &theirs[..theirs.len() - 1]);
        } else {
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn rows_are_the_same_whatever_the_chunks_and_from_every_position(
        text in csv_text(),
        limit in 1_usize..40,
        most in 1_usize..5,
    ) {
        let folder = Folder::new();
        folder.write("in.csv", &text);
        let format = CsvFormat::new().with_header(CsvHeader::Absent).with_columns(["a", "b"]);
        let source = || {
            let source = Csv::new(folder.at("in.csv")).named("in.csv").with_format(format.clone());
            source.with_line_bytes_max(limit)
        };
        let whole = items(&mut source(), 1000);
        let mut pieces = source();
        prop_assert_eq!(&items(&mut pieces, most), &whole);
        let decoder = pieces.decoder();
        pieces.open(0, PartitionId(0), None).unwrap();
        while let Some(chunk) = pieces.next(most).unwrap() {
            let mut again = source();
            let starts = decoder.decode(&chunk).into_iter().map(|item| Some(item.offset)).chain([None]);
            for start in starts.collect::<Vec<_>>() {
                let position = decoder.position(&chunk, start);
                again.partitions().unwrap();
                again.open(0, PartitionId(0), Some(&position)).unwrap();
                let rest_decoder = again.decoder();
                let mut rest = Vec::new();
                while let Some(chunk) = again.next(3).unwrap() {
                    rest.extend(rest_decoder.decode(&chunk).into_iter().map(|item| (item.offset, shown(item.record))));
                }
                let expected: Vec<_> =
                    whole.iter().filter(|(offset, _)| *offset >= start.unwrap_or(chunk.end)).cloned().collect();
                prop_assert_eq!(rest, expected, "from {:?} of {:?}", start, text);
            }
        }
    }
}

/// Gives its bytes in pieces of these sizes, and then one by one.
struct Dribble {
    bytes: std::collections::VecDeque<u8>,
    sizes: std::vec::IntoIter<usize>,
}

impl std::io::Read for Dribble {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = self.sizes.next().unwrap_or(1).min(self.bytes.len());
        let piece: Vec<u8> = self.bytes.drain(..most).collect();
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

proptest! {
    #[test]
    fn items_are_the_same_in_whatever_pieces_their_bytes_come(
        text in csv_text(),
        mark in any::<bool>(),
        sizes in proptest::collection::vec(1_usize..20, 0..20),
        limit in 1_usize..40,
        most in 1_usize..5,
    ) {
        let text = format!("{}{text}", if mark { "\u{feff}" } else { "" });
        let folder = Folder::new();
        folder.write("in", &text);
        let pieces = |format| {
            let (bytes, sizes) = (text.bytes().collect(), sizes.clone().into_iter());
            let mut source = Stdin::of(format, Box::new(Dribble { bytes, sizes })).with_line_bytes_max(limit);
            items(&mut source, most)
        };
        let format = CsvFormat::new().with_header(CsvHeader::Absent).with_columns(["a", "b"]);
        let mut rows =
            Csv::new(folder.at("in")).named("in").with_format(format.clone()).with_line_bytes_max(limit);
        prop_assert_eq!(pieces(StdinFormat::Csv(format)), items(&mut rows, 1000));
        // A file keeps the mark in its first line, so that may be too long with it; a pipe drops it at once.
        if !mark {
            let mut lines = Lines::new(folder.at("in")).named("in").with_line_bytes_max(limit);
            let format = StdinFormat::Lines { field: "line".to_owned() };
            prop_assert_eq!(pieces(format), items(&mut lines, 1000));
        }
    }
}

#[test]
fn a_row_over_many_blocks_is_one_row_for_plain_and_for_compressed_files() {
    use std::io::Write;
    let folder = Folder::new();
    let long = "x\"\",\n".repeat(200_000);
    let content = format!("a,b\n1,\"{long}\"\n2,3\n");
    folder.write("in.csv", &content);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(content.as_bytes()).unwrap();
    folder.write("in.csv.gz", gzip.finish().unwrap());
    for name in ["in.csv", "in.csv.gz"] {
        let mut source = Csv::new(folder.at(name)).named(name).with_line_bytes_max(2_000_000);
        let found = items(&mut source, 1000);
        assert_eq!(found.len(), 2, "{name}");
        let value: serde_json::Value = serde_json::from_str(&found[0].1).unwrap();
        assert_eq!(value["b"].as_str().unwrap(), long.replace("\"\"", "\""), "{name}");
        assert_eq!(found[1].1, r#"{"a":"2","b":"3"}"#, "{name}");
    }
}

#[test]
fn json_lines_are_the_same_whatever_the_chunks() {
    let folder = Folder::new();
    let content: String = (0..5000).map(|n| format!("{{\"n\":\"{}\"}}\n\n", "x".repeat(n % 200))).collect();
    folder.write("in.jsonl", &content);
    let source = || Jsonl::new(folder.at("in.jsonl")).named("in.jsonl").with_line_bytes_max(150);
    let whole = items(&mut source(), 100_000);
    assert_eq!(whole.len(), 5000);
    assert_eq!(items(&mut source(), 1), whole);
    assert_eq!(items(&mut source(), 17), whole);
    let mut oversize = source();
    oversize.partitions().unwrap();
    oversize.open(0, PartitionId(0), None).unwrap();
    let mut seen = 0;
    while let Some(chunk) = oversize.next(1000).unwrap() {
        seen += usize::from(matches!(chunk.content, ChunkContent::Oversize { .. }));
    }
    assert_eq!(seen, whole.iter().filter(|(_, item)| item.starts_with("! line")).count());
}
