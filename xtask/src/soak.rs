//! `cargo xtask soak`: the large counts, in release mode.
//!
//! Runs the tests whose names contain `soak_`, or those whose names contain one of the given words,
//! one after the other, with `PLANWIRE_COUNTS=soak`; each prints its counts. Words with `model` in them choose among the
//! models of threads, which are a build of their own.

use anyhow::Result;

use crate::coverage::Build;
use crate::faults;
use crate::report::{Report, Runner};
use crate::test::{MODELS, Tier, take_skips, tell_tests};
use crate::tools;
use crate::workspace::Workspace;

/// Runs the large counts; true if all held.
///
/// # Errors
///
/// If the run can not begin.
pub(crate) fn run(workspace: &Workspace, filters: &[&str]) -> Result<bool> {
    let mut report = Report::default();
    report.step("tools", |_| tools::prepare(workspace));
    let (models, others): (Vec<&str>, Vec<&str>) =
        filters.iter().copied().partition(|filter| filter.contains("model"));
    // First, since the table of faults is of the last tests that ran.
    if filters.is_empty() || !models.is_empty() {
        report.step("models", |report| soak(workspace, &MODELS, &models, report));
    }
    if filters.is_empty() || !others.is_empty() {
        report.step("soak", |report| soak(workspace, &["--workspace"], &others, report));
    }
    faults::show(workspace)?;
    Ok(report.close(workspace.ci))
}

/// The large counts of some tests.
fn soak(workspace: &Workspace, which: &[&str], filters: &[&str], report: &mut Report) -> Result<()> {
    let mut command = Build::Plain.nextest(workspace)?;
    command.args(which).args(["--locked", "--release", "--profile", "soak", "--no-capture"]);
    command.args(if filters.is_empty() { &["soak_"] } else { filters });
    // Link-time optimisation of every test program takes longer than it saves.
    command.env("CARGO_PROFILE_RELEASE_LTO", "off");
    let skips = tell_tests(workspace, &mut command, Tier::Soak)?;
    faults::collect(workspace, &mut command)?;
    let outcome = report.tests(command, Runner::Nextest);
    take_skips(&skips, report);
    // Here the runner's skips are the tests that the filter leaves out.
    report.counts.skipped = 0;
    outcome
}
