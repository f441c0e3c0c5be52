//! Runs the arms of a comparison in turn, each as a process of its own, and prints medians and ratios.

use std::process::Command;
use std::time::{Duration, Instant};

/// One way to do the work: the name that is given to the child, and what is printed.
#[derive(Clone, Copy, Debug)]
pub struct Arm {
    /// The first argument of the child.
    pub name: &'static str,
    /// How the row is called.
    pub label: &'static str,
}

/// What one process took.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Wall-clock time of the whole process.
    pub wall: Duration,
    /// Its largest resident memory.
    pub peak_mib: f64,
}

/// The environment variable that turns this program into one arm.
pub const ARM: &str = "AQUEDUCT_BENCH_ARM";

/// Runs one arm once.
///
/// # Panics
///
/// When the child fails: a bench without a result must not print one.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a bench measures the machine's time")]
pub fn run(arm: &str, arguments: &[&str]) -> Run {
    let program = std::env::current_exe().expect("this program has a path");
    let begun = Instant::now();
    let output =
        Command::new(program).env(ARM, arm).args(arguments).output().expect("this program starts again");
    let wall = begun.elapsed();
    assert!(output.status.success(), "{arm} failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let peak =
        text.lines().find_map(|line| line.strip_prefix("peak_kib ")).and_then(|kib| kib.parse::<f64>().ok());
    Run { wall, peak_mib: peak.unwrap_or(f64::NAN) / 1024.0 }
}

/// Prints the largest resident memory of this process, for [`run`] to read. Linux only; elsewhere nothing.
#[expect(clippy::print_stdout, reason = "the parent process reads it")]
pub fn print_peak() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
        println!("peak_kib {}", peak.trim().trim_end_matches(" kB"));
    }
}

/// Runs all arms in turn, `rounds` times after one round that does not count.
#[must_use]
pub fn alternate(
    arms: &[Arm],
    rounds: usize,
    arguments: impl Fn(&Arm) -> Vec<String>,
    clean: impl Fn(),
) -> Vec<Vec<Run>> {
    let mut runs = vec![Vec::new(); arms.len()];
    for round in 0..=rounds {
        for (arm, kept) in arms.iter().zip(&mut runs) {
            clean();
            let arguments = arguments(arm);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let run = run(arm.name, &arguments);
            if round > 0 {
                kept.push(run);
            }
        }
    }
    clean();
    runs
}

/// Prints a row an arm: median seconds, and the median of the ratios to the first arm, round by round.
#[expect(clippy::print_stdout, reason = "a bench prints its result")]
pub fn print(title: &str, arms: &[Arm], runs: &[Vec<Run>]) {
    println!("{title}");
    println!("  {:<44} {:>8} {:>18} {:>9}", "", "median s", "ratio (min..max)", "peak MiB");
    for (arm, own) in arms.iter().zip(runs) {
        let ratios: Vec<f64> = own
            .iter()
            .zip(&runs[0])
            .map(|(run, base)| run.wall.as_secs_f64() / base.wall.as_secs_f64())
            .collect();
        let walls: Vec<f64> = own.iter().map(|run| run.wall.as_secs_f64()).collect();
        let peak = own.iter().map(|run| run.peak_mib).fold(0.0, f64::max);
        let (low, middle, high) = spread(&ratios);
        println!(
            "  {:<44} {:>8.3} {middle:>6.2} ({low:.2}..{high:.2}) {peak:>9.0}",
            arm.label,
            spread(&walls).1
        );
    }
}

fn spread(figures: &[f64]) -> (f64, f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}
