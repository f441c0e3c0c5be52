//! Faults of the disk. They are injected into real system calls; `cargo xtask test` installs what that needs.

use std::process::Command;

use crate::support::{Call, Folder, TO_FILE, TO_TABLE, numbers};

/// Runs the pipeline while `inject` (in the words of strace) goes wrong for `path` alone.
fn with_fault(folder: &Folder, path: &str, inject: &str) -> Call {
    let path = folder.at(path);
    let inject = format!("inject={inject}");
    let arguments = [
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-P",
        path.to_str().unwrap(),
        "-e",
        inject.as_str(),
        env!("CARGO_BIN_EXE_aqueduct"),
        "run",
        "pipeline.toml",
    ];
    let output = folder.program("strace", &arguments).output();
    Call::of(output.expect("strace runs; install it with: apt-get install strace"))
}

#[test]
fn a_full_disk_stops_the_run_and_the_next_one_finishes() {
    let folder = Folder::new(TO_FILE, numbers(1000));
    with_fault(&folder, "out.jsonl", "write:error=ENOSPC:when=1+")
        .fails(1, &["sink results: ", "out.jsonl cannot be written", "No space left on device"]);
    assert_eq!(folder.run(&[]).code, 0);
    assert_eq!(folder.read("out.jsonl"), numbers(1000));

    let folder = Folder::new(TO_TABLE, numbers(20_000));
    with_fault(&folder, "out.db-wal", "pwrite64:error=ENOSPC:when=40+").fails(1, &["disk is full"]);
    let call = folder.run(&[]);
    assert_eq!(call.code, 0, "{call:?}");
    assert_eq!(folder.sql("out.db", "select count(*) || ' ' || sum(n) from items"), "20000 199990000");
}

#[test]
fn a_failed_sync_stops_the_run_and_is_not_tried_again() {
    let folder = Folder::new(TO_FILE, numbers(1000));
    with_fault(&folder, "out.jsonl", "fdatasync:error=EIO:when=1").fails(
        1,
        &["syncing ", "out.jsonl failed; nothing of this epoch counts as written", "Input/output error"],
    );
    assert_eq!(folder.call(&["status", "-o", "json"]).json()["delivered"], 0);
    assert_eq!(folder.run(&[]).code, 0);
    assert_eq!(folder.read("out.jsonl"), numbers(1000));
}

/// Root may write anywhere, so a run as root is given to the user `nobody`, with a copy of the binary that this
/// user can reach: the checkout may lie in a private home.
#[cfg(unix)]
#[cfg(target_os = "linux")]
#[test]
fn data_that_cannot_be_written_makes_a_command_fail() {
    let folder = Folder::new(TO_FILE, numbers(3));
    for arguments in [&["status"][..], &["run", "-o", "json"], &["explain"], &["reference", "cli"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let call = Call::of(folder.command(arguments).stdout(full).output().unwrap());
        // A pipeline that has not run yet has no data to print.
        if arguments != ["status"] {
            call.fails(1, &["the standard output cannot be written: No space left on device"]);
        }
    }
    assert_eq!(folder.read("out.jsonl"), numbers(3), "the run itself is done");
}

#[test]
fn a_read_only_folder_is_named() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    let folder = Folder::new(TO_TABLE, numbers(3));
    let as_root = std::fs::metadata(folder.path()).unwrap().uid() == 0;
    let mut program = env!("CARGO_BIN_EXE_aqueduct").to_owned();
    if as_root {
        // By another process: a file that this one has open for writing could not be run.
        let copied = folder.program("cp", &[&program, "aqueduct"]).status().unwrap();
        assert!(copied.success());
        program = folder.at("aqueduct").display().to_string();
    }
    let call = |verb: &[&str], data_dir: &str| {
        let arguments = [verb, &["pipeline.toml", "--data-dir", data_dir]].concat();
        let mut command: Command = folder.program(&program, &arguments);
        if as_root {
            command.uid(65_534).gid(65_534);
        }
        mode(folder.path(), 0o555);
        let output = command.output().unwrap();
        mode(folder.path(), 0o755);
        Call::of(output)
    };
    let run = |data_dir: &str| call(&["run"], data_dir);
    let connect = |data_dir: &str| call(&["check", "--connect"], data_dir);
    run("/nowhere/data").fails(1, &["the data folder /nowhere/data cannot be written"]);

    let tried = connect("/nowhere/data");
    for piece in
        ["failed  data folder: ", "failed  sink results: out.db cannot be written: Permission denied"]
    {
        assert!(tried.code == 1 && tried.out.contains(piece), "{piece:?} is not in {tried:?}");
    }

    // With a data folder that can be written, the database is what cannot.
    let data = tempfile::tempdir().unwrap();
    mode(data.path(), 0o777);
    folder.sql("out.db", "create table other (a)");
    mode(&folder.at("out.db"), 0o444);
    run(data.path().to_str().unwrap())
        .fails(1, &["out.db cannot be written: the file, its folder or its disk is read-only"]);
}
