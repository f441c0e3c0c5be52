use std::path::Path;
use std::time::Duration;

use aqueduct_orchestrator::{
    ConfigErrors, Engine, Feed, FilesSpec, Guarantee, Inputs, OnError, Override, PipelineSpec, Place,
    SinkKind, SourceKind, StageKind, StdinSpec,
};
use aqueduct_stream::{CsvHeader, CsvType};
use proptest::prelude::*;

/// The file of the design page.
pub(crate) const EVIDENCE: &str = r#"name = "evidence"

[source]
type = "jsonl"
path = "data/advisories.jsonl"

[[stage]]
name = "score"
type = "map"
keep = ["id", "project"]
set = { score = "100.0 * (0.5 * double(item.passed) / double(item.passed + item.failed) + 0.3 * item.coverage)", a = "1" }
on_error = "dead-letter"

[[stage]]
name = "alert"
type = "alert"
when = "item.score < 50.0"
to = "alerts"

[[sink]]
name = "results"
type = "sqlite"
path = "results.db"
table = "evidence"
key = "id"

[[sink]]
name = "alerts"
type = "jsonl"
path = "alerts"
"#;

fn environment(name: &str) -> Option<String> {
    match name {
        "SECRET" => Some("hunter2".to_owned()),
        _ => None,
    }
}

fn parse_with(text: &str, sets: &[&str]) -> Result<PipelineSpec, ConfigErrors> {
    let overrides: Vec<Override> = sets.iter().map(|set| Override::set(set)).collect();
    let inputs = Inputs::new(&environment).with_overrides(&overrides).with_cores(2);
    PipelineSpec::parse("p.toml", Path::new("/data"), text.as_bytes(), &inputs)
}

fn parse(text: &str) -> PipelineSpec {
    parse_with(text, &[]).expect("a right file")
}

/// The errors as `line:column message; hint`, or `flag message`.
fn errors_with(text: &str, sets: &[&str]) -> Vec<String> {
    let errors = parse_with(text, sets).expect_err("an error");
    let short = |error: &aqueduct_orchestrator::ConfigError| {
        let place = match error.place() {
            Place::Line { line, column, .. } => format!("{line}:{column}"),
            Place::File { .. } => "file".to_owned(),
            Place::Flag { flag } => flag.clone(),
            Place::Variable { name } => (*name).to_owned(),
        };
        let hint = error.hint().map_or(String::new(), |hint| format!("; {hint}"));
        format!("{place} {}{hint}", error.message())
    };
    errors.iter().map(short).collect()
}

fn errors(text: &str) -> Vec<String> {
    errors_with(text, &[])
}

/// A whole file around some lines.
fn around(lines: &str) -> String {
    format!(
        "name = \"p\"\nsource = {{ type = \"jsonl\", path = \"a\" }}\nsink = {{ type = \"stdout\" }}\n{lines}"
    )
}

#[test]
fn the_file_of_the_design_means_what_it_says() {
    let spec = parse(EVIDENCE);
    assert_eq!((spec.name.as_str(), spec.guarantee), ("evidence", None));
    let SourceKind::Jsonl { files } = &spec.source.kind else { panic!("{:?}", spec.source) };
    assert_eq!(spec.path(&files.path), Path::new("/data/data/advisories.jsonl"));
    assert_eq!((files.line_bytes_max, spec.source.on_error), (1024 * 1024, OnError::DeadLetter));
    match &spec.stages[0].kind {
        StageKind::Map { keep, set } => {
            assert_eq!(keep.as_deref(), Some(&["id".to_owned(), "project".to_owned()][..]));
            let names: Vec<&str> = set.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["score", "a"], "the order of the file");
            assert_eq!(set[0].1.engine(), Engine::Native);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(spec.stages[0].on_error, OnError::DeadLetter);
    match &spec.stages[1].kind {
        StageKind::Alert { to, id_field, score_field, threshold, .. } => {
            assert_eq!((*to, id_field.as_str(), score_field.as_str(), *threshold), (1, "id", "score", 50.0));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(spec.stages[1].on_error, OnError::Stop);
    match &spec.sinks[0].kind {
        SinkKind::Sqlite { table, key, columns, .. } => {
            assert_eq!(table.expose(), "evidence");
            assert_eq!(key.as_ref().map(|key| key.expose()), Some("id"));
            assert!(columns.is_none());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((spec.sinks[0].feed, spec.sinks[1].feed), (Feed::Items, Feed::Alerts));
    assert_eq!(spec.settings.data_dir.value.expose(), ".aqueduct/evidence");
}

#[test]
fn every_other_key_is_read_too() {
    let spec = parse(
        r#"
name = "p"
guarantee = "exactly-once"
data_dir = "d"
[source]
type = "jsonl"
path = "a"
on_error = "stop"
line_bytes_max = 4096
[[stage]]
name = "only"
type = "filter"
when = "item.a"
on_error = "retry"
[stage.retry]
attempts = 5
delay_ms = 20
[[stage]]
name = "alert"
type = "alert"
when = "item.a.exists(x, x > 1)"
to = "b"
id = "key"
score = "weight"
threshold = 3
[[sink]]
name = "a"
type = "sqlite"
path = "a.db"
table = "t"
key = "x"
columns = ["x", "y"]
[[sink]]
name = "b"
type = "stdout"
[run]
workers = 3
batch_size = 200
checkpoint_interval = 7
epoch_batches = 5
window_bytes = 65536
window_items = 300
max_elapsed_seconds = 1.5
allowed_dead_letter_ratio = 0.25
"#,
    );
    assert_eq!(spec.guarantee, Some(Guarantee::ExactlyOnce));
    assert_eq!(spec.source.on_error, OnError::Stop);
    let retry = spec.stages[0].retry.expect("a retry");
    assert_eq!(
        (spec.stages[0].on_error, retry.attempts, retry.delay),
        (OnError::Retry, 5, Duration::from_millis(20))
    );
    match &spec.stages[1].kind {
        StageKind::Alert { id_field, score_field, threshold, when, .. } => {
            assert_eq!((id_field.as_str(), score_field.as_str(), *threshold), ("key", "weight", 3.0));
            assert_eq!(when.engine(), Engine::Interpreter);
        }
        other => panic!("{other:?}"),
    }
    let settings = &spec.settings;
    assert_eq!(
        (settings.workers.value, settings.batch_size.value, settings.checkpoint_interval.value),
        (3, 200, 7)
    );
    assert_eq!(
        (settings.epoch_batches.value, settings.window_bytes.value, settings.window_items.value),
        (5, 65536, 300)
    );
    assert_eq!(settings.max_elapsed.value, Duration::from_millis(1500));
    assert!((settings.allowed_dead_letter_ratio.value.get() - 0.25).abs() < f64::EPSILON);
    assert_eq!(settings.data_dir.value.expose(), "d");
}

#[test]
fn an_error_shows_its_line_with_a_caret_and_what_would_be_right() {
    let text = EVIDENCE.replace("path = \"data/", "pth = \"data/");
    let errors = parse_with(&text, &[]).expect_err("a misspelt key");
    assert_eq!(
        errors.to_string(),
        "\
p.toml:3:1: [source] lacks the key \"path\"; the file to read, or a pattern such as `data/*.jsonl` or `**/*.gz`, relative to the pipeline file; `.gz` and `.zst` are decompressed
  |
3 | [source]
  | ^^^^^^^^

p.toml:5:1: [source] has no key \"pth\"; did you mean \"path\"?
  |
5 | pth = \"data/advisories.jsonl\"
  | ^^^"
    );
}

#[test]
fn an_error_in_an_expression_points_into_the_expression() {
    let point = |lines: &str| match parse_with(&around(lines), &[])
        .expect_err(lines)
        .iter()
        .next()
        .map(|error| error.place())
    {
        Some(Place::Line { line, column, .. }) => (*line, *column),
        other => panic!("{other:?}"),
    };
    let stage = "[[stage]]\nname = \"f\"\ntype = \"filter\"\n";
    assert_eq!(point(&format!("{stage}when = \"item.a > frob(1)\"")), (7, 18));
    assert_eq!(point(&format!("{stage}when = 'item.a > frob(1)'")), (7, 18));
    assert_eq!(point(&format!("{stage}when = '''\nitem.a\n > frob(1)'''")), (9, 4));
    assert_eq!(point(&format!("{stage}when = \"\"\"item.a\n > frob(1)\"\"\"")), (8, 4));
    // Escapes move what follows them; the start of the text is still right.
    assert_eq!(point(&format!("{stage}when = \"item.a > \\u0020 frob(1)\"")), (7, 8));
    assert_eq!(point(&format!("{stage}when = \"'\u{e9}' == frob(1)\"")), (7, 16));
    assert_eq!(point(&format!("{stage}when = \"1 +\"")), (7, 12));
}

#[test]
fn every_error_of_a_file_is_reported_in_its_order() {
    let text = r#"
name = ".bad name"
guarantee = "exactly"
extra = 1
[source]
type = "json"
path = 3
on_error = "retry"
line_bytes_max = 0
[[stage]]
name = "a"
type = "map"
keep = ["x", "x", 1]
set = { y = "item.", z = 5 }
when = "true"
[[stage]]
name = "a"
type = "filtr"
[[stage]]
type = "filter"
when = "1 + 1"
[stage.retry]
attempts = 0
max_elapsed_seconds = 0
[[stage]]
name = "b"
type = "alert"
when = "item.x > item.y"
to = "alert"
[[sink]]
type = "sqlite"
path = ""
[[sink]]
name = "alerts"
type = "jsonl"
table = "t"
[run]
workers = "two"
batch_size = 99999999999999999999
max_elapsed_seconds = -1
allowed_dead_letter_ratio = 1.5
"#;
    assert_eq!(
        errors(text),
        [
            "2:8 \".bad name\" is not a name; a name has 1 to 128 letters, digits, dots, underscores and dashes, and no dot in front",
            "3:13 guarantee cannot be \"exactly\"; there are exactly-once, at-least-once, at-most-once",
            "4:1 the file has no key \"extra\"; there are name, guarantee, data_dir, source, backend, budget, cache, stage, sink, run, batch, retention, stand_in, test",
            "6:8 type cannot be \"json\"; did you mean \"jsonl\"?",
            "7:8 path takes a text, found an integer",
            "8:12 on_error cannot be \"retry\"; there are stop, skip, dead-letter",
            "9:18 line_bytes_max is 0, and must be from 1 to 1073741824",
            "13:14 \"x\" stands twice in keep",
            "13:19 keep takes a list of texts, found an integer",
            "14:19 the expression ends too early",
            "14:26 z takes an expression in quotes, found an integer; \"5\" is one",
            "15:1 stage \"a\" has no key \"when\"; it belongs to type \"filter\"",
            "17:8 there are two stages \"a\"; names are unique",
            "18:8 type cannot be \"filtr\"; did you mean \"filter\"?",
            "19:1 the stage lacks the key \"name\"; the stage's name, unique among stages; dead letters carry it",
            "21:8 when must give true or false, and this gives an integer",
            "23:12 attempts is 0, and must be from 1 to 100",
            "24:23 max_elapsed_seconds is 0, and must be from 0.001 to 86400",
            "25:1 stage \"b\" lacks the key \"threshold\"; the number in `when`, if it has the form `item.field < number`; else required",
            "29:6 there is no sink \"alert\"; did you mean \"alerts\"?",
            "30:1 the sink lacks the key \"name\"; `results` for a single sink; required for several",
            "30:1 the sink lacks the key \"table\"; the table; it is made if absent. Names of SQLite's own and of the ledger's tables are refused",
            "32:8 path is empty; the database, relative to the pipeline file; it is made if absent",
            "33:1 sink \"alerts\" lacks the key \"path\"; a folder of parts and a manifest; a name that ends in `.jsonl` is one file",
            "36:1 sink \"alerts\" has no key \"table\"; it belongs to type \"sqlite\"",
            "38:11 workers takes an integer, found a text",
            "39:14 batch_size is an integer beyond 64 bits, and must be from 1 to 1000000",
            "40:23 max_elapsed_seconds is -1, and must be from 0.001 to 86400",
            "41:29 allowed_dead_letter_ratio is 1.5, and must be from 0 to 1",
        ]
    );
}

#[test]
fn a_file_that_lacks_whole_sections_says_which() {
    assert_eq!(
        errors(""),
        [
            "file the file lacks the key \"name\"; the pipeline's name, in the ledger, in metrics and in reports",
            "file there is no [source]; [source]: where items come from",
            "file there is no [sink]; [sink]: where items go, such as type = \"stdout\"",
        ]
    );
    assert_eq!(
        errors(&around("stage = 3")),
        ["4:9 stages are a list, found an integer; each is written [[stage]]"]
    );
    assert_eq!(
        errors(&around("[stage]\nname = \"a\"")),
        ["4:1 stages are a list, found a table; each is written [[stage]]"]
    );
    assert_eq!(errors(&around("[[run]]")), ["4:1 run stands once, found a list; it is written [run]"]);
}

#[test]
fn a_sink_must_be_left_for_the_items() {
    let text = EVIDENCE.replace("to = \"alerts\"", "to = \"results\"");
    assert!(parse_with(&text, &[]).is_ok(), "the other sink takes the items");
    let start = text.find("[[sink]]\nname = \"alerts\"").expect("the second sink");
    assert_eq!(
        errors(&text[..start]),
        [
            "20:1 every sink takes alerts, and none the items; add a [[sink]] that no stage names; it takes what leaves the last stage"
        ]
    );
}

#[test]
fn broken_toml_is_reported_with_its_place() {
    assert_eq!(
        errors("name = \"p\"\nname = \"q\"\nsink = [1, \n"),
        ["2:1 duplicate key", "3:11 unclosed array, expected `]`"]
    );
    let inputs = Inputs::new(&environment);
    let errors = PipelineSpec::parse("p.toml", Path::new(""), b"name = \"p\"\nx = \"\xff\"\n", &inputs);
    assert!(errors.expect_err("no UTF-8").to_string().starts_with("p.toml:2:6: the file is not UTF-8 here"));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
    let text = format!("\u{feff}{}", EVIDENCE.replace('\n', "\r\n"));
    assert!(parse_with(&text, &[]).is_ok());
    assert_eq!(errors("\u{feff}nam = 1\r\n")[0], "1:1 the file has no key \"nam\"; did you mean \"name\"?");
}

#[test]
fn references_are_resolved_on_values_and_shown_as_references() {
    let text = EVIDENCE.replace("results.db", "${env:SECRET}/$${x}.db");
    let spec = parse(&text);
    let SinkKind::Sqlite { path, .. } = &spec.sinks[0].kind else { panic!("a table") };
    assert_eq!(path.expose(), "hunter2/${x}.db");
    assert_eq!(path.to_string(), "${env:SECRET}/$${x}.db");
    let shown = format!("{spec:?} {:?}", spec.settings.lines());
    assert!(!shown.contains("hunter2") && shown.contains("${env:SECRET}"), "{shown}");

    let bad = EVIDENCE
        .replace("results.db", "${env:ABSENT}")
        .replace("path = \"alerts\"", "path = \"${evn:X}\"")
        .replace("data/advisories.jsonl", "${file:no-such-file}")
        .replace("item.score < 50.0", "item.score < ${env:SECRET}");
    assert_eq!(
        errors(&bad),
        [
            "5:8 ${file:no-such-file} cannot be read: No such file or directory (os error 2)",
            "17:8 an expression takes no references; a value from the command line is set with --set",
            "23:8 ${env:ABSENT} refers to an environment variable that is not set; with ${env:ABSENT:-TEXT} it is TEXT then",
            "30:8 ${evn:X} is not a reference; did you mean ${env:X}?",
        ]
    );
    let clash = EVIDENCE.replace(
        "table = \"evidence\"",
        "table = \"${env:SECRET}\"\ncolumns = [\"${env:SECRET}\", \"${env:SECRET}\"]",
    );
    let errors = parse_with(&clash, &[]).expect_err("a column twice").to_string();
    assert!(!errors.contains("hunter2"), "{errors}");
}

#[test]
fn a_file_may_hold_a_value() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("table.txt"), "evidence\r\n").expect("a file");
    let text = EVIDENCE.replace("table = \"evidence\"", "table = \"${file:table.txt}\"");
    std::fs::write(folder.path().join("p.toml"), text).expect("a file");
    let spec =
        PipelineSpec::load(&folder.path().join("p.toml"), &Inputs::new(&environment)).expect("a pipeline");
    let SinkKind::Sqlite { table, path, .. } = &spec.sinks[0].kind else { panic!("a table") };
    assert_eq!((table.expose(), table.written()), ("evidence", "${file:table.txt}"));
    assert_eq!(spec.path(path), folder.path().join("results.db"));
}

#[test]
fn a_missing_file_and_a_folder_are_errors_that_name_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let load =
        |path: &Path| PipelineSpec::load(path, &Inputs::new(&environment)).expect_err("no file").to_string();
    let absent = folder.path().join("absent.toml");
    assert_eq!(load(&absent), format!("{}: there is no such file", absent.display()));
    assert_eq!(
        load(folder.path()),
        format!(
            "{}: it is a folder, not a pipeline file; did you mean {}?",
            folder.path().display(),
            folder.path().join("pipeline.toml").display()
        )
    );
    let large = folder.path().join("large.toml");
    std::fs::write(&large, vec![b'#'; 2 * 1024 * 1024]).expect("a file");
    assert!(load(&large).ends_with("the file has more than 1048576 bytes"));
}

#[test]
fn a_flag_covers_a_key_of_the_file() {
    let spec = parse_with(
        EVIDENCE,
        &[
            "run.workers=4",
            "sink.results.table=t",
            "stage.score.on_error=skip",
            "stage.alert.when=item.score < 40",
            "source.path=2024-01-01",
            "stage.score.keep=[\"id\"]",
            "stage.score.set.b=\"item.c\"",
            "data_dir=a = b",
            "run.workers=5",
        ],
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(spec.settings.workers.value, 5, "the last flag wins");
    let SinkKind::Sqlite { table, .. } = &spec.sinks[0].kind else { panic!("a table") };
    assert_eq!(table.expose(), "t");
    assert_eq!(spec.stages[0].on_error, OnError::Skip);
    let StageKind::Alert { threshold, .. } = spec.stages[1].kind else { panic!("an alert") };
    assert!((threshold - 40.0).abs() < f64::EPSILON);
    let SourceKind::Jsonl { files: FilesSpec { path, .. } } = &spec.source.kind else { panic!() };
    assert_eq!(path.expose(), "2024-01-01");
    let StageKind::Map { keep, set } = &spec.stages[0].kind else { panic!("a map") };
    assert_eq!((keep.as_ref().map(Vec::len), set.len()), (Some(1), 3));
    assert_eq!(spec.settings.data_dir.value.expose(), "a = b");
    let single =
        parse_with(&around(""), &["sink.results.type=sqlite", "sink.path=a.db", "sink.results.table=t"]);
    assert!(single.is_ok(), "a single sink has its default name: {single:?}");
}

#[test]
fn a_wrong_flag_is_an_error_that_names_the_flag() {
    for (set, expected) in [
        (
            "run.workers",
            "--set run.workers a value is missing; it is written path=value, such as run.workers=4",
        ),
        ("run..workers=1", "--set run..workers=1 the path has an empty part; it looks like run.workers=4"),
        ("run.workers=many", "--set run.workers=many workers takes an integer, found a text"),
        ("run.workers=0", "--set run.workers=0 workers is 0, and must be from 1 to 1024"),
        ("run.worker=1", "--set run.worker=1 [run] has no key \"worker\"; did you mean \"workers\"?"),
        ("rnu.workers=1", "--set rnu.workers=1 the file has no key \"rnu\"; did you mean \"run\"?"),
        (
            "sink.result.table=t",
            "--set sink.result.table=t there is no sink \"result\"; did you mean \"results\"?",
        ),
        ("stage.x.when=1", "--set stage.x.when=1 there is no stage \"x\"; there are score, alert"),
        ("stage.alert=1", "--set stage.alert=1 stage.alert needs a key behind it; such as stage.alert.type"),
        ("name.x=1", "--set name.x=1 name is a text and has no keys"),
        (
            "stage.alert.when=item.",
            "--set stage.alert.when=item. the expression ends too early; at letter 6 of the expression",
        ),
    ] {
        assert_eq!(errors_with(EVIDENCE, &[set]), [expected]);
    }
    let overrides = [Override::flag("--data-dir", "data_dir", "")];
    let inputs = Inputs::new(&environment).with_overrides(&overrides);
    let errors =
        PipelineSpec::parse("p", Path::new(""), EVIDENCE.as_bytes(), &inputs).expect_err("an empty folder");
    assert!(errors.to_string().starts_with("--data-dir : data_dir is empty"), "{errors}");
}

#[test]
fn a_flag_of_its_own_takes_any_text() {
    for text in ["plain", "with \"quotes\" and \\", "4", "true", "tab\there", "${env:SECRET}"] {
        let overrides = [Override::flag("--data-dir", "data_dir", text)];
        let inputs = Inputs::new(&environment).with_overrides(&overrides);
        let spec = PipelineSpec::parse("p", Path::new(""), EVIDENCE.as_bytes(), &inputs).expect("a pipeline");
        assert_eq!(spec.settings.data_dir.value.written(), text);
        assert_eq!(spec.settings.data_dir.origin.to_string(), format!("--data-dir {text}"));
    }
}

#[test]
fn a_map_that_changes_nothing_is_an_error() {
    assert_eq!(
        errors(&around("[[stage]]\nname = \"m\"\ntype = \"map\"")),
        ["4:1 stage \"m\" changes nothing; give it keep or set"]
    );
}

#[test]
fn threads_share_a_pipeline() {
    fn check<T: Send + Sync>() {}
    check::<PipelineSpec>();
    check::<ConfigErrors>();
}

#[test]
fn what_must_fit_together_is_checked_together() {
    assert_eq!(
        errors(&around("[run]\nwindow_bytes = 70000")),
        [
            "5:16 line_bytes_max is 1048576 and window_bytes is 70000; a line must fit the window; raise run.window_bytes"
        ]
    );
    assert_eq!(
        errors(&around("[run]\nwindow_items = 50")),
        [
            "5:16 batch_size is 100 (default) and window_items is 50; a batch must fit the window; raise run.window_items"
        ]
    );
    let sqlite = |lines: &str| {
        format!(
            "name = \"p\"\nsource = {{ type = \"jsonl\", path = \"a\" }}\n[sink]\ntype = \"sqlite\"\npath = \"a\"\n{lines}"
        )
    };
    assert_eq!(
        errors(&sqlite("table = \"t\"\nkey = \"z\"\ncolumns = [\"x\", \"y\"]")),
        ["7:7 key \"z\" is not among the columns; there are x, y"]
    );
    assert_eq!(
        errors(&sqlite("table = \"aqueduct_x\"")),
        ["6:9 table \"aqueduct_x\" cannot be used; names that start with aqueduct_ belong to the ledger"]
    );
}

/// Lines of pipeline files, right and wrong, in any order.
fn lines() -> impl Strategy<Value = String> {
    let lines = &[
        "name = \"p\"",
        "name = 1",
        "[source]",
        "type = \"jsonl\"",
        "path = \"a\"",
        "path = \"${env:SECRET}\"",
        "path = \"${\"",
        "[[stage]]",
        "name = \"s\"",
        "type = \"map\"",
        "type = \"alert\"",
        "type = \"filter\"",
        "set = { a = \"item.b\" }",
        "set.x = 'item.'",
        "when = \"item.a < 1\"",
        "when = '''\n\n1 +'''",
        "to = \"s\"",
        "[stage.retry]",
        "[stage]",
        "attempts = 3",
        "[[sink]]",
        "[sink]",
        "type = \"sqlite\"",
        "table = \"t\"",
        "columns = []",
        "columns = [[1], {a = 2}]",
        "type = \"stdout\"",
        "[run]",
        "workers = 1",
        "workers = -1",
        "max_elapsed_seconds = nan",
        "x = 1979-05-27",
        "\u{e9} = 1",
        "\"\" = 1",
        "a.b.c = 1",
        "= 1",
        "[",
        "\t# c\r",
    ][..];
    prop::collection::vec(prop::sample::select(lines), 0..20).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop_oneof![
        lines().prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..200),
        any::<String>().prop_map(String::into_bytes),
    ], sets in prop::collection::vec(prop_oneof![
        any::<String>(),
        prop::sample::select(&["run.workers=1", "sink.results.path=a", "stage.s.when=1", "stage=1", "a.b.c.d=1", "sink.s=[]"][..])
            .prop_map(str::to_owned),
    ], 0..3)) {
        let overrides: Vec<Override> = sets.iter().map(|set| Override::set(set)).collect();
        let inputs = Inputs::new(&environment).with_overrides(&overrides);
        if let Err(errors) = PipelineSpec::parse("p.toml", Path::new("/nowhere"), &bytes, &inputs) {
            prop_assert!(errors.iter().len() > 0);
            let text = errors.to_string();
            prop_assert!(!text.contains("hunter2") && !text.contains("please report"), "{}", text);
        }
    }
}

/// The source of a file with these lines in `[source]`.
fn source(lines: &str) -> SourceKind {
    parse(&format!("name = \"p\"\n[source]\n{lines}\n[sink]\ntype = \"stdout\"\n")).source.kind
}

fn source_errors(lines: &str) -> Vec<String> {
    errors(&format!("name = \"p\"\n[source]\n{lines}\n[sink]\ntype = \"stdout\"\n"))
}

#[test]
fn every_key_of_every_source_is_read() {
    let SourceKind::Csv { files, format } = source(
        r#"
type = "csv"
path = "a/*.csv.gz"
header = false
columns = ["id", "n"]
types = { n = "integer", id = "text" }
delimiter = "\t"
quote = "'"
line_bytes_max = 7
expanded_bytes_max = 8
expanded_ratio_max = 9"#,
    ) else {
        panic!()
    };
    assert_eq!(files.path.expose(), "a/*.csv.gz");
    assert_eq!((files.line_bytes_max, files.expanded_bytes_max, files.expanded_ratio_max), (7, 8, 9));
    assert_eq!((format.delimiter, format.quote, format.header), ('\t', '\'', CsvHeader::Absent));
    assert_eq!(format.columns.unwrap().len(), 2);
    assert_eq!(format.types, [("n".to_owned(), CsvType::Integer), ("id".to_owned(), CsvType::Text)]);

    let SourceKind::Csv { format, .. } = source("type = \"csv\"\npath = \"a\"") else { panic!() };
    assert_eq!((format.delimiter, format.quote, format.header), (',', '"', CsvHeader::Present));

    let SourceKind::Lines { field, .. } = source("type = \"lines\"\npath = \"a\"") else { panic!() };
    assert_eq!(field, "line");
    let SourceKind::Stdin { format: StdinSpec::Lines { field }, line_bytes_max: 5 } =
        source("type = \"stdin\"\nformat = \"lines\"\nfield = \"t\"\nline_bytes_max = 5")
    else {
        panic!()
    };
    assert_eq!(field, "t");
    assert_eq!(source("type = \"stdin\"").to_string(), "stdin, jsonl");
    assert_eq!(source("type = \"stdin\"\nformat = \"csv\"\ndelimiter = \";\"").to_string(), "stdin, csv");

    let SourceKind::Generator { count: Some(3), seed: 4, rate: Some(rate), fields } = source(
        "type = \"generator\"\ncount = 3\nseed = 4\nrate = 0.5\nfields = { z = \"sequence\", a = \"choice x y\" }",
    ) else {
        panic!()
    };
    assert!((rate - 0.5).abs() < f64::EPSILON);
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["z", "a"], "the order of the file");
}

#[test]
fn a_wrong_source_is_an_error_with_what_would_be_right() {
    let csv = |lines: &str| source_errors(&format!("type = \"csv\"\npath = \"a\"\n{lines}"));
    let one = "it must be one ASCII character that is no letter, digit or line end";
    for (errors, expected) in [
        (csv("delimiter = \"ab\""), "5:13 delimiter is \"ab\", and must be one ASCII character".to_owned()),
        (
            csv("delimiter = \"tab\""),
            "5:13 delimiter is \"tab\", and must be one ASCII character; a tab is written \"\\t\"".to_owned(),
        ),
        (csv("delimiter = \"a\""), format!("5:13 delimiter is 'a'; {one}")),
        (csv("quote = \",\""), "5:9 quote is ','; it must be another character than the delimiter".to_owned()),
        (
            csv("header = false"),
            "2:1 columns is absent; it must be a list of names where there is no header".to_owned(),
        ),
        (csv("header = \"no\""), "5:10 header takes true or false, found a text".to_owned()),
        (
            csv("types = { a = \"int\" }"),
            "5:15 the type of a cannot be \"int\"; there are text, integer, float, boolean, json".to_owned(),
        ),
        (csv("types = { a = \"integr\" }"), "5:15 the type of a cannot be \"integr\"; did you mean \"integer\"?".to_owned()),
        (csv("types = { a = 1 }"), "5:15 a takes a text, found an integer".to_owned()),
        (csv("field = \"a\""), "5:1 [source] has no key \"field\"; it belongs to type \"lines\"".to_owned()),
        (
            source_errors("type = \"stdin\"\ndelimiter = \";\""),
            "4:1 format \"jsonl\" has no key \"delimiter\"; it belongs to format \"csv\"".to_owned(),
        ),
        (
            source_errors("type = \"generator\""),
            "2:1 [source] lacks the key \"fields\"; fields and what they hold: `sequence [FIRST]`, `integer LEAST \
             MOST`, `float LEAST BELOW`, `boolean [RATIO]`, `choice WORD WORD..`, `words LEAST MOST`, `hex DIGITS`"
                .to_owned(),
        ),
        (
            source_errors("type = \"generator\"\nfields = { a = \"integer 3\" }"),
            "4:16 a is \"integer 3\", and must be one of sequence [FIRST], integer LEAST MOST, float LEAST BELOW, \
             boolean [RATIO], choice WORD WORD.., words LEAST MOST, hex DIGITS"
                .to_owned(),
        ),
        (
            source_errors("type = \"generator\"\nrate = 0\nfields = { a = \"sequence\" }"),
            "4:8 rate is 0, and must be from 0.000001 to 1000000000".to_owned(),
        ),
    ] {
        assert_eq!(errors, [expected]);
    }
}

#[test]
fn a_csv_sink_is_read_and_a_wrong_one_says_what_would_be_right() {
    let sink = |lines: &str| {
        format!(
            "name = \"p\"\nsource = {{ type = \"stdin\" }}\n[sink]\ntype = \"csv\"\npath = \"a\"\n{lines}"
        )
    };
    let spec = parse(&sink("delimiter = \";\"\ncolumns = [\"a\", \"b\"]"));
    let SinkKind::Csv { delimiter: ';', columns: Some(columns), .. } = &spec.sinks[0].kind else { panic!() };
    assert_eq!(columns.len(), 2);
    let wrong = errors(&sink("delimiter = \"x\""));
    assert_eq!(
        wrong,
        ["6:13 delimiter is 'x'; it must be one ASCII character that is no letter, digit or line end"]
    );
    assert_eq!(
        errors(&sink("table = \"x\"")),
        ["6:1 sink \"results\" has no key \"table\"; it belongs to type \"sqlite\""]
    );
}
