use aqueduct_queue::Pause;
use serde::Serialize;

use super::{close, failed, find, named};
use crate::exit::Exit;
use crate::flags::{Format, QueueGroup};
use crate::output;

#[derive(Serialize)]
struct Shown {
    queue: String,
    group: String,
    paused: bool,
}

/// Lets a group hand out nothing, or hand out again.
pub(super) async fn pause(flags: &QueueGroup, pause: Pause) -> Result<Exit, Exit> {
    let queue = find(flags).await?;
    let wanted = pause == Pause::Paused;
    let already = queue.depth().await.map_err(|error| failed(&error))?.paused == wanted;
    if !already {
        queue.pause(pause).await.map_err(|error| failed(&error))?;
    }
    close(queue.store()).await?;
    let (queue, named) = (&queue, named(&queue));
    match (flags.output.output, already, wanted) {
        (Format::Text, true, true) => output::message(&format!("{named} is paused already")),
        (Format::Text, true, false) => output::message(&format!("{named} is not paused")),
        (Format::Text, false, true) => {
            output::data_line(&format!("{named}: paused until `aqueduct queue resume`"));
        }
        (Format::Text, false, false) => output::data_line(&format!("{named}: hands out again")),
        (format, ..) => {
            let (name, group) = (queue.name().to_owned(), queue.group_name().to_owned());
            output::data_line(&output::json(format, &Shown { queue: name, group, paused: wanted }));
        }
    }
    Ok(if already { Exit::Nothing } else { Exit::Done })
}
