//! Having histories checked, and keeping those that are bad.

use anyhow::Context as _;
use dragon_checker::history::{History, Moment};
use dragon_checker::{Expectations, Report, check};
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

/// How long, in microseconds, whoever waits may take to be told once nothing is done to the system any more: far longer
/// than a busy machine takes, and shorter than the waits themselves.
pub const GRACE_US: Moment = 5_000_000;

/// Checks a history. It is written to a file of this name first, so that it is there however the check ends, and
/// is kept where it is bad.
///
/// # Errors
/// When it can't be written.
pub(super) fn judge(
    history: &History,
    folder: &Path,
    name: &str,
) -> anyhow::Result<(Report, Option<PathBuf>)> {
    let path = folder.join(format!("{name}.history"));
    let file = File::create(&path).with_context(|| format!("{} can't be written", path.display()))?;
    history.write(BufWriter::new(file))?;
    let report = check(history, &Expectations { grace_us: GRACE_US });
    if report.is_clean() {
        std::fs::remove_file(&path)?;
        return Ok((report, None));
    }
    Ok((report, Some(path)))
}

/// Checks a history that was kept.
///
/// # Errors
/// When it can't be read.
pub fn read_and_check(path: &Path) -> anyhow::Result<Report> {
    let file = File::open(path).with_context(|| format!("{} can't be read", path.display()))?;
    let history = History::read(BufReader::new(file))?;
    Ok(check(&history, &Expectations { grace_us: GRACE_US }))
}
