//! Every source and sink of a pipeline file, through the binary.

use std::io::Write;
use std::process::Stdio;

use crate::support::{Call, Folder, TO_TABLE, numbers};

/// From a source with these lines to one JSON lines file.
fn from(source: &str) -> Folder {
    let pipeline =
        format!("name = \"t\"\n[source]\n{source}\n[sink]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n");
    Folder::new(&pipeline, "")
}

/// Runs with `input` on the standard input.
fn piped(folder: &Folder, input: &[u8]) -> Call {
    let mut command = folder.command(&["run", "pipeline.toml"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    Call::of(child.wait_with_output().unwrap())
}

#[test]
fn a_csv_file_with_types_and_a_bad_row() {
    let folder =
        from("type = \"csv\"\npath = \"in.csv\"\ntypes = { passed = \"integer\", ok = \"boolean\" }");
    folder.write("in.csv", "id,passed,ok\n007,3,true\n008,x,false\n009,,\n");
    assert_eq!(folder.run(&[]).code, 3);
    let expected =
        "{\"id\":\"007\",\"passed\":3,\"ok\":true}\n{\"id\":\"009\",\"passed\":null,\"ok\":null}\n";
    assert_eq!(folder.read("out.jsonl"), expected);
    assert_eq!(folder.reasons(), ["line 3, column passed: \"x\" is not an integer of 64 bits"]);
}

/// From `in.csv` with this content; gives the exit code, what came out, and the reasons.
fn csv(content: impl AsRef<[u8]>) -> (i32, String, Vec<String>) {
    let folder = from("type = \"csv\"\npath = \"in.csv\"");
    folder.write("in.csv", content);
    (folder.run(&[]).code, folder.read("out.jsonl"), folder.reasons())
}

#[test]
fn ragged_rows_are_set_aside_and_name_the_column() {
    let (code, out, reasons) = csv("a,b\n1\n1,2\n1,2,3\n");
    assert_eq!((code, out.as_str()), (3, "{\"a\":\"1\",\"b\":\"2\"}\n"));
    let expected = [
        "line 2: 1 field, but there are 2 columns; b is the first that has none",
        "line 4: 3 fields, but there are 2 columns; b is the last of them; a delimiter inside of a field needs quotes \
         around the field",
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn a_quote_that_is_never_closed_takes_what_follows_and_loses_none_of_it() {
    let folder = from("type = \"csv\"\npath = \"in.csv\"");
    folder.write("in.csv", "a,b\n1,2\n3,\"x\n5,6\n");
    assert_eq!(folder.run(&[]).code, 3);
    assert_eq!(folder.read("out.jsonl"), "{\"a\":\"1\",\"b\":\"2\"}\n");
    let reason = "line 3, column b: a quote is opened and never closed; a quote inside of quotes is doubled";
    assert_eq!(folder.reasons(), [reason]);
    let letter = folder.call(&["dlq", "export"]).json();
    assert_eq!(letter["original"]["text"], "3,\"x\n5,6");
    // The limit of a row is the limit of what a quote can take.
    let (code, out, reasons) = csv(format!("a,b\n1,\"{}\n2,3\n", "x".repeat(2 << 20)));
    assert_eq!((code, out.as_str()), (3, "{\"a\":\"2\",\"b\":\"3\"}\n"));
    assert!(reasons[0].starts_with("line 2 has 2097156 bytes; the limit is 1048576"), "{reasons:?}");
}

#[test]
fn ten_thousand_columns_are_read_and_are_too_many_for_a_table() {
    let row = |cell: fn(usize) -> String| (0..10_000).map(cell).collect::<Vec<_>>().join(",");
    let content = format!("{}\n{}\n1,2\n", row(|n| format!("c{n}")), row(|n| n.to_string()));
    let (code, out, reasons) = csv(&content);
    assert_eq!((code, out.lines().count()), (3, 1));
    assert!(out.starts_with("{\"c0\":\"0\",") && out.ends_with(",\"c9999\":\"9999\"}\n"));
    assert_eq!(reasons, ["line 3: 2 fields, but there are 10000 columns; c2 is the first that has none"]);
    let table = TO_TABLE.replace("\"jsonl\"", "\"csv\"").replace("in.jsonl", "in.csv");
    let folder = Folder::new(&table, "");
    folder.write("in.csv", content);
    folder.run(&[]).fails(1, &["table items would have more than 2000 columns", "map stage"]);
}

#[test]
fn a_delimiter_in_the_header_is_part_of_a_name_when_it_is_quoted() {
    let (code, out, _) = csv("\"a,b\",c\n1,2\n");
    assert_eq!((code, out.as_str()), (0, "{\"a,b\":\"1\",\"c\":\"2\"}\n"));
    // Without quotes it makes a column, and each row lacks a field for it.
    let (code, out, reasons) = csv("a,b,c\n1,2\n");
    assert_eq!((code, out.as_str()), (3, ""));
    assert_eq!(reasons, ["line 2: 2 fields, but there are 3 columns; c is the first that has none"]);
}

#[test]
fn a_header_that_is_wrong() {
    let folder = from("type = \"csv\"\npath = \"in.csv\"");
    folder.write("in.csv", "id,id\n1,2\n");
    folder.run(&[]).fails(1, &["the header of in.csv (line 1): \"id\" is there twice"]);
}

#[test]
fn a_pattern_names_the_file_of_a_bad_line_and_no_match_is_an_error() {
    let folder = from("type = \"lines\"\npath = \"logs/**/*.log\"\nfield = \"text\"");
    folder.run(&[]).fails(78, &["the input logs/**/*.log matches no file"]);
    std::fs::create_dir_all(folder.at("logs/b")).unwrap();
    folder.write("logs/a.log", "one\n\ntwo\n");
    folder.write("logs/b/b.log", b"three\n\xff\n");
    assert_eq!(folder.run(&[]).code, 3);
    assert_eq!(folder.read("out.jsonl"), "{\"text\":\"one\"}\n{\"text\":\"two\"}\n{\"text\":\"three\"}\n");
    assert_eq!(folder.reasons(), ["in logs/b/b.log: line 2: not valid UTF-8 at byte 1"]);
}

#[test]
fn a_compressed_file_and_half_of_it() {
    let folder = from("type = \"jsonl\"\npath = \"in.jsonl.gz\"");
    folder.write("in.jsonl.gz", "no gzip at all");
    folder.run(&[]).fails(1, &["in.jsonl.gz is damaged at byte 0 of its content (gzip)"]);
    folder.write("in.jsonl.gz", "");
    folder.run(&[]).fails(1, &["in.jsonl.gz is cut off at byte 0 of its content (gzip)"]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(numbers(1000).as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    folder.write("in.jsonl.gz", &gzip[..gzip.len() - 1]);
    // All content came out before the end was found missing.
    folder.run(&[]).fails(1, &["in.jsonl.gz is cut off at byte 9890 of its content (gzip)"]);
    assert_eq!(folder.read("out.jsonl"), numbers(1000));
    folder.write("in.jsonl.gz", gzip);
    assert_eq!(folder.run(&[]).code, 4);
}

#[test]
fn a_file_made_to_fill_disks_is_an_error_and_not_a_full_memory() {
    let folder = from("type = \"jsonl\"\npath = \"in.jsonl.gz\"");
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..80 {
        bomb.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    folder.write("in.jsonl.gz", bomb.finish().unwrap());
    folder.run(&[]).fails(
        1,
        &["the limit is 200 (source key expanded_ratio_max), which a file made to fill disks passes; raise it"],
    );
    // It is one line of white space.
    assert_eq!(folder.run(&["--set", "source.expanded_ratio_max=1000000"]).code, 3);
    folder
        .run(&["--set", "source.expanded_bytes_max=1000"])
        .fails(1, &["the limit is 1000 (source key expanded_bytes_max)"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_or_a_device_is_no_file() {
    let folder = from("type = \"lines\"\npath = \"/dev/zero\"");
    folder.run(&[]).fails(78, &["the input /dev/zero is a pipe or a device and no file"]);
    let pipe = from("type = \"jsonl\"\npath = \"pipe\"");
    assert!(pipe.program("mkfifo", &["pipe"]).status().unwrap().success());
    pipe.run(&[]).fails(78, &["pipe is a pipe or a device and no file", "type = \"stdin\""]);
    pipe.run(&["--dry-run"]).fails(78, &["pipe is a pipe or a device"]);
    let call = pipe.call(&["check", "--connect"]);
    assert!(call.out.contains("failed  source: the input pipe is a pipe or a device"), "{call:?}");
}

/// The reader of a pipe waits, and a dry run had no thread for that: it panicked.
#[test]
fn a_dry_run_of_the_standard_input() {
    for source in ["type = \"stdin\"", "type = \"stdin\"\nformat = \"csv\""] {
        let folder = from(source);
        let mut command = folder.command(&["run", "--dry-run", "--limit", "1"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(b"{\"n\":0}\n{\"n\":1}\n").unwrap();
        drop(pipe);
        let call = Call::of(child.wait_with_output().unwrap());
        assert_eq!(
            (call.code, call.err.as_str()),
            (0, "1 item looked at; nothing was written\n"),
            "{call:?}"
        );
        assert_eq!(folder.run(&["--dry-run"]).code, 4);
    }
}

#[test]
fn the_standard_input_in_every_format_goes_on_over_runs() {
    let folder = from("type = \"stdin\"");
    assert_eq!(piped(&folder, b"{\"n\":0}\n{\"n\":1}\n").code, 0);
    assert_eq!(piped(&folder, b"{\"n\":2}").code, 0);
    assert_eq!(folder.run(&[]).code, 4, "nothing on the standard input is nothing to do");
    assert_eq!(folder.read("out.jsonl"), "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n");
    let call = folder.call(&["explain"]);
    assert!(call.out.contains("at-most-once"), "{call:?}");
    assert!(call.out.contains("the standard input cannot be read twice"), "{call:?}");

    let folder = from("type = \"stdin\"\nformat = \"csv\"\ndelimiter = \";\"");
    assert_eq!(piped(&folder, b"a;b\n1;2\n").code, 0);
    assert_eq!(folder.read("out.jsonl"), "{\"a\":\"1\",\"b\":\"2\"}\n");

    let folder = from("type = \"stdin\"\nformat = \"lines\"");
    assert_eq!(piped(&folder, b"a b\n\nc").code, 0);
    assert_eq!(folder.read("out.jsonl"), "{\"line\":\"a b\"}\n{\"line\":\"c\"}\n");
}

#[test]
fn the_standard_input_cannot_give_exactly_once() {
    let folder = from("type = \"stdin\"");
    folder.write("pipeline.toml", format!("guarantee = \"exactly-once\"\n{}", folder.read("pipeline.toml")));
    piped(&folder, b"").fails(78, &["exactly-once is asked for, but the route gives at-most-once"]);
}

#[test]
fn made_up_items_are_the_same_in_one_run_and_in_several() {
    let source = "type = \"generator\"\ncount = 1000\nseed = 7\n\
                  fields = { id = \"sequence\", score = \"float 0 1\", text = \"words 1 4\" }";
    let whole = from(source);
    assert_eq!(whole.run(&[]).code, 0);
    let pieces = from(source);
    while pieces.run(&["--limit", "333"]).code == 75 {}
    assert!(whole.call(&["status"]).out.contains("generator: item 1000 comes next"));
    let output = whole.read("out.jsonl");
    assert_eq!(output.lines().count(), 1000);
    assert_eq!(pieces.read("out.jsonl"), output);
}

#[test]
fn rows_from_one_csv_file_to_another_over_runs() {
    let pipeline = "name = \"t\"\n[source]\ntype = \"csv\"\npath = \"in.csv\"\n[sink]\ntype = \"csv\"\npath = \"out.csv\"\ndelimiter = \"\\t\"\n";
    let folder = Folder::new(pipeline, "");
    folder.write("in.csv", "a,b\n1,\"x\ty\"\n");
    assert_eq!(folder.run(&[]).code, 0);
    folder.write("in.csv", "a,b\n1,\"x\ty\"\n2,\n");
    assert_eq!(folder.run(&[]).code, 0);
    assert_eq!(folder.read("out.csv"), "a\tb\n1\t\"x\ty\"\n2\t\n");
    assert!(folder.call(&["explain"]).out.contains("csv file"));
}

#[test]
fn a_pattern_that_would_read_what_the_pipeline_writes() {
    for (pattern, sink) in [("*.jsonl", "out.jsonl"), ("./**/*.jsonl", "out"), ("*", "out.jsonl")] {
        let pipeline = format!(
            "name = \"t\"\n[source]\ntype = \"jsonl\"\npath = \"{pattern}\"\n[sink]\ntype = \"jsonl\"\npath = \"{sink}\"\n"
        );
        let folder = Folder::new(&pipeline, numbers(3));
        folder.run(&[]).fails(78, &["would read what sink results writes to", sink]);
    }
    let pipeline = "name = \"t\"\n[source]\ntype = \"jsonl\"\npath = \"in*.jsonl\"\n[sink]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n";
    assert_eq!(Folder::new(pipeline, numbers(3)).run(&[]).code, 0);
}

#[cfg(unix)]
#[test]
fn a_run_on_an_open_pipe_ends_when_it_is_asked_to() {
    let folder = from("type = \"stdin\"\nformat = \"lines\"");
    let mut command = folder.command(&["run", "pipeline.toml"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(b"one\n").unwrap();
    while folder.read("out.jsonl").is_empty() {
        std::thread::yield_now();
    }
    let process = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &process]).status().unwrap().success());
    let call = Call::of(child.wait_with_output().unwrap());
    assert_eq!(call.code, 75, "{call:?}");
    assert_eq!(folder.read("out.jsonl"), "{\"line\":\"one\"}\n");
    drop(pipe);
}
