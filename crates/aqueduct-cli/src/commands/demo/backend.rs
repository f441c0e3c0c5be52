use std::fmt::Write as _;
use std::time::Duration;

use aqueduct_core::{Clock, ConfigError};
use aqueduct_testkit::backend::{Account, Backend, Keys, Latency, Page, Quota, Script, StartError, Tally};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::pages;
use crate::exit::Exit;
use crate::flags::{DemoBackend, Format};
use crate::{output, signals};

/// What is printed when it listens, as a JSON line.
#[derive(Serialize)]
struct Listening<'a> {
    urls: &'a [String],
}

/// Ten a second looks alive and costs nothing.
const REFRESH: Duration = Duration::from_millis(100);

/// Runs a scripted backend until somebody stops it, and prints what it has counted.
pub(super) async fn backend(flags: DemoBackend) -> Exit {
    let pages = match flags.pages.as_deref().map(pages::read).transpose() {
        Ok(pages) => pages.unwrap_or_default(),
        Err(error) => {
            output::error(&error);
            return Exit::Usage;
        }
    };
    let script = match script(&flags, pages) {
        Ok(script) => script,
        // Only flags were given, so one of them is wrong.
        Err(error) => {
            output::error(&error);
            return Exit::Usage;
        }
    };
    let asked_to_stop = signals::first();
    let backend = match Backend::start(script).await {
        Ok(backend) => backend,
        Err(error) => {
            output::error(&error);
            if matches!(error, StartError::Listen { .. }) {
                output::message("  take another port with --port, or free ones with --port 0");
            }
            return Exit::Failed;
        }
    };
    announce(&backend, flags.output);
    let clock = Clock::system();
    tokio::select! {
        () = asked_to_stop => {}
        () = elapsed(&clock, flags.runs_for) => {}
        () = draw(&clock, &backend) => {}
    }
    let account = backend.stop().await;
    match flags.output {
        Format::Text => output::data(&told(&account, &flags)),
        format => output::data_line(&output::json(format, &account)),
    }
    Exit::Done
}

fn script(flags: &DemoBackend, pages: Vec<(String, Page)>) -> Result<Script, ConfigError> {
    let script = Script::builder()
        .hosts(flags.hosts)
        .first_port(flags.port)
        .latency(Latency { typical: flags.latency, tail: flags.tail })
        .errors(flags.errors)
        .hangs(flags.hangs)
        .quota(flags.quota)
        .quota_per_host(flags.quota_per_host)
        .retry_after(flags.retry_after.into())
        .records(flags.records)
        .pages(pages)
        .keys(if flags.ignore_keys { Keys::Ignored } else { Keys::Honoured })
        .seed(flags.seed);
    flags.outages.iter().fold(script, |script, outage| script.outage(*outage)).build()
}

/// Says where it listens: to a program on standard output, to a person with something to try.
fn announce(backend: &Backend, format: Format) {
    let urls = backend.urls();
    match format {
        Format::Text => urls.iter().for_each(|url| output::data_line(url)),
        Format::Json => urls.iter().for_each(|url| output::message(url)),
        Format::Jsonl => output::data_line(&output::json(format, &Listening { urls })),
    }
    let url = backend.url(0);
    output::message(&format!(
        "try:  curl -i {url}/item/42\nmore: curl {url}/\nCtrl-C stops it and prints the account"
    ));
}

async fn elapsed(clock: &Clock, time: Option<Duration>) {
    match time {
        Some(time) => clock.sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Draws a line until it is dropped. Draws nothing when standard error is not a terminal.
async fn draw(clock: &Clock, backend: &Backend) {
    let bar = Line(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()));
    let style = ProgressStyle::with_template("{msg}");
    bar.0.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    loop {
        bar.0.set_message(line(&backend.account().total));
        bar.0.tick();
        clock.sleep(REFRESH).await;
    }
}

/// Cleared when it goes, so that the account stands alone.
struct Line(ProgressBar);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn line(total: &Tally) -> String {
    let mut line = format!(
        "{}: {} ok, {} failed, {} over quota, {} in flight",
        output::plural(total.calls, "call"),
        output::count(total.ok),
        output::count(total.answered() - total.ok - total.over_quota),
        output::count(total.over_quota),
        output::count(total.in_flight),
    );
    if total.cut + total.connections_reset > 0 {
        let _ = write!(line, ", {} cut", output::count(total.cut + total.connections_reset));
    }
    line
}

/// The closing account for people.
fn told(account: &Account, flags: &DemoBackend) -> String {
    let mut text = format!("{}\n", told_tally(&account.total));
    if account.hosts.len() > 1 {
        for (host, tally) in account.hosts.iter().enumerate() {
            let _ = writeln!(text, "  host {host}: {}", told_tally(tally));
        }
    }
    let quota = |tally: &Tally, quota: Quota| {
        format!(
            "{} in any {:?}, {} allowed; {} refused",
            output::plural(tally.calls_in_window_max.unwrap_or(0), "call"),
            quota.window,
            output::count(quota.calls),
            output::count(tally.over_quota),
        )
    };
    if let Some(allowed) = flags.quota {
        let _ = writeln!(text, "quota: at most {}", quota(&account.total, allowed));
    }
    if let Some(allowed) = flags.quota_per_host {
        for (host, tally) in account.hosts.iter().enumerate() {
            let _ = writeln!(text, "quota of host {host}: at most {}", quota(tally, allowed));
        }
    }
    let keys = account.keys;
    if keys.keys > 0 {
        let _ = writeln!(
            text,
            "keys: {}, {} carried out, {} more than once; {} with a key that had come before, {} of them answered as kept",
            output::count(keys.keys),
            output::count(keys.carried_out),
            output::count(keys.repeated),
            output::plural(keys.repeats, "call"),
            output::count(keys.kept_answers),
        );
    }
    text
}

fn told_tally(tally: &Tally) -> String {
    let mut text = output::plural(tally.calls, "call");
    let each = tally.by_status.iter().map(|(status, calls)| format!("{status}: {}", output::count(*calls)));
    let others = [
        ("given up", tally.aborted),
        ("cut", tally.cut),
        ("reset", tally.connections_reset),
        ("never answered", tally.hung),
    ];
    let others = others.into_iter().filter(|(_, calls)| *calls > 0);
    let each: Vec<String> =
        each.chain(others.map(|(what, calls)| format!("{what}: {}", output::count(calls)))).collect();
    if !each.is_empty() {
        let _ = write!(text, " ({})", each.join(", "));
    }
    let _ = write!(
        text,
        ", at most {} at once over {}",
        output::count(tally.in_flight_max),
        output::plural(tally.connections, "connection")
    );
    if tally.records > 0 {
        let _ = write!(text, ", {} taken", output::plural(tally.records, "record"));
    }
    text
}
