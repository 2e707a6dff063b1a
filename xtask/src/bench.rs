//! `cargo xtask bench`: builds and runs the benchmark program of `crates/planwire`.

use std::path::Path;

use anyhow::{Context, Result};

use crate::packages;
use crate::report::run as run_command;
use crate::workspace::Workspace;

/// Options of the program that are followed by a path.
const PATH_OPTIONS: [&str; 2] = ["--json", "--folder"];

/// Runs the benchmarks with the given arguments.
///
/// # Errors
///
/// If the program fails.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<bool> {
    let here = std::env::current_dir().context("failed to find the current folder")?;
    let mut command = workspace.cargo();
    if let Some(python) = packages::python(workspace) {
        command.env("PLANWIRE_PYTHON", python);
    }
    command.args(["bench", "--locked", "--package", "planwire", "--bench", "planwire", "--"]);
    run_command(command.args(from_here(&here, arguments)))?;
    Ok(true)
}

/// Paths as they are meant: cargo starts the program in the folder of its package.
fn from_here(here: &Path, arguments: &[&str]) -> Vec<std::ffi::OsString> {
    let mut is_path = false;
    let place = |argument: &&str| {
        let is_this = std::mem::replace(&mut is_path, PATH_OPTIONS.contains(argument));
        if is_this { here.join(argument).into() } else { (*argument).into() }
    };
    arguments.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_where_the_command_was_typed() {
        let given = ["--quick", "--json", "out.json", "bulk", "--folder", "/elsewhere"];
        let expected = ["--quick", "--json", "/here/out.json", "bulk", "--folder", "/elsewhere"];
        assert_eq!(from_here(Path::new("/here"), &given), expected);
    }
}
