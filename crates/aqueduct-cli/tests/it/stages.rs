//! The stages of the pipeline file, as a run shows them.

use crate::support::{Call, Folder, TO_FILE, numbers};

/// [`TO_FILE`] with one stage in front of the sink.
fn with_stage(lines: &str) -> String {
    TO_FILE.replace("[sink]", &format!("[[stage]]\nname = \"s\"\n{lines}\n[sink]"))
}

/// Runs one stage over an input; gives the call and what is in the sink.
fn run_stage(lines: &str, input: &str) -> (Folder, Call, String) {
    let folder = Folder::new(&with_stage(lines), input);
    let call = folder.run(&["-o", "json"]);
    let out = folder.read("out.jsonl");
    (folder, call, out)
}

#[test]
fn split_makes_an_item_of_each_element_and_carries_fields_over() {
    let input = concat!(
        "{\"order\":7,\"at\":\"x\",\"lines\":[{\"sku\":\"a\"},{\"sku\":\"b\",\"order\":9},3,null]}\n",
        "{\"order\":8,\"lines\":[]}\n",
        "{\"order\":9,\"lines\":[{\"sku\":\"c\"}]}\n",
    );
    let (_, call, out) = run_stage("type = \"split\"\nfield = \"lines\"\nkeep = [\"order\", \"at\"]", input);
    assert_eq!(
        out,
        concat!(
            "{\"order\":7,\"at\":\"x\",\"sku\":\"a\"}\n",
            "{\"at\":\"x\",\"sku\":\"b\",\"order\":9}\n",
            "{\"order\":7,\"at\":\"x\",\"value\":3}\n",
            "{\"order\":7,\"at\":\"x\",\"value\":null}\n",
            "{\"order\":9,\"sku\":\"c\"}\n",
        )
    );
    let json = call.json();
    let counts = ["read", "spawned", "delivered", "skipped"].map(|name| json[name].as_u64().unwrap());
    assert_eq!(counts, [3, 3, 5, 1]);
    let (_, _, out) = run_stage("type = \"split\"\nfield = \"lines\"\nas = \"line\"", input);
    assert!(out.starts_with("{\"line\":{\"sku\":\"a\"}}\n"), "{out}");
}

#[test]
fn what_cannot_be_split_goes_the_way_of_the_rule() {
    let input = "{\"l\":[1,2]}\n{\"l\":[1,2,3]}\n{\"l\":{}}\n{}\n";
    let lines = "type = \"split\"\nfield = \"l\"\nitems_max = 2\non_error = \"dead-letter\"";
    let (folder, call, out) = run_stage(lines, input);
    assert_eq!((call.code, out.as_str()), (3, "{\"value\":1}\n{\"value\":2}\n"));
    assert_eq!(
        folder.reasons(),
        [
            "\"l\" has 3 elements; the limit is 2 (stage key items_max)",
            "\"l\" is an object, not a list",
            "there is no field \"l\" to split",
        ]
    );
}

#[test]
fn a_sample_is_the_same_in_every_run_and_takes_keys_whole() {
    let lines = "type = \"sample\"\nratio = 0.1";
    let (_, call, first) = run_stage(lines, &numbers(5000));
    let (_, _, second) = run_stage(lines, &numbers(5000));
    let (_, _, other) = run_stage(&format!("{lines}\nseed = 1"), &numbers(5000));
    assert_eq!(first, second);
    assert_ne!(first, other);
    let kept = first.lines().count();
    assert!((400..600).contains(&kept), "{kept}");
    assert_eq!(call.json()["skipped"], 5000 - kept as u64);

    // Stopped in the middle and resumed, it is still the same sample.
    let folder = Folder::new(&with_stage(lines), numbers(5000));
    assert_eq!(folder.run(&["--limit", "1234"]).code, 75);
    assert_eq!(folder.run(&[]).code, 0);
    assert_eq!(folder.read("out.jsonl"), first);

    let (_, _, keyed) = run_stage("type = \"sample\"\nratio = 0.5\nkey = \"item.n % 10\"", &numbers(1000));
    let digits: std::collections::BTreeSet<&str> =
        keyed.lines().map(|line| &line[line.len() - 2..line.len() - 1]).collect();
    assert_eq!(keyed.lines().count(), digits.len() * 100, "all items of a key or none");
    assert!((1..10).contains(&digits.len()), "{digits:?}");
}

#[test]
fn an_assertion_that_fails_stops_with_its_message_and_expression() {
    let lines = "type = \"assert\"\nwhen = \"item.n < 3\"\nmessage = \"too large\"";
    let (folder, call, out) = run_stage(lines, &numbers(5));
    call.fails(1, &["s failed on item a0a0b24", "too large (item.n < 3 does not hold)"]);
    assert_eq!(out, numbers(3));
    drop(folder);
    let (folder, call, out) = run_stage(&format!("{lines}\non_error = \"dead-letter\""), &numbers(5));
    assert_eq!((call.code, out), (3, numbers(3)));
    assert_eq!(folder.reasons().len(), 2);
}
