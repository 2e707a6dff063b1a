//! `cargo xtask test`: all checks, in the order in which they fail fastest.
//!
//! Tests are told by their environment what there is: `PLANWIRE_COUNTS` (`ci` or `soak`) chooses how
//! often they repeat; to the file `PLANWIRE_SKIPPED_FILE` a test that can not run here appends a line
//! `test: reason`, to the file `PLANWIRE_FAULTS_FILE` a test of a fault its row (see [`faults`]); `PLANWIRE_CHROMIUM`, `PLANWIRE_PYTHON` and `PLANWIRE_NODE_MODULES` name the browser, a Python with
//! the packages that tests use, and the folder of those of npm.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::coverage::{self, Build};
use crate::faults;
use crate::packages;
use crate::report::{Report, Runner, run as run_command};
use crate::system::{self, Missing};
use crate::tools;
use crate::workspace::Workspace;

/// Part of the names of the tests that need bugs to be planted.
const PLANTED: [&str; 1] = ["simulation::planted::"];

/// What chooses the models of threads, whose locks are those of a scheduler: a build of its own.
pub(crate) const MODELS: [&str; 6] =
    ["--package", "planwire-bus", "--features", "models", "--test", "models"];

/// What is off by default and has tests: servers of MCP.
pub(crate) const OPTIONAL: [&str; 2] = ["--features", "planwire/mcp"];

/// How often tests repeat what they repeat.
#[derive(Clone, Copy)]
pub(crate) enum Tier {
    /// Minutes in all.
    Ci,
    /// The large counts.
    Soak,
}

/// Runs all checks; true if all passed (and, in CI, none was skipped).
///
/// # Errors
///
/// If the checks can not begin.
pub(crate) fn run(workspace: &Workspace, missing: Missing) -> Result<bool> {
    let mut report = Report::default();
    report.step("system", |_| system::prepare(workspace, missing));
    report.step("tools", |_| tools::prepare(workspace));
    let build = match system::llvm_tools(workspace) {
        Some(llvm) => Build::Instrumented(llvm),
        None => Build::Plain,
    };
    report.step("format", |_| run_command(workspace.cargo().args(["fmt", "--all", "--check"])));
    report.step("clean", |_| build.clean(workspace));
    report.step("lints", |_| lints(workspace, &build));
    report.step("dependencies", |_| dependencies(workspace));
    report.step("tests", |report| tests(workspace, &build, report));
    report.step("doc tests", |report| doc_tests(workspace, &build, report));
    match &build {
        Build::Instrumented(llvm) => {
            report.step("coverage", |_| coverage::gate(workspace, llvm));
        }
        Build::Plain => report.skip("coverage", "llvm-cov in rustc's LLVM version is missing"),
    }
    // After the gate: what is planted has no lines that count.
    report.step("planted bugs", |report| planted(workspace, &build, report));
    report.step("models", |report| models(workspace, &build, report));
    faults::show(workspace)?;
    Ok(report.close(workspace.ci))
}

fn lints(workspace: &Workspace, build: &Build) -> Result<()> {
    let mut command = build.cargo(workspace);
    command.args(["clippy", "--workspace", "--all-targets", "--locked", "--quiet"]).args(OPTIONAL);
    run_command(command.args(["--", "--deny", "warnings"]))?;
    let mut command = build.cargo(workspace);
    command.args(["clippy", "--locked", "--quiet", "--lib"]).args(MODELS);
    run_command(command.args(["--", "--deny", "warnings"]))
}

/// Advisories are not checked here: their database is not a package of any registry.
fn dependencies(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.command(tools::find(workspace, "cargo-deny")?);
    command.args(["--all-features", "--locked", "check", "--hide-inclusion-graph"]);
    run_command(command.args(["bans", "licenses", "sources"]))
}

fn tests(workspace: &Workspace, build: &Build, report: &mut Report) -> Result<()> {
    let mut command = build.nextest(workspace)?;
    command.args(["--workspace", "--locked", "--no-fail-fast"]).args(OPTIONAL);
    let skips = tell_tests(workspace, &mut command, Tier::Ci)?;
    faults::collect(workspace, &mut command)?;
    let outcome = report.tests(command, Runner::Nextest);
    take_skips(&skips, report);
    outcome
}

/// The negative controls of the simulation: each planted bug must be found.
fn planted(workspace: &Workspace, build: &Build, report: &mut Report) -> Result<()> {
    let mut command = build.cargo(workspace);
    command.args(["nextest", "run", "--locked", "--package", "planwire-bus", "--features", "planted"]);
    command.args(PLANTED);
    apart(workspace, command, report)
}

/// The models of threads, and the bugs that they must find.
fn models(workspace: &Workspace, build: &Build, report: &mut Report) -> Result<()> {
    let mut command = build.cargo(workspace);
    command.args(["nextest", "run", "--locked"]).args(MODELS);
    apart(workspace, command, report)
}

/// Tests with features that no other test has.
fn apart(workspace: &Workspace, mut command: Command, report: &mut Report) -> Result<()> {
    let skips = tell_tests(workspace, &mut command, Tier::Ci)?;
    let skipped = report.counts.skipped;
    let outcome = report.tests(command, Runner::Nextest);
    take_skips(&skips, report);
    // The runner's skips are the tests that ran in the step before.
    report.counts.skipped = skipped;
    outcome
}

fn doc_tests(workspace: &Workspace, build: &Build, report: &mut Report) -> Result<()> {
    let mut command = build.cargo(workspace);
    command.args(["test", "--doc", "--workspace", "--locked", "--quiet", "--no-fail-fast"]);
    report.tests(command, Runner::DocTests)
}

/// Sets what tests read from their environment; returns the file of skips.
///
/// # Errors
///
/// If an earlier file of skips can not be removed.
pub(crate) fn tell_tests(workspace: &Workspace, command: &mut Command, tier: Tier) -> Result<PathBuf> {
    let skips = workspace.scratch()?.join("skipped.txt");
    std::fs::write(&skips, "").context("failed to empty the file of skips")?;
    command.env("PLANWIRE_SKIPPED_FILE", &skips);
    command.env(
        "PLANWIRE_COUNTS",
        match tier {
            Tier::Ci => "ci",
            Tier::Soak => "soak",
        },
    );
    let found = [
        ("PLANWIRE_CHROMIUM", workspace.find("chromium")),
        ("PLANWIRE_PYTHON", packages::python(workspace)),
        ("PLANWIRE_NODE_MODULES", packages::node(workspace)),
    ];
    command.envs(found.into_iter().filter_map(|(name, path)| Some((name, path?))));
    Ok(skips)
}

/// Moves the lines that tests left in the file of skips to the report.
pub(crate) fn take_skips(skips: &Path, report: &mut Report) {
    let text = std::fs::read_to_string(skips).unwrap_or_default();
    let lines = text.lines().map(|line| line.strip_prefix("SKIPPED: ").unwrap_or(line));
    report.skipped.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
}
