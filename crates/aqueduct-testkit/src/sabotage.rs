//! Builds with a deliberate bug: the checker must catch every one of them.

use aqueduct_core::failpoint::SABOTAGES;

use crate::campaign::Campaign;
use crate::checker::{Fault, Finding};
use crate::error::CrashError;
use crate::point::{Action, Blow, Point, Target};
use crate::report::{Broken, Report, Sabotaged};
use crate::trial::Outcome;
use crate::workload::Kind;

/// Switches every sabotage on, one after the other, and notes whether it is caught.
///
/// A bug that needs an error to show is tried without the bug too: the right build must stand the same error.
///
/// # Errors
///
/// [`CrashError`] when trying itself is impossible.
pub fn run(campaign: &Campaign, report: &mut Report) -> Result<(), CrashError> {
    for sabotage in SABOTAGES {
        let mut caught = None;
        for point in points(sabotage) {
            if let Outcome::Broken { findings, .. } = campaign.play(&point)? {
                caught = proof(sabotage, findings).map(|finding| (point.clone(), finding));
            }
            control(campaign, &point, report)?;
            if caught.is_some() {
                break;
            }
        }
        report.sabotages.push(Sabotaged { name: sabotage, caught });
    }
    Ok(())
}

/// The points at which a bug shows.
fn points(sabotage: &'static str) -> Vec<Point> {
    let (kinds, blows): (&[Kind], Vec<Blow>) = match sabotage {
        // Position and rows are two transactions; the kill comes between them.
        "position-first" => (&[Kind::Sqlite, Kind::Both], kills("ledger-rows-after", &[3, 40])),
        "position-after-unconditional" => {
            (&[Kind::Sqlite, Kind::Jsonl], kills("ledger-position-after", &[3, 40]))
        }
        "dead-letter-error-swallowed" => {
            (&[Kind::Jsonl], vec![Blow { action: Action::Error, ..kill("dead-letter-write", 1) }])
        }
        "fsync-error-ignored" => {
            let call = |name: &str| Target::Call { name: name.to_owned(), file: "results.jsonl".to_owned() };
            let error = |name| Blow { target: call(name), action: Action::Error, at: 4 };
            (&[Kind::Jsonl], vec![error("fdatasync"), error("fsync")])
        }
        // The kill comes between the removal of letters and the commit of what became of them.
        "letter-removed-first" => (&[Kind::Replay], kills("ledger-commit-after", &[3, 21])),
        // The resumed run must remember what the killed one let pass.
        "state-not-committed" => (&[Kind::Dedupe, Kind::Rollback], kills("ledger-commit-after", &[40])),
        // The kill comes when messages are gone and what came of them is not committed.
        "acknowledged-first" => (&[Kind::Queue], kills("ledger-commit-before", &[3, 10])),
        // It comes when that is committed and the messages are still there.
        "committed-taken-again" => (&[Kind::Queue], kills("acknowledge-before", &[3, 10])),
        // The run itself must notice.
        _ => return vec![Point { kind: Kind::Jsonl, sabotage: Some(sabotage), blows: Vec::new() }],
    };
    let point =
        |kind: &Kind, blow: &Blow| Point { kind: *kind, sabotage: Some(sabotage), blows: vec![blow.clone()] };
    kinds.iter().flat_map(|kind| blows.iter().map(|blow| point(kind, blow)).collect::<Vec<_>>()).collect()
}

fn kills(name: &'static str, at: &[u64]) -> Vec<Blow> {
    at.iter().map(|at| kill(name, *at)).collect()
}

fn kill(name: &'static str, at: u64) -> Blow {
    Blow { target: Target::FailPoint(name), action: Action::Kill, at }
}

/// The finding that proves the bug, if one does. A lost item must be caught by the ledger's own balance, not by
/// our looking for it. What a letter should have become must be missed, and what a stage should have remembered
/// must be there, in the results themselves.
fn proof(sabotage: &str, findings: Vec<Finding>) -> Option<Finding> {
    let proves = |finding: &Finding| match sabotage {
        "item-lost" => finding.what.contains("does not balance"),
        "letter-removed-first" => finding.fault == Fault::Lost && finding.place.starts_with("results."),
        "state-not-committed" => finding.fault == Fault::Wrong && finding.place.starts_with("results."),
        _ => true,
    };
    findings.into_iter().find(proves)
}

/// Plays the same errors on the right build, which must hold.
fn control(campaign: &Campaign, point: &Point, report: &mut Report) -> Result<(), CrashError> {
    if point.blows.iter().all(|blow| blow.action == Action::Kill) {
        return Ok(());
    }
    let point = Point { sabotage: None, ..point.clone() };
    if let Outcome::Broken { findings, folder } = campaign.play(&point)? {
        report.broken.push(Broken { point, findings, folder });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use aqueduct_core::failpoint::SABOTAGES;

    use super::points;

    #[test]
    fn every_sabotage_has_points_that_can_be_repeated() {
        for sabotage in SABOTAGES {
            let points = points(sabotage);
            assert!(!points.is_empty(), "{sabotage}");
            for point in points {
                assert_eq!(point.to_string().parse(), Ok(point));
            }
        }
    }
}
