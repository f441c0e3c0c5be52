use std::time::Duration;

use aqueduct_core::{Instant, Random};
use aqueduct_retry::{Course, Deadline, Limit, Next, Schedule};

use crate::at;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn of_two_deadlines_the_earlier_counts() {
    let (early, late) = (Deadline::at(at(3.0)), Deadline::after(at(3.0), SECOND));
    assert_eq!(early.earlier(late), early);
    assert_eq!(late.earlier(early), early);
    assert_eq!(late.earlier(Deadline::NEVER), late);
    assert_eq!(Deadline::NEVER.earlier(late), late);
    assert_eq!(Deadline::NEVER.earlier(Deadline::default()), Deadline::NEVER);
    assert_eq!(late.moment(), Some(at(4.0)));
}

#[test]
fn what_would_end_with_the_deadline_is_not_begun() {
    let deadline = Deadline::at(at(3.0));
    assert!(deadline.allows(at(1.0), 2 * SECOND - Duration::from_nanos(1)));
    assert!(!deadline.allows(at(1.0), 2 * SECOND));
    assert!(!deadline.allows(at(3.0), Duration::ZERO));
    assert_eq!(deadline.remaining(at(5.0)), Some(Duration::ZERO));
    assert!(Deadline::NEVER.allows(Instant::ZERO.after(Duration::MAX), Duration::MAX));
    assert_eq!(Deadline::NEVER.remaining(at(5.0)), None);
}

#[test]
fn a_loop_of_ones_own_needs_no_clock() {
    let (schedule, random) = (Schedule::default(), &mut Random::seeded(1));
    let mut course = Course::begin(at(10.0), Deadline::at(at(20.0)));
    assert_eq!((course.attempt(), course.time_for_attempt(None, at(10.0))), (1, Some(10 * SECOND)));
    assert_eq!(course.time_for_attempt(Some(SECOND), at(10.0)), Some(SECOND));
    assert_eq!(course.fail(&schedule, None, at(11.0), random), Next::Wait(2 * SECOND));
    assert_eq!((course.attempt(), course.time_for_attempt(None, at(13.0))), (2, Some(7 * SECOND)));
    assert_eq!(course.fail(&schedule, None, at(15.0), random), Next::Wait(4 * SECOND));
    assert_eq!(course.fail(&schedule, None, at(19.5), random), Next::Stop(Limit::Deadline));
    assert_eq!(course.fail(&schedule, None, at(25.0), random), Next::Stop(Limit::Deadline));
    assert_eq!(course.deadline(), Deadline::at(at(20.0)));
}
