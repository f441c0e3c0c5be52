use super::{Ask, Candidates, Seat, Strategy};
use crate::hash::{hash, mix};

/// A table in which endpoints take their places by turns, each in an order of its own; a key belongs to the endpoint at
/// its hash.
///
/// Source: Eisenbud et al., "Maglev: a fast and reliable software network load balancer", NSDI 2016, section 3.4.
/// Endpoints of less weight than the largest leave out turns, as in Envoy.
#[derive(Debug)]
pub(crate) struct Maglev {
    table: Vec<u32>,
}

const FREE: u32 = u32::MAX;

/// One endpoint that is filling the table.
struct Filler {
    /// The next place that it wants.
    at: u64,
    skip: u64,
    /// Its weight for the largest one.
    weight: f64,
    /// What it is owed: one pays for a place.
    owed: f64,
}

impl Maglev {
    pub(crate) fn new(seats: &[Seat], least: u32) -> Self {
        if seats.is_empty() {
            return Self { table: Vec::new() };
        }
        let size = u64::from((least..).find(|size| is_prime(*size)).unwrap_or(least));
        let largest = seats.iter().map(|seat| seat.weight).fold(0.0, f64::max);
        let mut fillers: Vec<_> = seats
            .iter()
            .map(|seat| {
                let name = hash(seat.name.as_bytes());
                let (at, skip) = (name % size, mix(!name) % (size - 1) + 1);
                Filler { at, skip, weight: seat.weight / largest, owed: 0.0 }
            })
            .collect();
        let mut table = vec![FREE; usize::try_from(size).unwrap_or(0)];
        let mut left = table.len();
        while left > 0 {
            for (filler, index) in fillers.iter_mut().zip(0_u32..) {
                filler.owed += filler.weight;
                if filler.owed < 1.0 || left == 0 {
                    continue;
                }
                filler.owed -= 1.0;
                // A prime size makes the order reach every place.
                while let Some(place) = usize::try_from(filler.at).ok().and_then(|at| table.get_mut(at)) {
                    filler.at = (filler.at + filler.skip) % size;
                    if *place == FREE {
                        *place = index;
                        left -= 1;
                        break;
                    }
                }
            }
        }
        Self { table }
    }
}

impl Strategy for Maglev {
    fn choose(&self, from: &dyn Candidates, ask: &mut Ask<'_>) -> Option<usize> {
        let place = match ask.key {
            Some(key) => hash(key),
            None => ask.random.below(u64::MAX),
        };
        let place = usize::try_from(place.checked_rem(self.table.len() as u64)?).ok()?;
        let (before, after) = self.table.split_at(place);
        // The places after one belong to many others, so what a closed endpoint leaves is spread.
        let owners = after.iter().chain(before).map(|owner| usize::try_from(*owner).unwrap_or(0));
        owners.into_iter().find(|owner| from.is_open(*owner))
    }
}

fn is_prime(number: u32) -> bool {
    number > 1
        && (2..).take_while(|factor| factor * factor <= number).all(|factor| !number.is_multiple_of(factor))
}
