use std::time::Duration;

use aqueduct_breaker::{Builder, Config, Window};

fn refused(builder: Builder) -> String {
    builder.build().unwrap_err().to_string()
}

#[test]
fn what_cannot_be_is_refused_with_its_range() {
    let builder = Config::builder;
    assert_eq!(refused(builder().window(Window::Calls(0))), "window is 0, allowed is 1 to 4096");
    assert_eq!(refused(builder().window(Window::Calls(10))), "minimum_calls is 20, allowed is 1 to 10");
    assert_eq!(
        refused(builder().window(Window::Time { buckets: 129, each: Duration::from_secs(1) })),
        "window is 129, allowed is 1 to 128"
    );
    for rate in [0.0, -0.5, 1.01, f64::NAN, f64::INFINITY] {
        let said = format!("failure_rate is {rate}, allowed is above 0 and up to 1");
        assert_eq!(refused(builder().failure_rate(rate)), said);
    }
    assert!(
        refused(builder().slow_calls(Duration::ZERO, 0.5)).starts_with("slow_calls is 0ns, allowed is 1ms")
    );
    assert!(refused(builder().consecutive_failures(0)).starts_with("consecutive_failures is 0"));
    assert!(refused(builder().failure_rate(None)).contains("or it would never refuse"));
    let shed = |shedding| refused(builder().shedding(shedding));
    let right = aqueduct_breaker::Shedding::default();
    assert_eq!(
        shed(aqueduct_breaker::Shedding { success_rate: 0.0, ..right }),
        "shedding.success_rate is 0, allowed is above 0 and up to 1"
    );
    assert_eq!(
        shed(aqueduct_breaker::Shedding { aggression: 0.5, ..right }),
        "shedding.aggression is 0.5, allowed is 1 to 100"
    );
    assert_eq!(
        shed(aqueduct_breaker::Shedding { share_max: 1.0, ..right }),
        "shedding.share_max is 1, allowed is above 0 and below 1"
    );
    assert!(builder().failure_rate(None).shedding(right).build().is_ok());
    let minute = Duration::from_secs(60);
    assert!(
        refused(builder().open_for(minute * 2, 2.0, minute))
            .starts_with("open_for is 120s, allowed is 1ms to 60s")
    );
    assert_eq!(refused(builder().open_for(minute, 0.5, minute)), "open_for is 0.5, allowed is 1 to 100");
    assert_eq!(refused(builder().open_jitter(f64::NAN)), "open_jitter is NaN, allowed is 0 to 1");
    assert_eq!(refused(builder().half_open(0, minute)), "half_open is 0, allowed is 1 to 1000");
    assert!(builder().build().is_ok());
}
