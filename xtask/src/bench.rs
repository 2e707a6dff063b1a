//! `cargo xtask bench`: builds and runs the benchmark program of `crates/planwire`.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::report::run as run_command;
use crate::system::{self, Missing};
use crate::workspace::Workspace;

/// Options of the program that are followed by a path.
const PATH_OPTIONS: [&str; 2] = ["--json", "--folder"];

/// First installs what is missing; the program itself does not know this word.
const INSTALL: &str = "--install";

/// Runs the benchmarks with the given arguments.
///
/// # Errors
///
/// If the program fails, or an installation that was asked for.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<bool> {
    let (install, arguments) = without_install(arguments);
    if arguments.contains(&"--against") {
        system::prepare_rivals(workspace, install)?;
    } else if install == Missing::Install {
        bail!("{INSTALL} installs the rivals of --against, which is missing here");
    }
    let here = std::env::current_dir().context("failed to find the current folder")?;
    let mut command = workspace.cargo();
    if let Some(python) = packages::python(workspace) {
        command.env("PLANWIRE_PYTHON", python);
    }
    if let Some(modules) = packages::rivals(workspace) {
        command.env("PYTHONPATH", modules);
    }
    command.args(["bench", "--locked", "--package", "planwire", "--bench", "planwire", "--"]);
    run_command(command.args(from_here(&here, &arguments)))?;
    Ok(true)
}

/// Whether to install, and what the program is told.
fn without_install<'a>(arguments: &[&'a str]) -> (Missing, Vec<&'a str>) {
    let rest: Vec<&str> = arguments.iter().copied().filter(|word| *word != INSTALL).collect();
    let install = if rest.len() < arguments.len() { Missing::Install } else { Missing::List };
    (install, rest)
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
    fn installing_is_asked_of_this_command_and_not_of_the_program() {
        assert_eq!(
            without_install(&["--against", "--install", "bulk"]),
            (Missing::Install, vec!["--against", "bulk"])
        );
        assert_eq!(without_install(&["--quick"]), (Missing::List, vec!["--quick"]));
    }

    #[test]
    fn paths_are_seen_from_where_the_command_was_typed() {
        let given = ["--quick", "--json", "out.json", "bulk", "--folder", "/elsewhere"];
        let expected = ["--quick", "--json", "/here/out.json", "bulk", "--folder", "/elsewhere"];
        assert_eq!(from_here(Path::new("/here"), &given), expected);
    }
}
