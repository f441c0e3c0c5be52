use std::collections::BTreeMap;

use serde::Serialize;

/// What a backend has seen and done, since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// All hosts together.
    pub total: Tally,
    /// Each host for itself.
    pub hosts: Vec<Tally>,
    /// The ledger of keys, in figures.
    pub keys: KeyTotals,
}

/// What one host, or all of them, have seen and done.
///
/// It balances: `calls` is the sum of `by_status`, `aborted`, `cut` and `in_flight`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Calls that came: requests whose head was read.
    pub calls: u64,
    /// Calls that were answered in full, by their status.
    pub by_status: BTreeMap<u16, u64>,
    /// Those among them with a 2xx.
    pub ok: u64,
    /// Calls beyond the quota, all answered with 429.
    pub over_quota: u64,
    /// The greatest number of calls in any window as long as that of the quota, those beyond it included; none without a
    /// quota. Stops at 1,000,001, which is more than any quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_in_window_max: Option<u64>,
    /// Calls that are under way now.
    pub in_flight: u64,
    /// The most that were under way at once.
    pub in_flight_max: u64,
    /// Calls that the script made slow.
    pub slow: u64,
    /// Calls that the script never answers.
    pub hung: u64,
    /// Calls that the client gave up before it had the whole answer.
    pub aborted: u64,
    /// Calls that ended with their connection because the host died or the backend was stopped.
    pub cut: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that a dead host accepted and reset. Those that it refused nobody sees.
    pub connections_reset: u64,
    /// Records that `/sink` took.
    pub records: u64,
}

/// The ledger of keys, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeyTotals {
    /// Different keys that came.
    pub keys: u64,
    /// Calls with a key that had come before.
    pub repeats: u64,
    /// Those among them that got the kept answer.
    pub kept_answers: u64,
    /// Keys that were carried out.
    pub carried_out: u64,
    /// Keys that were carried out more than once.
    pub repeated: u64,
}

/// What became of one `Idempotency-Key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeyCount {
    /// How often it came.
    pub came: u64,
    /// How often it was carried out: a route did what was asked, whether or not the client waited for the 2xx.
    pub carried_out: u64,
    /// How often it got the kept answer.
    pub kept_answers: u64,
}

impl Account {
    /// Tells how many keys were carried out more than once. Zero unless keys are ignored.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.keys.repeated
    }
}

impl Tally {
    /// Calls that were answered with this status.
    #[must_use]
    pub fn status(&self, status: u16) -> u64 {
        self.by_status.get(&status).copied().unwrap_or(0)
    }

    /// Calls that were answered, with whatever status.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.by_status.values().sum()
    }

    pub(super) fn begin(&mut self) {
        self.calls += 1;
        self.in_flight += 1;
        self.in_flight_max = self.in_flight_max.max(self.in_flight);
    }

    pub(super) fn end(&mut self, ending: Ending) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match ending {
            Ending::Answered(status) => {
                *self.by_status.entry(status).or_default() += 1;
                self.ok += u64::from((200..300).contains(&status));
            }
            Ending::Aborted => self.aborted += 1,
            Ending::Cut => self.cut += 1,
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    Answered(u16),
    Aborted,
    Cut,
}
