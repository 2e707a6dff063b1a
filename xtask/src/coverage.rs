//! The instrumented build and the gate on covered lines.
//!
//! Checks, tests and doc tests of one run share the folder `target/llvm-cov-target` and its flags, so
//! that a build script (SQLite's, above all) runs once. Counters live in a mapped file: what a child
//! covered counts even if the test killed it with -9.
//!
//! Counted are the lines of `crates/*/src` without unit tests. Not counted: `xtask`, tests, examples
//! and benchmarks.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::lines::{Lines, tests_begin};
use crate::report::run;
use crate::system::{LlvmTools, llvm_tools};
use crate::tools;
use crate::workspace::Workspace;

/// Percent of lines of the rooms on whose promises all others stand.
const CORE_PERCENT_MIN: f64 = 97.0;
/// Percent of lines of everything together.
const OVERALL_PERCENT_MIN: f64 = 90.0;
/// Beginnings of the paths that must reach [`CORE_PERCENT_MIN`], of folders or of files.
const CORE: [&str; 8] = [
    "crates/planwire-event/src/",
    "crates/planwire-store/src/",
    "crates/planwire-bus/src/",
    "crates/planwire-server/src/sse",
    "crates/planwire-server/src/a2a/fold",
    "crates/planwire-server/src/a2a/mapping",
    "crates/planwire-server/src/a2a/stream",
    "crates/planwire-server/src/a2a/wire",
];

/// How a run builds.
pub(crate) enum Build {
    /// With coverage counters.
    Instrumented(LlvmTools),
    /// As a developer does, where the LLVM tools are missing.
    Plain,
}

impl Build {
    /// A cargo command (lints, doc tests) in the folder and with the flags of this run.
    pub(crate) fn cargo(&self, workspace: &Workspace) -> Command {
        let mut command = workspace.cargo();
        if matches!(self, Self::Instrumented(_)) {
            let folder = workspace.target().join("llvm-cov-target");
            command.env("CARGO_TARGET_DIR", folder).env("RUSTFLAGS", flags());
        }
        command
    }

    /// The command that builds and runs the tests.
    ///
    /// # Errors
    ///
    /// If the tool is not installed.
    pub(crate) fn nextest(&self, workspace: &Workspace) -> Result<Command> {
        let mut command = match self {
            Self::Instrumented(llvm) => llvm_cov(workspace, llvm)?,
            Self::Plain => workspace.cargo(),
        };
        command.arg("nextest");
        command.arg(match self {
            Self::Instrumented(_) => "--no-report",
            Self::Plain => "run",
        });
        Ok(command)
    }

    /// Removes the counters of an earlier run, and the programs that would be reported beside the new
    /// ones.
    ///
    /// # Errors
    ///
    /// If the tool fails.
    pub(crate) fn clean(&self, workspace: &Workspace) -> Result<()> {
        let Self::Instrumented(llvm) = self else {
            return Ok(());
        };
        run(llvm_cov(workspace, llvm)?.args(["clean", "--workspace"]))
    }
}

/// Prints the table of covered lines and checks it.
///
/// # Errors
///
/// If a bar is not reached, or the report can not be made.
pub(crate) fn gate(workspace: &Workspace, llvm: &LlvmTools) -> Result<()> {
    let files = files(workspace, &export(workspace, llvm)?);
    let met = print_table(&files);
    print_files_below(&files, if met { Detail::Percent } else { Detail::Lines });
    if !met {
        bail!("fewer lines are covered than required");
    }
    Ok(())
}

/// `cargo xtask coverage CRATE..`: tests these crates alone and shows what never ran; a quick look
/// while tests are written, without a bar.
///
/// # Errors
///
/// If a tool is missing or fails.
pub(crate) fn look(workspace: &Workspace, crates: &[&str]) -> Result<bool> {
    tools::prepare(workspace)?;
    let llvm = llvm_tools(workspace).context("llvm-cov in rustc's LLVM version is missing")?;
    run(llvm_cov(workspace, &llvm)?.args(["clean", "--profraw-only"]))?;
    let mut command = llvm_cov(workspace, &llvm)?;
    command.args(["nextest", "--no-report", "--locked", "--no-fail-fast"]);
    let tested = run(command.args(crates.iter().flat_map(|name| ["--package", name])));
    let mut files = files(workspace, &export(workspace, &llvm)?);
    files.retain(|file| crate_of(&file.path).is_some_and(|name| crates.contains(&name)));
    print_crates(&files);
    print_files_below(&files, Detail::Lines);
    tested.map(|()| true)
}

/// All profiles of this run, as llvm-cov exports them.
fn export(workspace: &Workspace, llvm: &LlvmTools) -> Result<Value> {
    let path = workspace.scratch()?.join("coverage.json");
    let mut command = llvm_cov(workspace, llvm)?;
    command.args(["report", "--json", "--skip-functions", "--output-path"]).arg(&path);
    run(&mut command)?;
    let text = std::fs::read_to_string(&path).context("failed to read the export")?;
    Ok(serde_json::from_str(&text)?)
}

fn llvm_cov(workspace: &Workspace, llvm: &LlvmTools) -> Result<Command> {
    let mut command = workspace.command(tools::find(workspace, "cargo-llvm-cov")?);
    command.arg("llvm-cov").env("RUSTFLAGS", flags());
    command.env("LLVM_COV", &llvm.cov).env("LLVM_PROFDATA", &llvm.profdata);
    command.env("CARGO_LLVM_COV_SETUP", "no");
    // %c: counters are written as they change; %m: one file per program, shared by its processes.
    command.env("LLVM_PROFILE_FILE_NAME", "planwire-%c%m.profraw");
    Ok(command)
}

/// `%c` needs counters that can be moved.
fn flags() -> String {
    let own = "-C llvm-args=-runtime-counter-relocation";
    match std::env::var("RUSTFLAGS") {
        Ok(inherited) if !inherited.is_empty() => format!("{inherited} {own}"),
        _ => own.to_owned(),
    }
}

struct SourceFile {
    /// Below the root folder.
    path: String,
    lines: Lines,
}

impl SourceFile {
    fn percent_min(&self) -> f64 {
        let core = CORE.iter().any(|start| self.path.starts_with(start));
        if core { CORE_PERCENT_MIN } else { OVERALL_PERCENT_MIN }
    }
}

fn files(workspace: &Workspace, export: &Value) -> Vec<SourceFile> {
    let entries = export["data"].as_array().into_iter().flatten();
    let entries = entries.flat_map(|data| data["files"].as_array().into_iter().flatten());
    let mut files: Vec<SourceFile> = entries
        .filter_map(|entry| {
            let full = PathBuf::from(entry["filename"].as_str()?);
            let path = full.strip_prefix(&workspace.root).ok()?.to_str()?.to_owned();
            if !is_counted(Path::new(&path)) {
                return None;
            }
            let end = tests_begin(&std::fs::read_to_string(&full).ok()?);
            Some(SourceFile { path, lines: Lines::from_segments(&entry["segments"], end) })
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn is_counted(path: &Path) -> bool {
    let mut parts = path.components().map(|part| part.as_os_str());
    parts.next().is_some_and(|first| first == "crates")
        && parts.nth(1).is_some_and(|third| third == "src")
        && path.file_name().is_some_and(|name| name != "tests.rs")
}

/// Lines with code, and those of them that ran.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    total: usize,
    covered: usize,
}

impl Tally {
    fn of<'a>(files: impl IntoIterator<Item = &'a SourceFile>) -> Self {
        files.into_iter().fold(Self::default(), |sum, file| {
            let total = file.lines.total as usize;
            Self { total: sum.total + total, covered: sum.covered + total - file.lines.uncovered.len() }
        })
    }

    /// A room without any line reaches nothing: a renamed folder must not pass the gate.
    #[expect(clippy::cast_precision_loss, reason = "line counts are far below 2^52")]
    fn percent(self) -> f64 {
        if self.total == 0 { 0.0 } else { self.covered as f64 * 100.0 / self.total as f64 }
    }
}

/// Prints a row per crate and per bar; true if every bar is reached.
fn print_table(files: &[SourceFile]) -> bool {
    print_crates(files);
    println!("    required");
    let mut met = true;
    for start in CORE {
        let tally = Tally::of(files.iter().filter(|file| file.path.starts_with(start)));
        met &= print_row(start, tally, Some(CORE_PERCENT_MIN));
    }
    met & print_row("all of crates/*/src", Tally::of(files), Some(OVERALL_PERCENT_MIN))
}

fn print_crates(files: &[SourceFile]) {
    println!("\n    lines of                              all   covered  percent  at least");
    let mut crates: Vec<&str> = files.iter().filter_map(|file| crate_of(&file.path)).collect();
    crates.dedup();
    for name in crates {
        let tally = Tally::of(files.iter().filter(|file| crate_of(&file.path) == Some(name)));
        print_row(name, tally, None);
    }
}

fn print_row(name: &str, tally: Tally, percent_min: Option<f64>) -> bool {
    let met = percent_min.is_none_or(|min| tally.percent() >= min);
    let bar = percent_min.map(|min| format!("{min:>8.1}  {}", if met { "ok" } else { "MISSED" }));
    let Tally { total, covered } = tally;
    let percent = tally.percent();
    println!("    {name:<34} {total:>7} {covered:>9} {percent:>8.2}  {}", bar.unwrap_or_default());
    met
}

/// What is printed of a file below its bar.
#[derive(Clone, Copy, PartialEq)]
enum Detail {
    Percent,
    Lines,
}

fn print_files_below(files: &[SourceFile], detail: Detail) {
    println!("    files below the bar of their room:");
    for file in files {
        let percent = Tally::of([file]).percent();
        if file.lines.uncovered.is_empty() || percent >= file.percent_min() {
            continue;
        }
        println!("    {percent:>8.2}  {}", file.path);
        if detail == Detail::Lines {
            println!("              never ran: {}", file.lines.uncovered_ranges());
        }
    }
}

fn crate_of(path: &str) -> Option<&str> {
    path.split('/').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, total: u32, uncovered: u32) -> SourceFile {
        let uncovered = (1..=uncovered).collect();
        SourceFile { path: path.to_owned(), lines: Lines { total, uncovered } }
    }

    fn core(missing_in_bus: u32) -> Vec<SourceFile> {
        vec![
            file("crates/planwire-bus/src/lib.rs", 100, missing_in_bus),
            file("crates/planwire-event/src/lib.rs", 100, 3),
            file("crates/planwire-server/src/sse/frame.rs", 100, 0),
            file("crates/planwire-store/src/lib.rs", 100, 0),
            file("crates/planwire-server/src/a2a/fold.rs", 1, 0),
            file("crates/planwire-server/src/a2a/mapping.rs", 1, 0),
            file("crates/planwire-server/src/a2a/stream.rs", 1, 0),
            file("crates/planwire-server/src/a2a/wire.rs", 1, 0),
        ]
    }

    #[test]
    fn each_core_room_must_reach_its_bar() {
        assert!(print_table(&core(3)));
        assert!(!print_table(&core(4)));
    }

    #[test]
    fn everything_together_must_reach_its_bar() {
        let mut files = core(0);
        files.push(file("crates/planwire/src/main.rs", 96, 47));
        assert!(print_table(&files));
        files.push(file("crates/planwire/src/wiring.rs", 1, 1));
        assert!(!print_table(&files));
    }

    #[test]
    fn room_that_is_not_measured_fails_the_gate() {
        assert!(!print_table(&core(0)[..3]));
    }

    #[test]
    fn only_sources_of_crates_are_counted() {
        assert!(is_counted(Path::new("crates/planwire/src/commands/run.rs")));
        assert!(!is_counted(Path::new("crates/planwire/src/tests.rs")));
        assert!(!is_counted(Path::new("crates/planwire/benches/planwire.rs")));
        assert!(!is_counted(Path::new("xtask/src/main.rs")));
    }
}
