//! The stage `exec`.

use std::time::Duration;

use crate::file::keys;
use crate::file::reader::{Reader, Table};
use crate::spec::{ExecSpec, StageKind};

pub(super) fn exec(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<StageKind> {
    let command = reader.words(table, &keys::COMMAND);
    let environment = reader.texts(table, &keys::ENV);
    let processes = reader.integer(table, &keys::PROCESSES);
    let in_flight = reader.integer(table, &keys::IN_FLIGHT);
    let timeout = reader.number(table, &keys::TIMEOUT_SECONDS);
    let answer_bytes_max = reader.integer(table, &keys::ANSWER_BYTES_MAX);
    let restarts_max = reader.integer(table, &keys::RESTARTS_MAX);
    let restart_window = reader.number(table, &keys::RESTART_WINDOW_SECONDS);
    let grace = reader.number(table, &keys::GRACE_SECONDS);
    Some(StageKind::Exec(Box::new(ExecSpec {
        command: command?,
        environment: environment?,
        processes: usize::try_from(processes?).ok()?,
        in_flight: usize::try_from(in_flight?).ok()?,
        timeout: Duration::from_secs_f64(timeout?),
        answer_bytes_max: usize::try_from(answer_bytes_max?).ok()?,
        restarts_max: u32::try_from(restarts_max?).ok()?,
        restart_window: Duration::from_secs_f64(restart_window?),
        grace: Duration::from_secs_f64(grace?),
    })))
}
