/// How well one priority is: the endpoints that may be chosen, of those that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Endpoints that are well.
    pub well: usize,
    /// All endpoints.
    pub all: usize,
}

/// What one priority gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// Hundredths of the calls. Those of all priorities are 100 together, or nothing.
    pub hundredths: u32,
    /// Whether all its endpoints are used, because too few are well.
    pub panic: bool,
}

/// Shares the calls among priorities, the first of which comes first.
///
/// A priority can take `overprovisioning` times the share of its endpoints that are well, at most all calls, and the
/// next one gets what is left. Where all together cannot take all calls, each gets its part of what they can, and those
/// in which a smaller share than `panic_below` is well panic. Where nothing is well, the first one panics and gets all.
///
/// Source: Envoy, "Priority levels" and "Panic threshold". Like there, it counts in hundredths.
#[must_use]
pub fn portions(standings: &[Standing], overprovisioning: f64, panic_below: f64) -> Vec<Portion> {
    let health: Vec<u32> = standings.iter().map(|standing| health(*standing, overprovisioning)).collect();
    let total = health.iter().sum::<u32>().min(100);
    let mut portions = vec![Portion::default(); standings.len()];
    if total == 0 {
        let some = standings.iter().position(|standing| standing.all > 0);
        if let Some(first) = some.filter(|_| panic_below > 0.0).and_then(|first| portions.get_mut(first)) {
            *first = Portion { hundredths: 100, panic: true };
        }
        return portions;
    }
    let mut left = 100;
    for ((portion, standing), health) in portions.iter_mut().zip(standings).zip(&health) {
        // To the nearest, as in Envoy's tables.
        portion.hundredths = ((health * 100 + total / 2) / total).min(left);
        left -= portion.hundredths;
        portion.panic = total < 100 && standing.all > 0 && ratio(standing.well, standing.all) < panic_below;
    }
    // What rounding has left goes to the first that takes any.
    if let Some(first) = portions.iter_mut().find(|portion| portion.hundredths > 0) {
        first.hundredths += left;
    }
    portions
}

/// The hundredths of all calls that it can take.
fn health(standing: Standing, overprovisioning: f64) -> u32 {
    if standing.all == 0 {
        return 0;
    }
    let able = overprovisioning * ratio(standing.well, standing.all);
    // Rounded down; the last bit of 1.4 must not decide.
    (1..=100).take_while(|hundredths| f64::from(*hundredths) <= able * 100.0 + 1e-9).last().unwrap_or(0)
}

fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
