//! Named points at which the crash checker kills a run, makes it fail, or sabotages it on purpose.
//!
//! Without the feature `failpoints` every function here is a constant and compiles to nothing. With it, the
//! binary hands over a plan such as `after-file-sync=kill@3;dead-letter-write=error@1`: the point's name, what
//! happens there, and at which passing of it.

/// Every point, in the order in which a commit passes them.
pub const POINTS: &[&str] = &[
    "claim-before",
    "claim-after",
    "file-append-before",
    "file-append-half",
    "file-sync-before",
    "file-sync-after",
    "second-store-after",
    "ledger-begin",
    "ledger-rows-after",
    "dead-letter-write",
    "ledger-position-after",
    "ledger-commit-before",
    "ledger-commit-after",
    "manifest-before",
    "manifest-after",
    "acknowledge-before",
    "drain-after",
];

/// Every deliberate bug that the checker must catch.
pub const SABOTAGES: &[&str] = &[
    "position-first",
    "position-after-unconditional",
    "dead-letter-error-swallowed",
    "fsync-error-ignored",
    "item-lost",
    "letter-removed-first",
    "state-not-committed",
    "acknowledged-first",
    "committed-taken-again",
];

/// The error that a point gives when its plan says `error`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("injected failure at {0}")]
pub struct Injected(pub &'static str);

/// A plan that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fail-point plan {plan:?} is not NAME=kill@N or NAME=error@N with a known name")]
pub struct PlanError {
    /// The part of the plan that is wrong.
    pub plan: String,
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{Injected, POINTS, PlanError, SABOTAGES};

    #[derive(Debug)]
    struct Point {
        name: &'static str,
        kill: bool,
        at: u64,
        /// Counts passings. Relaxed: only the count matters, it orders nothing.
        passed: AtomicU64,
    }

    static PLAN: OnceLock<Vec<Point>> = OnceLock::new();
    static SABOTAGE: OnceLock<&'static str> = OnceLock::new();

    /// Arms the points named in `plan`; an empty plan arms none. Only the first call counts.
    ///
    /// # Errors
    ///
    /// [`PlanError`] names the part that is not understood.
    pub fn arm(plan: &str) -> Result<(), PlanError> {
        let mut points = Vec::new();
        for part in plan.split(';').filter(|part| !part.is_empty()) {
            let wrong = || PlanError { plan: part.to_owned() };
            let (name, action) = part.split_once('=').ok_or_else(wrong)?;
            let (action, at) = action.split_once('@').ok_or_else(wrong)?;
            let name = POINTS.iter().find(|point| **point == name).ok_or_else(wrong)?;
            let kill = match action {
                "kill" => true,
                "error" => false,
                _ => return Err(wrong()),
            };
            let at = at.parse().map_err(|_| wrong())?;
            points.push(Point { name, kill, at, passed: AtomicU64::new(0) });
        }
        PLAN.get_or_init(|| points);
        Ok(())
    }

    /// Switches one deliberate bug on. Only the first call counts.
    ///
    /// # Errors
    ///
    /// [`PlanError`] when the name is not one of [`SABOTAGES`].
    pub fn sabotage_with(name: &str) -> Result<(), PlanError> {
        let known = SABOTAGES.iter().find(|sabotage| **sabotage == name);
        SABOTAGE.get_or_init(|| known.copied().unwrap_or_default());
        known.map(|_| ()).ok_or_else(|| PlanError { plan: name.to_owned() })
    }

    /// Passes a point: dies, fails or goes on, as the plan says.
    ///
    /// # Errors
    ///
    /// [`Injected`] when the plan asks for an error here.
    pub fn hit(name: &'static str) -> Result<(), Injected> {
        debug_assert!(POINTS.contains(&name), "{name} is not listed in POINTS");
        for point in PLAN.get().into_iter().flatten().filter(|point| point.name == name) {
            if point.passed.fetch_add(1, Ordering::Relaxed) + 1 == point.at {
                if point.kill {
                    std::process::abort();
                }
                return Err(Injected(name));
            }
        }
        Ok(())
    }

    /// Tells whether this deliberate bug is on.
    #[must_use]
    pub fn sabotaged(name: &'static str) -> bool {
        debug_assert!(SABOTAGES.contains(&name), "{name} is not listed in SABOTAGES");
        SABOTAGE.get() == Some(&name)
    }
}

#[cfg(feature = "failpoints")]
pub use armed::{arm, hit, sabotage_with, sabotaged};

/// Passes a point. Always succeeds in a build without fail points.
///
/// # Errors
///
/// None in this build; the signature is that of the build with fail points.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn hit(_name: &'static str) -> Result<(), Injected> {
    Ok(())
}

/// Tells whether a deliberate bug is on: never, in a build without fail points.
#[cfg(not(feature = "failpoints"))]
#[inline]
#[must_use]
pub fn sabotaged(_name: &'static str) -> bool {
    false
}
