//! A running program and all that it starts, which is ended with it.
//!
//! With a [`Launcher`] it runs below a supervisor, in limits and a sandbox, and all that descends from it is ended, also
//! when this process is killed; see [`crate::tool_init`]. Without one it leads a process group, which is what is ended:
//! what leaves the group, or outlives this process, goes on.
//!
//! **Invariant:** a [`Program`] that is dropped leaves nothing behind that is not being ended.

mod group;
mod supervised;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::launcher::Launcher;
use crate::tool::ToolError;
use crate::tool_runner::NOT_ENDED;
use group::Group;
use supervised::Supervised;

/// Variables that a program takes over from the environment of this process. Below a supervisor `TMPDIR` is the
/// program's own temporary folder instead.
pub const ENVIRONMENT: [&str; 4] = ["PATH", "LANG", "HOME", TEMPORARY];

/// The variable that names the folder for temporary files.
pub(crate) const TEMPORARY: &str = "TMPDIR";

/// What to start.
#[derive(Debug)]
pub struct Order {
    /// The program, found in `PATH` or absolute, and its arguments. Without any nothing is started.
    pub argv: Vec<String>,
    /// Variables beside [`ENVIRONMENT`], or instead of those.
    pub env: BTreeMap<OsString, OsString>,
    /// Where it runs: an open folder.
    pub folder: OwnedFd,
    /// The working folder of its plan, in which a sandbox lets it write.
    pub base: PathBuf,
    /// Time between the polite request to end and the end.
    pub grace: Duration,
}

/// The program's ends of its pipes.
#[derive(Debug)]
pub struct Ends {
    /// What it reads.
    pub stdin: OwnedFd,
    /// Where it writes.
    pub stdout: OwnedFd,
    /// Where it says what is wrong.
    pub stderr: OwnedFd,
}

/// What became of a program.
#[derive(Debug)]
pub enum Ended {
    /// It ran and has ended.
    Exited,
    /// It was not started, or is being ended for what it did.
    Failed(ToolError),
}

/// Something that a program started may go on; the text says what becomes of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotEnded(pub(crate) String);

impl From<NotEnded> for ToolError {
    fn from(NotEnded(why): NotEnded) -> Self {
        Self::new(NOT_ENDED, why)
    }
}

/// A program and all that it starts. Dropping it ends all of them at once.
#[derive(Debug)]
pub struct Program(Held);

#[derive(Debug)]
enum Held {
    /// A process group.
    Grouped(Group),
    /// All that descends from it.
    Supervised(Supervised),
}

impl Program {
    /// Starts a program. That it cannot be started may also be heard later, by [`Program::ended`].
    ///
    /// # Errors
    ///
    /// `not_found`, `not_executable` or `failed` if nothing was started.
    pub async fn start(launcher: Option<&Launcher>, order: Order, ends: Ends) -> Result<Self, ToolError> {
        if order.argv.is_empty() {
            return Err(ToolError::argument("argv names no program"));
        }
        let held = match launcher {
            Some(launcher) => Supervised::start(launcher, order, ends).await.map(Held::Supervised),
            None => start_grouped(&order, ends).map(Held::Grouped),
        };
        held.map(Self)
    }

    /// Waits until it has ended. Can be dropped and called again.
    pub async fn ended(&mut self) -> Ended {
        match &mut self.0 {
            Held::Grouped(group) => {
                group.leader_exited().await;
                Ended::Exited
            }
            Held::Supervised(supervised) => supervised.ended().await,
        }
    }

    /// Ends what a program that has ended left behind, within `patience`, and gives its status, where it is known.
    ///
    /// # Errors
    ///
    /// [`NotEnded`] if something is left then, which is still being ended.
    pub async fn settle(&mut self, patience: Duration) -> Result<Option<ExitStatus>, NotEnded> {
        match &mut self.0 {
            Held::Grouped(group) => {
                group.kill();
                Ok(group.reap().await.ok())
            }
            Held::Supervised(supervised) => supervised.settle(patience).await,
        }
    }

    /// Asks everything to end, then ends it: within [`Order::grace`] and `patience`.
    ///
    /// # Errors
    ///
    /// [`NotEnded`] if something is left then, which is still being ended.
    pub async fn end(&mut self, patience: Duration) -> Result<(), NotEnded> {
        match &mut self.0 {
            Held::Grouped(group) => {
                group.end(patience).await;
                Ok(())
            }
            Held::Supervised(supervised) => supervised.end(patience).await,
        }
    }
}

fn start_grouped(order: &Order, ends: Ends) -> Result<Group, ToolError> {
    let program = &order.argv[0];
    let mut command = tokio::process::Command::new(program);
    command
        .args(&order.argv[1..])
        .current_dir(format!("/proc/self/fd/{}", order.folder.as_raw_fd()))
        .env_clear()
        .envs(usual())
        .envs(&order.env)
        .stdin(ends.stdin)
        .stdout(ends.stdout)
        .stderr(ends.stderr)
        .process_group(0)
        .kill_on_drop(true);
    Group::spawn(&mut command, order.grace).map_err(|error| not_started(program, &error))
}

/// What this process has of [`ENVIRONMENT`].
fn usual() -> impl Iterator<Item = (OsString, OsString)> {
    ENVIRONMENT.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
}

/// Why a program could not be started.
fn not_started(program: &str, error: &io::Error) -> ToolError {
    match error.kind() {
        io::ErrorKind::NotFound => ToolError::new("not_found", format!("program {program} is not there")),
        io::ErrorKind::PermissionDenied => {
            ToolError::new("not_executable", format!("program {program} may not be run"))
        }
        _ => ToolError::new("failed", format!("program {program} cannot be started: {error}")),
    }
}
