use aqueduct_core::{Classified, Clock, Instant};

/// Waits until `take` gives, for somebody whose turn it is. Gives what was given and when.
///
/// What was waited for is taken as of the moment at which it was due: a late timer delays its own call and no other. If
/// it went to somebody who did not stand in the line, or must be waited for longer, the present counts again.
pub(crate) async fn wait<T, E: Classified>(
    clock: &Clock,
    mut take: impl FnMut(Instant) -> Result<T, E>,
) -> Result<(T, Instant), E> {
    let mut due = None;
    loop {
        let now = clock.now();
        let taken = match due.map(&mut take) {
            Some(Ok(given)) => Ok(given),
            _ => take(now),
        };
        let denied = match taken {
            Ok(given) => return Ok((given, now)),
            Err(denied) => denied,
        };
        let Some(wait) = denied.retry_after() else { return Err(denied) };
        clock.sleep(wait).await;
        due = Some(now.after(wait));
    }
}
