//! Evidence items of about 220 bytes, made from a seed.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One item as a typed stage reads it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Evidence {
    /// `ev-00000000`
    pub id: String,
    /// One of 64 projects.
    pub project: String,
    /// Test suite.
    pub suite: String,
    /// Passed tests.
    pub passed: u32,
    /// Failed tests.
    pub failed: u32,
    /// Share of lines covered, 0 to 1.
    pub coverage: f64,
    /// Run time.
    pub duration_ms: u32,
    /// Hash.
    pub commit: String,
    /// Who.
    pub author: String,
    /// When.
    pub at: String,
}

/// What the score stage makes of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Scored {
    /// The item's own id.
    pub id: String,
    /// Its project.
    pub project: String,
    /// 0 to 80.
    pub score: f64,
}

/// The score of DESIGN: half for passed tests, three tenths for coverage.
#[must_use]
pub fn score(item: &Evidence) -> f64 {
    100.0 * (0.5 * f64::from(item.passed) / f64::from(item.passed + item.failed) + 0.3 * item.coverage)
}

/// Items below this score are left out.
pub const SCORE_MIN: f64 = 20.0;

/// Writes one item and a line end.
///
/// # Panics
///
/// Never: writing into memory does not fail.
pub fn write_item(out: &mut Vec<u8>, number: u64, random: &mut fastrand::Rng) {
    let passed = random.u32(1..400);
    let failed = random.u32(0..40);
    let coverage = f64::from(random.u32(0..10_000)) / 10_000.0;
    writeln!(
        out,
        "{{\"id\":\"ev-{number:08}\",\"project\":\"project-{:02}\",\"suite\":\"integration\",\"passed\":{passed},\
         \"failed\":{failed},\"coverage\":{coverage},\"duration_ms\":{},\"commit\":\"{:016x}\",\"author\":\"dev{:03}@example.org\",\
         \"at\":\"2026-11-{:02}T{:02}:{:02}:00Z\"}}",
        random.u32(0..64),
        random.u32(100..90_000),
        random.u64(..),
        random.u32(0..500),
        random.u32(1..29),
        random.u32(0..24),
        random.u32(0..60),
    )
    .expect("writing into memory does not fail");
}

/// Writes `count` items to a file. The same count gives the same file.
///
/// # Errors
///
/// What the file system says.
pub fn write_file(path: &Path, count: u64) -> io::Result<()> {
    let mut random = fastrand::Rng::with_seed(20_261_120);
    let mut file = BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    let mut line = Vec::new();
    for number in 0..count {
        line.clear();
        write_item(&mut line, number, &mut random);
        file.write_all(&line)?;
    }
    file.into_inner()?.sync_all()
}
