use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use aqueduct_balancer::Endpoint;
use aqueduct_breaker::State;
use aqueduct_core::{Classified, Clock, ConfigError, ErrorClass, Instant, Keyed, Random, Verdict};
use aqueduct_retry::{Advice, Budget, Course, Deadline, Limit, Next, Withdrawal};
use tower_service::Service;

use crate::cache::{Cache, Flights};
use crate::call::{Call, Kind};
use crate::concurrency::Gate;
use crate::config::{Cached, NoCache, Policy, Settings};
use crate::endpoints::Endpoints;
use crate::error::{AttemptError, PolicyError, Refusal, RefusedBy};
use crate::event::{Event, Observer};
use crate::hedge::Hedging;
use crate::lane::Lane;
use crate::line::Line;
use crate::scope::Scope;
use crate::snapshot::{Counts, Snapshot};
use crate::tokens::Tokens;

/// A service, or several endpoints of one, behind a policy. Cheap to clone; clones share everything.
pub struct Backend<S: Service<Req>, Req>(Arc<Block<S, Req>>);

/// An answer, and what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered<Res> {
    /// The answer.
    pub response: Res,
    /// How many attempts were sent for it, hedges among them; none where the cache or a call of somebody else had it.
    pub attempts: u32,
}

/// The layers of one backend.
struct Block<S: Service<Req>, Req> {
    settings: Settings,
    cache: Option<Remembered<Req, S::Response>>,
    /// The gate of all keys.
    gate: Option<Arc<Gate>>,
    random: Mutex<Random>,
    budget: Budget,
    hedge: Option<Hedging>,
    /// What belongs to a key, where anything does.
    lanes: Option<Keyed<String, Lane>>,
    /// What belongs to the calls without a key.
    keyless: Arc<Lane>,
    /// The quota of all keys.
    shared: Option<Line>,
    endpoints: Endpoints<S>,
    observer: Observer,
    counts: Counts,
}

struct Remembered<Req, Res> {
    cache: Arc<dyn Cache<Req, Res>>,
    flights: Flights<Res>,
    /// How an answer is copied for those who asked for the same; known where the cache is given.
    copy: fn(&Res) -> Res,
}

/// One call under way.
struct Run<Req, E> {
    call: Call<Req>,
    begun: Instant,
    deadline: Deadline,
    lane: Arc<Lane>,
    /// How many attempts were sent. Relaxed: only this call moves it, and reads it when they have ended.
    attempts: AtomicU32,
    /// When the first one was sent, in nanoseconds of the clock. Relaxed, for the same reason.
    sent_at: AtomicU64,
    /// The last error, for when the deadline comes. Guards nothing else.
    last: Mutex<Option<E>>,
}

/// A lane that nobody has asked for since then may go.
const LANE_IDLE_AFTER: Duration = Duration::from_mins(10);

/// The longest rest of a key that is believed, as that of a retry: who asks for more wants to be left alone.
const REST_MAX: Duration = Duration::from_mins(5);

// ---- Policy ----

impl Policy<NoCache> {
    /// Puts the policy before several endpoints of one service.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when two endpoints have one name, or a weight is out of range.
    pub fn over<S, Req>(
        &self,
        endpoints: impl IntoIterator<Item = Endpoint<S>>,
    ) -> Result<Backend<S, Req>, ConfigError>
    where
        S: Service<Req> + Clone,
    {
        Backend::new(&self.settings, Endpoints::many(endpoints, &self.settings)?, None)
    }

    /// Puts the policy before one service. There is nothing to choose, so no balancer.
    ///
    /// # Errors
    ///
    /// None for a policy that was built.
    pub fn over_one<S, Req>(&self, service: S) -> Result<Backend<S, Req>, ConfigError>
    where
        S: Service<Req> + Clone,
    {
        Backend::new(&self.settings, Endpoints::one(service, &self.settings), None)
    }
}

impl<Req, Res: Clone> Policy<Cached<Req, Res>> {
    /// As [`over`](Policy::<NoCache>::over), for a service whose answers the cache remembers.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn over<S>(
        &self,
        endpoints: impl IntoIterator<Item = Endpoint<S>>,
    ) -> Result<Backend<S, Req>, ConfigError>
    where
        S: Service<Req, Response = Res> + Clone,
    {
        Backend::new(&self.settings, Endpoints::many(endpoints, &self.settings)?, Some(self.remembered()))
    }

    /// As [`over_one`](Policy::<NoCache>::over_one), for a service whose answers the cache remembers.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn over_one<S>(&self, service: S) -> Result<Backend<S, Req>, ConfigError>
    where
        S: Service<Req, Response = Res> + Clone,
    {
        Backend::new(&self.settings, Endpoints::one(service, &self.settings), Some(self.remembered()))
    }

    fn remembered(&self) -> Remembered<Req, Res> {
        Remembered { cache: Arc::clone(&self.cache.0), flights: Flights::new(), copy: Res::clone }
    }
}

// ---- Backend ----

impl<S: Service<Req>, Req> Backend<S, Req> {
    fn new(
        settings: &Settings,
        endpoints: Endpoints<S>,
        cache: Option<Remembered<Req, S::Response>>,
    ) -> Result<Self, ConfigError> {
        let clock = &settings.clock;
        let observer = settings.observer.fresh();
        let shared_gate = settings.concurrency.as_ref().filter(|config| config.scope == Scope::Shared);
        let has_lanes = settings.breaker.is_some()
            || settings.key_quota.is_some()
            || settings.shared_quota.is_some()
            || settings.concurrency.is_some_and(|config| config.scope == Scope::PerKey);
        let make = {
            let (settings, observer) = (settings.clone(), observer.clone());
            move |key: &String| Lane::new(&settings, &observer, key)
        };
        Ok(Self(Arc::new(Block {
            cache,
            gate: shared_gate.map(Gate::new).map(Arc::new),
            random: Mutex::new(Random::seeded(settings.seed)),
            budget: Budget::new(settings.budget)?,
            hedge: settings.hedge.map(|config| Hedging::new(config, clock.now())),
            lanes: has_lanes.then(|| Keyed::new(settings.keys_max, LANE_IDLE_AFTER, make)),
            keyless: Arc::new(Lane::new(settings, &observer, "")),
            shared: settings.shared_quota.map(|quota| Line::new(quota, clock.clone())),
            endpoints,
            observer,
            counts: Counts::new(settings.metrics.clone()),
            settings: settings.clone(),
        })))
    }

    /// The figures of each layer. O(keys) and O(endpoints).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }
}

impl<S, Req> Backend<S, Req>
where
    S: Service<Req> + Clone,
    S::Error: Classified,
    Req: Clone,
{
    /// Makes a call through all layers of the policy. The deadline counts from when the future is first polled.
    ///
    /// # Errors
    ///
    /// As [`call_counted`](Self::call_counted).
    ///
    /// # Cancel safety
    ///
    /// As [`call_counted`](Self::call_counted).
    ///
    /// # Panics
    ///
    /// As [`call_counted`](Self::call_counted).
    pub async fn call(&self, call: Call<Req>) -> Result<S::Response, PolicyError<S::Error>> {
        self.call_counted(call).await.map(|answered| answered.response)
    }

    /// Makes a call through all layers of the policy, and tells how many attempts it took. The deadline counts from here on,
    /// and not from when the future is first polled.
    ///
    /// The layers, outermost first. If two neighbours were swapped:
    ///
    /// * deadline and cache: looking into the cache, and waiting for a call of somebody else, would have no end.
    /// * cache and concurrency: an answer that is there would wait for a place that it does not need.
    /// * concurrency and retry: a call would give its place up between attempts, and newcomers would overtake it for ever.
    /// * retry and hedge: a hedge would repeat whole courses of retries, and call a broken backend twice as often.
    /// * hedge and circuit: a hedge could go to a backend whose circuit has opened since the first attempt began.
    /// * circuit and rate limit: a call would wait for a token, and then find that it may not be made.
    /// * rate limit and choice: an endpoint would be chosen, and its calls under way counted, for as long as a token takes.
    /// * choice and time-out: the choice is made at once, so only what is counted as slow would change.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]: a refusal of a layer, the error of the last attempt, or the deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops the attempts under way and leaves every layer as it was before, but for the tokens and the budget
    /// of attempts that were sent.
    ///
    /// # Panics
    ///
    /// A system clock needs the time driver of a tokio runtime as soon as there is something to wait for.
    pub fn call_counted(
        &self,
        call: Call<Req>,
    ) -> impl Future<Output = Result<Answered<S::Response>, PolicyError<S::Error>>> {
        let block = &*self.0;
        // Not within: the call would be kept beside what is known of it, for as long as that takes.
        let run = block.begin(call);
        async move {
            let run = &run;
            let _under_way = block.counts.under_way();
            #[rustfmt::skip]
            let result =
                block.by_deadline(run, move ||              // Whoever calls gets an answer in time, whatever is within.
                block.remembered(run, move ||               // What is known, or being asked, costs nothing of what follows.
                block.admitted(run, move ||                 // As many as the backend bears; a call keeps its place to the end.
                block.repeated(run, move |kind|             // What failed in passing, within a budget.
                block.hedged(run, kind, move |kind|         // Beside an attempt that takes long, of the same budget.
                block.unless_open(run, move ||              // Nobody waits for a token who may not call.
                block.with_tokens(run, move ||              // Every attempt and every hedge takes its own: the quota is kept.
                block.judged(run, kind, move |service|      // To an endpoint that is well; circuits learn what came of it.
                block.in_time(move ||                       // What was sent, and no wait before it, must end in its time.
                block.send(run, service)
                ))))))))).await;
            block.counts.ended(&result);
            result.map(|response| Answered { response, attempts: run.attempts() })
        }
    }
}

impl<S: Service<Req>, Req> Block<S, Req> {
    fn clock(&self) -> &Clock {
        &self.settings.clock
    }

    fn snapshot(&self) -> Snapshot {
        let now = self.clock().now();
        let mut snapshot = self.counts.snapshot();
        let mut lanes: Vec<(String, Arc<Lane>)> = self.lanes.as_ref().map(Keyed::all).unwrap_or_default();
        snapshot.keys = lanes.len() as u64;
        snapshot.keys_displaced = self.lanes.as_ref().map_or(0, Keyed::displaced);
        lanes.push((String::new(), Arc::clone(&self.keyless)));
        lanes.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (key, lane) in &lanes {
            let state = lane.breaker.as_ref().map_or(State::Closed, aqueduct_breaker::Breaker::state);
            if state != State::Closed {
                snapshot.circuits_open += 1;
                if snapshot.circuits.len() < Snapshot::CIRCUITS_MAX {
                    snapshot.circuits.push((key.clone(), state));
                }
            }
        }
        snapshot.circuits_opened = self.observer.opened();
        let own = lanes.iter().filter_map(|(_, lane)| lane.gate.as_ref());
        for level in own.chain(&self.gate).map(|gate| gate.level()) {
            *snapshot.concurrency_limit.get_or_insert(0) += u64::from(level.limit);
            snapshot.in_flight += u64::from(level.in_flight);
            snapshot.queued += level.waiting as u64;
        }
        if self.spends() {
            snapshot.budget_left = Some(self.budget.balance(now));
        }
        snapshot.endpoints = self.endpoints.figures();
        snapshot
    }

    /// Whether there is anything to spend the budget on.
    fn spends(&self) -> bool {
        self.settings.retry.is_some() || self.hedge.is_some()
    }

    /// Nothing under this lock panics, so a poisoned one still guards a whole sequence.
    fn random(&self) -> MutexGuard<'_, Random> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ---- The layers, outermost first ----
//
// Each takes what makes the next one's future, and not the future itself: an async function keeps its arguments beside what
// it waits for, so nine layers would make a call 2^9 times as large as it must be.

impl<S, Req> Block<S, Req>
where
    S: Service<Req> + Clone,
    S::Error: Classified,
    Req: Clone,
{
    fn begin(&self, call: Call<Req>) -> Run<Req, S::Error> {
        let begun = self.clock().now();
        let own = self.settings.deadline.map_or(Deadline::NEVER, |time| Deadline::after(begun, time));
        let lane = match &self.lanes {
            Some(lanes) if !call.key.is_empty() => lanes.get(&*call.key, begun),
            _ => Arc::clone(&self.keyless),
        };
        Run {
            begun,
            deadline: own.earlier(call.deadline),
            lane,
            attempts: AtomicU32::new(0),
            sent_at: AtomicU64::new(0),
            last: Mutex::new(None),
            call,
        }
    }

    async fn by_deadline<F, A>(
        &self,
        run: &Run<Req, S::Error>,
        next: F,
    ) -> Result<S::Response, PolicyError<S::Error>>
    where
        F: FnOnce() -> A,
        A: Future<Output = Result<S::Response, PolicyError<S::Error>>>,
    {
        let in_time = match run.deadline.remaining(run.begun) {
            Some(Duration::ZERO) => None,
            left => within(self.clock(), left, pin!(next())).await,
        };
        in_time.unwrap_or_else(|| {
            Err(PolicyError::Deadline { attempts: run.attempts(), last: run.last().take() })
        })
    }

    async fn remembered<F, A>(
        &self,
        run: &Run<Req, S::Error>,
        next: F,
    ) -> Result<S::Response, PolicyError<S::Error>>
    where
        F: FnOnce() -> A,
        A: Future<Output = Result<S::Response, PolicyError<S::Error>>>,
    {
        let Some(Remembered { cache, flights, copy }) = self.cache.as_ref().filter(|_| run.call.repeatable)
        else {
            return next().await;
        };
        let Some(key) = cache.key(&run.call.request) else { return next().await };
        if let Some(answer) = cache.get(&key).await {
            self.counts.hit();
            return Ok(answer);
        }
        let (seat, flight) = flights.board(&key);
        // Who makes the call holds it. Dropped on the way, it goes to the next, who makes the call instead.
        let mut answered = flight.lock().await;
        if let Some(answer) = &*answered {
            self.counts.shared();
            seat.land();
            return Ok(copy(answer));
        }
        // The flight may be a new one, after that of the first look has landed.
        if let Some(answer) = cache.get(&key).await {
            self.counts.hit();
            return Ok(answer);
        }
        self.counts.missed();
        let answer = next().await?;
        *answered = Some(copy(&answer));
        cache.put(&key, &answer).await;
        seat.land();
        Ok(answer)
    }

    async fn admitted<F, A>(
        &self,
        run: &Run<Req, S::Error>,
        next: F,
    ) -> Result<S::Response, PolicyError<S::Error>>
    where
        F: FnOnce() -> A,
        A: Future<Output = Result<S::Response, PolicyError<S::Error>>>,
    {
        let _permit = match self.gate(run) {
            None => None,
            Some(gate) => Some(
                gate.enter(&run.call.tenant)
                    .await
                    .map_err(|_| PolicyError::Refused(Refusal::new(RefusedBy::Concurrency, None)))?,
            ),
        };
        next().await
    }

    async fn repeated<F, A>(
        &self,
        run: &Run<Req, S::Error>,
        attempt: F,
    ) -> Result<S::Response, PolicyError<S::Error>>
    where
        F: Fn(Kind) -> A,
        A: Future<Output = Result<S::Response, AttemptError<S::Error>>>,
    {
        let mut course = None;
        let mut kind = Kind::First;
        let mut held = Held { withdrawal: None, attempts: &run.attempts, before: 0 };
        loop {
            let result = attempt(kind).await;
            if kind == Kind::First && self.spends() && run.attempts() > 0 {
                self.budget.deposit(self.clock().coarse());
            }
            // Spent, or given back where nothing was sent.
            drop(held);
            let delay;
            (held, delay) = match self.after(run, &mut course, result) {
                After::Ends(result) => return result,
                After::Again(held, delay) => (held, delay),
            };
            kind = Kind::Retry;
            if !delay.is_zero() {
                self.clock().sleep(delay).await;
            }
        }
    }

    /// What follows an attempt. Apart from the loop, since what is at hand where that waits makes the future of every call
    /// larger.
    fn after<'a>(
        &'a self,
        run: &'a Run<Req, S::Error>,
        course: &mut Option<Course>,
        result: Result<S::Response, AttemptError<S::Error>>,
    ) -> After<'a, S::Response, S::Error> {
        let error = match result {
            Ok(answer) => return After::Ends(Ok(answer)),
            Err(error) => error,
        };
        let (Advice::Again { retry_after }, Some(retry), true) =
            (Advice::of_error(&error), &self.settings.retry, run.call.repeatable)
        else {
            return After::Ends(Err(run.failed(error)));
        };
        let now = self.clock().now();
        // Its time counts from when the first attempt was sent: a long wait for a place or a token is no reason to give up.
        let course = course.get_or_insert_with(|| Course::begin(run.sent_at(), run.deadline));
        let delay = match course.fail(&retry.schedule, retry_after, now, &mut self.random()) {
            Next::Wait(delay) => delay,
            Next::Stop(Limit::Deadline) => return After::Ends(Err(run.too_late(error))),
            Next::Stop(_) => return After::Ends(Err(run.failed(error))),
        };
        let Some(withdrawal) = self.budget.try_withdraw(now) else {
            return After::Ends(Err(run.failed(error)));
        };
        let held = Held { withdrawal: Some(withdrawal), attempts: &run.attempts, before: run.attempts() };
        if let AttemptError::Failed(error) = error {
            *run.last() = Some(error);
        }
        After::Again(held, delay)
    }

    async fn hedged<F, A>(
        &self,
        run: &Run<Req, S::Error>,
        kind: Kind,
        attempt: F,
    ) -> Result<S::Response, AttemptError<S::Error>>
    where
        F: Fn(Kind) -> A,
        A: Future<Output = Result<S::Response, AttemptError<S::Error>>>,
    {
        let Some(hedge) = self.hedge.as_ref().filter(|_| run.call.repeatable) else {
            return attempt(kind).await;
        };
        let numbered = |number: u32| attempt(if number == 0 { kind } else { Kind::Hedge });
        // Boxed, so that a call without it is small.
        Box::pin(hedge.race(self.clock(), &self.budget, numbered)).await
    }

    async fn unless_open<F, A>(
        &self,
        run: &Run<Req, S::Error>,
        next: F,
    ) -> Result<S::Response, AttemptError<S::Error>>
    where
        F: FnOnce() -> A,
        A: Future<Output = Result<S::Response, AttemptError<S::Error>>>,
    {
        if let Some(refusal) = run.lane.breaker.as_ref().and_then(|breaker| breaker.refuses()) {
            return Err(refused(RefusedBy::Circuit, refusal.retry_after));
        }
        next().await
    }

    async fn with_tokens<F, A>(
        &self,
        run: &Run<Req, S::Error>,
        next: F,
    ) -> Result<S::Response, AttemptError<S::Error>>
    where
        F: FnOnce() -> A,
        A: Future<Output = Result<S::Response, AttemptError<S::Error>>>,
    {
        if !self.is_limited() {
            return next().await;
        }
        let tokens = Tokens {
            clock: self.clock(),
            lane: &run.lane,
            shared: self.shared.as_ref(),
            cost: run.call.cost,
            deadline: run.deadline,
        };
        let waited = tokens.take().await.map_err(AttemptError::Refused)?;
        if !waited.is_zero() {
            self.counts.waited(waited);
        }
        let result = next().await;
        // It was not sent, by us or by the service.
        if let Err(AttemptError::Refused(_)) = &result {
            tokens.refund();
        }
        result
    }

    async fn judged<F, A>(
        &self,
        run: &Run<Req, S::Error>,
        kind: Kind,
        send: F,
    ) -> Result<S::Response, AttemptError<S::Error>>
    where
        F: FnOnce(S) -> A,
        A: Future<Output = Result<S::Response, AttemptError<S::Error>>>,
    {
        // Again, and now for a permit: it may have opened while this attempt waited. From here on it is timed.
        let permit = match &run.lane.breaker {
            Some(breaker) => Some(
                breaker.try_acquire().map_err(|refusal| refused(RefusedBy::Circuit, refusal.retry_after))?,
            ),
            None => None,
        };
        let chosen = self
            .endpoints
            .choose(&run.call.key)
            .map_err(|none| refused(RefusedBy::Endpoint, none.retry_after))?;
        if run.attempts.fetch_add(1, Ordering::Relaxed) == 0 {
            let at = self.clock().coarse().elapsed_since_start();
            run.sent_at.store(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        self.counts.sent(kind);
        let gate = self.gate(run).filter(|gate| gate.adapts());
        let begun = gate.map(|_| self.clock().now());
        let result = send(chosen.service().clone()).await;
        if let Err(AttemptError::Refused(_)) = &result {
            // The permit and the lease say nothing when they are dropped.
            run.attempts.fetch_sub(1, Ordering::Relaxed);
            self.counts.unsent(kind);
            return result;
        }
        let said = Said::of(&result);
        if let (Some(gate), Some(begun), Some(dropped)) = (gate, begun, said.dropped) {
            gate.record(begun, self.clock().now(), dropped);
        }
        if let Some(wait) = said.rest.filter(|_| self.is_limited()) {
            let wait = wait.min(REST_MAX);
            run.lane.rest(self.clock().now(), wait);
            // Where nothing but the quota of all is known, it is what was used up: a bucket that fills meanwhile would give its
            // burst at the end of the rest, and be refused again.
            if let Some(shared) = self.shared.as_ref().filter(|_| run.lane.line.is_none()) {
                shared.drain(wait);
            }
            self.observer.tell(&Event::Paused { key: &run.call.key, wait });
        }
        if let Some(permit) = permit {
            permit.finish(said.circuit);
        }
        chosen.finish(said.circuit, said.endpoint);
        result
    }

    async fn in_time<F, A>(&self, next: F) -> Result<S::Response, AttemptError<S::Error>>
    where
        F: FnOnce() -> A,
        A: Future<Output = Result<S::Response, AttemptError<S::Error>>>,
    {
        within(self.clock(), self.settings.attempt_timeout, pin!(next())).await.unwrap_or_else(|| {
            self.counts.timed_out();
            Err(AttemptError::TimedOut)
        })
    }

    async fn send(
        &self,
        run: &Run<Req, S::Error>,
        mut service: S,
    ) -> Result<S::Response, AttemptError<S::Error>> {
        poll_fn(|cx| service.poll_ready(cx)).await.map_err(AttemptError::of)?;
        service.call(run.call.request.clone()).await.map_err(AttemptError::of)
    }

    fn gate<'a>(&'a self, run: &'a Run<Req, S::Error>) -> Option<&'a Arc<Gate>> {
        self.gate.as_ref().or(run.lane.gate.as_ref())
    }

    fn is_limited(&self) -> bool {
        self.shared.is_some() || self.settings.key_quota.is_some()
    }
}

impl<Req, E> Run<Req, E> {
    fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    fn sent_at(&self) -> Instant {
        Instant::ZERO.after(Duration::from_nanos(self.sent_at.load(Ordering::Relaxed)))
    }

    /// Nothing under this lock panics, so a poisoned one still guards a whole error.
    fn last(&self) -> MutexGuard<'_, Option<E>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: AttemptError<E>) -> PolicyError<E> {
        let attempts = self.attempts();
        match error {
            AttemptError::Failed(source) => PolicyError::Failed { attempts, source },
            AttemptError::TimedOut => PolicyError::TimedOut { attempts },
            AttemptError::Refused(refusal) => PolicyError::Refused(Refusal { attempts, ..refusal }),
        }
    }

    fn too_late(&self, error: AttemptError<E>) -> PolicyError<E> {
        let last = match error {
            AttemptError::Failed(error) => Some(error),
            AttemptError::TimedOut | AttemptError::Refused(_) => self.last().take(),
        };
        PolicyError::Deadline { attempts: self.attempts(), last }
    }
}

/// What an attempt said of the other side.
struct Said {
    circuit: Verdict,
    endpoint: Verdict,
    /// Whether it failed, for the concurrency limit; nothing where it says nothing.
    dropped: Option<bool>,
    /// How long the key is to be left alone.
    rest: Option<Duration>,
}

impl Said {
    const NOTHING: Self =
        Self { circuit: Verdict::Ignore, endpoint: Verdict::Ignore, dropped: None, rest: None };
    const WELL: Self =
        Self { circuit: Verdict::Success, endpoint: Verdict::Success, dropped: Some(false), rest: None };

    fn of<T, E: Classified>(result: &Result<T, AttemptError<E>>) -> Self {
        let error = match result {
            Ok(_) => return Self::WELL,
            Err(error) => error,
        };
        let retry_after = error.retry_after();
        let failure = Verdict::Failure { retry_after };
        match error.class() {
            ErrorClass::Transient => {
                Self { circuit: failure, endpoint: failure, dropped: Some(true), rest: None }
            }
            // Too many requests is about how often this key was called, and not about whether the backend is well: its
            // quota waits and its circuit does not open. The endpoint that said so gets fewer calls, but it does not rest
            // as long as the key does, for other keys may be welcome.
            ErrorClass::Overload => Self {
                circuit: Verdict::Ignore,
                endpoint: Verdict::FAILURE,
                dropped: Some(true),
                rest: retry_after,
            },
            // It has answered, and in time. A half-open circuit may close on it.
            ErrorClass::Permanent => Self::WELL,
            // It may have failed before anything was sent, so it says nothing.
            ErrorClass::Invalid | ErrorClass::Cancelled | ErrorClass::Internal => Self::NOTHING,
        }
    }
}

/// What follows an attempt.
enum After<'a, T, E> {
    /// The call has its answer, or there will be none.
    Ends(Result<T, PolicyError<E>>),
    /// Another one, after this delay.
    Again(Held<'a>, Duration),
}

/// What was withdrawn for a retry. Dropped before that was sent, it is given back.
struct Held<'a> {
    withdrawal: Option<Withdrawal<'a>>,
    attempts: &'a AtomicU32,
    /// How many had been sent before.
    before: u32,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.attempts.load(Ordering::Relaxed) > self.before
            && let Some(withdrawal) = self.withdrawal.take()
        {
            withdrawal.spend();
        }
    }
}

fn refused<E>(by: RefusedBy, retry_after: Option<Duration>) -> AttemptError<E> {
    AttemptError::Refused(Refusal::new(by, retry_after))
}

/// Waits for a result, for so long where there is a limit.
async fn within<T>(
    clock: &Clock,
    time: Option<Duration>,
    mut call: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    // On the heap: most calls have no limit here, and every one would have the room for it.
    let mut over = time.map(|time| Box::pin(clock.sleep(time)));
    poll_fn(|cx| {
        // The call first: an answer that comes with the last moment counts.
        if let Poll::Ready(value) = call.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        match &mut over {
            Some(over) => over.as_mut().poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

impl<S: Service<Req>, Req> Clone for Backend<S, Req> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Service<Req>, Req> fmt::Debug for Backend<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("settings", &self.0.settings)
            .field("snapshot", &self.snapshot())
            .finish()
    }
}
