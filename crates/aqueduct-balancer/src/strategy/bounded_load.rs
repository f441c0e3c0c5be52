use super::ketama::{Ring, point_of};
use super::{Ask, Candidates, Seat, Strategy};

/// The ring, on which an endpoint that has its fill passes a key on to the next.
///
/// An endpoint of weight `w` among weights of the sum `W` has at most `factor * m * w / W` calls, rounded up, of the `m`
/// that are then under way.
///
/// Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent hashing with bounded loads", SODA 2018; weights are our own, as
/// in Envoy's hash balance factor.
#[derive(Debug)]
pub(crate) struct BoundedLoad {
    ring: Ring,
    /// For each endpoint `factor * w / W`.
    shares: Vec<f64>,
}

impl BoundedLoad {
    pub(crate) fn new(seats: &[Seat], factor: f64) -> Self {
        let total: f64 = seats.iter().map(|seat| seat.weight).sum();
        let shares = seats.iter().map(|seat| factor * seat.weight / total).collect();
        Self { ring: Ring::new(seats), shares }
    }
}

impl Strategy for BoundedLoad {
    fn choose(&self, from: &dyn Candidates, ask: &mut Ask<'_>) -> Option<usize> {
        let hash = point_of(ask);
        let calls = from.in_flight() as f64 + 1.0;
        let has_room = |index: usize| {
            let most = self.shares.get(index).map_or(0.0, |share| (share * calls).ceil());
            f64::from(from.load(index).in_flight()) + 1.0 <= most
        };
        // The shares are of all endpoints. Where so few are open that none has room, the key stays where it belongs.
        let open = |index: &usize| from.is_open(*index);
        self.ring
            .from(hash)
            .find(|index| open(index) && has_room(*index))
            .or_else(|| self.ring.from(hash).find(open))
    }
}
