use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use aqueduct_core::{ManualClock, Timestamp};
use proptest::prelude::*;

use self::scripted::{MOODS, Mood, Scripted, settle, until, value};
use super::*;

mod api {
    pub(super) use crate::{Invalidations, Level, LevelError, Place, Scope, Stored};
}

#[path = "../../tests/it/scripted.rs"]
mod scripted;

const A: Place<'_> = Place { namespace: "n", key: b"a" };
const B: Place<'_> = Place { namespace: "n", key: b"b" };
const LIMIT: Duration = Duration::from_millis(100);
const COOL_DOWN: Duration = Duration::from_millis(500);

struct Bench {
    level: Arc<Scripted>,
    guard: Guard,
    time: ManualClock,
    back: Arc<AtomicUsize>,
}

fn bench(config: GuardBuilder) -> Bench {
    let (clock, time) = Clock::manual(Timestamp(1_000_000));
    let level = Scripted::new();
    let back = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&back);
    let on_back = Box::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let guard = Guard::new(
        Arc::clone(&level) as Arc<dyn Level>,
        config.build().expect("a good config"),
        clock,
        on_back,
    );
    Bench { level, guard, time, back }
}

impl Bench {
    /// Waits for something, and lets its time limits run out.
    async fn through<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        for _ in 0..100 {
            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await;
            if let std::task::Poll::Ready(said) = polled {
                return said;
            }
            settle().await;
            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await;
            if let std::task::Poll::Ready(said) = polled {
                return said;
            }
            self.time.advance(LIMIT);
        }
        panic!("it never ended");
    }

    async fn open(&self) {
        self.level.is(Mood::Fails);
        for _ in 0..3 {
            assert_eq!(self.guard.get(B).await, Answer::Away);
        }
        assert!(self.guard.is_open());
    }

    async fn come_back(&self) {
        self.level.is(Mood::Well);
        for _ in 0..100 {
            self.time.advance(COOL_DOWN);
            settle().await;
            if !self.guard.is_open() && self.guard.stats().waiting == 0 {
                return;
            }
        }
        panic!("it never came back: {:?}", self.guard);
    }
}

#[tokio::test]
async fn three_failures_in_a_row_open_it_and_then_nobody_asks_the_level() {
    let bench = bench(GuardConfig::builder());
    bench.level.is(Mood::Fails);
    bench.guard.get(A).await;
    bench.guard.get(A).await;
    bench.level.is(Mood::Well);
    assert_eq!(bench.guard.get(A).await, Answer::Missing);
    assert!(!bench.guard.is_open(), "a success in between starts the count anew");
    bench.open().await;
    let calls = bench.level.calls();
    assert_eq!(bench.guard.get(A).await, Answer::Away);
    assert_eq!(bench.guard.get_many("n", &[b"a", b"b"]).await, [Answer::Away, Answer::Away]);
    assert_eq!(bench.guard.invalidations("n").await, None);
    assert_eq!(bench.guard.invalidate("n", &Scope::All, 5).await, None);
    bench.guard.set(A, value("new", 0)).await;
    settle().await;
    assert_eq!(bench.level.calls(), calls);
    assert_eq!(bench.guard.get(A).await, Answer::Found(value("new", 0)), "what waits is known");
}

#[tokio::test]
async fn a_level_that_hangs_costs_the_time_limit_and_then_nothing() {
    let bench = bench(GuardConfig::builder());
    bench.level.is(Mood::Hangs);
    for _ in 0..3 {
        let before = bench.time.waiting();
        let asked = async {
            until(|| bench.time.waiting() > before).await;
            settle().await;
            bench.time.advance(LIMIT);
        };
        let (answer, ()) = tokio::join!(bench.guard.get(A), asked);
        assert_eq!(answer, Answer::Away);
    }
    let mut call = pin!(bench.guard.get(A));
    let now = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(now, std::task::Poll::Ready(Answer::Away), "at once");
}

#[tokio::test]
async fn what_was_missed_is_written_before_the_level_is_asked_again() {
    let bench = bench(GuardConfig::builder());
    bench.guard.set(A, value("old", 0)).await;
    bench.guard.set(B, value("old", 0)).await;
    bench.open().await;
    bench.guard.set(A, value("new", 0)).await;
    bench.guard.remove(B).await;
    bench.guard.invalidate("n", &Scope::Tag("t".into()), 9).await;
    assert_eq!(bench.guard.stats().waiting, 3);
    bench.time.advance(COOL_DOWN);
    settle().await;
    assert!(bench.guard.is_open(), "the probe has failed");
    assert_eq!(bench.back.load(Ordering::SeqCst), 0);
    bench.level.is(Mood::Well);
    bench.time.advance(COOL_DOWN);
    until(|| !bench.guard.is_open()).await;
    assert_eq!(bench.back.load(Ordering::SeqCst), 2, "for the invalidation, and for being back");
    assert_eq!(bench.level.value(A), Some(value("new", 0)));
    assert_eq!(bench.level.value(B), None);
    let known = bench.guard.invalidations("n").await.expect("it is there");
    assert_eq!(known.scopes().collect::<Vec<_>>(), [(Scope::Tag("t".into()), 9)]);
    let stats = bench.guard.stats();
    assert_eq!((stats.recovered, stats.waiting, stats.waiting_bytes, stats.opened), (3, 0, 0, 1));
}

#[tokio::test]
async fn one_write_that_failed_is_written_without_an_outage() {
    let bench = bench(GuardConfig::builder());
    bench.guard.set(A, value("old", 0)).await;
    bench.level.is(Mood::Fails);
    bench.guard.remove(A).await;
    bench.level.is(Mood::Well);
    assert_eq!(bench.guard.get(A).await, Answer::Missing, "not the old value, which is still there");
    until(|| bench.guard.stats().waiting == 0).await;
    assert_eq!((bench.level.value(A), bench.guard.stats().opened), (None, 0));
}

#[tokio::test]
async fn one_probe_is_made_however_many_call() {
    let bench = bench(GuardConfig::builder());
    bench.open().await;
    bench.level.is(Mood::Hangs);
    let calls = bench.level.calls();
    bench.time.advance(COOL_DOWN);
    for _ in 0..100 {
        assert_eq!(bench.guard.get(A).await, Answer::Away);
        settle().await;
    }
    assert_eq!(bench.level.calls(), calls + 1);
}

#[tokio::test]
async fn a_dropped_caller_loses_no_removal() {
    for mood in [Mood::Hangs, Mood::HangsLate, Mood::Well] {
        let bench = bench(GuardConfig::builder());
        bench.guard.set(A, value("old", 0)).await;
        bench.level.is(mood);
        {
            let mut call = pin!(bench.guard.remove(A));
            let mut context = Context::from_waker(Waker::noop());
            assert!(call.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(bench.guard.get(A).await, Answer::Missing, "{mood:?}");
        {
            let mut call = pin!(bench.guard.invalidate("m", &Scope::All, 3));
            let mut context = Context::from_waker(Waker::noop());
            assert!(call.as_mut().poll(&mut context).is_pending());
        }
        bench.level.is(Mood::Well);
        until(|| {
            bench.time.advance(COOL_DOWN);
            bench.guard.stats().waiting == 0
        })
        .await;
        assert_eq!(bench.level.value(A), None, "{mood:?}");
        let known = bench.guard.invalidations("m").await.map(|known| known.edition());
        assert_eq!(known, Some(3), "{mood:?}");
    }
}

#[tokio::test]
async fn a_failed_write_does_not_overtake_a_later_one() {
    let bench = bench(GuardConfig::builder());
    bench.level.is(Mood::Hangs);
    // The first holds the turn of the key until its time is over; the second waits behind it.
    let mut first = Box::pin(bench.guard.set(A, value("first", 0)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    bench.time.advance(LIMIT / 2);
    let mut second = Box::pin(bench.guard.remove(A));
    assert!(second.as_mut().poll(&mut context).is_pending());
    bench.time.advance(LIMIT / 2);
    assert!(first.as_mut().poll(&mut context).is_ready());
    bench.level.is(Mood::Well);
    assert!(second.as_mut().poll(&mut context).is_ready(), "it is kept, behind the first");
    until(|| bench.guard.stats().waiting == 0).await;
    assert_eq!(bench.level.value(A), None);
}

#[tokio::test]
async fn a_value_that_is_refused_three_times_is_given_up_and_the_old_one_with_it() {
    let bench = bench(GuardConfig::builder());
    bench.guard.set(A, value("old", 0)).await;
    bench.level.is(Mood::Refuses);
    bench.guard.set(A, value("new", 0)).await;
    settle().await;
    assert_eq!(bench.guard.get(A).await, Answer::Found(value("new", 0)), "refused twice");
    bench.time.advance(COOL_DOWN);
    settle().await;
    assert_eq!(bench.guard.stats().given_up, 1);
    assert_eq!(bench.guard.get(A).await, Answer::Missing, "neither it nor the old one");
    assert!(!bench.guard.is_open(), "who refuses is there");
    bench.come_back().await;
    assert_eq!(bench.level.value(A), None);
}

#[tokio::test]
async fn a_value_that_expired_while_it_waited_takes_the_old_one_along() {
    let bench = bench(GuardConfig::builder());
    bench.guard.set(A, value("old", 0)).await;
    bench.open().await;
    let held = Some(Duration::from_millis(300));
    bench.guard.set(A, Stored { held, at: Timestamp(1_000_000), ..value("new", 0) }).await;
    bench.time.advance(Duration::from_millis(300));
    assert_eq!(bench.guard.get(A).await, Answer::Missing);
    bench.come_back().await;
    assert_eq!(bench.level.value(A), None);
}

#[tokio::test]
async fn where_too_much_is_missed_nothing_old_is_believed_afterwards() {
    let bench = bench(GuardConfig::builder().recovery_entries_max(10));
    let place = |key: &'static [u8]| Place { namespace: "n", key };
    bench.guard.set(A, value("old", 4)).await;
    bench.guard.invalidate("n", &Scope::Tag("t".into()), 4).await;
    bench.guard.set(Place { namespace: "other", key: b"a" }, value("kept", 0)).await;
    bench.open().await;
    bench.guard.remove(A).await;
    for key in [&b"0"[..], b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"] {
        bench.guard.set(place(key), value("new", 4)).await;
    }
    let stats = bench.guard.stats();
    assert_eq!((stats.waiting, stats.collapses), (1, 1));
    bench.level.is(Mood::Well);
    bench.time.advance(COOL_DOWN);
    assert_eq!(bench.guard.get(A).await, Answer::Away);
    bench.come_back().await;
    assert!(bench.level.value(A).is_some(), "it is still in the level");
    assert_eq!(bench.guard.get(A).await, Answer::Missing);
    let known = bench.guard.invalidations("n").await.expect("it is there");
    assert!(!known.is_valid(4, b"a", []), "others see it too");
    let other = bench.guard.get(Place { namespace: "other", key: b"a" }).await;
    assert_eq!(other, Answer::Found(value("kept", 0)));
    bench.guard.set(A, value("newest", known.edition())).await;
    assert_eq!(bench.guard.get(A).await, Answer::Found(value("newest", known.edition())));
}

#[tokio::test]
async fn more_namespaces_than_may_be_kept_are_not_believed_at_all() {
    let bench = bench(GuardConfig::builder().recovery_entries_max(3));
    bench.guard.set(A, value("old", 0)).await;
    bench.open().await;
    bench.guard.remove(A).await;
    for namespace in ["1", "2", "3", "4", "5"] {
        bench.guard.remove(Place { namespace, key: b"a" }).await;
        assert!(bench.guard.stats().waiting <= 3);
    }
    bench.come_back().await;
    assert_eq!(bench.guard.get(A).await, Answer::Away);
}

#[tokio::test]
async fn closing_writes_a_last_time_and_tells_what_is_left() {
    let bench = bench(GuardConfig::builder());
    bench.open().await;
    bench.guard.set(A, value("new", 0)).await;
    bench.guard.remove(B).await;
    bench.level.is(Mood::Well);
    assert_eq!(bench.through(bench.guard.close()).await, 0);
    assert_eq!(bench.level.value(A), Some(value("new", 0)));

    let bench = self::bench(GuardConfig::builder());
    bench.open().await;
    bench.guard.set(A, value("new", 0)).await;
    bench.level.is(Mood::Hangs);
    assert_eq!(bench.through(bench.guard.close()).await, 1);
    assert_eq!(bench.guard.get(B).await, Answer::Away);
}

#[tokio::test]
async fn no_task_outlives_its_guard() {
    let bench = bench(GuardConfig::builder());
    bench.open().await;
    settle().await;
    let shared = Arc::downgrade(&bench.guard.shared);
    drop(bench.guard);
    until(|| shared.strong_count() == 0).await;
}

#[test]
fn outside_of_a_runtime_nothing_panics() {
    let bench = bench(GuardConfig::builder());
    bench.level.is(Mood::Hangs);
    let mut call = Box::pin(bench.guard.remove(A));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(call);
    assert_eq!(bench.guard.stats().waiting, 1);
}

#[tokio::test]
async fn a_look_that_a_write_overtook_gives_what_was_written() {
    let bench = bench(GuardConfig::builder());
    bench.guard.set(A, value("old", 0)).await;
    let mut look = Box::pin(bench.guard.get(A));
    let mut context = Context::from_waker(Waker::noop());
    assert!(look.as_mut().poll(&mut context).is_pending());
    // It fails, so the old value is still in the level when the look comes to it.
    bench.level.is(Mood::Fails);
    bench.guard.remove(A).await;
    bench.level.is(Mood::Well);
    assert_eq!(bench.level.value(A), Some(value("old", 0)));
    assert_eq!(look.await, Answer::Missing);
}

#[tokio::test]
async fn a_write_that_comes_while_the_one_before_is_written_is_not_lost_with_it() {
    let bench = bench(GuardConfig::builder());
    bench.open().await;
    bench.guard.set(A, value("new", 0)).await;
    bench.level.is(Mood::Well);
    settle().await;
    let calls = bench.level.calls();
    bench.time.advance(COOL_DOWN);
    // The probe, and then the value, which is on its way.
    until(|| bench.level.calls() == calls + 2).await;
    assert_eq!(bench.level.value(A), None);
    bench.guard.remove(A).await;
    bench.come_back().await;
    assert_eq!(bench.level.value(A), None);
}

#[derive(Clone, Debug)]
enum Step {
    Set(u8),
    Remove(u8),
    Get(u8),
    /// The caller goes away after so many polls.
    SetAndGo(u8, usize),
    RemoveAndGo(u8, usize),
    Become(Mood),
    Advance(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..4_u8;
    let step = prop_oneof![
        4 => key.clone().prop_map(Step::Set),
        3 => key.clone().prop_map(Step::Remove),
        4 => key.clone().prop_map(Step::Get),
        1 => (key.clone(), 1..4_usize).prop_map(|(key, polls)| Step::SetAndGo(key, polls)),
        1 => (key, 1..4_usize).prop_map(|(key, polls)| Step::RemoveAndGo(key, polls)),
        2 => (0..MOODS.len()).prop_map(|mood| Step::Become(MOODS[mood])),
        3 => (1..700_u16).prop_map(Step::Advance),
    ];
    proptest::collection::vec(step, 1..80)
}

async fn poll_some(call: impl Future, polls: usize) {
    let mut call = pin!(call);
    for _ in 0..polls {
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await;
        if polled.is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// What the last write of each key was, against what is found.
async fn follow(bench: &Bench, steps: &[Step]) {
    let mut model: HashMap<u8, Option<Stored>> = HashMap::new();
    let keys: Vec<[u8; 1]> = (0..4).map(|key| [key]).collect();
    let place = |key: u8| Place { namespace: "n", key: &keys[usize::from(key)] };
    let check = |key: u8, answer: Answer, model: &HashMap<u8, Option<Stored>>| {
        if let Answer::Found(stored) = answer {
            assert_eq!(Some(&Some(stored)), model.get(&key), "of {key}");
        }
    };
    for (number, step) in steps.iter().enumerate() {
        let new = value(number, 0);
        match *step {
            Step::Set(key) => {
                bench.through(bench.guard.set(place(key), new.clone())).await;
                model.insert(key, Some(new));
            }
            Step::Remove(key) => {
                bench.through(bench.guard.remove(place(key))).await;
                model.insert(key, None);
            }
            Step::Get(key) => check(key, bench.through(bench.guard.get(place(key))).await, &model),
            Step::SetAndGo(key, polls) => {
                poll_some(bench.guard.set(place(key), new.clone()), polls).await;
                model.insert(key, Some(new));
            }
            Step::RemoveAndGo(key, polls) => {
                poll_some(bench.guard.remove(place(key)), polls).await;
                model.insert(key, None);
            }
            Step::Become(mood) => bench.level.is(mood),
            Step::Advance(millis) => {
                bench.time.advance(Duration::from_millis(u64::from(millis)));
                settle().await;
            }
        }
    }
    bench.come_back().await;
    for key in 0..4 {
        check(key, bench.guard.get(place(key)).await, &model);
        if bench.guard.stats().collapses == 0 {
            let stored = bench.level.value(place(key));
            assert!(stored.is_none() || Some(&stored) == model.get(&key), "in the level, of {key}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_older_than_the_last_write_is_ever_found(steps in steps(), entries in prop_oneof![Just(2_usize), Just(100)]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let bench = bench(GuardConfig::builder().recovery_entries_max(entries));
            follow(&bench, &steps).await;
        });
    }
}
