use super::{Ask, Candidates, Seat, Strategy};
use crate::hash::Crc32;

/// A ring of points, 160 for each unit of weight; a key belongs to the first point at or after its hash.
///
/// Point for point the ring of nginx (`hash ... consistent`, ngx_http_upstream_hash_module), which is that of
/// Cache::Memcached::Fast: the CRC-32 of host, zero byte, port and the point before, in little endian.
#[derive(Debug)]
pub(crate) struct Ring {
    /// By hash, with the index of its endpoint. No hash twice: the first endpoint has it.
    points: Vec<(u32, u32)>,
    /// Where the points begin whose hashes have the same first bits, so that finding one is a look and a step or two.
    starts: Vec<usize>,
    shift: u32,
}

const POINTS_A_WEIGHT: f64 = 160.0;
/// The largest ring, 16 MiB. Beyond it each unit of weight has fewer points, but an endpoint at least one.
const POINTS_MAX: f64 = 2_097_152.0;

impl Ring {
    pub(crate) fn new(seats: &[Seat]) -> Self {
        let total: f64 = seats.iter().map(|seat| seat.weight).sum();
        let each = POINTS_A_WEIGHT.min(POINTS_MAX / total.max(1.0));
        let mut points = Vec::new();
        for (seat, index) in seats.iter().zip(0_u32..) {
            let (host, port) = split(seat.name.as_bytes());
            let base = Crc32::new().update(host).update(&[0]).update(port);
            let mut point = 0_u32;
            for _ in 0..count(seat.weight * each) {
                point = base.update(&point.to_le_bytes()).finish();
                points.push((point, index));
            }
        }
        points.sort_by_key(|point| point.0);
        points.dedup_by_key(|point| point.0);
        // A start for about each point.
        let bits = points.len().max(2).ilog2();
        let shift = u32::BITS - bits;
        let mut starts = Vec::with_capacity(1 << bits);
        let mut at = 0;
        for bucket in 0..1_u32 << bits {
            while points.get(at).is_some_and(|point| point.0 >> shift < bucket) {
                at += 1;
            }
            starts.push(at);
        }
        Self { points, starts, shift }
    }

    /// Endpoints in the order in which they come after the hash, as often as they have points.
    pub(super) fn from(&self, hash: u32) -> impl Iterator<Item = usize> + '_ {
        let bucket = usize::try_from(hash >> self.shift).unwrap_or(0);
        let mut at = self.starts.get(bucket).copied().unwrap_or(0);
        while self.points.get(at).is_some_and(|point| point.0 < hash) {
            at += 1;
        }
        let (before, after) = self.points.split_at(at.min(self.points.len()));
        after.iter().chain(before).map(|point| usize::try_from(point.1).unwrap_or(0))
    }
}

impl Strategy for Ring {
    fn choose(&self, from: &dyn Candidates, ask: &mut Ask<'_>) -> Option<usize> {
        self.from(point_of(ask)).find(|index| from.is_open(*index))
    }
}

/// The place of the key on the ring, and any place without a key.
pub(super) fn point_of(ask: &mut Ask<'_>) -> u32 {
    match ask.key {
        Some(key) => Crc32::new().update(key).finish(),
        None => u32::try_from(ask.random.below(1 << 32)).unwrap_or(0),
    }
}

/// Host and port as nginx splits them: at the last colon, if only digits follow.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    if let Some(path) = name.strip_prefix(b"unix:") {
        return (path, b"");
    }
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (rest, port) = name.split_at(name.len() - digits);
    rest.strip_suffix(b":").map_or((name, b""), |host| (host, port))
}

/// A whole number from 1 on.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the size of the ring")]
fn count(points: f64) -> u32 {
    points.round().max(1.0) as u32
}
