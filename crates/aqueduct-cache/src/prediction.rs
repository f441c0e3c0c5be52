//! What will be asked for next, and whether knowing it is worth anything.

use std::collections::VecDeque;

use crate::config::{Config, Eviction};
use crate::memory::Memory;

/// Learns which key follows which, and keeps the account of how often it would have helped.
///
/// A guess is the key that came after this one last time, once it has come twice in a row. Guesses are made and judged whether
/// they are acted upon or not: so it is known what acting would bring, and it is left alone where that is nothing.
///
/// O(1) a request, and at most [`FOLLOWERS_MAX`] pairs of keys.
pub(crate) struct Prediction {
    followers: Memory<Box<[u8]>, Follower>,
    last: Option<Box<[u8]>>,
    /// The guess for the next request, if it was of any use: the key was not there.
    guess: Option<Box<[u8]>>,
    /// What came of the requests of late: one word each.
    lately: VecDeque<Outcome>,
    right: usize,
    wrong: usize,
}

#[derive(Clone)]
struct Follower {
    key: Box<[u8]>,
    /// Seen twice in a row.
    is_sure: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// No guess, or one that was of no use.
    None,
    Right,
    Wrong,
}

/// So many pairs are remembered.
const FOLLOWERS_MAX: u64 = 1 << 16;

/// So many requests are looked back upon.
const LATELY: usize = 1_024;

/// One request of so many must be guessed right for it to be worth the trouble: two points of hit ratio.
const WORTH: usize = 50;

impl Prediction {
    pub(crate) fn new() -> Self {
        // The range of a capacity holds this number.
        let config = Config::builder().capacity(FOLLOWERS_MAX).eviction(Eviction::Lru).shards(1).build();
        Self {
            followers: Memory::new(config.unwrap_or_default()),
            last: None,
            guess: None,
            lately: VecDeque::with_capacity(LATELY),
            right: 0,
            wrong: 0,
        }
    }

    /// Takes note of a request, and gives the key that will be asked for next and is not there, if that is known.
    pub(crate) fn asked(&mut self, key: &[u8], is_there: impl Fn(&[u8]) -> bool) -> Option<Box<[u8]>> {
        let outcome = match self.guess.take() {
            None => Outcome::None,
            Some(guess) if *guess == *key => Outcome::Right,
            Some(_) => Outcome::Wrong,
        };
        self.count(outcome);
        if let Some(last) = self.last.replace(key.into()) {
            let known = self.followers.get(&last);
            let is_sure = known.is_some_and(|known| *known.key == *key);
            self.followers.insert(last, Follower { key: key.into(), is_sure });
        }
        let next = self.followers.get(key).filter(|next| next.is_sure && !is_there(&next.key))?;
        self.guess = Some(next.key.clone());
        Some(next.key)
    }

    /// Tells whether guesses are worth acting upon: most of them right, and enough of them.
    pub(crate) fn is_worth_it(&self) -> bool {
        self.right > self.wrong && self.right * WORTH >= self.lately.len().max(WORTH)
    }

    fn count(&mut self, outcome: Outcome) {
        if self.lately.len() == LATELY
            && let Some(oldest) = self.lately.pop_front()
        {
            self.right -= usize::from(oldest == Outcome::Right);
            self.wrong -= usize::from(oldest == Outcome::Wrong);
        }
        self.lately.push_back(outcome);
        self.right += usize::from(outcome == Outcome::Right);
        self.wrong += usize::from(outcome == Outcome::Wrong);
    }
}
