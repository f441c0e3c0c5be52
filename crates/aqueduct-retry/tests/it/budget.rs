use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_core::{Forget, Instant, Keyed};
use aqueduct_retry::{Account, Budget, BudgetConfig};
use proptest::prelude::*;

use crate::at;

const SECOND: Duration = Duration::from_secs(1);

fn config(ratio: f64, per_second: f64, window: u64) -> BudgetConfig {
    BudgetConfig { ratio, per_second, window: Duration::from_secs(window) }
}

fn account(ratio: f64, per_second: f64, window: u64) -> Account {
    Account::new(config(ratio, per_second, window), Instant::ZERO).expect("it is in the ranges")
}

/// Takes all that there is.
fn drain(account: &mut Account, now: Instant) -> u64 {
    std::iter::from_fn(|| account.try_withdraw(now)).count() as u64
}

#[test]
fn the_default_is_within_its_own_ranges() {
    let budget = Budget::new(BudgetConfig::default()).expect("the default is valid");
    assert_eq!(budget.balance(Instant::ZERO), Budget::default().balance(Instant::ZERO));
    assert_eq!(budget.balance(Instant::ZERO), 100, "ten a second for ten seconds");
}

#[test]
fn a_budget_has_a_fixed_size() {
    assert!(size_of::<Budget>() <= 300, "{}", size_of::<Budget>());
    assert!(size_of::<Account>() <= 240, "{}", size_of::<Account>());
    assert!(size_of::<aqueduct_retry::Latencies>() <= 4_096, "{}", size_of::<aqueduct_retry::Latencies>());
}

#[test]
fn each_ratio_allows_exactly_its_share() {
    for tenths in 0..=10_u64 {
        #[expect(clippy::cast_precision_loss, reason = "ten at most")]
        let mut account = account(tenths as f64 / 10.0, 0.0, 10);
        for _ in 0..1_000 {
            account.deposit(at(0.0));
        }
        assert_eq!(drain(&mut account, at(0.0)), tenths * 100, "0.{tenths} of 1,000 calls");
    }
}

/// Finagle's own scenarios (twitter/finagle, finagle-core/src/test/scala/com/twitter/finagle/service/
/// RetryBudgetTest.scala, Apache-2.0), restated: 10,000 times a call and then a retry if there may be one, at one
/// moment. They have a margin of one retry there; none is needed here. Not here: their ratios over 1, which are not allowed,
/// and their two rows with a reserve on top of a share; see the next test.
#[test]
fn the_figures_of_finagle_hold_without_a_margin() {
    let rows: [(u64, f64, f64, u64); 12] = [
        (60, 0.0, 0.1, 1_000),
        (60, 0.0, 0.5, 5_000),
        (60, 0.0, 0.25, 2_500),
        (60, 0.0, 0.75, 7_500),
        (60, 0.0, 0.99, 9_900),
        (60, 0.0, 0.999, 9_990),
        (60, 0.0, 0.9999, 9_999),
        (60, 0.0, 0.01, 100),
        (60, 0.0, 0.001, 10),
        (60, 0.0, 0.0001, 1),
        (1, 10.0, 0.0, 10),
        (2, 5.0, 0.0, 10),
    ];
    for (window, per_second, ratio, expected) in rows {
        retried_of_10_000(window, per_second, ratio, expected);
    }
}

/// Finagle gives 1,010 and 5,010 here: its reserve comes on top.
#[test]
fn the_reserve_is_a_floor_under_the_share() {
    retried_of_10_000(1, 10.0, 0.1, 1_000);
    retried_of_10_000(2, 5.0, 0.5, 5_000);
}

#[track_caller]
fn retried_of_10_000(window: u64, per_second: f64, ratio: f64, expected: u64) {
    let mut account = account(ratio, per_second, window);
    #[expect(clippy::cast_precision_loss, reason = "two at most")]
    let reserve = window as f64 * per_second;
    assert_eq!(account.balance(at(0.0)), if reserve > 0.0 { 10 } else { 0 });
    let mut retried = 0;
    for _ in 0..10_000 {
        account.deposit(at(0.0));
        match account.try_withdraw(at(0.0)) {
            Some(_) => retried += 1,
            None => assert_eq!(account.balance(at(0.0)), 0),
        }
    }
    assert_eq!(retried, expected, "{window} s, {per_second} a second, {ratio}");
}

#[test]
fn deposits_expire() {
    let mut account = account(0.5, 0.0, 10);
    for _ in 0..100 {
        account.deposit(at(0.0));
    }
    assert_eq!(account.balance(at(9.9)), 50);
    assert_eq!(account.balance(at(10.0)), 0);
    assert!(account.is_empty(at(10.0)));
}

#[test]
fn what_was_withdrawn_expires_with_the_window_and_the_reserve_is_there_again() {
    let mut account = account(0.0, 2.0, 10);
    assert_eq!(drain(&mut account, at(0.5)), 20);
    assert_eq!(drain(&mut account, at(9.9)), 0);
    assert_eq!(drain(&mut account, at(10.5)), 20);
}

#[test]
fn what_was_not_used_is_given_back() {
    let budget = Budget::new(config(0.0, 1.0, 1)).expect("it is in the ranges");
    let only = budget.try_withdraw(at(0.0)).expect("there is one");
    assert!(budget.try_withdraw(at(0.0)).is_none());
    drop(only);
    budget.try_withdraw(at(0.0)).expect("it is there again").spend();
    assert!(budget.try_withdraw(at(0.0)).is_none(), "spent, it does not come back");

    let late = budget.try_withdraw(at(1.5)).expect("another window");
    assert!(budget.try_withdraw(at(3.0)).is_some_and(|other| {
        // What is given back after its window is gone already.
        drop(late);
        let none = budget.try_withdraw(at(3.0)).is_none();
        other.spend();
        none
    }));
}

#[test]
fn a_clock_that_goes_back_frees_nothing_and_breaks_nothing() {
    let mut account = account(0.5, 0.0, 10);
    for _ in 0..10 {
        account.deposit(at(100.0));
    }
    assert_eq!(drain(&mut account, at(3.0)), 5);
    account.deposit(at(2.0));
    account.deposit(at(1.0));
    assert_eq!(account.balance(at(0.0)), 1);
    assert_eq!(account.balance(at(110.0)), 0, "it goes on from where it was");
    // The furthest that a clock can tell.
    let end = Instant::ZERO.after(Duration::MAX);
    account.deposit(end);
    account.deposit(end);
    assert_eq!(drain(&mut account, end), 1);
}

#[test]
fn a_new_configuration_keeps_what_was_counted() {
    let budget = Budget::new(config(0.5, 0.0, 10)).expect("it is in the ranges");
    for _ in 0..100 {
        budget.deposit(at(0.0));
    }
    budget.set_config(config(0.2, 0.0, 20), at(1.0)).expect("it is in the ranges");
    assert_eq!(budget.balance(at(1.0)), 20);
    assert_eq!(budget.balance(at(18.0)), 20, "a longer window remembers longer");
    assert_eq!(budget.balance(at(23.0)), 0);
    assert!(budget.set_config(config(2.0, 0.0, 20), at(1.0)).is_err());
}

#[test]
fn a_configuration_that_is_out_of_its_range_is_refused_with_field_value_and_range() {
    for (wrong, message) in [
        (config(f64::NAN, 0.0, 10), "ratio is NaN, allowed is 0.0 to 1.0"),
        (config(-0.1, 0.0, 10), "ratio is -0.1, allowed is 0.0 to 1.0"),
        (config(1.1, 0.0, 10), "ratio is 1.1, allowed is 0.0 to 1.0"),
        (config(f64::INFINITY, 0.0, 10), "ratio is inf, allowed is 0.0 to 1.0"),
        (config(0.1, -1.0, 10), "per_second is -1.0, allowed is 0.0 to 1000000.0"),
        (config(0.1, f64::NAN, 10), "per_second is NaN, allowed is 0.0 to 1000000.0"),
        (config(0.1, 1.0, 0), "window is 0ns, allowed is 1s to 3600s"),
        (config(0.1, 1.0, 3_601), "window is 3601s, allowed is 1s to 3600s"),
    ] {
        assert_eq!(Budget::new(wrong).expect_err("it is wrong").to_string(), message);
    }
    let mut largest = account(1.0, 1e6, 3_600);
    assert_eq!(largest.balance(at(0.0)), 3_600_000_000);
}

#[test]
fn eight_threads_share_one_budget_exactly() {
    const CALLS: u64 = 20_000;
    let budget = Budget::new(config(0.3, 0.0, 10)).expect("it is in the ranges");
    let retried = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..CALLS {
                    budget.deposit(at(0.0));
                    if let Some(retry) = budget.try_withdraw(at(0.0)) {
                        retry.spend();
                        retried.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let left = budget.balance(at(0.0));
    assert_eq!(retried.into_inner() + left, 8 * CALLS * 3 / 10);
    assert_eq!(left, 0, "somebody asked after the last call");
}

#[test]
fn each_dependency_has_a_budget_of_its_own_and_an_idle_one_may_go() {
    let hosts = std::num::NonZeroUsize::new(2).expect("two");
    let made = |_: &String| Budget::new(config(0.0, 1.0, 1)).unwrap_or_default();
    let budgets: Keyed<String, Budget> = Keyed::new(hosts, SECOND, made);
    let one = budgets.get("a.example", at(0.0));
    one.try_withdraw(at(0.0)).expect("there is one").spend();
    assert!(budgets.get("a.example", at(0.0)).try_withdraw(at(0.0)).is_none());
    assert!(budgets.get("b.example", at(0.0)).try_withdraw(at(0.0)).is_some());
    assert!(!one.may_forget(at(0.5)), "it remembers a retry");
    assert!(one.may_forget(at(2.0)));
    let shared: Arc<Budget> = one;
    assert_eq!(shared.balance(at(2.0)), 1);
}

/// Every call and retry of the last ten tenths of the window, counted one by one.
#[derive(Debug, Default)]
struct Log {
    calls: Vec<u64>,
    retries: Vec<u64>,
}

impl Log {
    fn allowed(&self, tenth: u64, ratio_ppb: u64, reserve: u64) -> bool {
        let counts = |times: &[u64]| times.iter().filter(|at| tenth - **at < 10).count() as u64;
        (counts(&self.retries) + 1) * 1_000_000_000
            <= (counts(&self.calls) * ratio_ppb).max(reserve * 1_000_000_000)
    }
}

proptest! {
    #[test]
    fn any_ratio_is_kept_within_one_in_a_thousand(ratio in 0.0..=1.0_f64, calls in 1_000..20_000_u32) {
        let mut account = account(ratio, 0.0, 10);
        let mut retries = 0.0;
        for _ in 0..calls {
            account.deposit(at(0.0));
            retries += f64::from(u8::from(account.try_withdraw(at(0.0)).is_some()));
        }
        let expected = ratio * f64::from(calls);
        prop_assert!((retries - expected).abs() <= f64::from(calls) / 1_000.0, "{retries} of {expected}");
        prop_assert!(retries <= expected + 1e-3);
    }

    #[test]
    fn a_flow_of_calls_gets_its_share_in_the_long_run(ratio in 0.05..=1.0_f64, gap_ms in 1..50_u64) {
        let mut account = account(ratio, 0.0, 1);
        let (mut now, mut retries) = (Instant::ZERO, 0.0);
        let calls = 20_000;
        for _ in 0..calls {
            now = now.after(Duration::from_millis(gap_ms));
            account.deposit(now);
            retries += f64::from(u8::from(account.try_withdraw(now).is_some()));
        }
        prop_assert!(retries <= ratio * f64::from(calls) + 1.0, "{retries}: never more");
        // A window holds as many calls as fit; what it cannot divide among them is lost.
        let lost = 1.0 / (1_000 / gap_ms) as f64;
        prop_assert!(retries >= (ratio - lost) * f64::from(calls) * 0.999, "{retries}: nor much less");
    }

    #[test]
    fn it_allows_what_a_log_of_everything_allows(
        ratio in 0..=1_000_u64, reserve in 0..3_u64, steps in prop::collection::vec((0..4_u8, 0..1_500_u64), 1..400),
    ) {
        #[expect(clippy::cast_precision_loss, reason = "small figures")]
        let mut account = account(ratio as f64 / 1_000.0, reserve as f64 / 10.0, 10);
        let mut log = Log::default();
        let mut now_ms = 0;
        for (step, wait) in steps {
            let now = at(0.0).after(Duration::from_millis(now_ms));
            let tenth = now_ms / 1_000;
            match step {
                0 | 1 => {
                    account.deposit(now);
                    log.calls.push(tenth);
                }
                2 => {
                    let allowed = log.allowed(tenth, ratio * 1_000_000, reserve);
                    prop_assert_eq!(account.try_withdraw(now).is_some(), allowed);
                    if allowed {
                        log.retries.push(tenth);
                    }
                }
                _ => now_ms += wait,
            }
        }
    }
}
