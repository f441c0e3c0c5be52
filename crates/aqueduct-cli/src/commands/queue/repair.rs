use aqueduct_queue::{Damage, MessageId};
use serde::Serialize;

use super::{blocking, not_opened, there};
use crate::exit::Exit;
use crate::flags::{Format, QueueFile, Repair};
use crate::output;

#[derive(Serialize)]
struct ShownDamage {
    what: String,
    reason: String,
}

#[derive(Serialize)]
struct Verified {
    path: String,
    sound: bool,
    /// Dead letters among them.
    messages: u64,
    dead: u64,
    groups: u64,
    dedup_ids: u64,
    damaged: Vec<ShownDamage>,
}

#[derive(Serialize)]
struct Repaired {
    path: String,
    to: String,
    messages: u64,
    dead: u64,
    groups: u64,
    dedup_ids: u64,
    half: Vec<u64>,
    lost: Vec<u64>,
    /// Null where even their count is lost.
    lost_unnamed: Option<u64>,
    damaged: Vec<ShownDamage>,
}

/// Looks at all of a file.
pub(super) async fn verify(flags: &QueueFile) -> Result<Exit, Exit> {
    there(&flags.path)?;
    let file = flags.path.clone();
    let report = blocking(move || aqueduct_queue::verify(&file)).await.map_err(|error| not_opened(&error))?;
    let sound = report.damaged.is_empty();
    let path = flags.path.display().to_string();
    if flags.output.output == Format::Text {
        print_damage(&report.damaged);
        let verdict =
            if sound { "sound" } else { "damaged; `aqueduct queue repair` takes out what can be read" };
        output::data_line(&format!(
            "{path}: {}: {verdict}",
            holds(report.messages, report.dead, report.groups)
        ));
    } else {
        let shown = Verified {
            path,
            sound,
            messages: report.messages,
            dead: report.dead,
            groups: report.groups,
            dedup_ids: report.remembered,
            damaged: shown(report.damaged),
        };
        output::data_line(&output::json(flags.output.output, &shown));
    }
    Ok(if sound { Exit::Done } else { Exit::Failed })
}

/// Writes what can be read of a file into a new one.
pub(super) async fn repair(flags: &Repair) -> Result<Exit, Exit> {
    there(&flags.path)?;
    let (file, to) = (flags.path.clone(), flags.to.clone());
    let repaired = blocking(move || aqueduct_queue::repair(&file, &to)).await;
    let report = repaired.map_err(|error| not_opened(&error))?;
    let all = report.half.is_empty() && report.lost.is_empty() && report.lost_unnamed == Some(0);
    let (path, to) = (flags.path.display().to_string(), flags.to.display().to_string());
    if flags.output.output == Format::Text {
        print_damage(&report.damaged);
        let ids = |ids: &[MessageId]| ids.iter().map(MessageId::to_string).collect::<Vec<_>>().join(", ");
        if !report.half.is_empty() {
            let half = ids(&report.half);
            output::data_line(&format!("read by half, and dead letters of cause corrupt now: {half}"));
        }
        if !report.lost.is_empty() {
            output::data_line(&format!("lost: {}", ids(&report.lost)));
        }
        match report.lost_unnamed {
            Some(0) => {}
            Some(more) => {
                output::data_line(&format!("lost, with their numbers: {}", output::plural(more, "message")));
            }
            None => output::data_line("how many messages there were cannot be read; some may be lost"),
        }
        output::data_line(&format!("{to}: {}", holds(report.messages, report.dead, report.groups)));
    } else {
        let numbers = |ids: Vec<MessageId>| ids.into_iter().map(|id| id.0).collect();
        let shown = Repaired {
            path,
            to,
            messages: report.messages,
            dead: report.dead,
            groups: report.groups,
            dedup_ids: report.remembered,
            half: numbers(report.half),
            lost: numbers(report.lost),
            lost_unnamed: report.lost_unnamed,
            damaged: shown(report.damaged),
        };
        output::data_line(&output::json(flags.output.output, &shown));
    }
    Ok(if all { Exit::Done } else { Exit::Failed })
}

fn holds(messages: u64, dead: u64, groups: u64) -> String {
    let (messages, groups) = (output::plural(messages, "message"), output::plural(groups, "group"));
    format!("{messages} ({} dead) in {groups}", output::count(dead))
}

fn print_damage(damaged: &[Damage]) {
    damaged.iter().for_each(|damage| output::data_line(&format!("damaged: {damage}")));
}

fn shown(damaged: Vec<Damage>) -> Vec<ShownDamage> {
    damaged.into_iter().map(|damage| ShownDamage { what: damage.what, reason: damage.reason }).collect()
}
