use aqueduct_queue::{Message, Peeked};
use serde::Serialize;

use super::{close, failed, find, named};
use crate::commands::one_line;
use crate::exit::Exit;
use crate::flags::{Format, QueuePeek, cause_name};
use crate::output;

/// Messages that are read at once. They are in memory together, and may have a mebibyte each; on the other hand each page
/// looks at all that waits once.
const PAGE: u64 = 200;
/// How much of a body a person sees.
const BODY_CHARACTERS: usize = 100;

/// One message.
#[derive(Serialize)]
struct Shown {
    id: u64,
    priority: &'static str,
    attempts: u32,
    published: String,
    tenant: Option<String>,
    key: Option<String>,
    topic: Option<String>,
    headers: Vec<(String, String)>,
    /// Null where it cannot be read; `unreadable` says why.
    body: Option<String>,
    /// Bytes that are not UTF-8 are shown as `\xNN`, a backslash as `\\`.
    escaped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead: Option<ShownDead>,
}

#[derive(Serialize)]
struct ShownDead {
    cause: &'static str,
    reason: String,
    at: String,
}

/// Looks at messages, page by page.
pub(super) async fn peek(flags: &QueuePeek) -> Result<Exit, Exit> {
    let queue = find(&flags.group).await?;
    let format = flags.group.output.output;
    let (mut after, mut left) = (flags.after, flags.limit);
    let mut first = true;
    while left > 0 {
        // A page is far below the greatest number.
        let limit = usize::try_from(left.min(PAGE)).unwrap_or(1);
        let page = queue.peek(flags.state.state(), after, limit).await.map_err(|error| failed(&error))?;
        let Some(last) = page.last() else { break };
        (after, left) = (Some(last.id), left - page.len() as u64);
        for peeked in page {
            print(format, &shown(peeked), first);
            first = false;
        }
    }
    close(queue.store()).await?;
    match format {
        Format::Json if first => output::data_line("[]"),
        Format::Json => output::data_line("\n]"),
        Format::Text if first => {
            output::message(&format!("{}: no message is {}", named(&queue), flags.state.as_str()));
        }
        Format::Text | Format::Jsonl => {}
    }
    Ok(if first { Exit::Nothing } else { Exit::Done })
}

fn shown(peeked: Peeked) -> Shown {
    let (message, unreadable) = match peeked.message {
        Ok(message) => (message, None),
        Err(why) => (Message::default(), Some(why)),
    };
    let (body, escaped) = match std::str::from_utf8(&message.body) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (message.body.escape_ascii().to_string(), true),
    };
    Shown {
        id: peeked.id.0,
        priority: peeked.priority.as_str(),
        attempts: peeked.attempts,
        published: peeked.published.to_string(),
        tenant: message.tenant.map(String::from),
        key: message.key.map(String::from),
        topic: message.topic.map(|topic| topic.to_string()),
        headers: message.headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        body: unreadable.is_none().then_some(body),
        escaped,
        unreadable,
        dead: peeked.dead.map(|dead| ShownDead {
            cause: cause_name(dead.cause),
            reason: dead.reason.into(),
            at: dead.at.to_string(),
        }),
    }
}

fn print(format: Format, shown: &Shown, first: bool) {
    match format {
        Format::Json => {
            let json = output::json(Format::Json, shown).replace('\n', "\n  ");
            output::data(&format!("{}\n  {json}", if first { "[" } else { "," }));
        }
        Format::Jsonl => output::data_line(&output::json(Format::Jsonl, shown)),
        Format::Text => print_lines(shown),
    }
}

fn print_lines(shown: &Shown) {
    let mut line =
        format!("{}  {}, attempts {}, {}", shown.id, shown.priority, shown.attempts, shown.published);
    for (what, value) in [("tenant", &shown.tenant), ("key", &shown.key), ("topic", &shown.topic)] {
        if let Some(value) = value {
            line.push_str(&format!(", {what} {}", one_line(value)));
        }
    }
    output::data_line(&line);
    if let Some(dead) = &shown.dead {
        output::data_line(&format!("    {} at {}: {}", dead.cause, dead.at, one_line(&dead.reason)));
    }
    match (&shown.body, &shown.unreadable) {
        (Some(body), _) => output::data_line(&format!("    {}", shortened(body))),
        (None, Some(why)) => output::data_line(&format!("    cannot be read: {}", one_line(why))),
        (None, None) => {}
    }
}

fn shortened(body: &str) -> String {
    match body.char_indices().nth(BODY_CHARACTERS) {
        Some((at, _)) => {
            format!("{}... {}", one_line(&body[..at]), output::plural(body.len() as u64, "byte"))
        }
        None => one_line(body),
    }
}
