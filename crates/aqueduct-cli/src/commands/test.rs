use aqueduct_orchestrator::cases::{CaseError, CaseResult, Cases, Difference, Surroundings, run_case};
use serde::Serialize;

use super::load;
use super::stand_in::StandIn;
use crate::exit::Exit;
use crate::flags::{Format, Test};
use crate::output;

#[derive(Serialize)]
struct Tested {
    pipeline: String,
    ok: bool,
    passed: usize,
    failed: usize,
    cases: Vec<TestedCase>,
}

#[derive(Serialize)]
struct TestedCase {
    name: String,
    ok: bool,
    elapsed_seconds: f64,
    differences: Vec<TestedDifference>,
}

#[derive(Serialize)]
struct TestedDifference {
    what: String,
    expected: String,
    actual: String,
}

/// Runs the cases of a pipeline.
pub(super) async fn test(flags: Test) -> Exit {
    let spec = match load(&flags.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    let mut cases = match Cases::load(&flags.file.file, &spec) {
        Ok(cases) => cases,
        Err(error) => {
            output::error(&error);
            return Exit::Config;
        }
    };
    if let Some(missing) = flags.cases.iter().find(|name| !cases.cases.iter().any(|case| case.name == **name))
    {
        let known: Vec<&str> = cases.cases.iter().map(|case| case.name.as_str()).collect();
        output::message(&format!("error: there is no case {missing:?}; there are {}", known.join(", ")));
        return Exit::Usage;
    }
    cases.cases.retain(|case| flags.cases.is_empty() || flags.cases.contains(&case.name));
    let stand_in = match StandIn::start(&spec).await {
        Ok(stand_in) => stand_in,
        Err(exit) => return exit,
    };
    let mut tested = Vec::with_capacity(cases.cases.len());
    for case in &cases.cases {
        // Each case changes the places in a description of its own.
        let spec = match load(&flags.file) {
            Ok(spec) => spec,
            Err(exit) => return exit,
        };
        let surroundings = Surroundings { search_path: std::env::var_os("PATH"), stand_in: stand_in.urls() };
        match run_case(case, spec, surroundings).await {
            Ok(result) => tested.push(show(&flags, result)),
            Err(error @ (CaseError::Config(_) | CaseError::Input { .. })) => {
                output::error(&error);
                return Exit::Config;
            }
            Err(error) => {
                output::error(&error);
                return Exit::Failed;
            }
        }
    }
    close(&flags, spec.name, tested)
}

/// Prints a case as soon as it is through, where the format allows.
fn show(flags: &Test, result: CaseResult) -> TestedCase {
    let passed = result.passed();
    if flags.output.output == Format::Text {
        output::data_line(&format!("{} ... {}", result.name, if passed { "ok" } else { "FAILED" }));
        for Difference { what, expected, actual } in &result.differences {
            output::data_line(&format!("  {what}"));
            output::data_line(&format!("    expected: {}", one_line(expected)));
            output::data_line(&format!("    actual:   {}", one_line(actual)));
        }
    }
    let tested = TestedCase {
        name: result.name,
        ok: passed,
        elapsed_seconds: result.elapsed.as_secs_f64(),
        differences: result
            .differences
            .into_iter()
            .map(|Difference { what, expected, actual }| TestedDifference { what, expected, actual })
            .collect(),
    };
    if flags.output.output == Format::Jsonl {
        output::data_line(&output::json(Format::Jsonl, &tested));
    }
    tested
}

fn close(flags: &Test, pipeline: String, cases: Vec<TestedCase>) -> Exit {
    let failed = cases.iter().filter(|case| !case.ok).count();
    let passed = cases.len() - failed;
    match flags.output.output {
        Format::Text => {
            let passed = output::plural(passed as u64, "case");
            output::data_line(&format!("{pipeline}: {passed} ok, {} failed", output::count(failed as u64)));
        }
        Format::Json => {
            let tested = Tested { pipeline, ok: failed == 0, passed, failed, cases };
            output::data_line(&output::json(Format::Json, &tested));
        }
        Format::Jsonl => {}
    }
    if failed == 0 { Exit::Done } else { Exit::Failed }
}

/// Item data never moves the cursor of a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
