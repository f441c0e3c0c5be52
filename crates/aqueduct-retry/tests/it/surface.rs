use std::error::Error;
use std::fmt::Debug;

use aqueduct_core::Classified;
use aqueduct_retry::{
    Account, Advice, After, Answer, Attempt, Budget, BudgetConfig, Builder, CallError, Config, ConfigError,
    Course, Cubic, Deadline, Ended, Event, Growth, Hedge, HedgeConfig, Jitter, Latencies, Limit, Metrics,
    Next, Refusal, Retry, Schedule, Slot, Throttle, Withdrawal,
};

#[test]
fn everything_can_be_shared_between_threads_and_printed() {
    fn check<T: Debug + Send + Sync + 'static>() {}
    check::<Account>();
    check::<Advice>();
    check::<After>();
    check::<Answer>();
    check::<Attempt>();
    check::<Budget>();
    check::<BudgetConfig>();
    check::<Builder>();
    check::<CallError<ConfigError>>();
    check::<Config>();
    check::<ConfigError>();
    check::<Course>();
    check::<Cubic>();
    check::<Deadline>();
    check::<Ended>();
    check::<Event>();
    check::<Growth>();
    check::<Hedge>();
    check::<HedgeConfig>();
    check::<Jitter>();
    check::<Latencies>();
    check::<Limit>();
    check::<Metrics>();
    check::<Next>();
    check::<Refusal>();
    check::<Retry>();
    check::<Schedule>();
    check::<Slot>();
    check::<Throttle>();
    check::<Withdrawal<'static>>();
    #[cfg(feature = "tower")]
    {
        check::<aqueduct_retry::RetryLayer>();
        check::<aqueduct_retry::Retrying<()>>();
        check::<aqueduct_retry::Cloned>();
        check::<aqueduct_retry::ResultAdviser>();
    }
}

#[test]
fn every_error_has_a_class() {
    fn check<T: Error + Classified>() {}
    check::<CallError<ConfigError>>();
    check::<ConfigError>();
    check::<Refusal>();
}
