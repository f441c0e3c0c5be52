//! Outcomes made by hand: a good one passes, and every way to break it is found.

use std::fs;
use std::path::Path;

use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};

use super::{Fault, check};
use crate::generator::Input;
use crate::oracle::Expected;
use crate::workload::{Places, SinkKind};

const SCHEMA: &str = "
    create table aqueduct_pipeline (pipeline, read, spawned, delivered, dead_lettered, skipped, absorbed, dropped,
        abandoned, in_flight);
    create table aqueduct_partition (pipeline, name, position);
    create table aqueduct_file (pipeline, sink, part, bytes, items);
    create table aqueduct_dead_letter (pipeline, item_id, stage, reason, attempts, original);
    create table evidence (item_id, id, project, passed, score);";

const TABLE: &str = "create table evidence (item_id, id, project, passed, score);";

/// An outcome in a folder, and what it must be.
struct Outcome {
    folder: tempfile::TempDir,
    expected: Expected,
}

impl Outcome {
    async fn good(sink: SinkKind) -> Self {
        let expected = Expected::of(&Input::generate(5, 60), sink);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let outcome = Self { folder, expected };
        outcome.write_files();
        outcome.write_ledger().await;
        outcome
    }

    fn places(&self) -> Places {
        Places::of(self.folder.path(), self.expected.sink)
    }

    fn write_files(&self) {
        let places = self.places();
        fs::create_dir(&places.alerts).expect("made");
        let mut alerts = String::new();
        for item in self.expected.scored.iter().filter(|item| item.is_alerted()) {
            let time = "2026-11-20T23:51:49.000Z";
            let alert = json!({"id": item.id, "score": item.score, "threshold": 50.0, "time": time});
            alerts.push_str(&format!("{alert}\n"));
        }
        let parts =
            json!([{"part": "part-00000.jsonl", "bytes": alerts.len(), "items": alerts.lines().count()}]);
        fs::write(places.alerts.join("manifest.json"), json!({"format": 1, "parts": parts}).to_string())
            .expect("written");
        fs::write(places.alerts.join("part-00000.jsonl"), alerts).expect("written");
        if self.expected.sink.has_file() {
            let line = |item: &crate::oracle::Scored| {
                format!(
                    "{}\n",
                    json!({"id": item.id, "project": item.project, "passed": item.passed, "score": item.score})
                )
            };
            let lines: String = self.expected.scored.iter().map(line).collect();
            fs::write(&places.results, lines).expect("written");
        }
    }

    async fn write_ledger(&self) {
        let places = self.places();
        fs::create_dir(self.folder.path().join("data")).expect("made");
        self.execute(SCHEMA).await;
        let counts = self.expected.counts();
        let names: Vec<&str> = counts.keys().copied().collect();
        let values: Vec<String> = counts.values().map(u64::to_string).collect();
        let (names, values) = (names.join(", "), values.join(", "));
        self.execute(&format!(
            "insert into aqueduct_pipeline (pipeline, {names}) values ('crash', {values})"
        ))
        .await;
        let position = json!({"format": 1, "offset": self.expected.input_bytes});
        self.execute(&format!(
            "insert into aqueduct_partition values ('crash', 'input.jsonl', '{position}')"
        ))
        .await;
        self.mark("alerts", "part-00000.jsonl", &places.alerts.join("part-00000.jsonl")).await;
        if self.expected.sink.has_file() {
            self.mark("lines", "results.jsonl", &places.results).await;
        }
        let mut ledger = connect(&places.ledger).await;
        for (at, letter) in self.expected.letters.iter().enumerate() {
            sqlx::query("insert into aqueduct_dead_letter values ('crash', ?, ?, 'no coverage', 1, ?)")
                .bind(format!("i{at:04}"))
                .bind(letter.stage)
                .bind(letter.original.as_bytes())
                .execute(&mut ledger)
                .await
                .expect("inserted");
        }
        self.write_rows(&mut ledger).await;
        ledger.close().await.expect("closed");
        if self.expected.sink.has_second_table() {
            self.execute_second(TABLE).await;
            let mut second = connect(&places.second).await;
            self.write_rows(&mut second).await;
            second.close().await.expect("closed");
        }
    }

    async fn write_rows(&self, database: &mut SqliteConnection) {
        for (at, item) in self.expected.scored.iter().enumerate() {
            sqlx::query("insert into evidence values (?, ?, ?, ?, ?)")
                .bind(format!("i{at:04}"))
                .bind(&item.id)
                .bind(&item.project)
                .bind(item.passed)
                .bind(item.score)
                .execute(&mut *database)
                .await
                .expect("inserted");
        }
    }

    async fn mark(&self, sink: &str, part: &str, path: &Path) {
        let content = fs::read_to_string(path).expect("readable");
        let (bytes, items) = (content.len(), content.lines().count());
        self.execute(&format!(
            "insert into aqueduct_file values ('crash', '{sink}', '{part}', {bytes}, {items})"
        ))
        .await;
    }

    async fn execute(&self, sql: &str) {
        execute(&self.places().ledger, sql).await;
    }

    async fn execute_second(&self, sql: &str) {
        execute(&self.places().second, sql).await;
    }

    /// Rewrites a file's lines.
    fn edit(&self, file: &str, change: impl FnOnce(&mut Vec<String>)) {
        let path = self.folder.path().join(file);
        let content = fs::read_to_string(&path).expect("readable");
        let mut lines = content.split_inclusive('\n').map(str::to_owned).collect();
        change(&mut lines);
        fs::write(path, lines.concat()).expect("written");
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
    for sink in SinkKind::ALL {
        let outcome = Outcome::good(sink).await;
        assert_eq!(check(outcome.folder.path(), &outcome.expected).await, []);
    }
}

#[tokio::test]
async fn a_lost_row_is_found() {
    let outcome = Outcome::good(SinkKind::Sqlite).await;
    outcome.execute("delete from evidence where item_id = 'i0017'").await;
    assert_eq!(outcome.faults().await, [Fault::Lost]);
}

#[tokio::test]
async fn a_doubled_row_is_found() {
    let outcome = Outcome::good(SinkKind::Both).await;
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
        let outcome = Outcome::good(SinkKind::Second).await;
        outcome.execute_second(change).await;
        assert!(outcome.faults().await.contains(&fault), "{change}");
    }
    let outcome = Outcome::good(SinkKind::Second).await;
    fs::remove_file(outcome.places().second).expect("removed");
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
        let outcome = Outcome::good(SinkKind::Sqlite).await;
        outcome.execute(&format!("update evidence set {change} where item_id = 'i0017'")).await;
        assert!(outcome.faults().await.contains(&Fault::Wrong), "{change}");
    }
    let outcome = Outcome::good(SinkKind::Jsonl).await;
    outcome.edit("results.jsonl", |lines| lines[3] = lines[3].replace("\"score\":", "\"score\":1"));
    assert!(outcome.faults().await.contains(&Fault::Wrong));
}

#[tokio::test]
async fn a_lost_line_is_found() {
    for file in ["results.jsonl", "alerts/part-00000.jsonl"] {
        let outcome = Outcome::good(SinkKind::Jsonl).await;
        outcome.edit(file, |lines| drop(lines.remove(3)));
        assert!(outcome.faults().await.contains(&Fault::Lost), "{file}");
    }
}

#[tokio::test]
async fn a_doubled_line_is_found() {
    for file in ["results.jsonl", "alerts/part-00000.jsonl"] {
        let outcome = Outcome::good(SinkKind::Jsonl).await;
        outcome.edit(file, |lines| lines.insert(3, lines[3].clone()));
        assert!(outcome.faults().await.contains(&Fault::Doubled), "{file}");
    }
}

#[tokio::test]
async fn lines_out_of_order_are_found() {
    let outcome = Outcome::good(SinkKind::Jsonl).await;
    outcome.edit("results.jsonl", |lines| lines.swap(3, 4));
    assert_eq!(outcome.faults().await, [Fault::Wrong]);
}

#[tokio::test]
async fn half_a_line_is_found() {
    for file in ["results.jsonl", "alerts/part-00000.jsonl"] {
        let outcome = Outcome::good(SinkKind::Jsonl).await;
        outcome.edit(file, |lines| lines.push("{\"id\":\"adv-0".to_owned()));
        assert_eq!(outcome.faults().await, [Fault::Wrong], "{file}");
    }
}

#[tokio::test]
async fn a_missing_letter_is_found() {
    let outcome = Outcome::good(SinkKind::Jsonl).await;
    outcome.execute("delete from aqueduct_dead_letter where item_id = 'i0001'").await;
    assert_eq!(outcome.faults().await, [Fault::Lost]);
}

#[tokio::test]
async fn a_doubled_or_wrong_letter_is_found() {
    let outcome = Outcome::good(SinkKind::Jsonl).await;
    outcome
        .execute(
            "insert into aqueduct_dead_letter select * from aqueduct_dead_letter where item_id = 'i0001'",
        )
        .await;
    assert_eq!(outcome.faults().await, [Fault::Doubled]);
    for change in ["stage = 'alert'", "original = 'else'", "reason = ''", "attempts = 0"] {
        let outcome = Outcome::good(SinkKind::Jsonl).await;
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
        let outcome = Outcome::good(SinkKind::Both).await;
        outcome.execute(change).await;
        assert_eq!(outcome.faults().await, [Fault::Wrong], "{change}");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_is_found() {
    for file in ["results.db", "results.jsonl", "alerts/part-00000.jsonl", "alerts/manifest.json"] {
        let outcome = Outcome::good(SinkKind::Both).await;
        fs::remove_file(outcome.folder.path().join(file)).expect("removed");
        assert!(outcome.faults().await.contains(&Fault::Wrong), "{file}");
    }
}

#[tokio::test]
async fn a_file_that_nobody_knows_is_found() {
    let outcome = Outcome::good(SinkKind::Jsonl).await;
    fs::write(outcome.places().alerts.join("part-00001.jsonl"), "").expect("written");
    assert_eq!(outcome.faults().await, [Fault::Wrong]);
}
