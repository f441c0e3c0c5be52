use std::hint::black_box;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aqueduct_core::Clock;
use aqueduct_ratelimit::{Algorithm, KeyedRateLimiter, Limit, Quota, RateLimiter};
use governor::clock::{Clock as GovernorClock, FakeRelativeClock, MonotonicClock, QuantaClock};
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;

use crate::report::{Report, compare};

pub(crate) fn run(report: &mut Report) {
    a_burst_that_overflows(report);
    a_clock_that_steps_back(report);
    waits_in_no_order(report);
    keys_that_never_go(report);
    newcomers_after_a_flood(report);
    costs(report);
}

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);

type Direct<C> = governor::RateLimiter<
    governor::state::NotKeyed,
    governor::state::InMemoryState,
    C,
    governor::middleware::NoOpMiddleware<<C as GovernorClock>::Instant>,
>;

type Keyed<C> = governor::RateLimiter<
    u64,
    DashMapStateStore<u64>,
    C,
    governor::middleware::NoOpMiddleware<<C as GovernorClock>::Instant>,
>;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("it is not zero")
}

fn size(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("it is not zero")
}

fn quota(tokens: u64, per: Duration, burst: u64) -> Quota {
    Quota::new(tokens, per).and_then(|quota| quota.with_burst(burst)).expect("it is within the ranges")
}

fn governors(per_second: u32) -> governor::Quota {
    governor::Quota::per_second(number(per_second))
}

fn a_burst_that_overflows(report: &mut Report) {
    const BURST: u32 = 300_000;
    let theirs = governor::Quota::with_period(DAY).expect("it is not zero").allow_burst(number(BURST));
    let theirs = Direct::direct_with_clock(theirs, FakeRelativeClock::default());
    let admitted = (0..BURST + 10).filter(|_| theirs.check().is_ok()).count();

    // Ours says what it cannot count, and counts the most that it can.
    let refused = Quota::new(1, DAY).and_then(|quota| quota.with_burst(u64::from(BURST)));
    let refused = refused.map(drop).map_err(|error| error.to_string());
    let most = 53_375;
    let mut ours = Limit::new(quota(1, DAY, most), Algorithm::TokenBucket).expect("it is a bucket");
    let now = aqueduct_core::Instant::default();
    let ours = (0..most + 10).filter(|_| ours.check(now, 1).is_ok()).count() as u64;
    report.defect(
        "D6 admitted at once of a quota of 1 in a day and a burst of 300,000",
        &format!("governor {admitted}"),
        &format!("{}; with a burst of {most}, {ours}", refused.clone().err().unwrap_or_default()),
        refused.is_err() && ours == most,
    );
}

/// A clock whose hand can be moved back, as that of a processor whose cores disagree.
#[derive(Clone, Debug, Default)]
struct Hand(Arc<AtomicU64>);

impl GovernorClock for Hand {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Ordering::Relaxed))
    }
}

fn a_clock_that_steps_back(report: &mut Report) {
    const STEP: u64 = 150_000_000;
    // A limiter of theirs counts from when it was made.
    let hand = Hand::default();
    let theirs = Direct::direct_with_clock(governors(10), hand.clone());
    let mut ours =
        Limit::new(quota(10, Duration::from_secs(1), 10), Algorithm::TokenBucket).expect("a bucket");
    let (mut by_theirs, mut by_ours) = (0, 0);
    for check in 0..10 {
        // Two cores that disagree answer in turns.
        let back = if check % 2 == 0 { 0 } else { STEP };
        let now = 10_000_000_000 - back;
        hand.0.store(now, Ordering::Relaxed);
        by_theirs += u32::from(theirs.check().is_ok());
        let now = aqueduct_core::Instant::default().after(Duration::from_nanos(now));
        by_ours += u32::from(ours.check(now, 1).is_ok());
    }
    report.defect(
        "D7 admitted of a burst of 10 while every other reading of the clock is 150 ms behind",
        &format!("governor {by_theirs}"),
        &format!("{by_ours}"),
        by_ours == 10,
    );
}

/// Runs eight tasks that each take twenty tokens, and gives the longest wait of one for one token, and the time of all.
fn longest_wait<F: Future<Output = ()> + Send + 'static>(
    take: impl Fn() -> F + Send + Sync + 'static,
) -> (Duration, Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let longest = Arc::new(Mutex::new(Duration::ZERO));
    let start = Instant::now();
    runtime.expect("the machine has threads").block_on(async {
        let take = Arc::new(take);
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (take, longest) = (Arc::clone(&take), Arc::clone(&longest));
                tokio::spawn(async move {
                    for _ in 0..20 {
                        let asked = Instant::now();
                        take().await;
                        let mut longest = longest.lock().expect("nobody panics under it");
                        *longest = longest.max(asked.elapsed());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("it ends");
        }
    });
    let longest = *longest.lock().expect("nobody panics under it");
    (longest, start.elapsed())
}

fn waits_in_no_order(report: &mut Report) {
    let theirs = Arc::new(governor::RateLimiter::direct(governors(200).allow_burst(number(1))));
    let (theirs, their_time) = longest_wait(move || {
        let theirs = Arc::clone(&theirs);
        async move { theirs.until_ready().await }
    });
    let ours = RateLimiter::token_bucket(quota(200, Duration::from_secs(1), 1), Clock::system());
    let ours = Arc::new(ours);
    let (ours, our_time) = longest_wait(move || {
        let ours = Arc::clone(&ours);
        async move { assert!(ours.acquire().await.is_ok(), "it gives one at a time") }
    });
    // Eight in a line, each 5 ms after the one before.
    let ideal = Duration::from_millis(40);
    let of = |wait: Duration| wait.as_secs_f64() / ideal.as_secs_f64();
    report.defect(
        "longest wait of eight who share 200 a second, against 40 ms in order (160 tokens take 795 ms)",
        &format!("governor {theirs:.1?}, {:.2} x; all {their_time:.0?}", of(theirs)),
        &format!("{ours:.1?}, {:.2} x; all {our_time:.0?}", of(ours)),
        of(ours) <= 1.25,
    );
}

fn keys_that_never_go(report: &mut Report) {
    const KEYS: u64 = 1_000_000;
    const MOST: usize = 100_000;
    let theirs = governor::RateLimiter::<u64, _, _>::keyed(governors(1));
    let ours = KeyedRateLimiter::new(quota(1, Duration::from_secs(1), 1), size(MOST), Clock::system());
    for key in 0..KEYS {
        let _ = theirs.check_key(&key);
        let _ = ours.check(&key);
    }
    report.defect(
        "keys that are kept of 1,000,000 that come once, where 100,000 are allowed",
        &format!("governor {}", theirs.len()),
        &format!(
            "{}, {:.1} bytes for each; {} went with a debt",
            ours.len(),
            ours.bytes() as f64 / ours.len() as f64,
            ours.evictions()
        ),
        ours.len() <= MOST && ours.bytes() <= 48 * MOST,
    );
}

fn newcomers_after_a_flood(report: &mut Report) {
    const MOST: usize = 100_000;
    const NEWCOMERS: u64 = 10_000;
    let (mut peer, mut own) = (Vec::new(), Vec::new());
    let mut better = false;
    for times in [1, 2, 3, 4, 6, 9] {
        let theirs = rate_net::RateLimiter::builder()
            .quota(1, HOUR)
            .eviction(rate_net::Eviction::capacity(MOST))
            .shards(128)
            .build();
        let ours = KeyedRateLimiter::new(quota(1, HOUR, 1), size(MOST), Clock::system());
        let flood = times * MOST as u64;
        for key in 0..flood {
            let _ = theirs.check(key);
            let _ = ours.check(&key);
        }
        let denied = |check: &dyn Fn(u64) -> bool| {
            let denied = (flood..flood + NEWCOMERS).filter(|key| !check(*key)).count();
            denied as f64 * 100.0 / NEWCOMERS as f64
        };
        let theirs = denied(&|key| theirs.check(key).is_allow());
        let ours_denied = denied(&|key| ours.check(&key).is_ok());
        // Nobody of the flood gets a second token.
        let forgiven = (0..flood).filter(|key| ours.check(key).is_ok()).count();
        report.hold("a debt is never forgiven", forgiven == 0);
        better |= times == 6 && ours_denied < theirs;
        peer.push(format!("{times} x {theirs:.1} %"));
        own.push(format!("{times} x {ours_denied:.1} % (forgiven {forgiven})"));
    }
    report.defect(
        "newcomers denied for others after a flood of so many times the most keys",
        &format!("rate-net {}", peer.join(", ")),
        &own.join(", "),
        better,
    );
}

/// Each question stands in a function of its own, as a caller would have it: in the loop that measures, a denial that
/// nobody reads would be left out by the compiler.
#[inline(never)]
fn ours_direct(limiter: &RateLimiter) -> bool {
    limiter.check().is_ok()
}

#[inline(never)]
fn ours_at(limiter: &RateLimiter, now: aqueduct_core::Instant) -> bool {
    limiter.check_at(now, 1).is_ok()
}

#[inline(never)]
fn ours_keyed(limiter: &KeyedRateLimiter<u64>, key: u64) -> bool {
    limiter.check(&key).is_ok()
}

#[inline(never)]
fn theirs_direct<C: GovernorClock>(limiter: &Direct<C>) -> bool {
    limiter.check().is_ok()
}

#[inline(never)]
fn theirs_keyed<C: GovernorClock>(limiter: &Keyed<C>, key: u64) -> bool {
    limiter.check_key(&key).is_ok()
}

/// What is given is held to its figure. What is denied is only shown: governor works out the wait when somebody asks for
/// it, and ours has worked it out already.
fn held_if<A, B>(
    report: &mut Report,
    held: bool,
    name: &str,
    most: f64,
    ours: impl FnMut() -> A,
    theirs: impl FnMut() -> B,
) {
    if held {
        return report.ratio(name, most, ours, theirs);
    }
    let seen = compare(ours, theirs);
    report.figure(
        name,
        &format!("{:.2} x ({:.1} ns against {:.1} ns)", seen.ratio, seen.ours_ns, seen.peer_ns),
    );
}

fn costs(report: &mut Report) {
    // So fast that it always gives, and so slow that it never does.
    let fast = quota(1_000_000_000, Duration::from_secs(1), 1_000_000_000);
    let slow = quota(1, HOUR, 1);
    let theirs_fast = governors(1_000_000_000);
    let theirs_slow = governor::Quota::with_period(HOUR).expect("it is not zero");
    for (what, ours, theirs) in [("allowed", fast, theirs_fast), ("denied", slow, theirs_slow)] {
        let ours = RateLimiter::token_bucket(ours, Clock::system());
        let now = Clock::system().now();
        let same = Direct::direct_with_clock(theirs, MonotonicClock);
        let counter = Direct::direct_with_clock(theirs, QuantaClock::default());
        let given = Direct::direct_with_clock(theirs, FakeRelativeClock::default());
        let _ = (same.check(), counter.check(), given.check(), ours.check());
        let name = format!("{what}, both with the system's clock");
        held_if(report, what == "allowed", &name, 1.0, || ours_direct(&ours), || theirs_direct(&same));
        let seen = compare(|| ours_direct(&ours), || theirs_direct(&counter));
        report.figure(
            &format!("{what}, against the processor's counter, which steps back"),
            &format!("{:.2} x ({:.1} ns against {:.1} ns)", seen.ratio, seen.ours_ns, seen.peer_ns),
        );
        let seen = compare(|| ours_at(&ours, black_box(now)), || theirs_direct(&given));
        report.figure(
            &format!("{what}, the time given"),
            &format!("{:.2} x ({:.1} ns against {:.1} ns)", seen.ratio, seen.ours_ns, seen.peer_ns),
        );
    }

    const KEYS: u64 = 10_000;
    let (mut one, mut two) = (0_u64, 0_u64);
    // Every key in an order that is none.
    let next = |at: &mut u64| {
        *at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*at >> 33) % KEYS
    };
    for (what, ours, theirs) in [("given", fast, theirs_fast), ("denied", slow, theirs_slow)] {
        let ours = KeyedRateLimiter::new(ours, size(KEYS as usize * 2), Clock::system());
        let same = Keyed::new(theirs, DashMapStateStore::default(), MonotonicClock);
        let counter = Keyed::new(theirs, DashMapStateStore::default(), QuantaClock::default());
        for key in 0..KEYS {
            let _ = (same.check_key(&key), counter.check_key(&key), ours.check(&key));
        }
        let name = format!("one of 10,000 keys {what}, both with the system's clock");
        let (ours_next, theirs_next) = (&mut one, &mut two);
        held_if(
            report,
            what == "given",
            &name,
            0.8,
            || ours_keyed(&ours, next(ours_next)),
            || theirs_keyed(&same, next(theirs_next)),
        );
        let seen = compare(|| ours_keyed(&ours, next(&mut one)), || theirs_keyed(&counter, next(&mut two)));
        report.figure(
            &format!("one of 10,000 keys {what}, against the processor's counter"),
            &format!("{:.2} x ({:.1} ns against {:.1} ns)", seen.ratio, seen.ours_ns, seen.peer_ns),
        );
    }
}
