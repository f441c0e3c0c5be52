//! Strikes system calls, and counts them, through `strace`.
//!
//! What `strace` 6.1 does, tried out: `when` counts the calls of each thread for itself, and with `-P` only
//! those on that file; the signal comes before the call is carried out; `--seccomp-bpf` is faster and injects
//! no signals.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::point::{Action, Target};

/// The calls that change files. A leading question mark lets `strace` pass over one that the machine lacks.
const CALLS: [&str; 16] = [
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "open",
    "openat",
];

/// Tells whether system calls can be struck here.
pub(crate) fn is_available() -> bool {
    cfg!(target_os = "linux")
}

/// The program and the arguments that come before those of the traced program, to strike a call.
pub(crate) fn striking(
    folder: &Path,
    name: &str,
    file: &str,
    action: Action,
    at: u64,
    log: &Path,
) -> Vec<String> {
    let mut arguments = common(log);
    let inject = match action {
        Action::Kill => format!("inject={name}:signal=KILL:when={at}"),
        Action::Error => format!("inject={name}:error=EIO:when={at}+"),
    };
    let traced = match action {
        Action::Kill => format!("trace={name}"),
        // The log then tells how long the file was at its last good sync.
        Action::Error => format!("trace={}", calls()),
    };
    arguments.extend(["-e".to_owned(), traced, "-e".to_owned(), inject]);
    for path in spellings(folder, file) {
        arguments.extend(["-P".to_owned(), path]);
    }
    arguments
}

/// The same, to write down every call that changes a file.
pub(crate) fn counting(log: &Path) -> Vec<String> {
    let mut arguments = common(log);
    arguments.extend(["-e".to_owned(), format!("trace={}", calls())]);
    arguments
}

fn common(log: &Path) -> Vec<String> {
    let log = log.display().to_string();
    ["-f", "-qqq", "-y", "-s", "0", "-e", "signal=none", "-o", &log].map(str::to_owned).to_vec()
}

fn calls() -> String {
    CALLS.map(|name| format!("?{name}")).join(",")
}

/// A file is known by its full path once it is open, and as the program spells it before that.
fn spellings(folder: &Path, file: &str) -> Vec<String> {
    if file == "." {
        return vec![folder.display().to_string()];
    }
    vec![folder.join(file).display().to_string(), file.to_owned(), format!("./{file}")]
}

/// One call from a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) thread: u32,
    pub(crate) name: String,
    /// Relative to the folder; a call outside of it is left out of the log's reading.
    pub(crate) file: String,
    /// The text between the parentheses.
    pub(crate) arguments: String,
    /// What it gave; none when the process died in it.
    pub(crate) result: Option<i64>,
}

/// Reads a log: all calls on files within `folder`, in the order in which they began.
pub(crate) fn read(log: &str, folder: &Path) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    // A call that another thread interrupts is in the log in two pieces.
    let mut unfinished: HashMap<u32, Option<usize>> = HashMap::new();
    for line in log.lines() {
        let Some((thread, text)) = line.split_once(' ') else { continue };
        let (Ok(thread), text) = (thread.parse(), text.trim_start()) else { continue };
        if text.starts_with("<... ") {
            if let Some(Some(at)) = unfinished.remove(&thread) {
                calls[at].result = result(text);
            }
            continue;
        }
        let Some((name, arguments)) = text.split_once('(') else { continue };
        let begun = call(thread, name, arguments, folder).map(|call| {
            calls.push(call);
            calls.len() - 1
        });
        if text.ends_with("<unfinished ...>") {
            unfinished.insert(thread, begun);
        }
    }
    calls
}

fn call(thread: u32, name: &str, arguments: &str, folder: &Path) -> Option<Call> {
    let file = file(name, arguments, folder)?;
    // Reading opens no file for writing; it changes nothing.
    if name.starts_with("open")
        && !["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| arguments.contains(flag))
    {
        return None;
    }
    let result = result(arguments);
    Some(Call { thread, name: name.to_owned(), file, arguments: arguments.to_owned(), result })
}

/// Finds the file that a call works on: behind the descriptor, or else the first quoted path.
fn file(name: &str, arguments: &str, folder: &Path) -> Option<String> {
    let by_path = ["open", "rename", "unlink", "mkdir"].iter().any(|start| name.starts_with(start));
    let path = if by_path {
        folder.join(arguments.split('"').nth(1)?)
    } else {
        // Pipes and sockets have no path, and their names no leading slash.
        PathBuf::from(arguments.split_once('<')?.1.split_once('>')?.0)
    };
    let inside = path.strip_prefix(folder).ok()?;
    let inside: PathBuf = inside.components().filter(|part| part.as_os_str() != ".").collect();
    let text = inside.to_str()?;
    Some(if text.is_empty() { ".".to_owned() } else { text.to_owned() })
}

fn result(text: &str) -> Option<i64> {
    let (_, result) = text.rsplit_once(" = ")?;
    result.split_whitespace().next()?.split('<').next()?.parse().ok()
}

/// How often each call on each file is made by the thread that makes it most often.
pub(crate) fn counts(calls: &[Call]) -> BTreeMap<Target, u64> {
    let mut by_thread: BTreeMap<(Target, u32), u64> = BTreeMap::new();
    for call in calls {
        let target = Target::Call { name: call.name.clone(), file: call.file.clone() };
        *by_thread.entry((target, call.thread)).or_default() += 1;
    }
    let mut counts = BTreeMap::new();
    for ((target, _), count) in by_thread {
        let most: &mut u64 = counts.entry(target).or_default();
        *most = count.max(*most);
    }
    counts
}

/// The length of a file when it was last synced without an error, or else before these calls: all that a disk must
/// still have.
pub(crate) fn synced_bytes(calls: &[Call], file: &str, before: u64) -> u64 {
    let (mut bytes, mut synced) = (before, before);
    for call in calls.iter().filter(|call| call.file == file) {
        let result = call.result.filter(|result| *result >= 0).and_then(|result| u64::try_from(result).ok());
        let Some(result) = result else { continue };
        match call.name.as_str() {
            // Files of lines are only ever appended to.
            "write" | "writev" => bytes += result,
            "ftruncate" => bytes = argument(&call.arguments, 1).unwrap_or(bytes),
            "fsync" | "fdatasync" => synced = bytes,
            _ => {}
        }
    }
    synced
}

fn argument(arguments: &str, at: usize) -> Option<u64> {
    arguments.split(')').next()?.split(", ").nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Call, counts, read, synced_bytes};
    use crate::point::Target;

    const LOG: &str = r#"10  openat(AT_FDCWD</w>, "/w/results.jsonl", O_WRONLY|O_CREAT|O_APPEND|O_CLOEXEC, 0666) = 3</w/results.jsonl>
10  openat(AT_FDCWD</w>, "input.jsonl", O_RDONLY|O_CLOEXEC) = 4</w/input.jsonl>
10  write(3</w/results.jsonl>, ""..., 100) = 100
11  write(1<pipe:[77]>, ""..., 5) = 5
11  write(3</w/results.jsonl>, ""..., 20 <unfinished ...>
10  fdatasync(3</w/results.jsonl> <unfinished ...>
11  <... write resumed>)              = 20
10  <... fdatasync resumed>)          = 0
10  write(3</w/results.jsonl>, ""..., 7) = 7
10  fdatasync(3</w/results.jsonl>) = -1 EIO (Input/output error) (INJECTED)
10  rename("./alerts/manifest.json.new", "./alerts/manifest.json") = 0
10  fsync(5</w>)                      = 0
10  ftruncate(3</w/results.jsonl>, 64) = 0
10  pwrite64(6</w/data/ledger.db>, ""..., 4096, 0 <unfinished ...>
10  +++ killed by SIGKILL +++
"#;

    fn target(name: &str, file: &str) -> Target {
        Target::Call { name: name.to_owned(), file: file.to_owned() }
    }

    #[test]
    fn a_log_is_read_with_its_interruptions() {
        let calls = read(LOG, Path::new("/w"));
        let of = |call: &Call| (call.thread, call.name.clone(), call.file.clone(), call.result);
        let found: Vec<_> = calls.iter().map(of).collect();
        let call =
            |thread, name: &str, file: &str, result| (thread, name.to_owned(), file.to_owned(), result);
        assert_eq!(
            found,
            [
                call(10, "openat", "results.jsonl", Some(3)),
                call(10, "write", "results.jsonl", Some(100)),
                call(11, "write", "results.jsonl", Some(20)),
                call(10, "fdatasync", "results.jsonl", Some(0)),
                call(10, "write", "results.jsonl", Some(7)),
                call(10, "fdatasync", "results.jsonl", Some(-1)),
                call(10, "rename", "alerts/manifest.json.new", Some(0)),
                call(10, "fsync", ".", Some(0)),
                call(10, "ftruncate", "results.jsonl", Some(0)),
                call(10, "pwrite64", "data/ledger.db", None),
            ]
        );
    }

    #[test]
    fn calls_are_counted_by_the_busiest_thread() {
        let counts = counts(&read(LOG, Path::new("/w")));
        assert_eq!(counts[&target("write", "results.jsonl")], 2);
        assert_eq!(counts[&target("fsync", ".")], 1);
        assert_eq!(counts.len(), 7);
    }

    #[test]
    fn only_a_good_sync_makes_bytes_safe() {
        let calls = read(LOG, Path::new("/w"));
        assert_eq!(synced_bytes(&calls, "results.jsonl", 0), 120);
        assert_eq!(synced_bytes(&calls, "results.jsonl", 1_000), 1_120);
        assert_eq!(synced_bytes(&calls, "data/ledger.db", 0), 0);
    }
}
