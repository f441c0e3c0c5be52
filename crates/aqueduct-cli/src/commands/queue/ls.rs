use aqueduct_queue::Depth;
use serde::Serialize;

use super::{close, failed, open_there};
use crate::exit::Exit;
use crate::flags::{Format, QueueFile};
use crate::output;

/// One group of one queue.
#[derive(Serialize)]
struct Shown {
    queue: String,
    group: String,
    ready: u64,
    delayed: u64,
    leased: u64,
    dead: u64,
    /// Of all but the dead.
    bytes: u64,
    dead_bytes: u64,
    oldest_wait_seconds: f64,
    paused: bool,
}

/// Lists what is in a file.
pub(super) async fn ls(flags: &QueueFile) -> Result<Exit, Exit> {
    let queues = open_there(&flags.path).await?;
    let mut shown = Vec::new();
    for (name, groups) in queues.list().await.map_err(|error| failed(&error))? {
        for group in groups {
            let queue = queues.queue(&name).group(&group);
            let depth = queue.depth().await.map_err(|error| failed(&error))?;
            shown.push(one(name.clone(), group, depth));
        }
    }
    close(&queues).await?;
    match flags.output.output {
        Format::Text if shown.is_empty() => {
            output::message(&format!("{} has no queues", flags.path.display()));
        }
        Format::Text => shown.iter().for_each(print),
        Format::Json => output::data_line(&output::json(Format::Json, &shown)),
        Format::Jsonl => {
            shown.iter().for_each(|one| output::data_line(&output::json(Format::Jsonl, one)));
        }
    }
    Ok(if shown.is_empty() { Exit::Nothing } else { Exit::Done })
}

fn one(queue: String, group: String, depth: Depth) -> Shown {
    Shown {
        queue,
        group,
        ready: depth.ready,
        delayed: depth.delayed,
        leased: depth.leased,
        dead: depth.dead,
        bytes: depth.bytes,
        dead_bytes: depth.dead_bytes,
        oldest_wait_seconds: depth.oldest_wait.as_secs_f64(),
        paused: depth.paused,
    }
}

fn print(one: &Shown) {
    let count = output::count;
    let mut line = format!(
        "{}, group {}: ready {}, delayed {}, leased {}, dead {}, {}",
        one.queue,
        one.group,
        count(one.ready),
        count(one.delayed),
        count(one.leased),
        count(one.dead),
        output::plural(one.bytes + one.dead_bytes, "byte"),
    );
    if one.ready > 0 {
        line.push_str(&format!(", the oldest waits for {:.0} s", one.oldest_wait_seconds));
    }
    if one.paused {
        line.push_str(", paused");
    }
    output::data_line(&line);
}
