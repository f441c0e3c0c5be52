//! A line that shows how far a run is. On a terminal only.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::Clock;
use aqueduct_stream::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Ten a second looks alive and costs nothing.
const REFRESH: Duration = Duration::from_millis(100);

/// Draws the line until the task is aborted. Draws nothing when standard error is not a terminal.
pub(crate) fn show(name: String, progress: Arc<Progress>) -> (ProgressBar, tokio::task::JoinHandle<()>) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{prefix} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_prefix(name);
    let task_bar = bar.clone();
    let clock = Clock::system();
    let task = tokio::spawn(async move {
        let bar = task_bar;
        let begun = clock.now();
        let mut sized = false;
        loop {
            clock.sleep(REFRESH).await;
            let now = progress.snapshot();
            if now.total_bytes > 0 && !sized {
                sized = true;
                // The estimate comes from bytes: the number of items is not known before the end.
                let style = ProgressStyle::with_template("{prefix} [{bar:24}] {percent}% {msg}, {eta} left");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
                bar.set_length(now.total_bytes);
            }
            let seconds = clock.now().since(begun).as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = now.read as f64 / seconds.max(0.001);
            let mut message = format!("{}, {rate:.0}/s", output::plural(now.delivered, "item"));
            if now.dead_lettered > 0 {
                message.push_str(&format!(", {}", output::plural(now.dead_lettered, "dead letter")));
            }
            bar.set_position(now.read_bytes);
            bar.set_message(message);
        }
    });
    (bar, task)
}
