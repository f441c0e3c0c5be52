//! `aqueduct queue`: what it shows of a file of queues, and what it changes.

use std::io::Write;
use std::process::Stdio;

use aqueduct_queue::{Config, Message, Pattern, Queue, Queues};
use serde_json::{Value, json};

use crate::support::{Call, Folder, numbers};

/// Calls the binary with an input.
fn fed(folder: &Folder, arguments: &[&str], input: impl AsRef<[u8]>) -> Call {
    let mut command = folder.command(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that refuses its input has ended before it is all written.
    let _ = child.stdin.take().unwrap().write_all(input.as_ref());
    Call::of(child.wait_with_output().unwrap())
}

fn publish(folder: &Folder, more: &[&str], input: &str) -> Call {
    fed(folder, &[&["queue", "publish", "q.redb", "work"], more].concat(), input)
}

/// Works on a file of queues as a program does, and closes it.
fn with<T>(folder: &Folder, work: impl AsyncFnOnce(&Queues) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let queues = Queues::open(folder.at("q.redb")).unwrap();
        let done = work(&queues).await;
        queues.close().await.unwrap();
        done
    })
}

/// Sets the next message aside.
async fn refuse(queue: &Queue, reason: &str) {
    queue.try_reserve().await.unwrap().unwrap().dead_letter(reason).await.unwrap();
}

/// Three dead letters: two of tenant a, one of tenant b, for two reasons.
fn dead() -> Folder {
    let folder = Folder::bare();
    with(&folder, async |queues| {
        let queue = queues.declare("work", Config::default()).await.unwrap();
        for (tenant, reason) in [("a", "no such city"), ("a", "no address"), ("b", "no such city")] {
            queue.publish(Message::new(reason).with_tenant(tenant)).await.unwrap();
            refuse(&queue, reason).await;
        }
    });
    folder
}

fn depth(folder: &Folder) -> Value {
    folder.call(&["queue", "ls", "q.redb", "-o", "json"]).json()[0].clone()
}

#[test]
fn every_group_is_listed_with_what_it_has() {
    let folder = Folder::bare();
    with(&folder, async |queues| {
        let config = Config::builder()
            .group("all", Pattern::all())
            .group("paid", Pattern::new("orders.*.paid").unwrap())
            .build()
            .unwrap();
        queues.declare("orders", config).await.unwrap();
        queues.declare("work", Config::default()).await.unwrap();
    });
    let call = fed(
        &folder,
        &["queue", "publish", "q.redb", "orders", "--topic", "orders.eu.paid"],
        "{\"n\":1}\n{\"n\":2}\n",
    );
    assert_eq!(call.out, "2 messages published to queue orders, safe on: disk\n", "{call:?}");
    fed(&folder, &["queue", "publish", "q.redb", "orders", "--delay", "3600"], "{\"n\":3}\n");
    let listed = folder.call(&["queue", "ls", "q.redb", "-o", "json"]).json();
    let seen = |at: usize| {
        let one = &listed[at];
        (one["queue"].clone(), one["group"].clone(), one["ready"].clone(), one["delayed"].clone())
    };
    assert_eq!(seen(0), (json!("orders"), json!("all"), json!(2), json!(1)), "{listed}");
    assert_eq!(seen(1), (json!("orders"), json!("paid"), json!(2), json!(0)), "{listed}");
    assert_eq!(seen(2), (json!("work"), json!("default"), json!(0), json!(0)), "{listed}");
    let call = folder.call(&["queue", "ls", "q.redb"]);
    assert!(
        call.out.contains("orders, group paid: ready 2, delayed 0, leased 0, dead 0, 42 bytes"),
        "{call:?}"
    );
    assert_eq!(folder.call(&["queue", "ls", "q.redb", "-o", "jsonl"]).out.lines().count(), 3);
    // Which group is meant has to be said, since there are two and none is `default`.
    folder.call(&["queue", "peek", "q.redb", "orders"]).fails(4, &["no group default; it has all, paid"]);
    assert_eq!(folder.call(&["queue", "peek", "q.redb", "orders", "--group", "paid"]).code, 0);
}

#[test]
fn a_look_at_messages_shows_what_was_published_and_takes_none() {
    let folder = Folder::bare();
    let long = format!("{{\"long\":\"{}\"}}", "x".repeat(300));
    let flags = ["--priority", "high", "--key", "k", "--tenant", "acme", "--topic", "a.b"];
    assert_eq!(publish(&folder, &flags, &format!("{long}\n")).code, 0);
    assert_eq!(publish(&folder, &[], &numbers(244)).code, 0);
    let page = folder.call(&["queue", "peek", "q.redb", "work", "-o", "json", "--limit", "241"]).json();
    let first = &page[0];
    assert_eq!(page.as_array().unwrap().len(), 241);
    assert_eq!(first["body"], json!(long));
    assert_eq!((&first["priority"], &first["attempts"]), (&json!("high"), &json!(0)));
    assert_eq!(
        (&first["tenant"], &first["key"], &first["topic"]),
        (&json!("acme"), &json!("k"), &json!("a.b"))
    );
    assert_eq!(first.get("dead"), None);
    // The next page begins behind the last one, and the end is the end.
    let last = page[240]["id"].to_string();
    let rest = folder.call(&["queue", "peek", "q.redb", "work", "-o", "jsonl", "--after", &last]);
    assert_eq!(rest.out.lines().count(), 4, "{rest:?}");
    assert!(rest.out.contains("{\\\"n\\\":243}"), "{rest:?}");
    let text = folder.call(&["queue", "peek", "q.redb", "work", "--limit", "1"]).out;
    assert!(
        text.contains("high, attempts 0, ") && text.contains("tenant acme, key k, topic a.b\n"),
        "{text}"
    );
    assert!(text.contains("xxx... 311 bytes\n") && text.len() < 250, "{text}");
    assert_eq!(depth(&folder)["ready"], 245);
    let call = folder.call(&["queue", "peek", "q.redb", "work", "--state", "delayed", "-o", "json"]);
    assert_eq!((call.code, call.out.as_str()), (4, "[]\n"));
    folder
        .call(&["queue", "peek", "q.redb", "work", "--after", "18446744073709551615"])
        .fails(2, &["--after"]);
}

#[test]
fn a_body_that_is_no_text_moves_no_cursor() {
    let folder = Folder::bare();
    assert_eq!(fed(&folder, &["queue", "publish", "q.redb", "work"], b"a\x1b[2Jb\n\xff\xfe\n").code, 0);
    let text = folder.call(&["queue", "peek", "q.redb", "work"]).out;
    assert!(text.contains("a\u{fffd}[2Jb") && text.contains("\\xff\\xfe"), "{text}");
    let shown = folder.call(&["queue", "peek", "q.redb", "work", "-o", "json"]).json();
    assert_eq!((&shown[0]["body"], &shown[0]["escaped"]), (&json!("a\u{1b}[2Jb"), &json!(false)));
    assert_eq!((&shown[1]["body"], &shown[1]["escaped"]), (&json!("\\xff\\xfe"), &json!(true)));
}

#[test]
fn what_is_not_there_is_named_and_no_command_but_publish_makes_a_file() {
    let folder = Folder::bare();
    let group = ["no.redb", "work"];
    let commands: [&[&str]; 8] = [
        &["ls", "no.redb"],
        &["verify", "no.redb"],
        &["repair", "no.redb", "--to", "new.redb"],
        &["peek"],
        &["purge", "--state", "all", "--yes"],
        &["redrive"],
        &["pause"],
        &["resume"],
    ];
    for command in commands {
        let more: &[&str] = if command.contains(&"no.redb") { &[] } else { &group };
        let call = folder.call(&[&["queue"], command, more].concat());
        call.fails(4, &["no.redb is not there"]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{command:?} made something");
    }
    folder.write("empty.redb", "");
    folder.call(&["queue", "ls", "empty.redb"]).fails(4, &["empty.redb is empty"]);
    assert_eq!(folder.read("empty.redb"), "");
    folder.write("other.redb", "something else\n".repeat(1000));
    folder.call(&["queue", "ls", "other.redb"]).fails(1, &["other.redb is not a file of queues"]);
    assert_eq!(publish(&folder, &[], "x\n").code, 0);
    folder.call(&["queue", "peek", "q.redb", "job"]).fails(4, &["no queue job in q.redb; it has work"]);
    folder
        .call(&["queue", "pause", "q.redb", "work", "--group", "g"])
        .fails(4, &["queue work of q.redb has no group g; it has default"]);
}

#[test]
fn a_purge_says_how_many_and_removes_only_what_is_named() {
    let folder = dead();
    publish(&folder, &[], "1\n2\n");
    publish(&folder, &["--delay", "3600"], "3\n");
    let purge = |more: &[&str]| folder.call(&[&["queue", "purge", "q.redb", "work"], more].concat());
    purge(&["--state", "all"]).fails(
        2,
        &["purge 6 messages of queue work, group default (ready 2, delayed 1, dead 3)?", "say --yes"],
    );
    assert_eq!((depth(&folder)["ready"].clone(), depth(&folder)["dead"].clone()), (json!(2), json!(3)));
    purge(&[]).fails(2, &["--state"]);
    let call = purge(&["--state", "dead", "--yes", "-o", "json"]);
    assert_eq!((call.code, &call.json()["purged"]), (0, &json!(3)), "{call:?}");
    purge(&["--state", "dead", "--yes"]).fails(4, &["nothing to purge"]);
    assert_eq!(purge(&["--state", "delayed", "--yes"]).out, "queue work, group default: 1 message purged\n");
    let left = depth(&folder);
    assert_eq!((&left["ready"], &left["delayed"], &left["dead"]), (&json!(2), &json!(0), &json!(0)));
}

#[test]
fn dead_letters_are_shown_with_their_reason_and_put_back_as_the_filter_says() {
    let folder = dead();
    let shown = folder.call(&["queue", "peek", "q.redb", "work", "--state", "dead", "-o", "json"]).json();
    assert_eq!(shown[1]["dead"]["cause"], "refused");
    assert_eq!((&shown[1]["dead"]["reason"], &shown[1]["attempts"]), (&json!("no address"), &json!(1)));
    let text = folder.call(&["queue", "peek", "q.redb", "work", "--state", "dead"]).out;
    assert!(text.contains("    refused at ") && text.contains("Z: no address\n"), "{text}");

    let redrive = |more: &[&str]| folder.call(&[&["queue", "redrive", "q.redb", "work"], more].concat());
    let call = redrive(&["--preview", "--reason", "city", "--tenant", "a"]);
    assert_eq!(call.out, "queue work, group default: 1 dead letter would be put back\n");
    assert_eq!(depth(&folder)["dead"], 3);
    redrive(&["--cause", "attempts"]).fails(4, &["no such dead letters"]);
    let call = redrive(&["--cause", "refused", "--reason", "city", "--limit", "1", "-o", "json"]);
    assert_eq!(
        (call.code, call.json()),
        (0, json!({"queue": "work", "group": "default", "preview": false, "redriven": 1}))
    );
    assert_eq!((depth(&folder)["dead"].clone(), depth(&folder)["ready"].clone()), (json!(2), json!(1)));
    assert_eq!(redrive(&["--rate", "1000"]).code, 0);
    let back = folder.call(&["queue", "peek", "q.redb", "work", "-o", "json"]).json();
    let attempts: Vec<&Value> = back.as_array().unwrap().iter().map(|one| &one["attempts"]).collect();
    assert_eq!(attempts, [&json!(0), &json!(0), &json!(0)]);
    redrive(&["--rate", "0"]).fails(2, &["--rate"]);
}

#[test]
fn a_paused_group_hands_out_nothing_until_it_is_resumed() {
    let folder = Folder::bare();
    publish(&folder, &[], "1\n");
    let take = || with(&folder, async |queues| queues.queue("work").try_reserve().await.unwrap().is_some());
    assert_eq!(folder.call(&["queue", "pause", "q.redb", "work"]).code, 0);
    folder.call(&["queue", "pause", "q.redb", "work"]).fails(4, &["is paused already"]);
    assert!(folder.call(&["queue", "ls", "q.redb"]).out.ends_with(", paused\n"));
    assert!(!take());
    // Publishing goes on.
    assert_eq!(publish(&folder, &[], "2\n").code, 0);
    assert_eq!(folder.call(&["queue", "resume", "q.redb", "work", "-o", "json"]).json()["paused"], false);
    assert!(take());
    folder.call(&["queue", "resume", "q.redb", "work"]).fails(4, &["is not paused"]);
}

#[test]
fn lines_become_messages_that_a_pipeline_takes() {
    let folder = Folder::bare();
    folder.write(
        "pipeline.toml",
        "name = \"t\"\n[source]\ntype = \"queue\"\npath = \"q.redb\"\nqueue = \"work\"\nuntil = \"empty\"\n\
         [sink]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n",
    );
    // More than are published at once, an empty line, an end of Windows, and none at the end of the input.
    let input = format!("{}\n{{\"n\":2500}}\r\n{{\"n\":2501}}", numbers(2500));
    let call = publish(&folder, &["-o", "json"], &input);
    let expected = json!({"queue": "work", "published": 2502, "duplicates": 0, "durability": "disk"});
    assert_eq!((call.code, call.json()), (0, expected));
    let bodies = folder.call(&["queue", "peek", "q.redb", "work", "--limit", "9999", "-o", "jsonl"]).out;
    assert!(
        bodies.lines().count() == 2502 && !bodies.contains("\\r"),
        "an end of Windows is no part of a body"
    );
    assert_eq!(folder.run(&[]).code, 0);
    assert_eq!(folder.read("out.jsonl"), numbers(2502));
    let status = folder.call(&["status"]).out;
    assert!(status.contains("default: see what is left with: aqueduct queue ls"), "{status}");
    assert_eq!(depth(&folder)["ready"], 0);
}

#[test]
fn the_same_input_again_adds_nothing_under_its_dedup_id() {
    let folder = Folder::bare();
    let all = numbers(1500);
    // The room ends in the second thousand: a whole thousand is in, and no part of the next.
    publish(&folder, &["--dedup-id", "import", "--items-max", "1200"], &all).fails(
        1,
        &["queue work is full: 1,000 of 1,200".replace(',', "").as_str(), "1,000 messages published before"],
    );
    assert_eq!(depth(&folder)["ready"], 1000);
    let call = publish(&folder, &["--dedup-id", "import"], &all);
    assert_eq!(
        call.out,
        "500 messages published to queue work, safe on: disk; 1,000 known by dedup id, and not taken again\n"
    );
    let call = publish(&folder, &["--dedup-id", "import"], &all);
    assert_eq!((call.code, depth(&folder)["ready"].clone()), (0, json!(1500)), "{call:?}");
}

#[test]
fn input_that_cannot_be_published_is_refused_with_its_line_and_makes_no_file() {
    let folder = Folder::bare();
    publish(&folder, &[], "\n\n").fails(4, &["the input has no line"]);
    let long = format!("1\n{}\n", "x".repeat(1024 * 1024 + 1));
    publish(&folder, &[], &long).fails(1, &["line 2 has more than 1,048,576 bytes", "0 messages published"]);
    fed(&folder, &["queue", "publish", "q.redb", "a b"], "1\n").fails(2, &["queue is \"a b\""]);
    publish(&folder, &["--topic", "a..b"], "1\n").fails(2, &["words with points in between"]);
    publish(&folder, &["--items-max", "0"], "1\n").fails(2, &["items_max is 0"]);
    publish(&folder, &["--priority", "urgent"], "1\n").fails(2, &["low, normal, high, critical"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // The longest line that fits, with an end of Windows.
    let most = format!("{}\r\n", "x".repeat(1024 * 1024));
    assert_eq!(publish(&folder, &[], &most).code, 0);
    publish(&folder, &["--key", &"k".repeat(1025)], "1\n").fails(1, &["0 messages published before"]);
    publish(&folder, &["--delay", "999999999999"], "1\n").fails(1, &["delay"]);
}

#[test]
fn damage_is_listed_and_what_can_be_read_goes_into_a_new_file() {
    let folder = Folder::bare();
    let call = publish(&folder, &[], "first message\nsecond message\nthird message\n");
    assert_eq!(call.code, 0, "{call:?}");
    let call = folder.call(&["queue", "verify", "q.redb"]);
    assert_eq!((call.code, call.out.as_str()), (0, "q.redb: 3 messages (0 dead) in 1 group: sound\n"));
    let mut bytes = std::fs::read(folder.at("q.redb")).unwrap();
    let hits: Vec<usize> = bytes
        .windows(14)
        .enumerate()
        .filter(|(_, window)| *window == b"second message")
        .map(|(at, _)| at)
        .collect();
    assert!(!hits.is_empty());
    hits.iter().for_each(|at| bytes[*at] ^= 1);
    folder.write("q.redb", &bytes);

    let call = folder.call(&["queue", "verify", "q.redb"]);
    assert_eq!(call.code, 1, "{call:?}");
    assert!(call.out.contains("damaged: ") && call.out.contains("aqueduct queue repair"), "{call:?}");
    let call = folder.call(&["queue", "verify", "q.redb", "-o", "json"]);
    assert_eq!(call.json()["sound"], false);
    assert!(!call.json()["damaged"].as_array().unwrap().is_empty(), "{call:?}");

    let call = folder.call(&["queue", "repair", "q.redb", "--to", "new.redb", "-o", "json"]);
    assert_eq!(call.code, 1, "{call:?}");
    assert_eq!((call.json()["half"].as_array().unwrap().len(), &call.json()["messages"]), (1, &json!(3)));
    assert_eq!(std::fs::read(folder.at("q.redb")).unwrap(), bytes);
    let dead = folder.call(&["queue", "peek", "new.redb", "work", "--state", "dead", "-o", "json"]).json();
    assert_eq!(dead[0]["dead"]["cause"], "corrupt", "{dead}");
    let ready = folder.call(&["queue", "peek", "new.redb", "work"]).out;
    assert!(ready.contains("first message") && ready.contains("third message"), "{ready}");
    // The half is known for what it is, and without it the new file is sound.
    folder.call(&["queue", "purge", "new.redb", "work", "--state", "dead", "--yes"]);
    let call = folder.call(&["queue", "verify", "new.redb"]);
    assert_eq!((call.code, call.out.as_str()), (0, "new.redb: 2 messages (0 dead) in 1 group: sound\n"));
    // Nothing is written over a file that is there.
    folder
        .call(&["queue", "repair", "q.redb", "--to", "new.redb"])
        .fails(1, &["new.redb", "is there already"]);
}

#[test]
fn a_file_that_a_run_has_is_said_to_be_in_use() {
    let folder = Folder::bare();
    publish(&folder, &[], "1\n");
    with(&folder, async |_| {
        let commands: [&[&str]; 5] = [
            &["ls", "q.redb"],
            &["verify", "q.redb"],
            &["peek", "q.redb", "work"],
            &["purge", "q.redb", "work", "--state", "all", "--yes"],
            &["repair", "q.redb", "--to", "new.redb"],
        ];
        for command in commands {
            folder
                .call(&[&["queue"], command].concat())
                .fails(1, &["q.redb is in use by another process", "a run has it, or another command"]);
        }
        publish(&folder, &[], "2\n").fails(1, &["q.redb is in use by another process"]);
    });
    assert!(!folder.at("new.redb").exists());
    assert_eq!(depth(&folder)["ready"], 1);
}
