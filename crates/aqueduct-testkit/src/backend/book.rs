use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::Instant;

use super::account::{Account, Ending, Tally};
use super::answer::Answer;
use super::fate::{Fate, Reply};
use super::ledger::{Fingerprint, Full, Ledger, Settled};
use super::outage::{Dead, Outages};
use super::script::{Quota, Script};
use super::window::Window;

/// All that a backend knows: the script in force, where each host is in it, and the account. Time is an argument.
#[derive(Debug)]
pub(super) struct Book {
    script: Arc<Script>,
    /// Since when the script is in force.
    since: Instant,
    total: Traffic,
    hosts: Vec<Host>,
    ledger: Ledger,
    stopped: bool,
}

#[derive(Debug)]
struct Host {
    /// The last call, counted from 1 since the script came into force.
    call: u64,
    outages: Outages,
    dead: Option<Dead>,
    /// Its connections are to be reset, and were not yet: it died, perhaps only for a moment.
    cut_due: bool,
    traffic: Traffic,
}

#[derive(Debug, Default)]
struct Traffic {
    tally: Tally,
    /// All calls.
    came: Option<Window>,
    /// Those that the quota let pass.
    admitted: Option<(Quota, Window)>,
    /// The most calls in a window of an earlier script.
    max_before: Option<u64>,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// What the script has in store for it.
    Meets(Fate),
    /// It is beyond a quota, which has room again after this time.
    OverQuota(Duration),
    /// The host is dead and goes on answering.
    Unavailable,
    /// The host is dead, and the connection with it.
    Cut,
    /// Its key does not fit into the ledger.
    Full(Full),
}

/// How a host is, for who keeps its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weather {
    pub(super) dead: Option<Dead>,
    /// How long until it changes by itself.
    pub(super) wait: Option<Duration>,
    /// Its connections are to be reset, once.
    pub(super) cut: bool,
    pub(super) stopped: bool,
}

impl Book {
    pub(super) fn new(script: Script, now: Instant) -> Self {
        let mut book = Self {
            since: now,
            total: Traffic::default(),
            hosts: Vec::new(),
            ledger: Ledger::default(),
            stopped: false,
            script: Arc::new(script),
        };
        for host in 0..book.script.hosts {
            let outages = Outages::of(host, &book.script.outages);
            book.hosts.push(Host {
                call: 0,
                outages,
                dead: None,
                cut_due: false,
                traffic: Traffic::default(),
            });
        }
        book.open_windows();
        book
    }

    pub(super) fn script(&self) -> Arc<Script> {
        Arc::clone(&self.script)
    }

    /// Puts another script into force: calls, times and windows are counted from now. Account and ledger go on.
    pub(super) fn follow(&mut self, script: Script, now: Instant) {
        self.script = Arc::new(script);
        self.since = now;
        for (at, host) in self.hosts.iter_mut().enumerate() {
            (host.call, host.dead) = (0, None);
            host.outages = Outages::of(at, &self.script.outages);
        }
        self.open_windows();
    }

    fn open_windows(&mut self) {
        let span = self.script.window();
        let span_of_host = self.script.quota_per_host.map(|quota| quota.window).or(span);
        self.total.open(span, self.script.quota);
        for host in &mut self.hosts {
            host.traffic.open(span_of_host, self.script.quota_per_host);
        }
    }

    /// A call has come.
    pub(super) fn begin(&mut self, host: usize, now: Instant, key: Option<&str>) -> Decision {
        let now = now.since(self.since);
        let Some(here) = self.hosts.get_mut(host) else { return Decision::Cut };
        here.call += 1;
        here.step(here.call, now);
        self.total.begin(now);
        here.traffic.begin(now);
        let full = key.and_then(|key| self.ledger.came(key, self.script.keys_max).err());
        match here.dead {
            Some(Dead::Unavailable) => return Decision::Unavailable,
            Some(Dead::Refuses | Dead::Resets) => return Decision::Cut,
            None => {}
        }
        if let Some(full) = full {
            return Decision::Full(full);
        }
        let wait = self.total.wait(now).max(here.traffic.wait(now));
        if !wait.is_zero() {
            self.total.tally.over_quota += 1;
            here.traffic.tally.over_quota += 1;
            return Decision::OverQuota(wait);
        }
        let fate = self.script.fate(host, here.call);
        for traffic in [&mut self.total, &mut here.traffic] {
            traffic.admit(now);
            traffic.tally.slow += u64::from(fate.slow);
            traffic.tally.hung += u64::from(fate.reply == Reply::Never);
        }
        Decision::Meets(fate)
    }

    /// A call has its answer: it is carried out unless its key was before.
    pub(super) fn settle(
        &mut self,
        host: usize,
        key: Option<(&str, Fingerprint)>,
        answer: Answer,
    ) -> Settled {
        let settled = match key {
            Some((key, fingerprint)) => self.ledger.settle(self.script.keys, key, fingerprint, answer),
            None => Settled::Fresh(answer),
        };
        if let (Settled::Fresh(answer), Some(here)) = (&settled, self.hosts.get_mut(host)) {
            self.total.tally.records += answer.records;
            here.traffic.tally.records += answer.records;
        }
        settled
    }

    /// A call has ended.
    pub(super) fn end(&mut self, host: usize, ending: Ending) {
        self.total.tally.end(ending);
        if let Some(here) = self.hosts.get_mut(host) {
            here.traffic.tally.end(ending);
        }
    }

    /// How a host is now.
    pub(super) fn weather(&mut self, host: usize, now: Instant) -> Weather {
        let now = now.since(self.since);
        let Some(here) = self.hosts.get_mut(host) else {
            return Weather { dead: None, wait: None, cut: false, stopped: self.stopped };
        };
        here.step(here.call, now);
        let wait = here.outages.next().map(|next| next.saturating_sub(now));
        let cut = std::mem::take(&mut here.cut_due);
        Weather { dead: here.dead, wait, cut, stopped: self.stopped }
    }

    /// A connection was accepted. Tells whether it is to be served, or reset.
    pub(super) fn connected(&mut self, host: usize, now: Instant) -> bool {
        let now = now.since(self.since);
        let Some(here) = self.hosts.get_mut(host) else { return false };
        if here.dead.is_some_and(Dead::cuts) {
            here.step(here.call + 1, now);
        }
        let served = !here.dead.is_some_and(Dead::cuts);
        here.call += u64::from(!served);
        for traffic in [&mut self.total, &mut here.traffic] {
            if served {
                traffic.tally.connections += 1;
            } else {
                traffic.tally.connections_reset += 1;
            }
        }
        served
    }

    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(super) fn account(&self) -> Account {
        Account {
            total: self.total.tally(),
            hosts: self.hosts.iter().map(|host| host.traffic.tally()).collect(),
            keys: self.ledger.totals(),
        }
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

impl Host {
    /// Moves on to this call at this time.
    fn step(&mut self, call: u64, now: Duration) {
        let was = self.dead.is_some_and(Dead::cuts);
        self.dead = self.outages.step(call, now);
        self.cut_due |= !was && self.dead.is_some_and(Dead::cuts);
    }
}

impl Traffic {
    fn open(&mut self, span: Option<Duration>, quota: Option<Quota>) {
        self.max_before = self.max_before.max(self.came.as_ref().map(Window::max));
        self.came = span.map(Window::new);
        self.admitted = quota.map(|quota| (quota, Window::new(quota.window)));
    }

    fn begin(&mut self, now: Duration) {
        self.tally.begin();
        if let Some(came) = &mut self.came {
            came.add(now);
        }
    }

    /// How long until the quota has room for a call.
    fn wait(&mut self, now: Duration) -> Duration {
        match &mut self.admitted {
            Some((quota, admitted)) => admitted.wait(now, quota.calls),
            None => Duration::ZERO,
        }
    }

    fn admit(&mut self, now: Duration) {
        if let Some((_, admitted)) = &mut self.admitted {
            admitted.add(now);
        }
    }

    fn tally(&self) -> Tally {
        let max = self.came.as_ref().map(Window::max).max(self.max_before);
        Tally { calls_in_window_max: max, ..self.tally.clone() }
    }
}
