//! What only the SQLite store promises.

use std::fs;
use std::path::{Path, PathBuf};

use aqueduct_core::{Classified, ErrorClass, Position};
use aqueduct_store::{Commit, CommitError, Conflict, DeadLetterFilter, OpenError, SqliteStore, Store, Value};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use crate::conformance::epoch::{PIPELINE, advance, change, claim, epoch, letter, rows, table, text};
use crate::place::{Place, Sqlite, connect};

async fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(path).await
}

/// A closed database with one epoch in it.
async fn with_one_epoch() -> (Sqlite, PathBuf) {
    let place = Sqlite::fresh();
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let results = table("results", &["value"], Conflict::Refuse);
    let mut commit = epoch(fence);
    commit.tables.push(results.as_ref().clone());
    commit.rows.push(rows(&results, &[("i1", "v")]));
    commit.dead_letters.push(letter("i2", "score"));
    commit.state.push(change("k", Some("v")));
    commit.advances.push(advance(0, 0, "1"));
    store.commit(commit).await.expect("the commit succeeds");
    store.close().await.expect("the store closes");
    let path = place.path();
    (place, path)
}

/// Runs SQL behind the store's back.
async fn execute(path: &Path, sql: &str) {
    let mut connection = connect(path).await;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("the statement runs");
    connection.close().await.expect("the connection closes");
}

async fn number(connection: &mut SqliteConnection, sql: &'static str) -> i64 {
    sqlx::query(sql).fetch_one(connection).await.expect("the statement runs").get(0)
}

fn files(path: &Path) -> Vec<String> {
    let folder = fs::read_dir(path.parent().expect("it has a folder")).expect("the folder is there");
    let mut names: Vec<String> =
        folder.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn the_bundled_sqlite_has_the_fix_for_the_log_reset_bug() {
    // Before 3.51.3 two connections that wrote and checkpointed at once could corrupt a database.
    let place = Sqlite::fresh();
    let row = sqlx::query("select sqlite_version()").fetch_one(&mut connect(&place.path()).await).await;
    let version: String = row.expect("the statement runs").get(0);
    let numbers: Vec<u32> = version.split('.').map(|part| part.parse().expect("a number")).collect();
    assert!(numbers >= vec![3, 51, 3], "{version}");
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_named_and_left_alone() {
    let place = Sqlite::fresh();
    let path = place.path();
    fs::write(&path, "id,passed\n".repeat(1_000)).expect("written");
    let before = fs::read(&path).expect("readable");
    let error = open(&path).await.expect_err("it is no database");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Invalid);
    assert_eq!(
        error.to_string(),
        format!(
            "{} is damaged or not a SQLite database; nothing was changed; restore it from a copy, or move it \
             away to start over",
            path.display()
        )
    );
    assert_eq!(fs::read(&path).expect("readable"), before);
    assert_eq!(files(&path), ["ledger.db"]);
}

#[tokio::test]
async fn a_damaged_page_of_the_ledger_is_found_at_the_start() {
    for name in ["aqueduct_partition", "aqueduct_file", "aqueduct_pipeline"] {
        let (_place, path) = with_one_epoch().await;
        damage(&path, name).await;
        let error = open(&path).await.expect_err("a page is damaged");
        assert!(matches!(error, OpenError::Damaged { .. }), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn a_damaged_page_found_later_names_the_file() {
    let (_place, path) = with_one_epoch().await;
    damage(&path, "aqueduct_dead_letter").await;
    damage(&path, "results").await;
    let mut store = open(&path).await.expect("these tables are not read at the start");
    let error = store.dead_letters(PIPELINE, Default::default()).await.expect_err("a page is damaged");
    assert!(error.to_string().starts_with(&format!("{} is damaged", path.display())), "{error}");

    let fence = claim(&mut store, &["a"]).await.fence;
    let mut commit = epoch(fence);
    commit.rows.push(rows(&table("results", &["value"], Conflict::Refuse), &[("i3", "v")]));
    let error = store.commit(commit).await.expect_err("a page is damaged");
    assert!(matches!(error, CommitError::Damaged { .. }), "{error:?}");
}

/// Overwrites the first page of a table.
async fn damage(path: &Path, table: &'static str) {
    let mut connection = connect(path).await;
    let sql = "select rootpage from sqlite_schema where name = ?";
    let row = sqlx::query(sql).bind(table).fetch_one(&mut connection).await.expect("the table is there");
    let page: i64 = row.get(0);
    let size = number(&mut connection, "pragma page_size").await;
    connection.close().await.expect("the connection closes");
    let mut bytes = fs::read(path).expect("readable");
    let start = usize::try_from((page - 1) * size).expect("a small file");
    let end = start + usize::try_from(size).expect("a small page");
    bytes[start..end].fill(0xa5);
    fs::write(path, bytes).expect("written");
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name_and_left_alone() {
    let (_place, path) = with_one_epoch().await;
    execute(&path, "update aqueduct_meta set value = 7 where key = 'format'").await;
    let before = fs::read(&path).expect("readable");
    let refused = [open(&path).await, SqliteStore::open_read_only(&path).await];
    for error in refused.map(|refused| refused.expect_err("the format is newer")) {
        assert!(matches!(error, OpenError::Newer { found: 7, supported: 3, .. }), "{error:?}");
        let message = error.to_string();
        assert!(
            message.ends_with(
                "holds a ledger of format 7; this aqueduct reads up to format 3; upgrade aqueduct"
            )
        );
    }
    assert_eq!(fs::read(&path).expect("readable"), before);
    assert_eq!(files(&path), ["ledger.db"]);
}

#[tokio::test]
async fn a_folder_is_not_a_database() {
    let place = Sqlite::fresh();
    fs::create_dir(place.path()).expect("made");
    for refused in [open(&place.path()).await, SqliteStore::open_read_only(place.path()).await] {
        let error = refused.expect_err("it is a folder");
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_missing_folder_is_not_made() {
    let place = Sqlite::fresh();
    let path = place.path().join("deeper/ledger.db");
    let error = open(&path).await.expect_err("the folder is missing");
    assert!(matches!(error, OpenError::Backend { .. }), "{error:?}");
    assert!(!place.path().exists());
}

// A place that nobody can write, root included; elsewhere permissions would not stop a test that runs as root.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_place_that_cannot_be_written_is_read_only() {
    let error = open(Path::new("/sys/ledger.db")).await.expect_err("nobody can write there");
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "/sys/ledger.db cannot be written: the file, its folder or its disk is read-only"
    );
}

#[tokio::test]
async fn a_database_that_somebody_holds_is_busy() {
    let (_place, path) = with_one_epoch().await;
    let mut store = open(&path).await.expect("nobody holds it yet");
    let mut holder = connect(&path).await;
    sqlx::raw_sql("begin immediate").execute(&mut holder).await.expect("the lock is free");
    let error = open(&path).await.expect_err("somebody holds it");
    assert!(matches!(error, OpenError::Busy { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Transient);
    let error = store.claim(Default::default()).await.expect_err("somebody holds it");
    assert!(matches!(error, aqueduct_store::ClaimError::Busy(_)), "{error:?}");

    sqlx::raw_sql("rollback").execute(&mut holder).await.expect("the lock goes");
    claim(&mut store, &["a"]).await;
}

#[tokio::test]
async fn a_reader_sees_every_finished_epoch_beside_a_writer() {
    let place = Sqlite::fresh();
    let mut writer = place.open().await;
    let mut reader = SqliteStore::open_read_only(place.path()).await.expect("the file is there");
    assert_eq!(reader.ledger(PIPELINE).await.expect("readable"), None);
    let fence = claim(writer.as_mut(), &["a"]).await.fence;
    for number in 0..3 {
        let mut commit = epoch(fence);
        commit.advances.push(advance(0, number, "1"));
        commit.dead_letters.push(letter(&format!("i{number}"), "score"));
        writer.commit(commit).await.expect("the commit succeeds");
        let ledger = reader.ledger(PIPELINE).await.expect("readable").expect("claimed");
        assert_eq!(ledger.epoch, number + 1);
        assert_eq!(reader.dead_letter_count(PIPELINE).await.expect("readable"), number + 1);
    }
    // A reader in the middle of something does not hold the writer up.
    let mut other = connect(&place.path()).await;
    sqlx::raw_sql("begin; select * from aqueduct_pipeline").execute(&mut other).await.expect("readable");
    writer.commit(epoch(fence)).await.expect("the commit succeeds");
}

#[tokio::test]
async fn a_reader_makes_no_file_and_writes_nothing() {
    let (place, path) = with_one_epoch().await;
    let before = fs::read(&path).expect("readable");
    let mut reader = SqliteStore::open_read_only(&path).await.expect("the file is there");
    assert_eq!(reader.ledger(PIPELINE).await.expect("readable").expect("claimed").epoch, 1);
    reader.claim(Default::default()).await.expect_err("it is read-only");
    Box::new(reader).close().await.expect("the store closes");
    assert_eq!(fs::read(&path).expect("readable"), before);
    assert_eq!(files(&path), ["ledger.db"]);

    let missing = place.path().with_file_name("missing.db");
    let error = SqliteStore::open_read_only(&missing).await.expect_err("there is no file");
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    assert_eq!(files(&path), ["ledger.db"]);
}

#[tokio::test]
async fn a_reader_of_a_database_without_a_ledger_finds_nothing() {
    let place = Sqlite::fresh();
    execute(&place.path(), "create table theirs (id)").await;
    let mut reader = SqliteStore::open_read_only(place.path()).await.expect("the file is there");
    assert_eq!(reader.ledger(PIPELINE).await.expect("readable"), None);
    assert_eq!(reader.dead_letters(PIPELINE, Default::default()).await.expect("readable"), []);
    assert_eq!(reader.checkpoints(PIPELINE).await.expect("readable"), []);
    assert!(reader.table("theirs").await.expect("readable").is_some());
}

#[tokio::test]
async fn only_a_new_database_gets_our_application_id() {
    let (_place, path) = with_one_epoch().await;
    assert_eq!(number(&mut connect(&path).await, "pragma application_id").await, 0x4171_6474);

    let place = Sqlite::fresh();
    execute(&place.path(), "pragma application_id = 7").await;
    place.open().await.close().await.expect("the store closes");
    assert_eq!(number(&mut connect(&place.path()).await, "pragma application_id").await, 7);

    let place = Sqlite::fresh();
    execute(&place.path(), "create table theirs (id); insert into theirs values (1)").await;
    place.open().await.close().await.expect("the store closes");
    let mut connection = connect(&place.path()).await;
    assert_eq!(number(&mut connection, "pragma application_id").await, 0);
    assert_eq!(number(&mut connection, "select id from theirs").await, 1);
}

#[tokio::test]
async fn a_table_that_a_person_made_is_adopted_and_keeps_its_types() {
    let place = Sqlite::fresh();
    execute(
        &place.path(),
        "create table results (Value text, item_id text not null, id integer not null);
         create unique index by_id on results (id)",
    )
    .await;
    let mut store = place.open().await;
    let found = store.table("results").await.expect("readable").expect("made above");
    assert_eq!((found.columns, found.has_item_id), (vec!["Value".to_owned(), "id".to_owned()], true));
    let results = table("results", &["id", "value"], Conflict::ReplaceBy("id".to_owned()));
    let fence = claim(store.as_mut(), &[]).await.fence;
    for value in [1, 2] {
        let mut commit = epoch(fence);
        commit.tables.push(results.as_ref().clone());
        let mut more = aqueduct_store::Rows::new(results.clone());
        more.push(format!("i{value}"), [Value::Integer(7), Value::Integer(value)]);
        commit.rows.push(more);
        store.commit(commit).await.expect("the commit succeeds");
    }
    let kept = place.rows("results", &["id", "value"]).await;
    assert_eq!(kept, [[text("i2"), Value::Integer(7), text("2")]]);
}

#[tokio::test]
async fn a_table_without_item_id_is_refused() {
    let place = Sqlite::fresh();
    execute(&place.path(), "create table results (value)").await;
    let mut store = place.open().await;
    let found = store.table("results").await.expect("readable").expect("made above");
    assert!(!found.has_item_id);
    let fence = claim(store.as_mut(), &[]).await.fence;
    let mut commit = epoch(fence);
    commit.tables.push(table("results", &["value"], Conflict::Refuse).as_ref().clone());
    match store.commit(commit).await {
        Err(CommitError::Columns { found, wanted, .. }) => {
            assert_eq!((found.as_str(), wanted.as_str()), ("value", "item_id, value"));
        }
        other => panic!("expected other columns, got {other:?}"),
    }
}

#[tokio::test]
async fn a_violated_foreign_key_takes_the_epoch_back_and_is_not_unknown() {
    let place = Sqlite::fresh();
    execute(
        &place.path(),
        "create table project (id primary key);
         create table results (item_id primary key, value references project (id) deferrable initially deferred)",
    )
    .await;
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let results = table("results", &["value"], Conflict::Refuse);
    let mut commit = epoch(fence);
    commit.rows.push(rows(&results, &[("i1", "no such project")]));
    commit.advances.push(advance(0, 0, "1"));
    let error = store.commit(commit).await.expect_err("the key is violated");
    assert!(matches!(error, CommitError::Backend(_)), "{error:?}");
    assert_eq!(store.ledger(PIPELINE).await.expect("readable").expect("claimed").epoch, 0);
    store.commit(epoch(fence)).await.expect("the store goes on");
}

#[test]
fn stores_can_be_sent_and_shown() {
    fn check<T: Send + std::fmt::Debug>() {}
    check::<SqliteStore>();
    check::<aqueduct_store::MemoryStore>();
}

/// The ledger's tables as format 2 had them, as far as format 3 changed them.
const FORMAT_2: &str = "
alter table aqueduct_checkpoint drop column configuration;
alter table aqueduct_checkpoint drop column checksum;
update aqueduct_meta set value = 2 where key = 'format';
";

/// The ledger's tables as format 1 had them, as far as format 2 changed them.
const FORMAT_1: &str = "
alter table aqueduct_partition drop column next_item;
alter table aqueduct_dead_letter drop column children;
alter table aqueduct_checkpoint drop column files;
update aqueduct_meta set value = 1 where key = 'format';
";

async fn downgrade<const N: usize>(place: &Sqlite, steps: [&'static str; N]) {
    let statements = steps.into_iter().flat_map(|step| step.split(';'));
    for statement in statements.filter(|statement| !statement.trim().is_empty()) {
        execute(&place.path(), statement).await;
    }
}

/// Two checkpoints, the older one first.
async fn with_two_checkpoints() -> Sqlite {
    let place = Sqlite::fresh();
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    for (at, name) in ["first", "second"].into_iter().enumerate() {
        let mut commit = epoch(fence);
        commit.advances = vec![advance(0, at as u64, "10")];
        commit.files =
            vec![aqueduct_store::FileMark { sink: "out".into(), part: "p".into(), bytes: 7, items: 1 }];
        commit.checkpoint = Some(name.to_owned());
        store.commit(commit).await.expect("the commit succeeds");
    }
    store.close().await.expect("it closes");
    place
}

#[tokio::test]
async fn checkpoints_of_format_2_stay_and_are_read_before_and_after_it_is_brought_up_to_date() {
    let place = with_two_checkpoints().await;
    downgrade(&place, [FORMAT_2]).await;
    let mut reader = SqliteStore::open_read_only(&place.path()).await.expect("it opens");
    let before = reader.checkpoints(PIPELINE).await.expect("readable");
    Box::new(reader).close().await.expect("it closes");
    let mut store = place.open().await;
    let after = store.checkpoints(PIPELINE).await.expect("readable");
    assert_eq!(before, after);
    assert_eq!(after.len(), 2);
    assert!(after.iter().all(|kept| kept.damage.is_none() && kept.configuration.is_empty()));
}

/// Each of these is one value that somebody else wrote.
#[tokio::test]
async fn a_checkpoint_that_is_not_what_was_recorded_says_so_and_the_others_stay_readable() {
    for change in [
        "update aqueduct_checkpoint set positions = replace(positions, '10', '11') where name = 'second'",
        "update aqueduct_checkpoint set positions = '[' where name = 'second'",
        "update aqueduct_checkpoint set files = replace(files, '7', '6') where name = 'second'",
        "update aqueduct_checkpoint set read = read + 1 where name = 'second'",
        "update aqueduct_checkpoint set at = at + 1 where name = 'second'",
        "update aqueduct_checkpoint set configuration = 'x' where name = 'second'",
        "update aqueduct_checkpoint set checksum = checksum + 1 where name = 'second'",
        "update aqueduct_checkpoint set checksum = 'x' where name = 'second'",
        "update aqueduct_checkpoint set epoch = epoch + 1 where name = 'second'",
    ] {
        let place = with_two_checkpoints().await;
        execute(&place.path(), change).await;
        let mut store = place.open().await;
        let found = store.checkpoints(PIPELINE).await.expect("readable");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].damage, None, "{change}");
        assert!(found[1].damage.is_some(), "{change}");
    }
}

#[tokio::test]
async fn an_older_ledger_is_brought_up_to_date_and_keeps_what_it_holds() {
    let place = Sqlite::fresh();
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let mut commit = epoch(fence);
    commit.advances = vec![advance(0, 0, "10")];
    commit.dead_letters = vec![letter("a0a0a1", "score")];
    commit.checkpoint = Some("old".to_owned());
    store.commit(commit).await.expect("the commit succeeds");
    store.close().await.expect("it closes");
    downgrade(&place, [FORMAT_2, FORMAT_1]).await;

    let mut store = place.open().await;
    let claimed = claim(store.as_mut(), &["a"]).await;
    assert_eq!(claimed.partitions[0].position, Some(Position::new("10")));
    let letters = store.dead_letters(PIPELINE, DeadLetterFilter::default()).await.expect("readable");
    assert_eq!((letters.len(), letters[0].children), (1, 0));
    assert_eq!(store.checkpoints(PIPELINE).await.expect("readable"), []);
    let commit = Commit {
        advances: vec![advance(0, 1, "20")],
        checkpoint: Some("new".to_owned()),
        ..epoch(claimed.fence)
    };
    store.commit(commit).await.expect("the commit succeeds");
    assert_eq!(store.checkpoints(PIPELINE).await.expect("readable")[0].positions[0].next_item, "a0a0b20");
}
