use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aqueduct_policy::{Cache, CacheFuture, Call, Policy};

use crate::{Broken, Crowd, MS, PASSING, Scripted, clock, run};

/// Remembers everything but odd requests.
#[derive(Default)]
struct Map(Mutex<HashMap<String, u32>>);

impl Cache<u32, u32> for Map {
    fn key(&self, request: &u32) -> Option<String> {
        request.is_multiple_of(2).then(|| request.to_string())
    }

    fn get<'a>(&'a self, key: &'a str) -> CacheFuture<'a, Option<u32>> {
        Box::pin(async move { self.0.lock().expect("nobody panics").get(key).copied() })
    }

    fn put<'a>(&'a self, key: &'a str, answer: &'a u32) -> CacheFuture<'a, ()> {
        Box::pin(async move {
            self.0.lock().expect("nobody panics").insert(key.to_owned(), *answer);
        })
    }
}

/// Remembers nothing.
struct Nothing;

impl Cache<u32, u32> for Nothing {
    fn key(&self, request: &u32) -> Option<String> {
        Some(request.to_string())
    }

    fn get<'a>(&'a self, _: &'a str) -> CacheFuture<'a, Option<u32>> {
        Box::pin(std::future::ready(None))
    }

    fn put<'a>(&'a self, _: &'a str, _: &'a u32) -> CacheFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[test]
fn what_is_remembered_is_not_asked_for_again() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| (MS, Ok(request + 100)));
    let policy = Policy::builder().cache(Arc::new(Map::default())).clock(clock).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    for request in [2, 2, 2, 3, 3] {
        assert_eq!(run(&hand, backend.call(Call::new(request))).expect("it answers"), request + 100);
    }
    assert!(run(&hand, backend.call(Call::new(2).repeatable(false))).is_ok());
    assert_eq!(service.attempts(), 4);
    let figures = backend.snapshot();
    assert_eq!((figures.cache_hits, figures.cache_misses, figures.calls), (2, 1, 6));
    assert_eq!(run(&hand, backend.call_counted(Call::new(2))).expect("it answers").attempts, 0);
}

#[test]
fn those_who_ask_for_the_same_make_one_call() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| (MS, Ok(request)));
    let policy = Policy::builder().cache(Arc::new(Nothing)).clock(clock).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for number in 0..100 {
        crowd.join(backend.call(Call::new(number % 2)));
    }
    let done = crowd.finish(&hand);
    assert!(
        done.len() == 100
            && done.into_iter().all(|(number, result)| result.is_ok_and(|it| it as usize == number % 2))
    );
    assert_eq!((service.attempts(), backend.snapshot().cache_shared), (2, 98));
    // Nobody is on the flight any more: the next call is made.
    assert!(run(&hand, backend.call(Call::new(0))).is_ok());
    assert_eq!(service.attempts(), 3);
}

#[test]
fn a_leader_that_is_dropped_does_not_lose_the_followers() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| (MS, Ok(request)));
    let policy = Policy::builder().cache(Arc::new(Map::default())).clock(clock).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for _ in 0..10 {
        crowd.join(backend.call(Call::new(2)));
    }
    crowd.settle();
    crowd.drop(0);
    crowd.drop(1);
    assert_eq!(crowd.finish(&hand).len(), 8);
    assert_eq!(service.attempts(), 2);
}

#[test]
fn an_error_is_not_shared_and_followers_go_one_after_the_other() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |_| (MS, Err::<u32, Broken>(PASSING)));
    let policy = Policy::builder().cache(Arc::new(Map::default())).clock(clock).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for _ in 0..5 {
        crowd.join(backend.call(Call::new(2)));
    }
    assert!(crowd.finish(&hand).iter().all(|(_, result)| result.is_err()));
    assert_eq!((service.attempts(), service.most()), (5, 1));
}
