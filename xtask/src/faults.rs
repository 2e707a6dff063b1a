//! `cargo xtask faults`: brings each fault about and prints one row for it.
//!
//! The tests of faults append their rows, as JSON Lines, to the file `PLANWIRE_FAULTS_FILE`; `test` and `soak` run the
//! same tests and print the same table. A fault that cannot be brought about here is a line among the skips.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::coverage::Build;
use crate::report::{Report, Runner};
use crate::test::{Tier, take_skips, tell_tests};
use crate::tools;
use crate::workspace::Workspace;

/// The modules of tests that bring faults about.
const MODULES: &str = "test(/^(crash|faults|load|fatal)::/)";
/// The counts of a row by name, with their headings. A row that has none counts nothing of the kind.
const COUNTS: [(&str, &str); 9] = [
    ("acked", "acked"),
    ("delivered", "delivered"),
    ("lost", "lost"),
    ("phantom", "phantom"),
    ("duplicate", "dup"),
    ("gap", "gap"),
    ("reorder", "reorder"),
    ("altered", "altered"),
    ("leak", "leak"),
];

/// Brings about the faults whose tests have one of `filters` in their names, or all; true if nothing was broken.
///
/// # Errors
///
/// If the run can not begin.
pub(crate) fn run(workspace: &Workspace, filters: &[&str]) -> Result<bool> {
    let mut report = Report::default();
    report.step("tools", |_| tools::prepare(workspace));
    report.step("faults", |report| {
        let mut command = Build::Plain.nextest(workspace)?;
        command.args(["--package", "planwire", "--locked", "--no-fail-fast"]);
        command.args(["--filterset", &selection(filters)]);
        let skips = tell_tests(workspace, &mut command, Tier::Ci)?;
        collect(workspace, &mut command)?;
        let outcome = report.tests(command, Runner::Nextest);
        take_skips(&skips, report);
        // Here the runner's skips are the tests that bring no fault about.
        report.counts.skipped = 0;
        outcome
    });
    show(workspace)?;
    Ok(report.close(workspace.ci))
}

fn selection(filters: &[&str]) -> String {
    let named: Vec<_> = filters.iter().map(|filter| format!("test({filter})")).collect();
    if named.is_empty() { MODULES.to_owned() } else { format!("{MODULES} & ({})", named.join(" | ")) }
}

/// Tells tests where their rows go.
///
/// # Errors
///
/// If the rows of a former run can not be removed.
pub(crate) fn collect(workspace: &Workspace, command: &mut Command) -> Result<()> {
    let rows = rows_file(workspace)?;
    std::fs::write(&rows, "").context("failed to empty the file of rows")?;
    command.env("PLANWIRE_FAULTS_FILE", rows);
    Ok(())
}

/// Prints the rows that tests left, if any.
///
/// # Errors
///
/// If a row is none.
pub(crate) fn show(workspace: &Workspace) -> Result<()> {
    let rows = read(&rows_file(workspace)?)?;
    if !rows.is_empty() {
        println!("\n{}", table(&rows));
    }
    Ok(())
}

fn rows_file(workspace: &Workspace) -> Result<PathBuf> {
    Ok(workspace.scratch()?.join("faults.jsonl"))
}

fn read(path: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).context("failed to read a row of a fault")).collect()
}

/// Aligned columns: texts to the left, numbers to the right, figures at the end.
fn table(rows: &[Value]) -> String {
    let mut cells: Vec<Vec<String>> = rows.iter().map(cells_of).collect();
    cells.sort();
    let heading = ["fault", "done"].into_iter().chain(COUNTS.map(|(_, heading)| heading)).chain(["figures"]);
    cells.insert(0, heading.map(str::to_owned).collect());
    let columns = COUNTS.len() + 3;
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 | 1 => format!("{cell:<width$}"),
            column if column + 1 == columns => cell.clone(),
            _ => format!("{cell:>width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn cells_of(row: &Value) -> Vec<String> {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let counts = COUNTS.map(|(member, _)| match &row["counts"][member] {
        Value::Null => String::new(),
        count => count.to_string(),
    });
    [text("fault"), text("done")].into_iter().chain(counts).chain([text("figures")]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_aligned_under_their_headings() {
        let row = |fault: &str, counts: Value, figures: &str| json!({"fault": fault, "done": "3 cuts", "counts": counts, "figures": figures});
        let counts = |acked: u64| {
            json!({
                "acked": acked, "delivered": 4, "lost": 0, "phantom": 0, "duplicate": 0, "gap": 0, "reorder": 0,
                "altered": 0, "leak": 0,
            })
        };
        let expected = "\
fault      done    acked  delivered  lost  phantom  dup  gap  reorder  altered  leak  figures
disk full  3 cuts  12345          4     0        0    0    0        0        0     0  back in 3 ms
power      3 cuts      7          4     0        0    0    0        0        0     0
tools      3 cuts                                                                     left 0";
        let rows = [
            row("power", counts(7), ""),
            row("tools", Value::Null, "left 0"),
            row("disk full", counts(12_345), "back in 3 ms"),
        ];
        assert_eq!(table(&rows), expected);
    }

    #[test]
    fn filters_choose_among_the_tests_of_faults() {
        assert_eq!(selection(&[]), MODULES);
        assert_eq!(selection(&["power", "full"]), format!("{MODULES} & (test(power) | test(full))"));
    }
}
