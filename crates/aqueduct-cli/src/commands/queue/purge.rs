use aqueduct_queue::State;
use serde::Serialize;

use super::{close, failed, find, named};
use crate::exit::Exit;
use crate::flags::{Format, QueuePurge};
use crate::{ask, output};

#[derive(Serialize)]
struct Shown {
    queue: String,
    group: String,
    purged: u64,
}

/// Removes messages for good.
pub(super) async fn purge(flags: &QueuePurge) -> Result<Exit, Exit> {
    let queue = find(&flags.group).await?;
    let named = named(&queue);
    let depth = queue.depth().await.map_err(|error| failed(&error))?;
    let states = flags.state.states();
    let of = |state: &State| match state {
        State::Ready => (depth.ready, "ready"),
        State::Delayed => (depth.delayed, "delayed"),
        State::Dead => (depth.dead, "dead"),
        State::Leased => (0, "leased"),
    };
    let total: u64 = states.iter().map(|state| of(state).0).sum();
    if total == 0 {
        close(queue.store()).await?;
        output::message(&format!("{named}: nothing to purge"));
        return Ok(Exit::Nothing);
    }
    let parts: Vec<String> = states
        .iter()
        .map(of)
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{what} {}", output::count(number)))
        .collect();
    let question = format!(
        "purge {} of {named} ({})? Nothing brings them back.",
        output::plural(total, "message"),
        parts.join(", ")
    );
    // The file stays open meanwhile, so that what was counted is what goes.
    ask::confirm(&question, flags.yes)?;
    let purged = queue.purge(states).await.map_err(|error| failed(&error))?;
    close(queue.store()).await?;
    match flags.group.output.output {
        Format::Text => output::data_line(&format!("{named}: {} purged", output::plural(purged, "message"))),
        format => {
            let (queue, group) = (queue.name().to_owned(), queue.group_name().to_owned());
            output::data_line(&output::json(format, &Shown { queue, group, purged }));
        }
    }
    Ok(Exit::Done)
}
