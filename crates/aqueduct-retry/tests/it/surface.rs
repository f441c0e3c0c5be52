use std::fmt::Debug;

use aqueduct_retry::{Attempt, Builder, ConfigError, Growth, Jitter, Limit, Next, Schedule};

#[test]
fn everything_can_be_shared_between_threads_and_printed() {
    fn check<T: Debug + Send + Sync + 'static>() {}
    check::<Attempt>();
    check::<Builder>();
    check::<ConfigError>();
    check::<Growth>();
    check::<Jitter>();
    check::<Limit>();
    check::<Next>();
    check::<Schedule>();
}
