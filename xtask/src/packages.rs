//! Packages of PyPI and npm below `target/tools`: the real clients that tests run, and what drives the browser.
//!
//! Each set is installed once for each list of versions. Where that is not possible the tests that need it say so.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::report::run;
use crate::workspace::Workspace;

/// Makes Python environments; the standard module for it is a Debian package of its own.
const VIRTUALENV: &str = "virtualenv==20.35.3";

/// Real A2A agents and clients, graphs of agents and MCP servers that people run, and a checker of OpenAPI documents.
const PYTHON: [&str; 6] = [
    "a2a-sdk[http-server,sqlite]==1.3.0",
    "langgraph==1.2.22",
    "mcp-server-git==2026.10.19",
    "mcp-server-time==2026.10.19",
    "schemathesis==4.32.5",
    "uvicorn==0.54.0",
];

/// What the benchmark measures beside, besides [`PYTHON`]: a stream of Redis as server-sent events, and checkpoints of
/// LangGraph in SQLite. Installed as they are: what they need is among [`PYTHON`], but for the first, which Redis needs
/// before Python 3.11.3.
const RIVALS: [&str; 4] =
    ["async-timeout==5.0.1", "langgraph-checkpoint-sqlite==3.1.2", "redis==8.1.0", "sse-starlette==3.7.0"];

/// The driver of a browser (it brings none of its own), the other official A2A client, MCP servers, and a compiler.
const NODE: [&str; 6] = [
    "@a2a-js/sdk@1.3.0",
    "@modelcontextprotocol/server-everything@2026.8.31",
    "@modelcontextprotocol/server-filesystem@2026.8.31",
    "@types/node@20.19.43",
    "playwright-core@1.64.1",
    "typescript@7.0.2",
];

/// The interpreter of an environment that has [`PYTHON`]; `None` where it can not be made.
pub(crate) fn python(workspace: &Workspace) -> Option<PathBuf> {
    let folder = workspace.tools().join("python");
    installed(&folder, &PYTHON, || {
        let mut pip = workspace.command(workspace.find("pip3").context("pip3 is missing")?);
        pip.env("PIP_ROOT_USER_ACTION", "ignore").args(["install", "--quiet", "--upgrade", "--target"]);
        run(pip.arg(workspace.wheels().join("virtualenv")).arg(VIRTUALENV))?;
        let mut virtualenv = workspace.command("python3");
        virtualenv.env("PYTHONPATH", workspace.wheels().join("virtualenv"));
        run(virtualenv.args(["-m", "virtualenv", "--quiet", "--clear"]).arg(&folder))?;
        let mut pip = workspace.command(folder.join("bin/pip"));
        run(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PYTHON))
    })?;
    Some(folder.join("bin/python"))
}

/// A folder of modules with [`RIVALS`] for the interpreter of [`python`]; `None` where it can not be made.
pub(crate) fn rivals(workspace: &Workspace) -> Option<PathBuf> {
    let python = python(workspace)?;
    let folder = workspace.tools().join("rivals");
    installed(&folder, &RIVALS, || {
        let mut pip = workspace.command(&python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--upgrade",
        ]);
        run(pip.arg("--target").arg(&folder).args(RIVALS))
    })?;
    Some(folder)
}

/// The folder `node_modules` with [`NODE`]; `None` where it can not be made.
pub(crate) fn node(workspace: &Workspace) -> Option<PathBuf> {
    let folder = workspace.tools().join("node");
    installed(&folder, &NODE, || {
        let mut npm = workspace.command(workspace.find("npm").context("npm is missing")?);
        npm.args(["install", "--silent", "--no-save", "--no-audit", "--no-fund", "--prefix"]);
        run(npm.arg(&folder).args(NODE))
    })?;
    Some(folder.join("node_modules"))
}

/// Installs into `folder` unless it holds exactly `packages` already.
fn installed(folder: &Path, packages: &[&str], install: impl FnOnce() -> Result<()>) -> Option<()> {
    let (list, wanted) = (folder.join("installed.txt"), packages.join("\n"));
    if std::fs::read_to_string(&list).is_ok_and(|found| found == wanted) {
        return Some(());
    }
    println!("    installing {}", packages.join(", "));
    let outcome = std::fs::create_dir_all(folder)
        .map_err(anyhow::Error::from)
        .and_then(|()| install())
        .and_then(|()| std::fs::write(&list, wanted).context("failed to note what is installed"));
    if let Err(error) = &outcome {
        println!("    not installed: {error:#}");
    }
    outcome.ok()
}
