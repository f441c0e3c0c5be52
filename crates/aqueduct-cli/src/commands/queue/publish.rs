use std::io::{self, BufRead, Read};
use std::time::Duration;

use aqueduct_queue::{Config, DeclareError, Message, PublishError, Queues, Receipt};
use bytes::Bytes;
use serde::Serialize;

use super::{close, open};
use crate::exit::Exit;
use crate::flags::{Format, Publish};
use crate::output;

/// How many messages are published at once: one sync for all of them.
const BATCH: usize = 1000;
/// The most bytes of lines that are read before they are published; one line more, at most.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

#[derive(Default, Serialize)]
struct Published {
    queue: String,
    published: u64,
    /// Known by their dedup ids, and not taken again.
    duplicates: u64,
    /// Where they are now; null where none was published.
    durability: Option<String>,
}

/// Publishes the lines of the standard input.
pub(super) async fn publish(flags: Publish) -> Result<Exit, Exit> {
    let config = Config::builder().items_max(flags.items_max).build().map_err(|error| wrong(&error))?;
    // A name that cannot be is refused before a file is made for it.
    Queues::memory().declare(&flags.queue, config.clone()).await.map_err(|error| wrong(&error))?;
    let mut lines = Lines { read: io::stdin().lock(), bytes_max: config.message_bytes_max(), line: 0 };
    let mut published = Published { queue: flags.queue.clone(), ..Published::default() };
    let mut messages = 0;
    let mut batch = lines.batch().map_err(|why| stopped(&published, &why))?;
    if batch.is_empty() {
        output::message("nothing to publish: the input has no line");
        return Ok(Exit::Nothing);
    }
    let queues = open(&flags.path).await?;
    let queue = queues.declare(&flags.queue, config).await.map_err(|error| {
        output::error(&error);
        match error {
            DeclareError::Config(_) => Exit::Usage,
            _ => Exit::Failed,
        }
    })?;
    let mut ended = Ok(());
    while !batch.is_empty() {
        let made = batch.into_iter().map(|body| {
            messages += 1;
            message(&flags, body, messages)
        });
        // Nobody else has the file, so nobody makes room while this waits.
        match queue.publish_all(made.collect(), Duration::ZERO).await {
            Ok(receipts) => receipts.iter().for_each(|receipt| published.add(receipt)),
            Err(error) => {
                ended = Err(refused(&error));
                break;
            }
        }
        match lines.batch() {
            Ok(next) => batch = next,
            Err(why) => {
                ended = Err(why);
                break;
            }
        }
    }
    close(&queues).await?;
    ended.map_err(|why| stopped(&published, &why))?;
    tell(&flags, &published);
    Ok(Exit::Done)
}

impl Published {
    fn add(&mut self, receipt: &Receipt) {
        if receipt.duplicate {
            self.duplicates += 1;
        } else {
            self.published += 1;
            self.durability = Some(receipt.durability.to_string());
        }
    }
}

fn message(flags: &Publish, body: Bytes, number: u64) -> Message {
    let mut message =
        Message::new(body).with_priority(flags.priority).with_delay(Duration::from_secs(flags.delay));
    message.topic.clone_from(&flags.topic);
    message.key = flags.key.as_deref().map(Into::into);
    message.tenant = flags.tenant.as_deref().map(Into::into);
    message.dedup_id = flags.dedup_id.as_ref().map(|id| match number {
        1 => id.as_str().into(),
        _ => format!("{id}:{number}").into(),
    });
    message
}

fn wrong(error: &dyn std::error::Error) -> Exit {
    output::error(error);
    Exit::Usage
}

fn refused(error: &PublishError) -> String {
    match error {
        PublishError::Full { .. } => {
            format!("{error}; there is room when a run has worked some off, or with a greater --items-max")
        }
        _ => error.to_string(),
    }
}

/// Says why it ended early, and what is in the queue all the same.
fn stopped(published: &Published, why: &str) -> Exit {
    output::message(&format!("error: {why}"));
    output::message(&format!("  {} published before", output::plural(published.published, "message")));
    Exit::Failed
}

fn tell(flags: &Publish, published: &Published) {
    if flags.output.output != Format::Text {
        output::data_line(&output::json(flags.output.output, published));
        return;
    }
    let mut line = output::plural(published.published, "message");
    line.push_str(&format!(" published to queue {}", published.queue));
    if let Some(durability) = &published.durability {
        line.push_str(&format!(", safe on: {durability}"));
    }
    if published.duplicates > 0 {
        line.push_str(&format!(
            "; {} known by dedup id, and not taken again",
            output::count(published.duplicates)
        ));
    }
    output::data_line(&line);
}

/// Lines of an input, without their ends. A line may end with `\r\n`.
struct Lines<R> {
    read: R,
    bytes_max: usize,
    line: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next lines that are not empty; none at the end of the input.
    fn batch(&mut self) -> Result<Vec<Bytes>, String> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Some(line) = self.next()? else { break };
            bytes += line.len();
            if !line.is_empty() {
                batch.push(line.into());
            }
        }
        Ok(batch)
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut line = Vec::new();
        // One for a carriage return, one for the line feed, so a line that has none by then is too long.
        let most = self.bytes_max as u64 + 2;
        let read = self.read.by_ref().take(most).read_until(b'\n', &mut line);
        read.map_err(|error| format!("the standard input cannot be read: {error}"))?;
        if line.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        if line.len() > self.bytes_max {
            return Err(format!(
                "line {} has more than {} bytes",
                self.line,
                output::count(self.bytes_max as u64)
            ));
        }
        Ok(Some(line))
    }
}
