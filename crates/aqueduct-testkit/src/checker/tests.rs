//! Outcomes made by hand: a good one passes, and every way to break it is found.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};

use super::{Fault, check};
use crate::oracle::{Entry, Expected, Form, Holding, Type, Value};
use crate::workload::{Kind, SECOND, Workload};

/// Items in an outcome: enough for each kind to have its cases.
const ITEMS: usize = 60;

const SCHEMA: &str = "
    create table aqueduct_pipeline (pipeline, read, spawned, delivered, dead_lettered, skipped, absorbed, dropped,
        abandoned, in_flight);
    create table aqueduct_partition (pipeline, name, position);
    create table aqueduct_file (pipeline, sink, part, bytes, items);
    create table aqueduct_dead_letter (pipeline, item_id, stage, reason, attempts, payload, original);";

/// An outcome in a folder, and what it must be.
struct Outcome {
    folder: tempfile::TempDir,
    expected: Expected,
}

impl Outcome {
    async fn good(kind: Kind) -> Self {
        let expected = Workload::of(5, kind, ITEMS).expected().clone();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let outcome = Self { folder, expected };
        fs::create_dir(outcome.folder.path().join("data")).expect("made");
        outcome.execute(SCHEMA).await;
        for holding in outcome.expected.sinks.clone() {
            match holding.form {
                Form::Table => outcome.write_table(&holding).await,
                Form::Lines => outcome.write_file(&holding, &lines(&holding)).await,
                Form::Rows => outcome.write_file(&holding, &rows(&holding)).await,
            }
        }
        outcome.write_ledger().await;
        outcome
    }

    fn ledger(&self) -> PathBuf {
        self.folder.path().join(self.expected.ledger())
    }

    async fn write_table(&self, holding: &Holding) {
        let path = self.folder.path().join(holding.place);
        let names: Vec<&str> = holding.fields.iter().map(|(name, _)| *name).collect();
        let columns = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        execute(&path, &format!("create table evidence (item_id, {columns})")).await;
        let mut database = connect(&path).await;
        let places = vec!["?"; names.len() + 1].join(", ");
        for (at, entry) in holding.entries.iter().enumerate() {
            let insert = format!("insert into evidence values ({places})");
            let mut query = sqlx::query(AssertSqlSafe(insert)).bind(format!("i{at:04}"));
            for value in &entry.0 {
                query = match value {
                    Value::Text(text) => query.bind(text.clone()),
                    Value::Integer(number) => query.bind(*number),
                    Value::Number(number) => query.bind(*number),
                    Value::Time | Value::Other(_) => panic!("no table has {value:?}"),
                };
            }
            query.execute(&mut database).await.expect("inserted");
        }
        database.close().await.expect("closed");
    }

    /// Writes a file, or a folder with one part, and makes it known to the ledger.
    async fn write_file(&self, holding: &Holding, text: &str) {
        let place = self.folder.path().join(holding.place);
        let ending = if holding.form == Form::Rows { "csv" } else { "jsonl" };
        let (bytes, items) = (text.len(), holding.entries.len());
        let part = if holding.is_folder() {
            let part = format!("part-00000.{ending}");
            fs::create_dir(&place).expect("made");
            let parts = json!([{"part": part, "bytes": bytes, "items": items}]);
            let manifest = json!({"format": 1, "parts": parts}).to_string();
            fs::write(place.join("manifest.json"), manifest).expect("written");
            fs::write(place.join(&part), text).expect("written");
            part
        } else {
            fs::write(&place, text).expect("written");
            holding.place.to_owned()
        };
        let sink = holding.sink;
        self.execute(&format!(
            "insert into aqueduct_file values ('crash', '{sink}', '{part}', {bytes}, {items})"
        ))
        .await;
    }

    async fn write_ledger(&self) {
        let counts = self.expected.counts.columns();
        let names: Vec<&str> = counts.keys().copied().collect();
        let values: Vec<String> = counts.values().map(u64::to_string).collect();
        let (names, values) = (names.join(", "), values.join(", "));
        self.execute(&format!(
            "insert into aqueduct_pipeline (pipeline, {names}) values ('crash', {values})"
        ))
        .await;
        for (name, bytes) in &self.expected.positions {
            let position = json!({"format": 1, "offset": bytes});
            self.execute(&format!("insert into aqueduct_partition values ('crash', '{name}', '{position}')"))
                .await;
        }
        let mut ledger = connect(&self.ledger()).await;
        for (at, letter) in self.expected.letters.iter().enumerate() {
            let payload = letter.id.as_ref().map(|id| json!({"id": id}).to_string().into_bytes());
            sqlx::query("insert into aqueduct_dead_letter values ('crash', ?, ?, 'no coverage', 1, ?, ?)")
                .bind(format!("i{at:04}"))
                .bind(letter.stage)
                .bind(payload)
                .bind(letter.original.as_bytes())
                .execute(&mut ledger)
                .await
                .expect("inserted");
        }
        ledger.close().await.expect("closed");
    }

    async fn execute(&self, sql: &str) {
        execute(&self.ledger(), sql).await;
    }

    async fn execute_second(&self, sql: &str) {
        execute(&self.folder.path().join(SECOND), sql).await;
    }

    /// Rewrites a file's lines.
    fn edit(&self, file: &str, change: impl FnOnce(&mut Vec<String>)) {
        let path = self.folder.path().join(file);
        let content = fs::read_to_string(&path).expect("readable");
        let mut lines = content.split_inclusive('\n').map(str::to_owned).collect();
        change(&mut lines);
        fs::write(path, lines.concat()).expect("written");
    }

    /// The kinds of faults in one place.
    async fn faults_in(&self, place: &str) -> Vec<Fault> {
        let findings = check(self.folder.path(), &self.expected).await;
        findings.into_iter().filter(|finding| finding.place == place).map(|finding| finding.fault).collect()
    }

    async fn faults(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = check(self.folder.path(), &self.expected)
            .await
            .into_iter()
            .map(|finding| finding.fault)
            .collect();
        faults.sort_unstable();
        faults.dedup();
        faults
    }
}

fn lines(holding: &Holding) -> String {
    let line = |entry: &Entry| {
        let field = |((name, what), value): (&(&str, Type), &Value)| {
            let value = match value {
                Value::Text(text) => json!(text),
                Value::Integer(number) => json!(number),
                Value::Number(number) => json!(number),
                Value::Time => json!("2026-11-20T23:51:49.000Z"),
                Value::Other(_) => panic!("no result has such a {what:?}"),
            };
            ((*name).to_owned(), value)
        };
        format!("{}\n", Json::Object(holding.fields.iter().zip(&entry.0).map(field).collect::<Map<_, _>>()))
    };
    holding.entries.iter().map(line).collect()
}

fn rows(holding: &Holding) -> String {
    let header: Vec<&str> = holding.fields.iter().map(|(name, _)| *name).collect();
    let row = |entry: &Entry| {
        let field = |value: &Value| match value {
            Value::Text(text) => format!("\"{}\"", text.replace('"', "\"\"")),
            Value::Integer(number) => number.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Time | Value::Other(_) => panic!("no row has {value:?}"),
        };
        format!("{}\n", entry.0.iter().map(field).collect::<Vec<_>>().join(","))
    };
    format!("{}\n{}", header.join(","), holding.entries.iter().map(row).collect::<String>())
}

async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.connect().await.expect("the database opens")
}

async fn execute(path: &Path, sql: &str) {
    let mut database = connect(path).await;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut database).await.expect("the statement runs");
    database.close().await.expect("closed");
}

#[tokio::test]
async fn a_good_outcome_passes() {
    for kind in Kind::ALL {
        let outcome = Outcome::good(kind).await;
        assert_eq!(check(outcome.folder.path(), &outcome.expected).await, [], "{kind}");
    }
}

#[tokio::test]
async fn a_lost_row_is_found() {
    let outcome = Outcome::good(Kind::Sqlite).await;
    outcome.execute("delete from evidence where item_id = 'i0017'").await;
    assert_eq!(outcome.faults().await, [Fault::Lost]);
}

#[tokio::test]
async fn a_doubled_row_is_found() {
    let outcome = Outcome::good(Kind::Both).await;
    outcome.execute("insert into evidence select 'i0017+', id, project, passed, score from evidence where item_id = 'i0017'").await;
    assert_eq!(outcome.faults().await, [Fault::Doubled]);
}

#[tokio::test]
async fn a_second_table_that_lacks_or_repeats_an_item_is_found() {
    for (change, fault) in [
        ("delete from evidence where item_id = 'i0017'", Fault::Lost),
        ("insert into evidence select * from evidence where item_id = 'i0017'", Fault::Doubled),
        ("update evidence set score = score + 1e-13 where item_id = 'i0017'", Fault::Wrong),
        ("update evidence set item_id = 'i0017+' where item_id = 'i0017'", Fault::Wrong),
        ("drop table evidence", Fault::Wrong),
    ] {
        let outcome = Outcome::good(Kind::Second).await;
        outcome.execute_second(change).await;
        assert!(outcome.faults().await.contains(&fault), "{change}");
    }
    let outcome = Outcome::good(Kind::Second).await;
    fs::remove_file(outcome.folder.path().join(SECOND)).expect("removed");
    assert_eq!(outcome.faults().await, [Fault::Wrong]);
}

#[tokio::test]
async fn a_wrong_value_is_found_to_the_last_bit() {
    for change in [
        "score = score + 1e-13",
        "score = null",
        "project = 'else'",
        "passed = passed + 1",
        "project = null",
        "id = 'adv-900000'",
    ] {
        let outcome = Outcome::good(Kind::Sqlite).await;
        outcome.execute(&format!("update evidence set {change} where item_id = 'i0017'")).await;
        assert!(outcome.faults().await.contains(&Fault::Wrong), "{change}");
    }
    let outcome = Outcome::good(Kind::Jsonl).await;
    outcome.edit("results.jsonl", |lines| lines[3] = lines[3].replace("\"score\":", "\"score\":1"));
    assert!(outcome.faults().await.contains(&Fault::Wrong));
}

#[tokio::test]
async fn a_lost_line_is_found() {
    for file in ["results.jsonl", "alerts/part-00000.jsonl"] {
        let outcome = Outcome::good(Kind::Jsonl).await;
        outcome.edit(file, |lines| drop(lines.remove(3)));
        assert!(outcome.faults().await.contains(&Fault::Lost), "{file}");
    }
}

#[tokio::test]
async fn a_doubled_line_is_found() {
    for file in ["results.jsonl", "alerts/part-00000.jsonl"] {
        let outcome = Outcome::good(Kind::Jsonl).await;
        outcome.edit(file, |lines| lines.insert(3, lines[3].clone()));
        assert!(outcome.faults().await.contains(&Fault::Doubled), "{file}");
    }
}

#[tokio::test]
async fn lines_out_of_order_are_found() {
    let outcome = Outcome::good(Kind::Jsonl).await;
    outcome.edit("results.jsonl", |lines| lines.swap(3, 4));
    assert_eq!(outcome.faults().await, [Fault::Wrong]);
}

#[tokio::test]
async fn half_a_line_is_found() {
    for file in ["results.jsonl", "alerts/part-00000.jsonl"] {
        let outcome = Outcome::good(Kind::Jsonl).await;
        outcome.edit(file, |lines| lines.push("{\"id\":\"adv-0".to_owned()));
        assert_eq!(outcome.faults().await, [Fault::Wrong], "{file}");
    }
}

#[tokio::test]
async fn a_missing_letter_is_found() {
    let outcome = Outcome::good(Kind::Jsonl).await;
    outcome.execute("delete from aqueduct_dead_letter where item_id = 'i0001'").await;
    assert_eq!(outcome.faults().await, [Fault::Lost]);
}

#[tokio::test]
async fn a_doubled_or_wrong_letter_is_found() {
    let outcome = Outcome::good(Kind::Jsonl).await;
    outcome
        .execute(
            "insert into aqueduct_dead_letter select * from aqueduct_dead_letter where item_id = 'i0001'",
        )
        .await;
    assert_eq!(outcome.faults().await, [Fault::Doubled]);
    for change in ["stage = 'alert'", "original = 'else'", "reason = ''", "attempts = 0"] {
        let outcome = Outcome::good(Kind::Jsonl).await;
        outcome.execute(&format!("update aqueduct_dead_letter set {change} where item_id = 'i0001'")).await;
        assert!(outcome.faults().await.contains(&Fault::Wrong), "{change}");
    }
}

#[tokio::test]
async fn a_ledger_that_says_something_else_is_found() {
    for change in [
        "update aqueduct_pipeline set read = read + 1",
        "update aqueduct_pipeline set in_flight = 1",
        "update aqueduct_partition set position = '{\"offset\":1}'",
        "update aqueduct_partition set position = null",
        "insert into aqueduct_partition values ('crash', 'other.jsonl', null)",
        "update aqueduct_file set bytes = bytes - 1 where sink = 'lines'",
        "update aqueduct_file set items = items + 1 where sink = 'alerts'",
        "delete from aqueduct_file where sink = 'alerts'",
        "drop table aqueduct_dead_letter",
    ] {
        let outcome = Outcome::good(Kind::Both).await;
        outcome.execute(change).await;
        assert_eq!(outcome.faults().await, [Fault::Wrong], "{change}");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_is_found() {
    for file in ["results.db", "results.jsonl", "alerts/part-00000.jsonl", "alerts/manifest.json"] {
        let outcome = Outcome::good(Kind::Both).await;
        fs::remove_file(outcome.folder.path().join(file)).expect("removed");
        assert!(outcome.faults().await.contains(&Fault::Wrong), "{file}");
    }
}

#[tokio::test]
async fn a_file_that_nobody_knows_is_found() {
    let outcome = Outcome::good(Kind::Jsonl).await;
    fs::write(outcome.folder.path().join("alerts/part-00001.jsonl"), "").expect("written");
    assert_eq!(outcome.faults().await, [Fault::Wrong]);
}

#[tokio::test]
async fn fields_that_are_no_part_of_a_result_are_found() {
    let outcome = Outcome::good(Kind::Both).await;
    outcome.execute("alter table evidence add column more").await;
    assert!(outcome.faults().await.contains(&Fault::Wrong));
    let outcome = Outcome::good(Kind::Both).await;
    outcome.edit("results.jsonl", |lines| lines[3] = lines[3].replace("{", "{\"more\":1,"));
    assert_eq!(outcome.faults().await, [Fault::Wrong]);
}

#[tokio::test]
async fn a_file_of_rows_that_is_not_right_is_found() {
    type Change = fn(&mut Vec<String>);
    let changes: [(&str, Change, Fault); 9] = [
        ("a row is lost", |lines| drop(lines.remove(1)), Fault::Lost),
        ("a row is doubled", |lines| lines.insert(1, lines[1].clone()), Fault::Doubled),
        ("rows change places", |lines| lines.swap(1, 2), Fault::Wrong),
        ("a number is another one", |lines| lines[1] = lines[1].replacen(',', ",9", 1), Fault::Wrong),
        ("a number is a word", |lines| lines[1] = lines[1].replacen(',', ",x", 1), Fault::Wrong),
        ("a row lacks a field", |lines| lines[1] = "\"adv-000001\"\n".to_owned(), Fault::Wrong),
        ("a quote is not closed", |lines| lines.push("\"adv-0".to_owned()), Fault::Wrong),
        ("the header is there twice", |lines| lines.insert(2, lines[0].clone()), Fault::Wrong),
        ("the header is another one", |lines| lines[0] = "id,passed\n".to_owned(), Fault::Wrong),
    ];
    for (place, file) in [("third", "third/part-00000.csv"), ("rest.csv", "rest.csv")] {
        for (what, change, fault) in changes {
            let outcome = Outcome::good(Kind::Route).await;
            outcome.edit(file, change);
            assert!(outcome.faults_in(place).await.contains(&fault), "{what} in {file}");
        }
    }
}

#[tokio::test]
async fn a_field_with_a_line_end_is_one_field() {
    let outcome = Outcome::good(Kind::Csv).await;
    outcome.edit("results.csv", |lines| {
        let broken = lines.iter().position(|line| line.starts_with("second")).expect("there is one");
        lines.swap(broken - 1, broken);
    });
    assert!(outcome.faults_in("results.csv").await.contains(&Fault::Wrong));
}

#[tokio::test]
async fn a_file_that_was_read_only_in_part_is_found() {
    let outcome = Outcome::good(Kind::Csv).await;
    outcome
        .execute("update aqueduct_partition set position = '{\"offset\":40}' where name = 'in/b.csv.gz'")
        .await;
    assert_eq!(outcome.faults().await, [Fault::Wrong]);
    let outcome = Outcome::good(Kind::Csv).await;
    outcome.execute("delete from aqueduct_partition where name = 'in/b.csv.gz'").await;
    assert_eq!(outcome.faults().await, [Fault::Wrong]);
}

#[tokio::test]
async fn a_copy_that_went_to_another_sink_is_found() {
    let outcome = Outcome::good(Kind::Route).await;
    let mut moved = String::new();
    outcome.edit("rest.csv", |lines| moved = lines.remove(1));
    outcome.edit("third/part-00000.csv", |lines| lines.push(moved));
    assert!(outcome.faults_in("rest.csv").await.contains(&Fault::Lost));
    assert!(outcome.faults_in("third").await.contains(&Fault::Wrong));
}

#[tokio::test]
async fn a_copy_of_an_item_that_has_none_is_found() {
    for kind in [Kind::Dedupe, Kind::Rollback] {
        let outcome = Outcome::good(kind).await;
        outcome.edit("results.jsonl", |lines| {
            lines.push(lines[1].replace("\"adv-", "\"adv-9"));
        });
        assert_eq!(outcome.faults_in("results.jsonl").await, [Fault::Wrong], "{kind}");
    }
}

#[tokio::test]
async fn a_child_that_is_lost_or_doubled_is_found() {
    for kind in [Kind::Split, Kind::Replay] {
        let outcome = Outcome::good(kind).await;
        outcome.execute("delete from evidence where item_id = 'i0017'").await;
        assert_eq!(outcome.faults().await, [Fault::Lost], "{kind}");
        let outcome = Outcome::good(kind).await;
        outcome.edit("results.jsonl", |lines| lines.insert(17, lines[17].clone()));
        assert_eq!(outcome.faults_in("results.jsonl").await, [Fault::Doubled], "{kind}");
        let outcome = Outcome::good(kind).await;
        outcome.execute("delete from aqueduct_dead_letter where stage = 'double'").await;
        assert_eq!(outcome.faults().await, [Fault::Lost], "{kind}");
    }
}

#[tokio::test]
async fn a_letter_that_is_left_though_it_was_replayed_is_found() {
    let outcome = Outcome::good(Kind::Replay).await;
    outcome
        .execute("insert into aqueduct_dead_letter values ('crash', 'i9', 'double', 'no value', 1, '{\"id\":\"adv-000001.0\"}', 'x')")
        .await;
    assert_eq!(outcome.faults().await, [Fault::Wrong]);
}

#[tokio::test]
async fn replayed_lines_in_front_of_those_of_the_first_run_are_found() {
    let outcome = Outcome::good(Kind::Replay).await;
    outcome.edit("results.jsonl", |lines| lines.rotate_right(1));
    assert_eq!(outcome.faults().await, [Fault::Wrong]);
}

#[tokio::test]
async fn what_a_rollback_left_of_the_old_values_is_found() {
    let outcome = Outcome::good(Kind::Rollback).await;
    outcome.execute("update evidence set weight = weight + 1 where item_id = 'i0003'").await;
    assert_eq!(outcome.faults().await, [Fault::Wrong]);
}
