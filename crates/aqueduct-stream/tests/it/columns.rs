//! The csv sink: rows, headers, and columns over several runs.

use aqueduct_stream::{
    Csv, CsvFormat, CsvSink, Ended, Guarantee, Jsonl, OnError, Options, Pipeline, Report, RunFailure,
};
use proptest::prelude::*;

use crate::support::{Folder, words};

async fn run(folder: &Folder, sink: CsvSink, options: Options) -> Result<Report, RunFailure> {
    Pipeline::named("test")
        .source(Jsonl::new(folder.at("in.jsonl")).named("in.jsonl"))
        .sink("out", sink)
        .options(Options { data_dir: Some(folder.at("data")), ..options })
        .run()
        .await
}

fn sink(folder: &Folder) -> CsvSink {
    CsvSink::new(folder.at("out.csv"))
}

/// What `input` becomes in one file.
async fn written(input: &str) -> String {
    let folder = Folder::new();
    folder.write("in.jsonl", input);
    run(&folder, sink(&folder), Options::default()).await.unwrap();
    folder.read("out.csv")
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_written_as_they_are_and_quoted_where_they_must_be() {
    let input =
        r#"{"id":"007","a b":"x, \"y\"\nz","n":1.50,"t":true,"e":null,"l":[1, {"k":"v"}],"f":"=1+1","é":""}"#;
    let expected =
        "id,a b,n,t,e,l,f,é\n007,\"x, \"\"y\"\"\nz\",1.50,true,,\"[1, {\"\"k\"\":\"\"v\"\"}]\",=1+1,\n";
    assert_eq!(written(input).await, expected);
    assert_eq!(written("{\"a\":\"\"}\n{\"a\":null}\n{\"a\":\"x\"}\n").await, "a\n\"\"\n\"\"\nx\n");
    assert_eq!(written("{\"a\\\"b\":1}\n").await, "\"a\"\"b\"\n1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_those_of_the_first_epoch_and_stay_over_runs() {
    let folder = Folder::new();
    let first = "{\"b\":1}\n{\"a\":2,\"b\":3}\n";
    folder.write("in.jsonl", first);
    run(&folder, sink(&folder), Options::default()).await.unwrap();
    assert_eq!(folder.read("out.csv"), "b,a\n1,\n3,2\n");
    folder.write("in.jsonl", format!("{first}{{\"a\":4}}\n"));
    run(&folder, sink(&folder), Options::default()).await.unwrap();
    assert_eq!(folder.read("out.csv"), "b,a\n1,\n3,2\n,4\n");
    folder.write("in.jsonl", format!("{first}{{\"a\":4}}\n{{\"c\":5}}\n"));
    let text = words(&run(&folder, sink(&folder), Options::default()).await.unwrap_err());
    assert!(text.contains("sink out failed on item a0a0b30"), "{text}");
    assert!(
        text.contains("field c has no column (there are b, a); declare the columns, or keep only those"),
        "{text}"
    );
    let other = sink(&folder).with_columns(["a", "b"]);
    let text = words(&run(&folder, other, Options::default()).await.unwrap_err());
    assert!(text.contains("out.csv has the columns b, a, but the sink declares a, b"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_columns_are_the_columns_whatever_comes_first() {
    let folder = Folder::new();
    folder.write("in.jsonl", "{\"b\":1}\n{\"c\":9}\n{\"a\":2}\n");
    let sink = sink(&folder).with_columns(["a", "b"]).with_delimiter(';');
    let pipeline = Pipeline::named("test")
        .source(Jsonl::new(folder.at("in.jsonl")).named("in.jsonl"))
        .sink("out", sink)
        .on_error(OnError::DeadLetter)
        .data_dir(folder.at("data"));
    let report = pipeline.run().await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (2, 1));
    assert_eq!(folder.read("out.csv"), "a;b\n;1\n2;\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_of_a_folder_has_a_header_and_a_tail_is_cut_off() {
    let folder = Folder::new();
    folder.write_numbers(100);
    let parts = || CsvSink::new(folder.at("out")).with_part_bytes(50);
    let options = || Options { batch_items: 10, epoch_batches: 1, workers: 1, ..Options::default() };
    run(&folder, parts(), Options { limit: Some(60), ..options() }).await.unwrap();
    let last = |names: &[String]| names.last().unwrap().clone();
    let names = || {
        let mut names: Vec<String> = std::fs::read_dir(folder.at("out"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "manifest.json")
            .collect();
        names.sort();
        names
    };
    // What a killed run leaves behind: half a row that nobody committed.
    let torn = format!("out/{}", last(&names()));
    folder.write(&torn, format!("{}\"half a", folder.read(&torn)));
    run(&folder, parts(), options()).await.unwrap();
    let mut rows = Vec::new();
    for name in names() {
        let text = folder.read(&format!("out/{name}"));
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("n"), "{name}");
        rows.extend(lines.map(|line| line.parse::<u64>().unwrap()));
    }
    assert_eq!(rows, (0..100).collect::<Vec<_>>());
    assert!(names().len() > 3);
    assert_eq!(run(&folder, parts(), options()).await.unwrap().ended, Ended::NothingToDo);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_least_once_keeps_whole_rows_of_a_tail_and_no_half() {
    let folder = Folder::new();
    folder.write("in.jsonl", "{\"a\":\"x\"}\n");
    let weak = || Options { guarantee: Some(Guarantee::AtLeastOnce), ..Options::default() };
    run(&folder, sink(&folder), weak()).await.unwrap();
    folder.write("out.csv", "a\nx\n\"two\nlines\"\n\"half\nof");
    folder.write("in.jsonl", "{\"a\":\"x\"}\n{\"a\":\"y\"}\n");
    run(&folder, sink(&folder), weak()).await.unwrap();
    assert_eq!(folder.read("out.csv"), "a\nx\n\"two\nlines\"\ny\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_before_anything_is_read() {
    let folder = Folder::new();
    folder.write_numbers(1);
    for (sink, message) in [
        (sink(&folder).with_delimiter('x'), "delimiter is 'x'; it must be one ASCII character"),
        (sink(&folder).with_columns(["a", "a"]), "columns is a list in which \"a\" is there twice"),
        (sink(&folder).with_columns([""]), "columns is a list in which column 1 has no name"),
    ] {
        let text = words(&run(&folder, sink, Options::default()).await.unwrap_err());
        assert!(text.contains(message), "{text}");
    }
    assert!(!folder.at("out.csv").exists());
    folder.write("out.csv", "mine\n");
    let text = words(&run(&folder, sink(&folder), Options::default()).await.unwrap_err());
    assert!(text.contains("out.csv is there already and this pipeline did not write it"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_the_sink_writes_the_source_and_the_crate_csv_read_as_it_was(
        rows in proptest::collection::vec(
            proptest::collection::vec("[a\",;\n\r\u{e9}\\\\ ]{0,4}", 2..=2), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = Folder::new();
        let lines: String = rows
            .iter()
            .map(|row| format!("{}\n", serde_json::json!({ "k,1": row[0], "k\"2": row[1] })))
            .collect();
        folder.write("in.jsonl", &lines);
        runtime.block_on(run(&folder, sink(&folder).with_columns(["k,1", "k\"2"]), Options::default())).unwrap();
        let theirs: Vec<Vec<String>> = csv::Reader::from_path(folder.at("out.csv"))
            .unwrap()
            .records()
            .map(|row| row.unwrap().iter().map(str::to_owned).collect())
            .collect();
        prop_assert_eq!(&theirs, &rows);
        let again = Pipeline::named("again")
            .source(Csv::new(folder.at("out.csv")).with_format(CsvFormat::new()))
            .sink("out", folder.file_sink())
            .data_dir(folder.at("data2"))
            .run();
        runtime.block_on(again).unwrap();
        let ours: Vec<Vec<String>> = folder
            .read("out.jsonl")
            .lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                ["k,1", "k\"2"].map(|key| value[key].as_str().unwrap().to_owned()).to_vec()
            })
            .collect();
        prop_assert_eq!(&ours, &rows);
    }
}
