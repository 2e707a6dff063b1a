//! `cargo xtask bench`: builds and runs the benchmark program of `crates/planwire`.

use anyhow::Result;

use crate::report::run as run_command;
use crate::workspace::Workspace;

/// Runs the benchmarks with the given arguments.
///
/// # Errors
///
/// If the program fails.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<bool> {
    let mut command = workspace.cargo();
    command.args(["bench", "--locked", "--package", "planwire", "--bench", "planwire", "--"]);
    run_command(command.args(arguments))?;
    Ok(true)
}
