//! What the block promises, through its public surface and on a clock that is moved by hand.

#![cfg(test)]

mod backend;
mod cache;
mod cancel;
mod concurrency;
mod config;
mod endpoints;
mod hedge;
mod layers;
mod metrics;
mod storm;
mod time;
mod tokens;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, ManualClock, Timestamp};
use aqueduct_retry::{BudgetConfig, Growth, Schedule};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// An error that is its class, and a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broken")]
struct Broken {
    class: ErrorClass,
    refusal: bool,
    retry_after: Option<Duration>,
}

const PASSING: Broken = Broken { class: ErrorClass::Transient, refusal: false, retry_after: None };

fn broken(class: ErrorClass) -> Broken {
    Broken { class, ..PASSING }
}

fn busy(seconds: u64) -> Broken {
    Broken {
        class: ErrorClass::Overload,
        refusal: false,
        retry_after: Some(SECOND * u32::try_from(seconds).expect("small")),
    }
}

impl Classified for Broken {
    fn class(&self) -> ErrorClass {
        self.class
    }

    fn is_refusal(&self) -> bool {
        self.refusal
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// A backend that does what its script says: for each request, how long it takes and what comes of it.
#[derive(Clone)]
struct Scripted {
    clock: Clock,
    script: Arc<Script>,
    seen: Arc<Mutex<Seen>>,
}

type Script = dyn Fn(u32) -> (Duration, Result<u32, Broken>) + Send + Sync;

#[derive(Default)]
struct Seen {
    /// When each attempt came.
    at: Vec<Duration>,
    under_way: u32,
    most: u32,
}

impl Scripted {
    fn new(
        clock: &Clock,
        script: impl Fn(u32) -> (Duration, Result<u32, Broken>) + Send + Sync + 'static,
    ) -> Self {
        Self { clock: clock.clone(), script: Arc::new(script), seen: Arc::default() }
    }

    /// Answers at once with the request.
    fn echo(clock: &Clock) -> Self {
        Self::new(clock, |request| (Duration::ZERO, Ok(request)))
    }

    fn attempts(&self) -> usize {
        self.seen.lock().expect("nobody panics").at.len()
    }

    fn times(&self) -> Vec<Duration> {
        self.seen.lock().expect("nobody panics").at.clone()
    }

    fn most(&self) -> u32 {
        self.seen.lock().expect("nobody panics").most
    }
}

struct Counted(Arc<Mutex<Seen>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.lock().expect("nobody panics").under_way -= 1;
    }
}

impl tower_service::Service<u32> for Scripted {
    type Response = u32;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<u32, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            {
                let mut seen = this.seen.lock().expect("nobody panics");
                seen.at.push(this.clock.now().elapsed_since_start());
                seen.under_way += 1;
                seen.most = seen.most.max(seen.under_way);
            }
            let _counted = Counted(Arc::clone(&this.seen));
            let (time, result) = (this.script)(request);
            if !time.is_zero() {
                this.clock.sleep(time).await;
            }
            result
        })
    }
}

fn clock() -> (Clock, ManualClock) {
    Clock::manual(Timestamp(0))
}

/// So many retries, always after the same wait.
fn retries(count: u32, delay: Duration) -> aqueduct_retry::Config {
    let schedule = Schedule::builder(Growth::Constant { delay }).retries_max(count).build();
    aqueduct_retry::Config { schedule: schedule.expect("a test's own"), ..aqueduct_retry::Config::default() }
}

/// A share of the calls and no reserve.
fn share(ratio: f64) -> BudgetConfig {
    BudgetConfig { ratio, per_second: 0.0, window: SECOND * 60 }
}

/// A circuit that opens when half of 4 calls have failed, for a second.
fn circuit() -> aqueduct_breaker::Config {
    let builder = aqueduct_breaker::Config::builder().minimum_calls(4).open_jitter(0.0);
    builder.open_for(SECOND, 1.0, SECOND).half_open(1, SECOND * 60).build().expect("a test's own")
}

/// Runs a future to its end, and moves the clock on whenever there is nothing else to do.
fn run<T>(hand: &ManualClock, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        hand.advance_to_next().expect("somebody waits for the clock");
    }
}

/// Many futures side by side, each polled when it was woken, in their order; the clock moves when nobody gets further.
struct Crowd<'a, T> {
    members: Vec<Option<Member<'a, T>>>,
    woken: Arc<Mutex<BTreeSet<usize>>>,
    /// Who is done, in the order of being done.
    done: Vec<(usize, T)>,
}

type Member<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

struct Bell {
    number: usize,
    woken: Arc<Mutex<BTreeSet<usize>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.woken.lock().expect("nobody panics").insert(self.number);
    }
}

impl<'a, T> Crowd<'a, T> {
    fn new() -> Self {
        Self { members: Vec::new(), woken: Arc::default(), done: Vec::new() }
    }

    fn join(&mut self, future: impl Future<Output = T> + 'a) {
        self.woken.lock().expect("nobody panics").insert(self.members.len());
        self.members.push(Some(Box::pin(future)));
    }

    /// Drops one wherever it is.
    fn drop(&mut self, number: usize) {
        self.members[number] = None;
    }

    /// Polls whoever was woken until nobody gets further at this moment.
    fn settle(&mut self) {
        loop {
            let next = self.woken.lock().expect("nobody panics").pop_first();
            let Some(number) = next else { return };
            let waker = Waker::from(Arc::new(Bell { number, woken: Arc::clone(&self.woken) }));
            if let Some(member) = &mut self.members[number]
                && let Poll::Ready(value) = member.as_mut().poll(&mut Context::from_waker(&waker))
            {
                self.members[number] = None;
                self.done.push((number, value));
            }
        }
    }

    /// Until everybody is done, or nobody waits for the clock.
    fn finish(mut self, hand: &ManualClock) -> Vec<(usize, T)> {
        loop {
            self.settle();
            if self.members.iter().all(Option::is_none) || hand.advance_to_next().is_none() {
                return self.done;
            }
        }
    }
}
