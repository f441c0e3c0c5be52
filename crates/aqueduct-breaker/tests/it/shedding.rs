use aqueduct_breaker::{Builder, Config, Machine, Shedding, State};
use aqueduct_core::{Instant, Verdict};

/// Nothing here depends on the time.
const NOW: Instant = Instant::ZERO;

fn shedding(shedding: Shedding) -> Builder {
    Config::builder().failure_rate(None).shedding(shedding)
}

/// A machine whose window holds 100 calls, so many of them failed, and the share of 20,000 further ones that it
/// turns away. Those that pass are ignored, so that the window stays.
fn shed(builder: Builder, failed: u32, seed: u64) -> f64 {
    let mut machine = Machine::new(builder.build().expect("a test's own"), seed);
    let mut ended = 0;
    while ended < 100 {
        if let Ok(grant) = machine.try_acquire(NOW) {
            let verdict = if ended < failed { Verdict::FAILURE } else { Verdict::Success };
            machine.finish(NOW, grant, verdict, std::time::Duration::ZERO);
            ended += 1;
        }
    }
    let refused = (0..20_000).filter(|_| match machine.try_acquire(NOW) {
        Ok(grant) => {
            machine.finish(NOW, grant, Verdict::Ignore, std::time::Duration::ZERO);
            false
        }
        Err(_) => true,
    });
    let share = refused.count() as f64 / 20_000.0;
    assert_eq!(machine.state(), State::Closed);
    share
}

#[test]
fn the_share_that_is_turned_away_follows_the_formula() {
    // ((n - ok / success_rate) / (n + 1)) ^ (1 / aggression) with n = 100, worked out by hand.
    let envoy = Shedding::default();
    for (failed, aggression, wanted) in [
        (0, 1.0, 0.0),
        (5, 1.0, 0.0),
        (10, 1.0, 0.052_1),
        (50, 1.0, 0.469_0),
        (50, 2.0, 0.684_8),
        (90, 1.0, 0.8),
        (100, 1.0, 0.8),
    ] {
        let seen = shed(shedding(Shedding { aggression, ..envoy }), failed, 7);
        // Four standard deviations of a share of 20,000.
        let most: f64 = wanted * (1.0 - wanted) / 20_000.0;
        assert!((seen - wanted).abs() <= 4.0 * most.sqrt() + 1e-4, "{failed} failed: {seen} for {wanted}");
    }
}

#[test]
fn nothing_is_turned_away_below_the_minimum_of_calls() {
    let mut machine = Machine::new(shedding(Shedding::default()).build().expect("a test's own"), 1);
    for _ in 0..19 {
        let grant = machine.try_acquire(NOW).expect("it is below the minimum of 20");
        machine.finish(NOW, grant, Verdict::FAILURE, std::time::Duration::ZERO);
    }
    assert!(machine.try_acquire(NOW).is_ok());
}

#[test]
fn it_sheds_first_and_opens_later() {
    let config = Config::builder().failure_rate(0.5).shedding(Shedding::default());
    let mut machine = Machine::new(config.build().expect("a test's own"), 1);
    let mut refused_while_closed = 0;
    // One of three fails; then all do.
    for number in 0_u32..2_000 {
        let fails = number > 1_000 || number % 3 == 0;
        match machine.try_acquire(NOW) {
            Ok(grant) => {
                let verdict = if fails { Verdict::FAILURE } else { Verdict::Success };
                machine.finish(NOW, grant, verdict, std::time::Duration::ZERO);
            }
            Err(refusal) if machine.state() == State::Closed => {
                assert_eq!(
                    refusal.to_string(),
                    "too many calls have failed, and this one is among the share that is turned away"
                );
                refused_while_closed += 1;
            }
            Err(_) => break,
        }
    }
    assert!(refused_while_closed > 100, "{refused_while_closed}");
    assert_eq!(machine.state(), State::Open);
}

#[test]
fn it_recovers_when_what_passes_succeeds() {
    let mut machine = Machine::new(shedding(Shedding::default()).build().expect("a test's own"), 1);
    let mut verdict = Verdict::FAILURE;
    let mut passed = 0;
    for number in 0..10_000 {
        if number == 1_000 {
            verdict = Verdict::Success;
        }
        if let Ok(grant) = machine.try_acquire(NOW) {
            machine.finish(NOW, grant, verdict, std::time::Duration::ZERO);
            passed += u32::from(number >= 9_000);
        }
    }
    assert_eq!(passed, 1_000);
}
