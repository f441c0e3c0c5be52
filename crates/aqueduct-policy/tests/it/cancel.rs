use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use aqueduct_policy::{Backend, Call, Concurrency, Endpoint, Policy, PolicyError, RefusedBy, Scope};
use aqueduct_ratelimit::Quota;
use aqueduct_retry::{After, Deadline, HedgeConfig};
use proptest::prelude::*;

use crate::{Crowd, MS, PASSING, SECOND, Scripted, circuit, clock, retries, run};

/// Tokens that come back so slowly that what is missing was used.
const TOKENS: u64 = 60;

/// The request that is answered at once.
const SOUND: u32 = 9;

proptest! {
    /// Several calls are polled in any order, the clock is moved in between, and each is dropped at any of its awaits. Then
    /// nobody holds anything, and as many tokens are missing as attempts were sent.
    #[test]
    fn a_call_that_is_dropped_anywhere_leaves_nothing_behind(
        steps in prop::collection::vec((0..4usize, 0..4u8), 0..60),
        fails in 0..3u32,
        places in 1..3u32,
    ) {
        let (clock, hand) = clock();
        let service = Scripted::new(&clock, move |request| {
            let time = if request == SOUND { Duration::ZERO } else { MS * (5 + request) };
            (time, if request < fails { Err(PASSING) } else { Ok(request) })
        });
        let hour = SECOND * 3600;
        let policy = Policy::builder()
            .deadline(hour)
            .concurrency(Concurrency::fixed(places))
            .retry(retries(2, MS * 3))
            .hedge(HedgeConfig { after: After::Fixed(MS * 4), extra_max: 1 })
            .breaker(circuit())
            .rate_limit(Quota::new(TOKENS, hour * 24 * 366).expect("in range"), Scope::PerKey)
            .endpoint_breaker(circuit())
            .attempt_timeout(MS * 7)
            .clock(clock.clone())
            .build()
            .expect("in range");
        let backend: Backend<Scripted, u32> = policy
            .over([Endpoint::new("a", service.clone()), Endpoint::new("b", service.clone())])
            .expect("two names");
        let mut calls: Vec<Option<Pin<Box<_>>>> =
            (0..4).map(|request| Some(Box::pin(backend.call(Call::new(request).key("k").cost(2))))).collect();
        let mut context = Context::from_waker(Waker::noop());
        for (number, step) in steps {
            match step {
                0 | 1 => {
                    if let Some(call) = &mut calls[number] && call.as_mut().poll(&mut context).is_ready() {
                        calls[number] = None;
                    }
                }
                2 => {
                    hand.advance_to_next();
                }
                _ => calls[number] = None,
            }
        }
        calls.clear();

        let figures = backend.snapshot();
        prop_assert_eq!((figures.in_flight, figures.queued), (0, 0));
        prop_assert_eq!(figures.attempts, service.attempts() as u64);
        prop_assert!(figures.endpoints.iter().all(|endpoint| endpoint.in_flight == 0));
        // The circuits let a probe pass now, and it closes them. Then there are as many calls as tokens for them.
        hand.advance(SECOND * 2);
        let mut good = 0;
        loop {
            let call = Call::new(SOUND).key("k").cost(2).deadline(Deadline::after(clock.now(), SECOND));
            match run(&hand, backend.call(call)) {
                Ok(_) => good += 1,
                // Two failures before and two successes now open a circuit, and so those of both endpoints; a probe closes it.
                Err(PolicyError::Refused(refusal)) if refusal.by != RefusedBy::RateLimit => hand.advance(SECOND * 2),
                Err(PolicyError::Refused(_)) => break,
                Err(error) => prop_assert!(false, "{:?}", error),
            }
        }
        prop_assert_eq!(good * 2 + figures.attempts * 2, TOKENS);
    }

    /// Whoever leaves the line takes no token along: as long as somebody waits, one is sent each time that one comes.
    #[test]
    fn a_wait_that_is_dropped_loses_no_token(drops in prop::collection::vec((1..20usize, 0..20u32), 0..10), keys in 1..3usize) {
        let (clock, hand) = clock();
        let service = Scripted::echo(&clock);
        let quota = Quota::per_second(10).and_then(|quota| quota.with_burst(1)).expect("in range");
        let policy = Policy::builder().rate_limit(quota, Scope::Shared).rate_limit(quota, Scope::PerKey);
        let backend = policy.clock(clock).build().expect("in range").over_one(service.clone()).expect("it may be");
        let mut crowd = Crowd::new();
        for request in 0..20 {
            crowd.join(backend.call(Call::new(request).key(["a", "b"][request as usize % keys])));
        }
        for step in 0..20 {
            crowd.settle();
            for (number, _) in drops.iter().filter(|(_, when)| *when == step) {
                crowd.drop(*number);
            }
            hand.advance(MS * 50);
        }
        crowd.finish(&hand);
        let evenly: Vec<_> = (0..service.attempts()).map(|number| MS * 100 * u32::try_from(number).expect("few")).collect();
        prop_assert_eq!(service.times(), evenly);
    }
}
