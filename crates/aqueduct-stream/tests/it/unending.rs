//! Sources that wait: the standard input and the generator.

use std::io::Write;
use std::time::Duration;

use aqueduct_core::{Clock, PartitionId, Position, Shutdown, ShutdownSignal, Timestamp};
use aqueduct_stream::{
    ConfigError, CsvFormat, Ended, Generator, GeneratorField, Guarantee, JsonlSink, Options, Pipeline,
    RunError, Source, SourceContext, Stdin, StdinFormat,
};
use tokio::runtime::Handle;

use crate::support::{Folder, words};

fn context(clock: Clock, shutdown: ShutdownSignal) -> SourceContext {
    SourceContext { clock, shutdown, runtime: Handle::current() }
}

/// The next chunk's items as JSON, asked for from a thread of its own, as the engine does.
async fn next<S: Source + 'static>(mut source: S) -> (S, Option<Vec<String>>) {
    let next = move || {
        let chunk = source.next(1000).unwrap();
        let items = chunk.map(|chunk| {
            let decoded = source.decoder().decode(&chunk);
            assert_eq!(decoded.len(), chunk.items);
            decoded.into_iter().map(|item| item.record.unwrap().as_text().to_owned()).collect()
        });
        (source, items)
    };
    tokio::task::spawn_blocking(next).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_handed_out_while_the_input_stays_open() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut source = Stdin::of(StdinFormat::Jsonl, Box::new(reader));
    let (shutdown, signal) = Shutdown::new();
    source.start(&context(Clock::system(), signal));
    source.open(0, PartitionId(0), None).unwrap();
    writer.write_all(b"{\"n\":0}\n{\"n\"").unwrap();
    let (source, items) = next(source).await;
    assert_eq!(items.unwrap(), ["{\"n\":0}"]);
    writer.write_all(b":1}\n").unwrap();
    let (source, items) = next(source).await;
    assert_eq!(items.unwrap(), ["{\"n\":1}"]);
    let waiting = tokio::spawn(next(source));
    shutdown.drain();
    let (_, items) = waiting.await.unwrap();
    assert_eq!(items, None, "a wait ends when the run drains");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_run_ends_while_the_input_stays_open() {
    let folder = Folder::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (shutdown, signal) = Shutdown::new();
    let pipeline = Pipeline::named("test")
        .source(Stdin::of(StdinFormat::Lines { field: "line".to_owned() }, Box::new(reader)))
        .sink("out", JsonlSink::new(folder.at("out.jsonl")))
        .options(Options { shutdown: signal, ..Options::default() })
        .data_dir(folder.at("data"));
    writer.write_all(b"a\nb\nhalf").unwrap();
    let drain = async {
        while std::fs::read_to_string(folder.at("out.jsonl")).unwrap_or_default().lines().count() < 2 {
            tokio::task::yield_now().await;
        }
        shutdown.drain();
    };
    let (report, ()) = tokio::join!(pipeline.run(), drain);
    let report = report.unwrap();
    assert_eq!((report.ended, report.counts.delivered), (Ended::Drained, 2));
    assert_eq!(report.guarantee, Guarantee::AtMostOnce);
    drop(writer);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_go_on_over_runs_and_each_run_has_a_header_and_lines_of_its_own() {
    let folder = Folder::new();
    let run = |text: &'static str| {
        Pipeline::named("test")
            .source(Stdin::of(StdinFormat::Csv(CsvFormat::new()), Box::new(text.as_bytes())))
            .sink("out", folder.table_sink())
            .data_dir(folder.at("data"))
            .run()
    };
    assert_eq!(run("\u{feff}a,b\n1,2\n").await.unwrap().counts.delivered, 1);
    assert_eq!(run("b,a\n4,3\n6,5").await.unwrap().counts.delivered, 2);
    assert_eq!(run("").await.unwrap().ended, Ended::NothingToDo);
    let report = run("a,b\n7,8\nbad\n").await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (1, 1));
    let rows = folder.query("out.db", "select item_id, a, b from items order by item_id").await;
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.into_iter().flatten().collect()).collect();
    let expected =
        [["a0a0a7", "1", "2"], ["a0a0b15", "3", "4"], ["a0a0b19", "5", "6"], ["a0a0b26", "7", "8"]];
    assert_eq!(rows, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_cannot_give_exactly_once_and_cannot_be_read_again() {
    let folder = Folder::new();
    let source = || Stdin::of(StdinFormat::Jsonl, Box::new(&b""[..]));
    let failure = Pipeline::named("test")
        .source(source())
        .sink("out", folder.file_sink())
        .options(Options { guarantee: Some(Guarantee::ExactlyOnce), ..Options::default() })
        .data_dir(folder.at("data"))
        .run()
        .await
        .unwrap_err();
    assert!(matches!(failure.error, RunError::Config(ConfigError::Guarantee { .. })), "{failure}");
    let text = words(&failure);
    assert!(text.contains("the standard input cannot be read twice"), "{text}");
    assert!(source().reread("stdin", 0, 1).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_read_is_an_error_behind_what_was_read() {
    struct Fails(u8);
    impl std::io::Read for Fails {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 += 1;
            if self.0 > 1 {
                return Err(std::io::Error::other("unplugged"));
            }
            buffer[..3].copy_from_slice(b"{}\n");
            Ok(3)
        }
    }
    let folder = Folder::new();
    let failure = Pipeline::named("test")
        .source(Stdin::of(StdinFormat::Jsonl, Box::new(Fails(0))))
        .sink("out", folder.file_sink())
        .data_dir(folder.at("data"))
        .run()
        .await
        .unwrap_err();
    assert!(words(&failure).contains("the input stdin cannot be read: unplugged"));
    assert_eq!(folder.read("out.jsonl"), "{}\n");
}

fn fields(all: &[(&str, &str)]) -> Vec<(String, GeneratorField)> {
    all.iter().map(|(name, field)| ((*name).to_owned(), field.parse().unwrap())).collect()
}

fn generator(seed: u64) -> Generator {
    let fields = fields(&[
        ("id", "sequence 100"),
        ("passed", "integer -3 3"),
        ("score", "float 0 1"),
        ("project", "choice a b c"),
        ("text", "words 1 3"),
        ("flag", "boolean"),
        ("commit", "hex 16"),
        ("any", "integer -9223372036854775808 9223372036854775807"),
    ]);
    Generator::new(fields).unwrap().with_seed(seed)
}

/// The first `count` items, taken `most` at a time.
fn made(seed: u64, count: u64, most: usize) -> Vec<String> {
    let mut source = generator(seed).with_count(count);
    source.partitions().unwrap();
    source.open(0, PartitionId(0), None).unwrap();
    let decoder = source.decoder();
    let mut items = Vec::new();
    while let Some(chunk) = source.next(most).unwrap() {
        items
            .extend(decoder.decode(&chunk).into_iter().map(|item| item.record.unwrap().as_text().to_owned()));
    }
    items
}

#[test]
fn an_item_depends_on_the_seed_and_its_number_alone() {
    let items = made(1, 1000, 1000);
    assert_eq!(items.len(), 1000);
    assert_eq!(made(1, 500, 7), items[..500]);
    assert_ne!(made(2, 1000, 1000), items);
    let mut source = generator(1);
    let decoder = source.decoder();
    source.open(0, PartitionId(0), Some(&Position::new(r#"{"format":1,"next":400}"#))).unwrap();
    let chunk = source.next(10).unwrap().unwrap();
    let decoded = decoder.decode(&chunk);
    assert_eq!(decoded[3].offset, 403);
    assert_eq!(decoded[3].record.as_ref().unwrap().as_text(), items[403]);
    assert_eq!(source.reread("generator", 403, 0).unwrap(), items[403]);
    assert_eq!(decoder.decode_original(&decoded[3].original).unwrap().as_text(), items[403]);
    assert_eq!(decoder.position(&chunk, Some(403)).as_str(), r#"{"format":1,"next":403}"#);
}

#[test]
fn every_field_stays_in_its_range_and_reaches_its_ends() {
    let items: Vec<serde_json::Value> =
        made(7, 1000, 100).iter().map(|item| serde_json::from_str(item).unwrap()).collect();
    assert_eq!((&items[0]["id"], &items[999]["id"]), (&100.into(), &1099.into()));
    let passed: Vec<i64> = items.iter().map(|item| item["passed"].as_i64().unwrap()).collect();
    assert_eq!((passed.iter().min(), passed.iter().max()), (Some(&-3), Some(&3)));
    let truths = items.iter().filter(|item| item["flag"] == true).count();
    assert!((400..600).contains(&truths), "{truths}");
    for item in &items {
        assert!((0.0..1.0).contains(&item["score"].as_f64().unwrap()));
        assert!(["a", "b", "c"].contains(&item["project"].as_str().unwrap()));
        assert!((1..=3).contains(&item["text"].as_str().unwrap().split(' ').count()));
        assert_eq!(item["commit"].as_str().unwrap().len(), 16);
    }
}

#[test]
fn a_chunk_takes_as_much_of_the_window_as_its_items_will() {
    let long = fields(&[("text", "words 9000 10000"), ("commit", "hex 10000")]);
    let mut source = Generator::new(long).unwrap();
    source.open(0, PartitionId(0), None).unwrap();
    let chunk = source.next(10).unwrap().unwrap();
    let made: usize =
        source.decoder().decode(&chunk).into_iter().map(|item| item.record.unwrap().as_bytes().len()).sum();
    assert!((made..2 * made).contains(&chunk.weight), "{} for {made}", chunk.weight);
}

#[test]
fn a_field_that_cannot_be_says_what_would_be_right() {
    for (text, expected) in [
        ("sequence x", "sequence and an integer"),
        ("integer 3 1", "integer and two integers, the smaller one first"),
        ("float 0", "one of sequence [FIRST], integer LEAST MOST"),
        ("float 1 NaN", "float and two numbers, the smaller one first"),
        ("boolean 2", "boolean and a number from 0 to 1"),
        ("choice", "one of sequence"),
        ("words 5 1000000", "words and two integers from 0 to 10000, the smaller one first"),
        ("hex -1", "hex and an integer from 0 to 10000"),
        ("", "one of sequence"),
    ] {
        let error = text.parse::<GeneratorField>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("field is {text:?}; it must be {expected}")), "{error}");
    }
    let twice = Generator::new(fields(&[("a", "sequence"), ("a", "sequence")])).unwrap_err();
    assert!(twice.to_string().contains("the name \"a\""), "{twice}");
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Generator::new(fields(&[])).unwrap().with_rate(rate).is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_follows_the_runs_clock_and_a_wait_ends_with_the_run() {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let (shutdown, signal) = Shutdown::new();
    let mut source = Generator::new(fields(&[("n", "sequence")])).unwrap().with_rate(10.0).unwrap();
    source.start(&context(clock, signal));
    source.open(0, PartitionId(0), None).unwrap();
    let (mut source, first) = next(source).await;
    assert_eq!(first.unwrap(), ["{\"n\":0}"], "the first is due at once");
    for n in 1..4 {
        let waiting = tokio::spawn(next(source));
        while hand.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hand.advance_to_next(), Some(Duration::from_millis(100)));
        let (back, items) = waiting.await.unwrap();
        source = back;
        assert_eq!(items.unwrap(), [format!("{{\"n\":{n}}}")]);
    }
    hand.advance(Duration::from_secs(3600));
    let (source, items) = next(source).await;
    assert_eq!(items.unwrap().len(), 11, "one second of an hour is caught up");
    let waiting = tokio::spawn(next(source));
    while hand.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    shutdown.drain();
    assert_eq!(waiting.await.unwrap().1, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generator_goes_on_where_the_last_run_ended() {
    let folder = Folder::new();
    let run = |count, limit| {
        Pipeline::named("test")
            .source(Generator::new(fields(&[("n", "sequence")])).unwrap().with_count(count))
            .sink("out", folder.file_sink())
            .options(Options { limit, ..Options::default() })
            .data_dir(folder.at("data"))
            .run()
    };
    assert_eq!(run(5000, Some(1234)).await.unwrap().ended, Ended::Limited);
    let report = run(5000, None).await.unwrap();
    assert_eq!((report.ended, report.guarantee), (Ended::Done, Guarantee::ExactlyOnce));
    assert_eq!(run(5000, None).await.unwrap().ended, Ended::NothingToDo);
    assert_eq!(run(5001, None).await.unwrap().counts.delivered, 1);
    let expected: String = (0..5001).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    assert_eq!(folder.read("out.jsonl"), expected);
}
