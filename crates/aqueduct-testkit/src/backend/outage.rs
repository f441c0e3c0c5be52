use std::time::Duration;

/// A time in which a host is dead. Calls and times are counted from when the script came into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Which host, counted from 0.
    pub host: usize,
    /// When it dies.
    pub from: Begins,
    /// When it is back.
    pub until: Ends,
    /// What a client sees of it.
    pub dead: Dead,
}

/// When a host dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// At this time.
    At(Duration),
    /// At this call of the host, counted from 1: it is the first that is not served.
    AtCall(u64),
}

/// When a host is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// So long after it died.
    After(Duration),
    /// At this call of the host: it is the first that is served again. A connection that is reset counts as a call here.
    AtCall(u64),
    /// Not while this script is in force.
    Never,
}

/// What a client sees of a dead host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dead {
    /// Open connections are reset and new ones refused, as by a machine without the program.
    Refuses,
    /// Open connections are reset, and new ones are accepted and reset, as by a program that crashes.
    Resets,
    /// Every call is answered with 503 at once, as by a proxy before a program that is gone.
    Unavailable,
}

/// The outages of one host while a script is in force.
#[derive(Debug)]
pub(super) struct Outages(Vec<(Outage, Phase)>);

#[derive(Clone, Copy, Debug)]
enum Phase {
    Ahead,
    /// Since this time.
    Down(Duration),
    Over,
}

impl Dead {
    /// Tells whether connections go with it.
    pub(super) fn cuts(self) -> bool {
        matches!(self, Self::Refuses | Self::Resets)
    }
}

impl Outages {
    pub(super) fn of(host: usize, all: &[Outage]) -> Self {
        Self(all.iter().filter(|outage| outage.host == host).map(|outage| (*outage, Phase::Ahead)).collect())
    }

    /// Moves on to this call, the last one that came, at this time, and tells how the host is dead then.
    pub(super) fn step(&mut self, call: u64, now: Duration) -> Option<Dead> {
        let mut dead = None;
        for (outage, phase) in &mut self.0 {
            // Ahead => Down, as soon as the time or the call is there.
            if let Phase::Ahead = *phase {
                match outage.from {
                    Begins::At(time) if now >= time => *phase = Phase::Down(time),
                    Begins::AtCall(first) if call >= first => *phase = Phase::Down(now),
                    Begins::At(_) | Begins::AtCall(_) => {}
                }
            }
            // Down => Over; right away when nobody looked while it was down.
            if let Phase::Down(since) = *phase {
                let over = match outage.until {
                    Ends::After(time) => now >= since.saturating_add(time),
                    Ends::AtCall(first) => call >= first,
                    Ends::Never => false,
                };
                if over {
                    *phase = Phase::Over;
                } else {
                    dead = dead.or(Some(outage.dead));
                }
            }
        }
        dead
    }

    /// The next time at which something changes by itself.
    pub(super) fn next(&self) -> Option<Duration> {
        let times = self.0.iter().filter_map(|(outage, phase)| match (phase, outage.from, outage.until) {
            (Phase::Ahead, Begins::At(time), _) => Some(time),
            (Phase::Down(since), _, Ends::After(time)) => Some(since.saturating_add(time)),
            _ => None,
        });
        times.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outages(from: Begins, until: Ends) -> Outages {
        Outages::of(0, &[Outage { host: 0, from, until, dead: Dead::Resets }])
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_outage_by_calls_holds_from_the_first_to_the_one_before_the_last() {
        let mut outages = outages(Begins::AtCall(3), Ends::AtCall(5));
        let dead: Vec<bool> = (1..=6).map(|call| outages.step(call, Duration::ZERO).is_some()).collect();
        assert_eq!(dead, [false, false, true, true, false, false]);
        assert_eq!(outages.next(), None);
    }

    #[test]
    fn an_outage_by_time_holds_from_its_begin_to_its_end_alone() {
        let mut outages = outages(Begins::At(ms(10)), Ends::After(ms(5)));
        assert_eq!((outages.step(0, ms(9)), outages.next()), (None, Some(ms(10))));
        assert_eq!((outages.step(0, ms(10)), outages.next()), (Some(Dead::Resets), Some(ms(15))));
        assert_eq!(outages.step(9, ms(14)), Some(Dead::Resets));
        assert_eq!((outages.step(9, ms(15)), outages.next()), (None, None));
    }

    #[test]
    fn an_outage_that_begins_at_a_call_lasts_its_time_from_then_on() {
        let mut outages = outages(Begins::AtCall(2), Ends::After(ms(5)));
        assert_eq!(outages.step(1, ms(100)), None);
        assert_eq!((outages.step(2, ms(100)), outages.next()), (Some(Dead::Resets), Some(ms(105))));
        assert_eq!(outages.step(2, ms(105)), None);
    }

    #[test]
    fn an_outage_that_nobody_saw_is_over() {
        assert_eq!(outages(Begins::At(ms(10)), Ends::After(ms(5))).step(0, ms(20)), None);
    }
}
