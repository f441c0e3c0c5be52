//! A backend as a person starts it.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use crate::run::signal;
use crate::support::{Call, Folder};

/// A backend that runs; killed when a test fails.
struct Running {
    child: Option<Child>,
    out: BufReader<ChildStdout>,
    /// What it said first.
    listening: String,
    /// `127.0.0.1:PORT` of each host.
    hosts: Vec<String>,
}

impl Running {
    /// Starts it on free ports and reads the line in which it says where.
    fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let arguments = [&["demo", "backend", "--port", "0", "-o", "jsonl"], arguments].concat();
        let mut command = folder.command(&arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut listening = String::new();
        out.read_line(&mut listening).unwrap();
        let told: Value = serde_json::from_str(&listening).unwrap();
        let urls = told["urls"].as_array().unwrap().iter();
        let hosts =
            urls.map(|url| url.as_str().unwrap().strip_prefix("http://").unwrap().to_owned()).collect();
        Self { child: Some(child), out, listening, hosts }
    }

    /// The status and the body of an answer.
    fn get(&self, host: usize, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.hosts[host]).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Stops it with a signal, and gives its last line.
    fn stop(mut self, name: &str) -> (i32, Value) {
        let child = self.child.take().unwrap();
        signal(child.id(), name);
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        let call = Call::of(child.wait_with_output().unwrap());
        assert!(call.err.contains("try:  curl -i http://127.0.0.1:"), "{call:?}");
        (call.code, serde_json::from_str(&rest).unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_backend_says_where_it_is_and_tells_its_account_when_it_is_stopped() {
    let folder = Folder::bare();
    for name in ["-INT", "-TERM"] {
        let backend = Running::start(&folder, &["--hosts", "2", "--quota", "3/h"]);
        assert_eq!(backend.hosts.len(), 2, "{}", backend.listening);
        let statuses: Vec<u16> = (0..5).map(|number| backend.get(number % 2, "/item/a").0).collect();
        assert_eq!(statuses, [200, 200, 200, 429, 429]);
        let (code, account) = backend.stop(name);
        assert_eq!(code, 0);
        let total = &account["total"];
        assert_eq!((&total["calls"], &total["ok"], &total["over_quota"]), (&5.into(), &3.into(), &2.into()));
        assert_eq!(account["hosts"][0]["calls"], 3);
        assert_eq!(total["calls_in_window_max"], 5);
    }
}

#[test]
fn what_was_told_is_what_it_does() {
    let folder = Folder::bare();
    std::fs::create_dir(folder.at("pages")).unwrap();
    folder.write("pages/a.html", "<p>Hello");
    let backend = Running::start(
        &folder,
        &["--pages", "pages", "--hosts", "2", "--outage", "1:0s..:503", "--records", "3"],
    );
    assert_eq!(backend.get(0, "/pages/a.html"), (200, "<p>Hello".to_owned()));
    assert_eq!(backend.get(1, "/pages/a.html").0, 503);
    let list: Value = serde_json::from_str(&backend.get(0, "/list").1).unwrap();
    assert_eq!(list["total"], 3);
    assert_eq!(backend.stop("-INT").0, 0);

    let fates = |seed: &str| {
        let backend = Running::start(&folder, &["--errors", "0.5", "--seed", seed]);
        (0..20).map(|_| backend.get(0, "/item/a").0).collect::<Vec<_>>()
    };
    assert_eq!(fates("7"), fates("7"));
}

#[test]
fn a_person_is_told_in_words() {
    let call = Folder::bare().call(&["demo", "backend", "--port", "0", "--hosts", "2", "--for", "0s"]);
    assert_eq!(call.code, 0, "{call:?}");
    let lines: Vec<&str> = call.out.lines().collect();
    assert!(lines[..2].iter().all(|line| line.starts_with("http://127.0.0.1:")), "{call:?}");
    assert_eq!(lines[2], "0 calls, at most 0 at once over 0 connections");
    assert_eq!(lines[4], "  host 1: 0 calls, at most 0 at once over 0 connections");
    assert!(call.err.contains("Ctrl-C stops it and prints the account"), "{call:?}");
}

#[test]
fn a_wrong_flag_is_exit_2_and_a_port_that_is_taken_exit_1() {
    let folder = Folder::bare();
    let demo = |arguments: &[&str]| folder.call(&[&["demo", "backend"], arguments].concat());
    demo(&["--errors", "2"]).fails(2, &["errors is 2.0, allowed is 0.0 to 1.0"]);
    demo(&["--quota", "100"]).fails(2, &["a quota is written 100/s, 60/m, 1000/h or 5/10s"]);
    demo(&["--outage", "3:1s.."]).fails(2, &["outage.host is 3, allowed is 0 to 0"]);
    demo(&["--pages", "nowhere"]).fails(2, &["nowhere cannot be read"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    demo(&["--port", &port]).fails(1, &[&port, "cannot be listened on", "--port 0"]);
}

#[test]
fn the_demonstration_delivers_every_item_and_goes_on_after_a_kill() {
    let folder = Folder::bare();
    let mut child = folder.command(&["demo", "--items", "1500"]).stderr(Stdio::null()).spawn().unwrap();
    // Killed as soon as anything is committed.
    let database = folder.at("aqueduct-demo/demo.db");
    while child.try_wait().unwrap().is_none() {
        if database.exists()
            && folder.sql("aqueduct-demo/demo.db", "select name from sqlite_schema where name = 'scores'")
                == "scores"
        {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    let call = folder.call(&["demo", "-o", "json"]);
    assert_eq!(call.code, 0, "{call:?}");
    assert!(call.err.contains("going on with"), "{call:?}");
    let rows =
        folder.sql("aqueduct-demo/demo.db", "select count(*) || '/' || count(distinct id) from scores");
    assert_eq!(rows, "1500/1500");
    assert_eq!(call.json()["dead_lettered"], 0);
    let call = folder.call(&["demo"]);
    assert_eq!(call.code, 4, "{call:?}");
    assert!(call.err.contains("to see it again, remove aqueduct-demo"), "{call:?}");
}

#[test]
fn a_dry_run_of_the_summariser_shows_each_request_and_writes_nothing() {
    let folder = Folder::bare();
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/summarise");
    for name in ["pipeline.toml", "urls.jsonl"] {
        folder.write(name, std::fs::read(example.join(name)).unwrap());
    }
    std::os::unix::fs::symlink(example.join("pages").canonicalize().unwrap(), folder.at("pages")).unwrap();
    let call = folder.run(&["--dry-run", "--limit", "10", "--verbose"]);
    assert_eq!(call.code, 0, "{call:?}");
    assert!(
        call.err
            .contains("DEBUG answer method=\"GET\" url=\"https://www.sqlite.org/isolation.html\" status=200"),
        "{call:?}"
    );
    assert!(call.err.contains("models/gemini-2.5-flash:generateContent"), "{call:?}");
    assert!(call.err.contains("10 items looked at; nothing was written"), "{call:?}");
    assert!(call.out.contains("\"summary\":"), "{call:?}");
    let mut left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["pages", "pipeline.toml", "urls.jsonl"]);

    let call = folder.run(&["-o", "json"]);
    assert_eq!(call.code, 0, "{call:?}");
    let closing = call.json();
    assert_eq!((&closing["delivered"], &closing["dead_lettered"]), (&14.into(), &0.into()), "{closing}");
    assert_eq!(
        folder.sql("summaries.db", "select cast(count(*) as text) from summaries where length(summary) > 40"),
        "14"
    );
    assert_eq!(folder.run(&[]).code, 4, "a second run skips what is finished");
}
