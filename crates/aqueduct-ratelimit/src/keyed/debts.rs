/// What keys owed that had to go, in a fixed size.
///
/// A debt is a TAT under a mark of the key's hash, in one of the four places that the hash leads to. A place whose debt is
/// over is free. Where all four are taken, the smallest is put together with the newcomer: the later TAT of both, under
/// the mark of everybody. So a debt is never forgiven, and with more debts than places some are found by others.
#[derive(Debug)]
pub(super) struct Debts {
    groups: usize,
    /// Made with the first debt.
    places: Vec<[Debt; WAYS]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Debt {
    tat: u64,
    mark: u32,
}

const WAYS: usize = 4;
/// The mark of a debt that is everybody's.
const ANYBODY: u32 = 0;

impl Debts {
    /// Places for a quarter as many debts as there are keys, sixteen bytes each.
    pub(super) fn new(keys: usize) -> Self {
        Self { groups: (keys / (4 * WAYS)).max(1), places: Vec::new() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<[Debt; WAYS]>()
    }

    /// The debt that is found by a hash: its own or everybody's, whichever is later.
    pub(super) fn find(&self, hash: u64, now: u64) -> u64 {
        let (group, mark) = self.place(hash);
        let theirs = |debt: &&Debt| debt.tat > now && (debt.mark == mark || debt.mark == ANYBODY);
        let found = self.places.get(group).into_iter().flatten().filter(theirs).map(|debt| debt.tat);
        found.max().unwrap_or(0)
    }

    /// The same, for a key that takes its own debt over.
    pub(super) fn take(&mut self, hash: u64, now: u64) -> u64 {
        let tat = self.find(hash, now);
        let (group, mark) = self.place(hash);
        if let Some(own) = self.places.get_mut(group).into_iter().flatten().find(|debt| debt.mark == mark) {
            *own = Debt::default();
        }
        tat
    }

    pub(super) fn put(&mut self, hash: u64, tat: u64, now: u64) {
        if self.places.is_empty() {
            self.places = vec![[Debt::default(); WAYS]; self.groups];
        }
        let (group, mark) = self.place(hash);
        let Some(places) = self.places.get_mut(group) else { return };
        // The key's own place if it has one, else a free one, else the one with the smallest debt.
        let worth = |debt: &Debt| if debt.mark == mark && debt.tat > now { (0, 0) } else { (1, debt.tat) };
        let Some(place) = places.iter_mut().min_by_key(|debt| worth(debt)) else { return };
        *place = if place.tat <= now {
            Debt { tat, mark }
        } else {
            let mark = if place.mark == mark { mark } else { ANYBODY };
            Debt { tat: tat.max(place.tat), mark }
        };
    }

    pub(super) fn rescale(&mut self, rescaled: impl Fn(u64) -> u64) {
        for debt in self.places.iter_mut().flatten() {
            debt.tat = rescaled(debt.tat);
        }
    }

    fn place(&self, hash: u64) -> (usize, u32) {
        let group = usize::try_from(hash % self.groups as u64).unwrap_or(0);
        // Other bits than those that choose the group; nobody's own mark is everybody's.
        let mark = u32::try_from(hash >> 32).unwrap_or(0).max(1);
        (group, mark)
    }
}
