use crate::support::{Folder, TO_FILE, TO_TABLE, numbers};

/// Runs `input` into a file: its neighbours pass, and it is set aside for `reason`.
#[track_caller]
fn set_aside(input: impl AsRef<[u8]>, passes: &str, reason: &str) {
    let folder = Folder::new(TO_FILE, input);
    let call = folder.run(&[]);
    assert_eq!(call.code, 3, "{call:?}");
    assert_eq!(folder.read("out.jsonl"), passes);
    assert_eq!(folder.reasons(), [reason]);
    assert_eq!(folder.run(&[]).code, 4, "a line that was set aside is not read again");
}

#[test]
fn a_malformed_line() {
    set_aside(
        "{\"n\":0}\n{\"n\":}\n{\"n\":2}\n",
        "{\"n\":0}\n{\"n\":2}\n",
        "line 2: not JSON: unexpected '}' at byte 6",
    );
}

#[test]
fn a_line_that_is_json_but_no_object() {
    let reason = "line 1: JSON, but not an object at byte 1; each line must be one object like {\"id\":1}";
    set_aside("[1]\n{\"n\":1}\n", "{\"n\":1}\n", reason);
}

#[test]
fn invalid_utf_8() {
    set_aside(b"{\"n\":\"\xff\"}\n{\"n\":1}\n", "{\"n\":1}\n", "line 1: not valid UTF-8 at byte 7");
}

#[test]
fn a_nul_byte() {
    let reason = "line 1: not JSON: control character 0x00 inside a text at byte 7; it must be escaped";
    set_aside(b"{\"n\":\"\x00\"}\n{\"n\":1}\n", "{\"n\":1}\n", reason);
}

#[test]
fn a_truncated_last_line() {
    let reason = "line 2 (the last, without a line end): JSON cut off after 5 bytes";
    set_aside("{\"n\":0}\n{\"n\":", "{\"n\":0}\n", reason);
}

#[test]
fn a_line_of_64_mib() {
    let long = format!("{{\"n\":0}}\n{{\"x\":\"{}\"}}\n{{\"n\":2}}\n", "y".repeat(64 * 1024 * 1024));
    let reason = "line 2 has 67108873 bytes; the limit is 1048576 (source key line_bytes_max)";
    set_aside(long, "{\"n\":0}\n{\"n\":2}\n", reason);
}

#[test]
fn json_nested_100_000_deep() {
    let deep = format!("{{\"n\":{}{}}}\n{{\"n\":1}}\n", "[".repeat(100_000), "]".repeat(100_000));
    set_aside(deep, "{\"n\":1}\n", "line 1: nested deeper than 128 levels at byte 133");
}

#[test]
fn a_byte_order_mark_carriage_returns_duplicate_keys_and_wide_numbers_are_no_errors() {
    let input = "\u{feff}{\"n\":1,\"n\":2}\r\n{\"n\":123456789012345678901234567890}\r\n";
    let folder = Folder::new(TO_FILE, input);
    assert_eq!(folder.run(&[]).code, 0);
    assert_eq!(folder.read("out.jsonl"), "{\"n\":2}\n{\"n\":123456789012345678901234567890}\n");
    let folder = Folder::new(TO_TABLE, input);
    assert_eq!(folder.run(&[]).code, 0);
    assert_eq!(
        folder.sql("out.db", "select n || '' from items order by item_id"),
        "2,123456789012345678901234567890"
    );
}

#[test]
fn an_empty_file_is_nothing_to_do() {
    let folder = Folder::new(TO_FILE, "");
    assert_eq!(folder.run(&[]).code, 4);
    folder.write("in.jsonl", "\n \r\n");
    assert_eq!(folder.run(&[]).code, 4);
}

#[test]
fn a_missing_file_and_a_folder() {
    let folder = Folder::new(TO_FILE, "");
    std::fs::remove_file(folder.at("in.jsonl")).unwrap();
    folder.run(&[]).fails(78, &["in.jsonl does not exist"]);
    std::fs::create_dir(folder.at("in.jsonl")).unwrap();
    folder.run(&[]).fails(78, &["in.jsonl is a folder; name one file in it"]);
    folder.call(&["run", "nowhere.toml"]).fails(78, &["nowhere.toml"]);
    folder.call(&["run", "."]).fails(78, &["folder"]);
}

#[test]
fn an_expression_that_does_not_compile_names_the_place() {
    let pipeline = TO_FILE
        .replace("[sink]", "[[stage]]\nname = \"f\"\ntype = \"filter\"\nwhen = \"item.n + 1\"\n[sink]");
    let folder = Folder::new(&pipeline, numbers(1));
    folder.run(&[]).fails(78, &["pipeline.toml:9:"]);
    let pipeline = pipeline.replace("item.n + 1", "itm.n > 1");
    Folder::new(&pipeline, numbers(1)).run(&[]).fails(78, &["pipeline.toml:9:9", "did you mean \"item\"?"]);
}

#[test]
fn an_expression_that_fails_on_one_item_stops_there_by_default_and_names_the_field() {
    let pipeline = TO_FILE
        .replace("[sink]", "[[stage]]\nname = \"f\"\ntype = \"filter\"\nwhen = \"item.n >= 0\"\n[sink]");
    let folder = Folder::new(&pipeline, "{\"n\":0}\n{\"m\":1}\n{\"n\":2}\n");
    folder.run(&[]).fails(
        1,
        &[
            "f failed on item a0a0a8; everything before it is committed",
            "item has no field \"n\"",
            "it has m",
        ],
    );
    assert_eq!(folder.read("out.jsonl"), "{\"n\":0}\n");
    let mended = folder.run(&["--set", "stage.f.on_error=dead-letter"]);
    assert_eq!(mended.code, 3, "{mended:?}");
    assert_eq!(folder.read("out.jsonl"), "{\"n\":0}\n{\"n\":2}\n");
}

#[test]
fn an_existing_table_with_other_columns() {
    let folder = Folder::new(TO_TABLE, numbers(3));
    folder.sql("out.db", "create table items (a, b)");
    folder.run(&[]).fails(1, &["table items is there already, with the columns a, b and without item_id"]);
    let folder = Folder::new(TO_TABLE, numbers(3));
    folder.sql("out.db", "create table items (item_id primary key, other) without rowid");
    folder.run(&[]).fails(1, &["field n has no column in table items (it has other)"]);
    assert_eq!(folder.sql("out.db", "select count(*) || '' from items"), "0");
}

#[test]
fn an_existing_table_with_a_strangers_rows() {
    let folder = Folder::new(TO_TABLE, numbers(3));
    folder.sql("out.db", "create table items (item_id primary key, n) without rowid");
    folder.sql("out.db", "insert into items values ('x', 1)");
    folder.run(&[]).fails(1, &["table items already holds rows that this pipeline did not write"]);
}

/// The next run made the table anew with the new rows only, and nobody was told.
#[test]
fn a_table_that_somebody_removed() {
    let folder = Folder::new(TO_TABLE, numbers(3));
    assert_eq!(folder.run(&[]).code, 0);
    folder.sql("out.db", "drop table items");
    folder.write("in.jsonl", numbers(4));
    folder.run(&[]).fails(1, &["table items is gone, and what was delivered to it", "--accept-change"]);
    assert_eq!(folder.run(&["--accept-change"]).code, 0);
    assert_eq!(folder.sql("out.db", "select n || '' from items"), "3");
}

#[test]
fn two_processes_on_one_data_folder() {
    let folder = Folder::new(TO_FILE, numbers(3));
    std::fs::create_dir_all(folder.at(".aqueduct/t")).unwrap();
    let lock = std::fs::File::create(folder.at(".aqueduct/t/lock")).unwrap();
    lock.lock().unwrap();
    folder.run(&[]).fails(1, &[".aqueduct/t is in use by another run"]);
    lock.unlock().unwrap();
    assert_eq!(folder.run(&[]).code, 0);
}

#[test]
fn a_ledger_of_a_newer_version() {
    let folder = Folder::new(TO_FILE, numbers(3));
    assert_eq!(folder.run(&[]).code, 0);
    folder.sql(".aqueduct/t/ledger.db", "update aqueduct_meta set value = 99 where key = 'format'");
    let before = std::fs::read(folder.at(".aqueduct/t/ledger.db")).unwrap();
    for verb in ["run", "status"] {
        folder
            .call(&[verb])
            .fails(1, &["ledger.db holds a ledger of format 99; this aqueduct reads up to format 3"]);
    }
    assert_eq!(before, std::fs::read(folder.at(".aqueduct/t/ledger.db")).unwrap());
}

#[test]
fn a_damaged_database_file() {
    let folder = Folder::new(TO_TABLE, numbers(3));
    folder
        .write("out.db", "this is not a database, it is a text that somebody put here by mistake".repeat(20));
    let before = folder.read("out.db");
    folder.run(&[]).fails(1, &["out.db is damaged or not a SQLite database; nothing was changed"]);
    assert_eq!(folder.read("out.db"), before);
    let folder = Folder::new(TO_TABLE, numbers(3));
    assert_eq!(folder.run(&[]).code, 0);
    let mut bytes = std::fs::read(folder.at("out.db")).unwrap();
    bytes[4096..].fill(0x5a);
    folder.write("out.db", bytes);
    folder.run(&[]).fails(1, &["out.db is damaged"]);
}

#[test]
fn output_files_that_the_ledger_does_not_know() {
    let folder = Folder::new(TO_FILE, numbers(3));
    folder.write("out.jsonl", "mine\n");
    folder.run(&[]).fails(1, &["out.jsonl is there already and this pipeline did not write it"]);
    assert_eq!(folder.read("out.jsonl"), "mine\n");
}
