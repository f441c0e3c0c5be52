//! The run of a batch through phases: one future an item, so many at once.

use std::sync::Arc;

use aqueduct_core::{Classified, Clock, Instant, Phase as Shutdown, ShutdownSignal};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::{Hands, Phase, PhaseReport, Phased, Phases, PhasesReport};
use crate::account::{Account, Attempt};
use crate::cancel::{Cancel, Why};
use crate::error::{JobError, PhaseError, SubmitError, UnknownPhase};
use crate::job::Context;
use crate::pool::{Canceller, Ticket};
use crate::usage;

impl<T, E> Phases<T, E>
where
    T: Send + Sync + 'static,
    E: Classified + Send + 'static,
{
    /// Takes each item through all phases. One that fails in a phase stops there; the others go on.
    ///
    /// Asked to drain, it begins no further item and takes those that it has begun to their ends. Asked to stop, it cancels
    /// them; each says in which phase it was. The memory is that of the items, of what is in flight, and some 50 bytes an
    /// item and phase for the report.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, jobs under way are cancelled, and all results are lost.
    pub async fn run_all(&self, items: Vec<T>, shutdown: ShutdownSignal) -> Phased<T, E> {
        run(&self.phases, self.in_flight_max, &self.clock, items, shutdown).await
    }

    /// Takes each item through one phase. See [`run_all`](Self::run_all), also for the cancel safety.
    ///
    /// # Errors
    ///
    /// [`UnknownPhase`] when there is none of this name; nothing was run.
    pub async fn run_one(
        &self,
        name: &str,
        items: Vec<T>,
        shutdown: ShutdownSignal,
    ) -> Result<Phased<T, E>, UnknownPhase> {
        let Some(phase) = self.phases.iter().find(|phase| &*phase.name == name) else {
            let phases = self.phases.iter().map(|phase| Arc::clone(&phase.name)).collect();
            return Err(UnknownPhase { name: name.into(), phases });
        };
        Ok(run(std::slice::from_ref(phase), self.in_flight_max, &self.clock, items, shutdown).await)
    }
}

async fn run<T, E>(
    phases: &[Phase<T, E>],
    in_flight_max: usize,
    clock: &Clock,
    items: Vec<T>,
    mut shutdown: ShutdownSignal,
) -> Phased<T, E>
where
    T: Send + Sync + 'static,
    E: Classified + Send + 'static,
{
    let (began, cpu_began) = (clock.now(), usage::cpu_time());
    let accounts: Vec<Arc<Account>> = phases.iter().map(|_| Arc::new(Account::new(items.len()))).collect();
    let mut results: Vec<Option<Result<T, PhaseError<E>>>> = items.iter().map(|_| None).collect();
    let stop = Cancel::default();
    let mut left = items.into_iter().enumerate();
    let mut in_flight = FuturesUnordered::new();
    let mut asked = Shutdown::Running;
    loop {
        while asked == Shutdown::Running
            && in_flight.len() < in_flight_max
            && let Some((index, item)) = left.next()
        {
            let (accounts, stop) = (&accounts, &stop);
            in_flight.push(async move { (index, pass(phases, accounts, clock, index, item, stop).await) });
        }
        if in_flight.is_empty() {
            break;
        }
        let next = if asked == Shutdown::Running { Shutdown::Draining } else { Shutdown::Stopping };
        tokio::select! {
            biased;
            () = shutdown.reached(next), if asked < Shutdown::Stopping => {
                asked = next;
                if asked == Shutdown::Stopping {
                    stop.set(Why::Unwanted);
                }
            }
            Some((index, result)) = in_flight.next() => {
                if let Some(place) = results.get_mut(index) {
                    *place = Some(result);
                }
            }
        }
    }
    drop(in_flight);
    let reports = phases.iter().zip(&accounts);
    let report = PhasesReport {
        total: clock.now().since(began),
        cpu: usage::cpu_time().saturating_sub(cpu_began),
        memory_high: usage::memory().map(|(_, high)| high),
        phases: reports.map(|(phase, account)| PhaseReport::new(&phase.name, &account.sums())).collect(),
    };
    // Only a run that was asked to end leaves items out, and one without phases leaves none.
    let first = phases.first().map_or_else(|| "".into(), |phase| Arc::clone(&phase.name));
    let results = results.into_iter().map(|result| result.unwrap_or_else(|| Err(not_run(&first))));
    Phased { results: results.collect(), report }
}

fn not_run<E>(phase: &Arc<str>) -> PhaseError<E> {
    PhaseError { phase: Arc::clone(phase), error: JobError::Cancelled { attempts: 0, abandoned: false } }
}

/// Takes an item through phases.
async fn pass<T, E>(
    phases: &[Phase<T, E>],
    accounts: &[Arc<Account>],
    clock: &Clock,
    index: usize,
    mut item: T,
    stop: &Cancel,
) -> Result<T, PhaseError<E>>
where
    T: Send + Sync + 'static,
    E: Classified + Send + 'static,
{
    for (phase, account) in phases.iter().zip(accounts) {
        let seat = Seat { account: Arc::clone(account), clock: clock.clone(), index, came: clock.now() };
        let submitted = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(not_run(&phase.name)),
            submitted = phase.submit(item, seat) => submitted,
        };
        // Jobs that are too large were refused when the phase was added, so the pool takes nothing more.
        let Ok(mut ticket) = submitted else { return Err(not_run(&phase.name)) };
        let canceller = CancelOnDrop(ticket.canceller());
        let result = tokio::select! {
            biased;
            result = &mut ticket => result,
            () = stop.cancelled() => {
                canceller.0.cancel();
                ticket.await
            }
        };
        item = result.map_err(|error| PhaseError { phase: Arc::clone(&phase.name), error })?;
    }
    Ok(item)
}

/// An item in a phase, as it is accounted for.
struct Seat {
    account: Arc<Account>,
    clock: Clock,
    index: usize,
    came: Instant,
}

impl Seat {
    fn begin(&self, attempt: u32) -> Attempt {
        if attempt > 1 {
            self.account.retry(None);
        }
        Attempt::begin(&self.account, &self.clock, self.index, 0, self.came)
    }
}

/// A job that nobody waits for any more need not go on. One that has ended does not mind.
struct CancelOnDrop(Canceller);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl<T, E> Phase<T, E>
where
    T: Send + Sync + 'static,
    E: Classified + Send + 'static,
{
    /// Hands the item to the pool, once there is room.
    async fn submit(&self, item: T, seat: Seat) -> Result<Ticket<T, E>, SubmitError> {
        let job = self.job.clone();
        match &self.hands {
            Hands::Cpu(pool, function) => {
                let function = Arc::clone(function);
                let work = move |context: &Context| {
                    let attempt = seat.begin(context.attempt);
                    attempt.end(function(&item, context))
                };
                pool.submit(job, work).await
            }
            Hands::Io(pool, function) => {
                let (function, item) = (Arc::clone(function), Arc::new(item));
                let work = move |context: Context| {
                    let (attempt, future) =
                        (seat.begin(context.attempt), function(Arc::clone(&item), context));
                    async move { attempt.end(future.await) }
                };
                pool.submit(job, work).await
            }
        }
    }
}
