/// What keys owed that had to go, in a fixed size.
///
/// A debt is a TAT under a mark of the key's hash, in the group of places that the hash leads to. A place whose debt is over
/// is free. Where all are taken, the two whose marks are closest become one, under every mark from the one to the other and
/// with the later TAT. So a debt is never forgiven; a newcomer finds another's only if its mark is the same or lies
/// between, and that becomes likelier slowly: with twice as many debts as places, for about one in six.
#[derive(Debug)]
pub(super) struct Debts {
    groups: usize,
    /// Made with the first debt.
    places: Vec<[Debt; WAYS]>,
    /// The TATs are counted from here, in units of two to the power of `shift` nanoseconds, rounded up.
    epoch: u64,
    shift: u32,
}

/// From the upper bits: the TAT, the first mark and the last. Zero is a free place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Debt(u64);

#[cfg(test)]
mod tests;

/// Enough that the groups fill evenly, and two lines of a processor's cache.
const WAYS: usize = 16;
const MARK_BITS: u32 = 12;
const MARK_MAX: u64 = (1 << MARK_BITS) - 1;
/// 18 minutes in nanoseconds; longer debts are counted in longer units.
const UNITS_MAX: u64 = (1 << (64 - 2 * MARK_BITS)) - 1;

impl Debt {
    fn new(units: u64, first: u64, last: u64) -> Self {
        Self(units << (2 * MARK_BITS) | first << MARK_BITS | last)
    }

    fn units(self) -> u64 {
        self.0 >> (2 * MARK_BITS)
    }

    fn first(self) -> u64 {
        self.0 >> MARK_BITS & MARK_MAX
    }

    fn last(self) -> u64 {
        self.0 & MARK_MAX
    }

    /// Both, and whatever has a mark between them.
    fn with(self, other: Self) -> Self {
        Self::new(
            self.units().max(other.units()),
            self.first().min(other.first()),
            self.last().max(other.last()),
        )
    }

    /// How many more marks are taken when both are one.
    fn growth(self, other: Self) -> i64 {
        let width = |debt: Self| i64::try_from(debt.last() - debt.first()).unwrap_or(i64::MAX);
        width(self.with(other)) - width(self) - width(other)
    }
}

impl Debts {
    /// Places for twice as many debts as there are keys, eight bytes each.
    pub(super) fn new(keys: usize) -> Self {
        let groups = (keys.saturating_mul(2) / WAYS).max(1);
        Self { groups, places: Vec::new(), epoch: 0, shift: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<[Debt; WAYS]>()
    }

    /// The debt that is found by a hash: its own, or a later one under its mark.
    pub(super) fn find(&self, hash: u64, now: u64) -> u64 {
        let (group, mark) = self.place(hash);
        let under = |debt: &&Debt| debt.first() <= mark && mark <= debt.last();
        let found = self.places.get(group).into_iter().flatten().filter(under).map(|debt| self.tat(*debt));
        found.max().filter(|tat| *tat > now).unwrap_or(0)
    }

    pub(super) fn put(&mut self, hash: u64, tat: u64, now: u64) {
        if self.places.is_empty() {
            self.places = vec![[Debt::default(); WAYS]; self.groups];
            self.epoch = now;
        }
        self.make_fit(tat, now);
        let (group, mark) = self.place(hash);
        let newcomer = Debt::new(self.units(tat), mark, mark);
        let (epoch, shift) = (self.epoch, self.shift);
        let Some(places) = self.places.get_mut(group) else { return };
        if let Some(own) = places.iter_mut().find(|debt| debt.first() == mark && debt.last() == mark) {
            *own = own.with(newcomer);
            return;
        }
        if let Some(free) = places.iter_mut().find(|debt| tat_of(**debt, epoch, shift) <= now) {
            *free = newcomer;
            return;
        }
        merge(places, newcomer);
    }

    pub(super) fn rescale(&mut self, now: u64, rescaled: impl Fn(u64) -> u64) {
        let latest = self.places.iter().flatten().map(|debt| rescaled(self.tat(*debt))).max();
        if let Some(latest) = latest {
            // Everything is counted anew from now.
            self.recount(now, self.shift_for(latest, now, 0), rescaled);
        }
    }

    /// Sees to it that a TAT can be counted.
    fn make_fit(&mut self, tat: u64, now: u64) {
        if self.units(tat) > UNITS_MAX {
            let latest = self.places.iter().flatten().map(|debt| self.tat(*debt)).max();
            let latest = latest.unwrap_or(0).max(tat);
            self.recount(now, self.shift_for(latest, now, self.shift), |tat| tat);
        }
    }

    /// The least shift, from `least` on, with which a TAT can be counted from `now`.
    fn shift_for(&self, tat: u64, now: u64, least: u32) -> u32 {
        let away = tat.saturating_sub(now);
        (least..64).find(|shift| units_of(away, *shift) <= UNITS_MAX).unwrap_or(63)
    }

    /// Counts every debt that is not over from `now`. O(places), and at most once in the time that the units hold.
    fn recount(&mut self, now: u64, shift: u32, rescaled: impl Fn(u64) -> u64) {
        let (epoch, old) = (self.epoch, self.shift);
        for debt in self.places.iter_mut().flatten() {
            let tat = rescaled(tat_of(*debt, epoch, old));
            *debt = match tat > now {
                true => Debt::new(units_of(tat - now, shift), debt.first(), debt.last()),
                false => Debt::default(),
            };
        }
        (self.epoch, self.shift) = (now, shift);
    }

    fn units(&self, tat: u64) -> u64 {
        units_of(tat.saturating_sub(self.epoch), self.shift)
    }

    fn tat(&self, debt: Debt) -> u64 {
        tat_of(debt, self.epoch, self.shift)
    }

    fn place(&self, hash: u64) -> (usize, u64) {
        let group = usize::try_from(hash % self.groups as u64).unwrap_or(0);
        // Other bits than those that choose the part and, mostly, the group.
        (group, hash >> (64 - MARK_BITS))
    }
}

fn units_of(nanos: u64, shift: u32) -> u64 {
    // Rounded up: never less is owed.
    (nanos >> shift) + u64::from(nanos & ((1 << shift) - 1) > 0)
}

/// Zero for a free place.
fn tat_of(debt: Debt, epoch: u64, shift: u32) -> u64 {
    match debt.units() {
        0 => 0,
        units => epoch.saturating_add(units.saturating_mul(1 << shift)),
    }
}

/// Makes two of the debts one, those by which the fewest marks are taken.
fn merge(places: &mut [Debt; WAYS], newcomer: Debt) {
    places.sort_unstable_by_key(|debt| debt.first());
    // The newcomer with its closest, or two others that are closer to each other.
    let with_newcomer = places.iter().enumerate().map(|(at, debt)| (debt.growth(newcomer), at)).min();
    let with_next = places.windows(2).enumerate().map(|(at, pair)| (pair[0].growth(pair[1]), at)).min();
    match (with_newcomer, with_next) {
        (Some((alone, _)), Some((together, at))) if together < alone => {
            places[at] = places[at].with(places[at + 1]);
            places[at + 1] = newcomer;
        }
        (Some((_, at)), _) => places[at] = places[at].with(newcomer),
        (None, _) => {}
    }
}
