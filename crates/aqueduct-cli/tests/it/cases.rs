use crate::support::{Call, Folder, TO_FILE, TO_TABLE};

/// Doubles `n` and stores it; what is not a number is set aside.
const DOUBLE: &str = "[[stage]]\nname = \"double\"\ntype = \"map\"\non_error = \"dead-letter\"\nset = { n = \"item.n * 2\" }\n[sink]\nname = \"out\"";

fn folder(cases: &str) -> Folder {
    let folder = Folder::new(&TO_TABLE.replace("[sink]", DOUBLE), "{\"n\":99}\n");
    folder.write("pipeline.test.toml", cases);
    folder
}

fn test(cases: &str) -> Call {
    let folder = folder(cases);
    let call = folder.call(&["test"]);
    let mut left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["in.jsonl", "pipeline.test.toml", "pipeline.toml"], "a test touches nothing");
    call
}

/// One case of this body.
fn one(body: &str) -> Call {
    test(&format!("[[test]]\nname = \"c\"\n{body}\n"))
}

#[track_caller]
fn shows(call: &Call, code: i32, pieces: &[&str]) {
    assert_eq!(call.code, code, "{call:?}");
    for piece in pieces {
        assert!(call.out.contains(piece), "{piece:?} is not in\n{}", call.out);
    }
}

#[test]
fn a_case_passes_when_everything_comes_out_as_it_says() {
    let call = one("input = [{ n = 1 }, \"no json\", { n = 2.5, m = [1] }, \"\", { n = \"x\" }]\n\
         expect.out = [{ n = 2 }, { n = 5.0, m = [1] }]\n\
         expect_dead_letters = [{ stage = \"source\", item = 2, reason = \"line 2\", original = \"no json\" },\
         { stage = \"double\", item = 4, class = \"permanent\", attempts = 1, payload = { n = \"x\" } }]\n\
         ledger = { read = 4, delivered = 2, dead_lettered = 2 }\nretries = 0\nelapsed_seconds = 0");
    // The columns of the table come from the first batch, so `m` is one of them.
    shows(&call, 0, &["c ... ok", "t: 1 case ok, 0 failed"]);
}

#[test]
fn a_wrong_expectation_shows_the_field_what_was_expected_and_what_came() {
    let call = one("input = [{ n = 1 }, { n = 2 }, \"bad\"]\nexpect.out = [{ n = 3, x = \"y\" }]\n\
         ledger = { read = 4 }\nretries = 1\nelapsed_seconds = 2");
    shows(
        &call,
        1,
        &[
            "c ... FAILED",
            "  out row 1, n\n    expected: 3\n    actual:   2\n",
            "  out row 1, x\n    expected: \"y\"\n    actual:   no such field\n",
            "  out row 2\n    expected: no such row\n    actual:   {\"n\":4}\n",
            "  dead letter 1\n    expected: no such letter\n    actual:   item 3 at source: line 3",
            "  ledger, read\n    expected: 4\n    actual:   3\n",
            "  retries\n    expected: 1\n    actual:   0\n",
            "  elapsed_seconds\n    expected: 2\n    actual:   0\n",
            "t: 0 cases ok, 1 failed",
        ],
    );
}

#[test]
fn faults_are_tried_again_in_virtual_time_and_end_in_dead_letters() {
    let fault = |rest: &str| {
        format!("input = [{{ n = 1 }}, {{ n = 2 }}]\nfault = [{{ stage = \"double\", {rest} }}]\n")
    };
    let retried = fault("item = 2, class = \"overload\", times = 2, retry_after_seconds = 10");
    let call =
        one(&format!("{retried}expect.out = [{{ n = 2 }}, {{ n = 4 }}]\nretries = 2\nelapsed_seconds = 20"));
    shows(&call, 0, &["c ... ok"]);
    let by_value = fault("when = \"item.n == 1\", class = \"transient\"");
    shows(&one(&format!("{by_value}expect.out = [{{ n = 2 }}, {{ n = 4 }}]\nretries = 1")), 0, &["ok"]);
    let dead = fault("item = 1, class = \"permanent\", message = \"it is broken\"");
    let call = one(&format!(
        "{dead}expect.out = [{{ n = 4 }}]\nexpect_dead_letters = [{{ item = 1, reason = \"broken\", payload = {{ n = 1 }} }}]"
    ));
    shows(&call, 0, &["c ... ok"]);
    let call =
        one(&format!("{dead}expect_dead_letters = [{{ item = 2, reason = \"whole\", stage = \"source\" }}]"));
    shows(
        &call,
        1,
        &[
            "dead letter 1, stage\n    expected: source\n    actual:   double",
            "dead letter 1, reason\n    expected: contains \"whole\"\n    actual:   it is broken",
            "dead letter 1, item\n    expected: 2\n    actual:   1",
        ],
    );
    // Longer than an item may be tried again at all.
    let never = fault("item = 1, class = \"transient\", times = 1000");
    let call = one(&format!("{never}expect_dead_letters = [{{ item = 1, class = \"transient\" }}]"));
    shows(&call, 0, &["c ... ok"]);
}

#[test]
fn the_virtual_clock_stands_where_the_case_says() {
    let pipeline = TO_FILE.replace(
        "[sink]",
        "[[stage]]\nname = \"alert\"\ntype = \"alert\"\nwhen = \"item.score < 5\"\nto = \"alerts\"\nthreshold = 5.0\n\
         [[sink]]\nname = \"alerts\"\ntype = \"jsonl\"\npath = \"alerts\"\n[[sink]]\nname = \"screen\"\ntype = \"stdout\"\n[[sink]]\nname = \"out\"",
    );
    let cases = "[[test]]\nname = \"a\"\nclock = 2031-05-06T07:08:09Z\ninput = [{ id = \"a\", score = 1 }, { id = \"b\", score = 9 }]\n\
         expect.alerts = [{ id = \"a\", score = 1, threshold = 5.0, time = \"2031-05-06T07:08:09.000Z\" }]\n\
         expect.screen = ['{\"id\":\"a\",\"score\":1}', '{\"id\":\"b\",\"score\":9}']\nexpect.out = ['{\"id\":\"a\",\"score\":1}', '{\"id\":\"b\",\"score\":9}']\n";
    // In the pipeline file itself, and once more under another name with --case.
    let folder = Folder::new(&format!("{pipeline}{cases}"), "");
    shows(&folder.call(&["test"]), 0, &["a ... ok"]);
    folder.write(
        "pipeline.toml",
        format!("{pipeline}{cases}{}", cases.replace("name = \"a\"", "name = \"b\"")),
    );
    shows(&folder.call(&["test", "--case", "b"]), 0, &["b ... ok", "1 case ok"]);
    folder.call(&["test", "--case", "d"]).fails(2, &["no case \"d\"; there are a, b"]);
    assert_eq!(folder.call(&["check"]).code, 0, "cases are no unknown keys");
    let json = folder.call(&["test", "-o", "json"]).json();
    assert_eq!(
        (&json["ok"], &json["passed"], &json["cases"][1]["name"]),
        (&true.into(), &2.into(), &"b".into())
    );
    assert_eq!(folder.call(&["test", "-o", "jsonl"]).out.lines().count(), 2);
}

#[test]
fn a_run_that_stops_is_a_failure_unless_the_case_wants_it() {
    let pipeline = TO_TABLE.replace("[sink]", &DOUBLE.replace("on_error = \"dead-letter\"\n", ""));
    let folder = Folder::new(&pipeline, "");
    let case = "[[test]]\nname = \"c\"\ninput = [{ n = 1 }, { n = \"x\" }]\nexpect.out = [{ n = 2 }]\n";
    folder.write("pipeline.test.toml", case);
    shows(&folder.call(&["test"]), 1, &["the run\n    expected: it ends well", "double"]);
    folder.write("pipeline.test.toml", format!("{case}fails = \"n cannot be computed\"\n"));
    shows(&folder.call(&["test"]), 0, &["c ... ok"]);
    folder.write("pipeline.test.toml", format!("{case}fails = \"something else\"\n"));
    shows(&folder.call(&["test"]), 1, &["fails with \"something else\""]);
}

#[test]
fn a_test_that_tests_nothing_is_an_error() {
    let bare = Folder::new(TO_FILE, "");
    bare.call(&["test"]).fails(78, &["pipeline.toml: it tests nothing", "pipeline.test.toml beside it"]);
    test("").fails(78, &["pipeline.test.toml: it tests nothing"]);
    one("input = [{ n = 1 }]").fails(78, &["test \"c\": it expects nothing"]);
    one("retries = 0").fails(78, &["it has no input"]);
}

#[test]
fn a_wrong_case_names_what_is_wrong_and_what_would_be_right() {
    let input = "input = [{ n = 1 }]\n";
    let cases = [
        ("expect.uot = []", "there is no sink \"uot\"; did you mean \"out\"?"),
        (
            "retries = 0\nfault = [{ stage = \"duble\", class = \"transient\" }]",
            "there is no stage \"duble\"; did you mean \"double\"?",
        ),
        (
            "retries = 0\nfault = [{ stage = \"double\", class = \"passing\" }]",
            "there is no error class \"passing\"",
        ),
        (
            "retries = 0\nfault = [{ stage = \"double\", class = \"transient\", item = 2 }]",
            "item is 2, and the input has 1",
        ),
        (
            "retries = 0\nfault = [{ stage = \"double\", class = \"transient\", when = \"item.\" }]",
            "when = \"item.\"",
        ),
        ("expect_dead_letters = [{ stage = \"results\" }]", "there is no stage \"results\""),
        ("ledger = { raed = 1 }", "there is no count of the ledger \"raed\"; did you mean \"read\"?"),
        ("expect.out = [\"{\"]", "the expected row \"{\" is not JSON"),
        ("expect.out = [1]", "neither a table nor JSON in quotes"),
        ("retries = 0\nclock = \"noon\"", "clock is \"noon\""),
        ("retreis = 0", "unknown field `retreis`"),
    ];
    for (body, message) in cases {
        one(&format!("{input}{body}")).fails(78, &[message]);
    }
    let twice = format!("[[test]]\nname = \"c\"\n{input}retries = 0\n");
    test(&twice.repeat(2)).fails(78, &["another test has the same name"]);
}

#[test]
fn the_input_may_stand_in_a_file() {
    let folder = folder("[[test]]\nname = \"c\"\ninput_file = \"in.jsonl\"\nexpect.out = [{ n = 198 }]\n");
    shows(&folder.call(&["test"]), 0, &["c ... ok"]);
    std::fs::remove_file(folder.at("in.jsonl")).unwrap();
    folder.call(&["test"]).fails(78, &["in.jsonl cannot be read"]);
}

#[test]
fn the_cases_of_the_evidence_example_pass() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/evidence/pipeline.toml");
    let folder = Folder::new(TO_FILE, "");
    shows(&folder.call(&["test", file]), 0, &["evidence: 3 cases ok, 0 failed"]);
}

#[test]
fn a_program_runs_for_real_and_its_time_limit_does_not_run_out_in_virtual_time() {
    // It counts for a moment before it answers, many looks of the driver long.
    let program = r#"while read -r line; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done
        id=${line#*\"id\":\"}; echo "{\"id\":\"${id%%\"*}\",\"item\":{\"n\":7}}"; done"#;
    let stage = "[[stage]]\nname = \"ask\"\ntype = \"exec\"\ncommand = [\"sh\", \"ask.sh\"]\ntimeout_seconds = 1\n\
                 on_error = \"dead-letter\"\n[sink]\nname = \"out\"";
    let folder = Folder::new(&TO_TABLE.replace("[sink]", stage), "");
    folder.write("ask.sh", program);
    folder.write(
        "pipeline.test.toml",
        "[[test]]\nname = \"c\"\ninput = [{ n = 1 }, { n = 2 }]\nexpect.out = [{ n = 7 }, { n = 7 }]\n\
         fault = [{ stage = \"ask\", item = 2, class = \"overload\", retry_after_seconds = 20 }]\nretries = 1\n",
    );
    shows(&folder.call(&["test"]), 0, &["c ... ok"]);
}

/// The clock of a case stands still while a call is on its way, and runs through the waits between its attempts.
#[test]
fn a_case_calls_what_plays_the_services_and_its_waits_take_no_time() {
    let pipeline = "name = \"t\"\n[source]\ntype = \"jsonl\"\npath = \"in.jsonl\"\n[[stage]]\nname = \"score\"\ntype = \"http\"\n\
        url = \"https://a.example/item/{item.id}\"\nset = { got = \"item.response.body.id\" }\n[sink]\ntype = \"stdout\"\n\
        [stand_in]\nerrors_ratio = 0.3\nseed = 3\n";
    let input: Vec<String> = (0..40).map(|id| format!("{{ id = \"{id}\" }}")).collect();
    let output: Vec<String> = (0..40).map(|id| format!("{{ id = \"{id}\", got = \"{id}\" }}")).collect();
    let case = format!(
        "[[test]]\nname = \"all\"\ninput = [{}]\nexpect.results = [{}]\n",
        input.join(", "),
        output.join(", ")
    );
    let folder = Folder::new(&format!("{pipeline}{case}"), "");
    let call = folder.call(&["test", "-o", "json"]);
    assert_eq!(call.code, 0, "{call:?}");
    // Forty calls at one a second by the quota, and minutes of retries, in no time.
    assert!(call.json()["cases"][0]["elapsed_seconds"].as_f64() > Some(38.0), "{call:?}");
}
