//! Paid calls and kills: what was answered and kept is never asked again.

#![cfg(unix)]

use std::collections::BTreeSet;
use std::process::{Child, Stdio};

use aqueduct_testkit::backend::{Backend, Keys, Latency, Script};

use crate::support::Folder;

const ITEMS: u64 = 2_000;
const KILLS: usize = 50;

fn pipeline(url: &str) -> String {
    format!(
        "name = \"paid\"\n[source]\ntype = \"generator\"\ncount = {ITEMS}\nfields = {{ id = \"sequence\" }}\n\
         [[backend]]\nname = \"b\"\nendpoints = [\"{url}\"]\nallow_private = true\nrequests_per_minute = 0\ncalls_max = 8\n\
         [[stage]]\nname = \"ask\"\ntype = \"http\"\nbackend = \"b\"\nurl = \"/sink\"\nbody = \"{{'id': item.id}}\"\nkeep = [\"id\"]\n\
         journal = true\n[sink]\ntype = \"sqlite\"\npath = \"paid.db\"\ntable = \"paid\"\n[run]\nbatch_size = 40\nepoch_batches = 1\n"
    )
}

/// The items that are committed or whose answers are kept. An odd moment to look at a database, and SQLite does not mind.
fn kept(folder: &Folder) -> BTreeSet<String> {
    let table = folder.sql("paid.db", "select name from sqlite_schema where name = 'paid'");
    let rows =
        if table.is_empty() { String::new() } else { folder.sql("paid.db", "select item_id from paid") };
    let journal = folder.sql("paid.db", "select item_id from aqueduct_journal");
    rows.split(',').chain(journal.split(',')).filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

fn start(folder: &Folder) -> Child {
    let mut command = folder.command(&["run", "pipeline.toml"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_journalled_call_is_repeated_over_fifty_kills() {
    // Every call is carried out, whatever its key, so that a repeated one shows.
    let script = Script::builder()
        .keys(Keys::Ignored)
        .latency(Latency { typical: std::time::Duration::from_millis(1), tail: None });
    let backend = Backend::start(script.build().unwrap()).await.unwrap();
    let folder = Folder::bare();
    folder.write("pipeline.toml", pipeline(backend.url(0)));
    let mut kills = 0;
    let mut unkept = 0;
    // What was kept at the last kill, and how often it had been asked for then.
    let mut asked: Vec<(String, u64)> = Vec::new();
    loop {
        let before = backend.account().total.calls;
        let mut child = start(&folder);
        // Somewhere in the next batches: another place each time.
        let until = before + 11 + (kills as u64 * 7) % 31;
        let ended = loop {
            if kills < KILLS && backend.account().total.calls >= until {
                child.kill().unwrap();
                break child.wait().unwrap();
            }
            if let Some(ended) = child.try_wait().unwrap() {
                break ended;
            }
            tokio::task::yield_now().await;
        };
        if ended.success() {
            break;
        }
        kills += 1;
        assert!(kills <= KILLS, "a run that was not killed failed");
        let kept = tokio::task::block_in_place(|| kept(&folder));
        for (key, count) in backend.keys() {
            let item = key.strip_prefix("paid/ask/").unwrap();
            if kept.contains(item) {
                continue;
            }
            unkept += u64::from(count.came > 0);
        }
        let came = |item: &str| backend.key(&format!("paid/ask/{item}")).map_or(0, |count| count.came);
        for (item, before) in &asked {
            assert_eq!(came(item), *before, "the call for {item} was kept, and made again");
        }
        asked = kept.into_iter().map(|item| (came(&item), item)).map(|(came, item)| (item, came)).collect();
    }
    assert_eq!(kills, KILLS, "killed so often");
    assert!(unkept > 0, "a kill always came after the answers were kept, so nothing was shown");
    let rows = tokio::task::block_in_place(|| {
        folder.sql("paid.db", "select cast(count(distinct item_id) as text) || '/' || count(*) from paid")
    });
    assert_eq!(rows, format!("{ITEMS}/{ITEMS}"));
    let left = tokio::task::block_in_place(|| {
        folder.sql("paid.db", "select cast(count(*) as text) from aqueduct_journal")
    });
    assert_eq!(left, "0");
}
