//! A running program, however it is held.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::ExitStatus;

use super::group::Group;
use super::pipes::Ends;
use super::supervised::Supervised;
use crate::launcher::Launcher;
use crate::tool::ToolError;
use crate::tool_runner::NOT_ENDED;

/// What to start.
pub(super) struct Order {
    /// The program and its arguments; never empty.
    pub(super) argv: Vec<String>,
    /// All of its environment.
    pub(super) env: BTreeMap<OsString, OsString>,
    /// Where it runs.
    pub(super) folder: OwnedFd,
    /// The working folder of its plan.
    pub(super) base: PathBuf,
}

/// What became of a program.
#[derive(Debug)]
pub(super) enum Ended {
    /// It ran and has ended.
    Exited,
    /// It was not started, or is being ended for what it did.
    Failed(ToolError),
}

/// A call that returns while something that it started may go on; its text says what becomes of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotEnded(pub(super) String);

impl From<NotEnded> for ToolError {
    fn from(NotEnded(why): NotEnded) -> Self {
        Self::new(NOT_ENDED, why)
    }
}

/// A program and all that it starts. Dropping it ends all of them.
pub(super) enum Program {
    /// A process group.
    Grouped(Group),
    /// All that descends from it.
    Supervised(Supervised),
}

impl Program {
    pub(super) async fn start(
        launcher: Option<&Launcher>,
        order: Order,
        ends: Ends,
    ) -> Result<Self, ToolError> {
        match launcher {
            Some(launcher) => Supervised::start(launcher, order, ends).await.map(Self::Supervised),
            None => start_grouped(&order, ends).map(Self::Grouped),
        }
    }

    /// Waits until it has ended. Can be dropped and called again.
    pub(super) async fn ended(&mut self) -> Ended {
        match self {
            Self::Grouped(group) => {
                group.leader_exited().await;
                Ended::Exited
            }
            Self::Supervised(supervised) => supervised.ended().await,
        }
    }

    /// Ends what a program that has ended left behind, and gives its status.
    ///
    /// # Errors
    ///
    /// [`NotEnded`] if something is left.
    pub(super) async fn settle(&mut self) -> Result<Option<ExitStatus>, NotEnded> {
        match self {
            Self::Grouped(group) => {
                group.kill();
                Ok(group.reap().await.ok())
            }
            Self::Supervised(supervised) => supervised.settle().await,
        }
    }

    /// Asks everything to end, then ends it.
    ///
    /// # Errors
    ///
    /// [`NotEnded`] if something is left.
    pub(super) async fn end(&mut self) -> Result<(), NotEnded> {
        match self {
            Self::Grouped(group) => {
                group.end().await;
                Ok(())
            }
            Self::Supervised(supervised) => supervised.end().await,
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
        .envs(&order.env)
        .stdin(ends.stdin)
        .stdout(ends.stdout)
        .stderr(ends.stderr)
        .process_group(0)
        .kill_on_drop(true);
    Group::spawn(&mut command).map_err(|error| not_started(program, &error))
}

/// Why a program could not be started.
pub(super) fn not_started(program: &str, error: &io::Error) -> ToolError {
    match error.kind() {
        io::ErrorKind::NotFound => ToolError::new("not_found", format!("program {program} is not there")),
        io::ErrorKind::PermissionDenied => {
            ToolError::new("not_executable", format!("program {program} may not be run"))
        }
        _ => ToolError::new("failed", format!("program {program} cannot be started: {error}")),
    }
}
