//! Programs below a supervisor: what is ended, what they may use and what they may touch.
//!
//! - [`trees`]: nothing that a program started is left, however its call ends; [`tree`]: what it starts
//! - [`escapes`]: programs that run away, and supervisors that are stopped, killed or deaf
//! - [`limits`]: programs that take all they can get
//! - [`sandbox`]: programs that look and write where they should not
//! - [`surroundings`]: what a program finds around it

mod escapes;
mod limits;
mod sandbox;
mod surroundings;
mod tree;
mod trees;

use std::io::Write as _;
use std::path::Path;

use planwire_engine::launcher::{Containment, Launcher, LauncherConfig, Limits, Sandbox};
use planwire_engine::stop::Stopper;
use planwire_engine::tool::{Tool as _, ToolContext, ToolError, ToolOutput};
use planwire_engine::tools::exec::Exec;
use serde_json::{Value, json};

/// Does what the tests want, with the executable that supervises.
pub(crate) fn launcher(config: LauncherConfig) -> Launcher {
    Launcher::new(LauncherConfig { executable: env!("CARGO_BIN_EXE_planwire-tool-init").into(), ..config })
}

/// Every way to end descendants that can be had here; the others are named among the skips.
async fn containments(test: &str) -> Vec<Containment> {
    let mut had = Vec::new();
    for containment in Containment::ALL {
        let config = LauncherConfig { containment: Some(containment), ..LauncherConfig::default() };
        match launcher(config).probe().await {
            Ok(_) => had.push(containment),
            Err(error) => skip(test, &format!("{error}")),
        }
    }
    had
}

/// Says that a test cannot run here; see CONTRIBUTING.md.
fn skip(test: &str, reason: &str) {
    if let Some(path) = std::env::var_os("PLANWIRE_SKIPPED_FILE") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "{test}: {reason}"));
    }
}

/// The count of the tier that runs: `ci` or `soak`.
fn count(ci: usize, soak: usize) -> usize {
    if std::env::var("PLANWIRE_COUNTS").is_ok_and(|tier| tier == "soak") { soak } else { ci }
}

fn contained(containment: Containment) -> Exec {
    let config = LauncherConfig { containment: Some(containment), ..LauncherConfig::default() };
    Exec::launched_by(launcher(config))
}

fn limited(limits: Limits) -> Exec {
    Exec::launched_by(launcher(LauncherConfig { limits, ..LauncherConfig::default() }))
}

fn sandboxed(sandbox: Sandbox) -> Exec {
    Exec::launched_by(launcher(LauncherConfig { sandbox: Some(sandbox), ..LauncherConfig::default() }))
}

async fn call(
    exec: &Exec,
    folder: &Path,
    stopper: &Stopper,
    arguments: Value,
) -> Result<ToolOutput, ToolError> {
    let context = ToolContext::new(folder, stopper.handle());
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    exec.call(arguments, context).await
}

/// Runs a script of the shell in `folder`.
async fn sh(exec: &Exec, folder: &Path, script: &str) -> Result<ToolOutput, ToolError> {
    call(exec, folder, &Stopper::new(), json!({"argv": ["sh", "-c", script]})).await
}

/// What a script that has to succeed writes.
async fn said(exec: &Exec, folder: &Path, script: &str) -> String {
    let output = sh(exec, folder, script).await.unwrap();
    output.value["stdout"].as_str().unwrap().to_owned()
}
