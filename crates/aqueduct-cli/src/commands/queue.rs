mod ls;
mod pause;
mod peek;
mod publish;
mod purge;
mod redrive;
mod repair;

use std::path::Path;

use aqueduct_queue::{AdminError, Broken, Config, OpenError, Pause, Queue, Queues};

use crate::exit::Exit;
use crate::flags::{Queue as Flags, QueueGroup};
use crate::output;

/// Looks into a file of queues, or changes what is in it.
pub(super) async fn queue(flags: Flags) -> Exit {
    let done = match flags {
        Flags::Ls(file) => ls::ls(&file).await,
        Flags::Peek(flags) => peek::peek(&flags).await,
        Flags::Publish(flags) => publish::publish(flags).await,
        Flags::Redrive(flags) => redrive::redrive(flags).await,
        Flags::Purge(flags) => purge::purge(&flags).await,
        Flags::Pause(group) => pause::pause(&group, Pause::Paused).await,
        Flags::Resume(group) => pause::pause(&group, Pause::Running).await,
        Flags::Verify(file) => repair::verify(&file).await,
        Flags::Repair(flags) => repair::repair(&flags).await,
    };
    done.unwrap_or_else(|exit| exit)
}

/// Refuses a file that is not there, so that no look makes one.
fn there(path: &Path) -> Result<(), Exit> {
    match path.metadata() {
        // An opening would make a file of queues of an empty one.
        Ok(file) if file.is_file() && file.len() == 0 => {
            output::message(&format!("{} is empty: there are no queues in it", path.display()));
            Err(Exit::Nothing)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            output::message(&format!("{} is not there: no file of queues", path.display()));
            Err(Exit::Nothing)
        }
        // Whatever else is wrong with it, the opening says.
        _ => Ok(()),
    }
}

/// Opens the queues of a file that is there.
async fn open_there(path: &Path) -> Result<Queues, Exit> {
    there(path)?;
    open(path).await
}

/// Opens the queues of a file, or makes it.
async fn open(path: &Path) -> Result<Queues, Exit> {
    let file = path.to_owned();
    blocking(move || Queues::open(file)).await.map_err(|error| not_opened(&error))
}

/// Does what waits for a disk where that holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // It was not cancelled, since nobody could, so it panicked; go on with that.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn not_opened(error: &OpenError) -> Exit {
    output::error(error);
    if let OpenError::InUse { .. } = error {
        output::message("  a run has it, or another command: end it, or wait for its end, and ask again");
    }
    Exit::Failed
}

/// Says that something that was asked of a queue failed.
fn failed(error: &AdminError) -> Exit {
    output::error(error);
    Exit::Failed
}

/// Closes the file, so that what was said is safe.
async fn close(queues: &Queues) -> Result<(), Exit> {
    queues.close().await.map_err(|error: Broken| {
        output::error(&error);
        Exit::Failed
    })
}

/// Opens the group that is meant; says what there is where it is not there.
async fn find(wanted: &QueueGroup) -> Result<Queue, Exit> {
    let queues = open_there(&wanted.path).await?;
    let there = queues.list().await.map_err(|error| failed(&error))?;
    let path = wanted.path.display();
    let Some((name, groups)) = there.iter().find(|(name, _)| *name == wanted.queue) else {
        let names: Vec<&str> = there.iter().map(|(name, _)| name.as_str()).collect();
        let names = if names.is_empty() { "no queue at all".to_owned() } else { names.join(", ") };
        output::message(&format!("there is no queue {} in {path}; it has {names}", wanted.queue));
        return Err(Exit::Nothing);
    };
    let only = match groups.as_slice() {
        [only] => only,
        _ => Config::DEFAULT_GROUP,
    };
    let group = wanted.group.as_deref().unwrap_or(only);
    if !groups.iter().any(|known| known == group) {
        let groups = groups.join(", ");
        output::message(&format!("queue {name} of {path} has no group {group}; it has {groups}"));
        return Err(Exit::Nothing);
    }
    Ok(queues.queue(name).group(group))
}

/// A queue and its group for people.
fn named(queue: &Queue) -> String {
    format!("queue {}, group {}", queue.name(), queue.group_name())
}
