use aqueduct_queue::Redrive;
use serde::Serialize;

use super::{close, failed, find, named};
use crate::exit::Exit;
use crate::flags::{Format, QueueRedrive};
use crate::output;

#[derive(Serialize)]
struct Shown {
    queue: String,
    group: String,
    preview: bool,
    redriven: u64,
}

/// Puts dead letters of a queue back, or counts them.
pub(super) async fn redrive(flags: QueueRedrive) -> Result<Exit, Exit> {
    let queue = find(&flags.group).await?;
    let redrive = Redrive {
        cause: flags.cause,
        reason_contains: flags.reason,
        tenant: flags.tenant,
        limit: flags.limit,
        rate: flags.rate,
        preview: flags.preview,
    };
    let redriven = queue.redrive(&redrive).await.map_err(|error| failed(&error))?;
    close(queue.store()).await?;
    match flags.group.output.output {
        Format::Text if redriven == 0 => {
            output::message(&format!("{}: no such dead letters", named(&queue)));
        }
        Format::Text => {
            let letters = output::plural(redriven, "dead letter");
            let done = if flags.preview { "would be put back" } else { "put back, to be tried anew" };
            output::data_line(&format!("{}: {letters} {done}", named(&queue)));
        }
        format => {
            let (name, group) = (queue.name().to_owned(), queue.group_name().to_owned());
            let shown = Shown { queue: name, group, preview: flags.preview, redriven };
            output::data_line(&output::json(format, &shown));
        }
    }
    Ok(if redriven == 0 { Exit::Nothing } else { Exit::Done })
}
