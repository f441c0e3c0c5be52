//! Sources of several files, and of compressed ones.

use std::io::Write;

use aqueduct_core::PartitionId;
use aqueduct_stream::{ChunkContent, Ended, Jsonl, Pipeline, Report, RunFailure, Source, SourceError};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{Folder, words};

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).unwrap()
}

fn numbers(range: std::ops::Range<u64>) -> String {
    range.map(|n| format!("{{\"n\":{n}}}\n")).collect()
}

fn source(folder: &Folder, name: &str) -> Jsonl {
    Jsonl::new(folder.at(name)).named(name)
}

async fn run(folder: &Folder, source: Jsonl) -> Result<Report, RunFailure> {
    let pipeline = Pipeline::named("test").source(source).data_dir(folder.at("data"));
    pipeline.sink("out", folder.file_sink()).run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_reads_every_file_it_matches_in_the_order_of_their_names() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.at("in/deep.jsonl")).unwrap();
    folder.write("in/b.jsonl", numbers(2..4));
    folder.write("in/a.jsonl", numbers(0..2));
    folder.write("in/.hidden.jsonl", numbers(90..91));
    folder.write("in/c.txt", "no JSON\n");
    folder.write("in/deep.jsonl/x.jsonl", numbers(91..92));
    let report = run(&folder, source(&folder, "in/*.jsonl")).await.unwrap();
    assert_eq!(report.counts.delivered, 4);
    assert_eq!(folder.read("out.jsonl"), numbers(0..4));
    assert_eq!(run(&folder, source(&folder, "in/*.jsonl")).await.unwrap().ended, Ended::NothingToDo);

    folder.write("in/aa.jsonl", numbers(4..6));
    assert_eq!(run(&folder, source(&folder, "in/*.jsonl")).await.unwrap().counts.delivered, 2);
    assert_eq!(
        folder.read("out.jsonl"),
        numbers(0..6),
        "a new file is read in the next run, and nothing again"
    );
}

#[test]
fn partitions_are_named_from_the_folder_of_the_pipeline_file_on() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.at("[odd] name/in/x")).unwrap();
    folder.write("[odd] name/in/a.jsonl", "");
    folder.write("[odd] name/in/x/b.jsonl", "");
    let mut source = Jsonl::new(folder.at("[odd] name").join("in/**/*.jsonl")).named("in/**/*.jsonl");
    assert_eq!(source.partitions().unwrap(), ["in/a.jsonl", "in/x/b.jsonl"]);
}

#[test]
fn a_file_whose_name_looks_like_a_pattern_is_that_file() {
    let folder = Folder::new();
    folder.write("a[1].jsonl", "");
    folder.write("a1.jsonl", "");
    assert_eq!(source(&folder, "a[1].jsonl").partitions().unwrap(), ["a[1].jsonl"]);
    std::fs::remove_file(folder.at("a[1].jsonl")).unwrap();
    assert_eq!(source(&folder, "a[1].jsonl").partitions().unwrap(), ["a1.jsonl"]);
}

#[test]
fn a_pattern_without_a_match_and_a_wrong_pattern_say_so() {
    let folder = Folder::new();
    let error = source(&folder, "*.jsonl").partitions().unwrap_err();
    assert!(error.to_string().starts_with("the input *.jsonl matches no file"), "{error}");
    let error = source(&folder, "a/***/b[").partitions().unwrap_err();
    assert!(error.to_string().starts_with("the input a/***/b[ is not a pattern: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_one_of_several_files_names_the_file() {
    let folder = Folder::new();
    folder.write("a.jsonl", "{}\n");
    folder.write("b.jsonl", "{}\n{\n");
    run(&folder, source(&folder, "?.jsonl")).await.unwrap();
    assert_eq!(folder.letters().await[0].0, "in b.jsonl: line 2: JSON cut off after 1 bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_knows_the_size_of_all_files_and_what_is_left_of_it() {
    let folder = Folder::new();
    folder.write("a.jsonl", numbers(0..10));
    folder.write("b.jsonl", numbers(10..30));
    let mut source = source(&folder, "?.jsonl");
    source.partitions().unwrap();
    let (a, b) = (numbers(0..10).len() as u64, numbers(10..30).len() as u64);
    assert_eq!(source.size_hint(), Some(a + b));
    source.open(0, PartitionId(0), None).unwrap();
    let chunk = source.next(4).unwrap().unwrap();
    let position = source.decoder().position(&chunk, None);
    source.open(0, PartitionId(0), Some(&position)).unwrap();
    assert_eq!(source.size_hint(), Some(a + b - chunk.end));
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_small_files_are_read_once_each() {
    let folder = Folder::new();
    std::fs::create_dir(folder.at("in")).unwrap();
    for n in 0..2000 {
        folder.write(&format!("in/{n:05}.jsonl"), numbers(n..n + 1));
    }
    let report = run(&folder, source(&folder, "in/*.jsonl")).await.unwrap();
    assert_eq!(report.counts.delivered, 2000);
    assert_eq!(folder.read("out.jsonl"), numbers(0..2000));
    // Each holds the positions of all files: one every ten files once made a run take the square of their number.
    let checkpoints = folder.query("data/ledger.db", "select count(*) || '' from aqueduct_checkpoint").await;
    assert!(matches!(checkpoints[0][0].as_deref(), Some("0" | "1")), "{checkpoints:?}");
    assert_eq!(run(&folder, source(&folder, "in/*.jsonl")).await.unwrap().ended, Ended::NothingToDo);
}

#[test]
fn a_small_file_in_flight_holds_no_whole_block() {
    let folder = Folder::new();
    folder.write("a.jsonl", "{}\n");
    let mut source = source(&folder, "a.jsonl");
    source.partitions().unwrap();
    source.open(0, PartitionId(0), None).unwrap();
    let chunk = source.next(10).unwrap().unwrap();
    let ChunkContent::Bytes { bytes, .. } = chunk.content else { panic!("{chunk:?}") };
    assert!(Vec::from(bytes).capacity() < 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_and_zstd_give_what_the_plain_file_gives_and_go_on_from_any_position() {
    let content = numbers(0..5000);
    let (first, second) = content.as_bytes().split_at(12_345);
    // Several members or frames behind one another are one file.
    let files = [
        ("a.jsonl", content.as_bytes().to_vec()),
        ("a.jsonl.gz", [gzip(first), gzip(second)].concat()),
        ("a.jsonl.zst", [zstd(first), zstd(second)].concat()),
    ];
    for (name, bytes) in files {
        let folder = Folder::new();
        folder.write(name, bytes);
        let mut source = source(&folder, name);
        source.partitions().unwrap();
        let decoder = source.decoder();
        let (mut position, mut items) = (None, 0);
        loop {
            source.open(0, PartitionId(0), position.as_ref()).unwrap();
            let Some(chunk) = source.next(700).unwrap() else { break };
            for item in decoder.decode(&chunk) {
                assert_eq!(item.record.unwrap().get("n").unwrap().as_i64(), Some(items), "{name}");
                items += 1;
            }
            position = Some(decoder.position(&chunk, None));
        }
        assert_eq!(items, 5000, "{name}");
        let again = source.reread(name, 8, 8).unwrap();
        assert_eq!(&again[..], b"{\"n\":1}\n", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_file_that_changed_is_refused() {
    for (name, pack) in [("a.jsonl.gz", gzip as fn(&[u8]) -> Vec<u8>), ("a.jsonl.zst", zstd)] {
        let folder = Folder::new();
        folder.write(name, pack(numbers(0..10).as_bytes()));
        run(&folder, source(&folder, name)).await.unwrap();
        folder.write(name, pack(numbers(1..11).as_bytes()));
        let failure = run(&folder, source(&folder, name)).await.unwrap_err();
        assert!(words(&failure).contains("what stands in front of that place is different now"), "{failure}");
        folder.write(name, pack(numbers(0..9).as_bytes()));
        let failure = run(&folder, source(&folder, name)).await.unwrap_err();
        assert!(words(&failure).contains("it is shorter now"), "{failure}");
        folder.write(name, pack(numbers(0..12).as_bytes()));
        assert_eq!(run(&folder, source(&folder, name)).await.unwrap().counts.delivered, 2);
        assert_eq!(folder.read("out.jsonl"), numbers(0..12));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_front_of_damage_is_committed_and_the_error_names_file_and_place() {
    // Digits of different numbers do not compress to nothing, so half the file is about half the items.
    let content: String =
        (0..200_000_u64).map(|n| format!("{{\"n\":{}}}\n", n * 7_919 % 1_000_003)).collect();
    for (name, whole) in [("a.jsonl.gz", gzip(content.as_bytes())), ("a.jsonl.zst", zstd(content.as_bytes()))]
    {
        let folder = Folder::new();
        folder.write(name, &whole[..whole.len() / 2]);
        let failure = run(&folder, source(&folder, name)).await.unwrap_err();
        let text = words(&failure);
        assert!(text.contains(&format!("{name} is cut off at byte ")), "{text}");
        assert!(text.contains("of its content"), "{text}");
        let delivered = failure.report.unwrap().counts.delivered;
        assert!((50_000..150_000).contains(&delivered), "{name}: {delivered}");
        let output = folder.read("out.jsonl");
        assert!(content.starts_with(&output));

        folder.write(name, &whole);
        run(&folder, source(&folder, name)).await.unwrap();
        assert_eq!(folder.read("out.jsonl").len(), content.len(), "{name}: the whole file, each item once");

        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 100].fill(0x55);
        let folder = Folder::new();
        folder.write(name, damaged);
        let text = words(&run(&folder, source(&folder, name)).await.unwrap_err());
        assert!(text.contains(&format!("{name} is damaged at byte ")), "{text}");
        folder.write(name, "this was never compressed\n");
        assert!(run(&folder, source(&folder, name)).await.is_err());
    }
}

#[test]
fn a_bomb_is_an_error_and_not_a_full_memory() {
    let folder = Folder::new();
    let zeros = vec![0_u8; 1 << 20];
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..256 {
        bomb.write_all(&zeros).unwrap();
    }
    folder.write("bomb.jsonl.gz", bomb.finish().unwrap());
    let mut source = source(&folder, "bomb.jsonl.gz");
    source.partitions().unwrap();
    source.open(0, PartitionId(0), None).unwrap();
    let error = source.next(10).map(|_| ()).unwrap_err();
    assert!(matches!(error, SourceError::Expansion { key: "expanded_ratio_max", limit: 200, .. }), "{error}");
    assert!(error.to_string().contains("bomb.jsonl.gz became "), "{error}");

    folder.write("a.jsonl.gz", gzip(numbers(0..200_000).as_bytes()));
    let mut source = self::source(&folder, "a.jsonl.gz").with_expanded_bytes_max(1_000_000);
    source.partitions().unwrap();
    source.open(0, PartitionId(0), None).unwrap();
    let error = loop {
        match source.next(1000) {
            Ok(chunk) => assert!(chunk.unwrap().end < 2_000_000),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SourceError::Expansion { key: "expanded_bytes_max", .. }), "{error}");
}

#[test]
fn a_position_is_written_as_it_always_was() {
    let folder = Folder::new();
    folder.write("in.jsonl", numbers(0..4));
    let mut source = source(&folder, "in.jsonl");
    source.partitions().unwrap();
    source.open(0, PartitionId(0), None).unwrap();
    let chunk = source.next(2).unwrap().unwrap();
    let position = source.decoder().position(&chunk, None);
    let first = concat!(
        r#"{"format":1,"offset":16,"line":3,"tail":"16:"#,
        "3e2ee8c80cabd0382e9e3c279c8b7188",
        r#"","unterminated":false}"#
    );
    assert_eq!(position.as_str(), first);
}
