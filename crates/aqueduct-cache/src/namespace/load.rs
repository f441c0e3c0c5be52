//! Loading what nobody has, once for all who ask.

use std::error::Error;
use std::future::Future;

use crate::error::LoadError;

use super::held::Found;
use super::{Inner, Outcome, SetOptions};

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    pub(super) async fn get_or_load(
        &self,
        key: &[u8],
        options: SetOptions<'_>,
        load: impl Future<Output = Result<Option<V>, Box<dyn Error + Send + Sync>>>,
    ) -> Outcome<V> {
        if let Found::Fresh(held) = self.look_in_memory(key) {
            self.counts.memory_hits.increment();
            return Ok(held.value);
        }
        let seat = self.flights.board(key);
        let turn = seat.turn().await;
        if let Some(outcome) = turn.outcome() {
            self.counts.joined.increment();
            self.counts.misses.increment();
            return outcome;
        }
        turn.lead();
        let stale = match self.look(key).await {
            Found::Fresh(held) => {
                turn.land(Ok(held.value.clone()));
                return Ok(held.value);
            }
            Found::Stale(held) => Some(held.value),
            _ => None,
        };
        self.counts.misses.increment();
        let begun = self.begin();
        self.counts.loads.increment();
        let outcome = match load.await {
            Ok(value) => {
                self.write(key, value.clone(), options, begun, Some(&|| turn.is_overtaken())).await;
                Ok(value)
            }
            Err(error) => {
                self.counts.load_failures.increment();
                match stale {
                    Some(value) => {
                        self.counts.stale.increment();
                        Ok(value)
                    }
                    None => Err(LoadError::new(error)),
                }
            }
        };
        turn.land(outcome.clone());
        outcome
    }
}
