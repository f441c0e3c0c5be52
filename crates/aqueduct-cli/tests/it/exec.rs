//! Programs as stages, through the file; each way of being a bad program is a test of the crate that runs them.

use crate::run::signal;
use crate::support::{Call, Folder, TO_FILE, numbers};

fn installed(program: &str) {
    let there = std::process::Command::new(program).arg("--version").output();
    assert!(there.is_ok_and(|output| output.status.success()), "install it with: apt-get install {program}");
}

/// [`TO_FILE`] with a program in Python in front of the sink.
fn with_program(program: &str, keys: &str) -> Folder {
    installed("python3");
    let stage = format!(
        "[[stage]]\nname = \"s\"\ntype = \"exec\"\ncommand = [\"python3\", \"-S\", \"program.py\"]\n{keys}\n[sink]"
    );
    let folder = Folder::new(&TO_FILE.replace("[sink]", &stage), numbers(30));
    folder.write("program.py", format!("import json, os, sys\n{program}"));
    folder
}

#[test]
fn the_program_runs_in_the_folder_of_the_file() {
    let folder = with_program("for line in sys.stdin: print(line, end='', flush=True)", "");
    let path = folder.at("pipeline.toml").display().to_string();
    let call = Folder::bare().call(&["run", &path]);
    assert_eq!(call.code, 0, "{call:?}");
    assert_eq!(folder.read("out.jsonl").lines().count(), 30);
}

/// Runs 5 items through a program; gives the call and what was delivered.
fn badly(program: &str, keys: &str) -> (Folder, Call, u64) {
    let folder = with_program(program, &format!("on_error = \"dead-letter\"\n{keys}"));
    folder.write("in.jsonl", numbers(5));
    let call = folder.run(&["-o", "json"]);
    let delivered = call.json()["delivered"].as_u64().unwrap();
    assert_eq!(folder.read("out.jsonl").lines().count() as u64, delivered, "{call:?}");
    (folder, call, delivered)
}

#[test]
fn a_program_that_never_answers_costs_its_items_and_no_more() {
    let keys = "timeout_seconds = 0.05\nretry = { attempts = 1 }";
    let (folder, call, delivered) = badly("for line in sys.stdin: pass", keys);
    assert_eq!((call.code, delivered), (3, 0), "{call:?}");
    assert_eq!(folder.reasons(), ["python3 did not answer within 0.05 s and was ended"; 5]);
}

#[test]
fn a_program_that_answers_everything_twice_loses_and_doubles_nothing() {
    let (_, call, delivered) =
        badly("for line in sys.stdin: print(line, line, sep='', end='', flush=True)", "");
    assert_eq!((call.code, delivered), (0, 5), "{call:?}");
}

#[test]
fn a_program_that_answers_for_another_item_or_dies_at_once_stops_the_run_and_sets_nothing_aside() {
    let wrong = "
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps({'id': 'a0a0a9', 'item': request['item']}), flush=True)
";
    let dies = "sys.exit(3)";
    for (program, reason) in [
        (wrong, "it answered item \"a0a0a9\", which it was not given; it was started again 1 times"),
        (dies, "python3 ended with exit status: 3; it was started again 1 times"),
    ] {
        let (folder, call, delivered) = badly(program, "restarts_max = 1");
        call.fails(1, &["s failed on item a0a0a0; everything before it is committed", reason]);
        assert_eq!((delivered, folder.reasons().len()), (0, 0), "{call:?}");
    }
}

#[test]
fn a_program_that_writes_to_standard_error_for_ever_still_works() {
    let program = "
import threading
def noise():
    while True: print('noise ' * 100, file=sys.stderr)
threading.Thread(target=noise, daemon=True).start()
for line in sys.stdin: print(line, end='', flush=True)
os._exit(0)
";
    let (_, call, delivered) = badly(program, "");
    assert_eq!((call.code, delivered), (0, 5), "{call:?}");
}

#[test]
fn a_missing_program_ends_the_run_before_it_begins() {
    let folder = with_program("", "");
    let pipeline = folder.read("pipeline.toml").replace("\"python3\"", "\"./score\"");
    folder.write("pipeline.toml", pipeline);
    assert_eq!(folder.call(&["check"]).code, 0, "check touches nothing");
    folder.run(&[]).fails(78, &["the program ./score cannot be run", "score does not exist"]);
    assert!(!folder.at(".aqueduct").exists());
}

#[test]
fn ctrl_c_lets_the_program_finish_what_it_has() {
    let program = "
for line in sys.stdin:
    request = json.loads(line)
    if request['item']['n'] == 3:
        open('reached', 'w').close()
        # The run is asked to drain while this item is in flight.
        while not os.path.exists('go on'): pass
    print(json.dumps(request), flush=True)
open('ended', 'w').close()
";
    let folder = with_program(program, "");
    let child = folder.command(&["run"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    while !folder.at("reached").exists() {
        std::thread::yield_now();
    }
    signal(child.id(), "-INT");
    folder.write("go on", "");
    let call = Call::of(child.wait_with_output().unwrap());
    assert!([0, 75].contains(&call.code), "{call:?}");
    assert!(folder.at("ended").exists(), "the program saw the end of its input");
    assert!(folder.read("out.jsonl").lines().count() >= 4);
    folder.run(&[]);
    assert_eq!(folder.read("out.jsonl").lines().count(), 30);
}

#[test]
fn variables_reach_the_program_and_no_message() {
    let program = "
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps({'id': request['id'], 'item': {'n': os.environ['TOKEN'], 'empty': os.environ['EMPTY']}}), flush=True)
";
    let folder = with_program(program, "env = { TOKEN = \"${env:SECRET}\", EMPTY = \"\" }");
    let call = Call::of(folder.command(&["run", "-v"]).env("SECRET", "hunter2").output().unwrap());
    assert_eq!(call.code, 0, "{call:?}");
    assert!(folder.read("out.jsonl").starts_with("{\"n\": \"hunter2\", \"empty\": \"\"}\n"));
    assert!(!call.err.contains("hunter2"));
    let mut explain = folder.command(&["explain"]);
    let explained = Call::of(explain.env("SECRET", "hunter2").output().unwrap());
    assert!(explained.out.contains("gives items to python3, 16 at once"), "{explained:?}");
}

#[test]
fn what_a_program_writes_to_standard_error_is_shown_when_asked_for() {
    let program = "
for line in sys.stdin:
    print(line, end='', flush=True)
print('one\\x1b[2J', 'x' * 20_000, 'the end', sep='\\n', end='', file=sys.stderr)
";
    let folder = with_program(program, "");
    let call = folder.run(&["-v"]);
    assert_eq!(call.code, 0, "{call:?}");
    for line in ["s: one\u{fffd}[2J\n", "xxxx\ns: xxxx", "\ns: the end\n"] {
        assert!(call.err.contains(line), "{line:?} is not in {}", call.err);
    }
    let folder = with_program(program, "");
    assert!(!folder.run(&[]).err.contains("the end"));
}
