//! Runs a pipeline and moves its clock.

use aqueduct_core::{Clock, ManualClock, Shutdown};
use aqueduct_stream::{Pipeline, Report, RunFailure};

use super::REAL_TIME_MAX;

/// How often the driver looks. A retry costs a few of these in real time.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(1);

/// How many looks in a row must find the same before the clock is moved: a task that has just been woken, or a second
/// sleep that is just being begun, gets its turn first.
const QUIET_LOOKS: u32 = 3;

/// How long a run that is told to stop may take for it.
const STOPPING_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// Runs to the end; `None` when it does not end in real time.
///
/// The engine and everything that works beside the clock says so ([`Clock::busy`]), so a sleep that is under way while
/// nobody is busy is all that is left to wait for, and the clock moves there. While somebody is busy the clock moves
/// with real time, so that a time limit still ends work that hangs.
pub(super) async fn drive(
    pipeline: Pipeline,
    manual: &ManualClock,
    shutdown: &Shutdown,
) -> Option<Result<Report, RunFailure>> {
    let real = Clock::system();
    let mut run = Box::pin(pipeline.run());
    let begun = real.now();
    let mut looked = real.now();
    let (mut quiet, mut waiting) = (0, 0);
    loop {
        tokio::select! {
            ended = &mut run => return Some(ended),
            () = real.sleep(LOOK_EVERY) => {}
        }
        let since = real.now().since(looked);
        looked = real.now();
        if looked.since(begun) > REAL_TIME_MAX {
            break;
        }
        let sleeps = manual.waiting();
        if sleeps == 0 {
            quiet = 0;
        } else if manual.is_busy() {
            quiet = 0;
            manual.advance(since);
        } else if sleeps != waiting {
            quiet = 1;
        } else {
            quiet += 1;
        }
        waiting = sleeps;
        if quiet >= QUIET_LOOKS {
            manual.advance_to_next();
            quiet = 0;
        }
    }
    // What it did so far is of no interest; it only should not go on beside the next case.
    shutdown.stop();
    tokio::select! {
        _ = &mut run => {}
        () = real.sleep(STOPPING_MAX) => {}
    }
    None
}
