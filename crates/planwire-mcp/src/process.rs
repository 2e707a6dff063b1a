//! A server that is a program: starting it, seeing its end, and ending it with all that it started.
//!
//! A task holds the program until nothing of it is left. **Invariant:** once a [`Process`] has ended, nothing that it
//! started goes on, or it was said what does; once it was dropped, all of it is being ended. This file alone knows how a
//! program is started.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use planwire_engine::Launcher;
use planwire_engine::program::{Ended, Ends, Order, Program};
use planwire_engine::tool::ToolError;
use rustix::fs::{CWD, Mode, OFlags, openat};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::Hidden;
use crate::limits::{KILL_GRACE, SETTLE_GRACE, TERM_GRACE};

/// What a server is started from.
pub(crate) struct Start<'a> {
    /// Its name, for diagnostics.
    pub(crate) server: &'a str,
    pub(crate) command: &'a str,
    pub(crate) args: &'a [String],
    pub(crate) env: &'a BTreeMap<String, Hidden>,
    /// Where it runs.
    pub(crate) folder: &'a Path,
    /// The working folder of the plan.
    pub(crate) base: &'a Path,
    pub(crate) launcher: Option<&'a Launcher>,
}

/// Our ends of the pipes of a program.
pub(crate) struct Pipes {
    pub(crate) stdin: Sender,
    pub(crate) stdout: Receiver,
    pub(crate) stderr: Receiver,
}

/// A running program and what it started.
pub(crate) struct Process {
    /// Asks for the end.
    asked: Arc<Notify>,
    over: watch::Receiver<Option<Over>>,
    /// Owns the program.
    holder: JoinHandle<()>,
}

/// A program that has ended.
struct Over {
    /// Why it was not started, or was ended for what it did.
    why: Option<ToolError>,
}

impl Process {
    /// Starts a program; that it cannot be started may be heard as its end.
    pub(crate) async fn start(start: &Start<'_>) -> Result<(Self, Pipes), ToolError> {
        let folder = open(start.folder)?;
        let (pipes, ends) = open_pipes()
            .map_err(|error| ToolError::new("failed", format!("no pipe can be opened: {error}")))?;
        let order = Order {
            argv: std::iter::once(start.command.to_owned()).chain(start.args.iter().cloned()).collect(),
            env: start.env.iter().map(|(name, value)| (name.into(), value.reveal().into())).collect(),
            folder,
            base: start.base.to_path_buf(),
            grace: TERM_GRACE,
        };
        let program = Program::start(start.launcher, order, ends).await?;
        let (tell, over) = watch::channel(None);
        let asked = Arc::new(Notify::new());
        let holder = tokio::spawn(hold(program, Arc::clone(&asked), start.server.to_owned(), tell));
        Ok((Self { asked, over, holder }, pipes))
    }

    /// Waits until nothing of it is left, or it was said what is.
    pub(crate) async fn ended(&self) {
        // Whoever holds it tells before it goes.
        let _ = self.over.clone().wait_for(Option::is_some).await;
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.over.borrow().is_some()
    }

    /// Why it was not started, or was ended for what it did; none as long as it runs.
    pub(crate) fn why_ended(&self) -> Option<ToolError> {
        self.over.borrow().as_ref().and_then(|over| over.why.clone())
    }

    /// Waits for the end after the input was closed, then asks for it, then kills.
    pub(crate) async fn end(&self, grace: Duration) {
        if timeout(grace, self.ended()).await.is_err() {
            self.asked.notify_one();
            self.ended().await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Dropping the program ends it.
        self.holder.abort();
    }
}

/// Waits for the end of a program, or the request for it, and ends what is left.
async fn hold(mut program: Program, asked: Arc<Notify>, server: String, tell: watch::Sender<Option<Over>>) {
    let ended = tokio::select! {
        ended = program.ended() => Some(ended),
        () = asked.notified() => None,
    };
    let (why, left) = match ended {
        Some(Ended::Exited) => (None, program.settle(SETTLE_GRACE).await.err()),
        Some(Ended::Failed(why)) => (Some(why), program.settle(SETTLE_GRACE).await.err()),
        None => (None, program.end(KILL_GRACE).await.err()),
    };
    if let Some(left) = left {
        tracing::warn!(server, "an MCP server has ended: {left}");
    }
    tell.send_replace(Some(Over { why }));
}

fn open(folder: &Path) -> Result<OwnedFd, ToolError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, folder, flags, Mode::empty())
        .map_err(|_| ToolError::new("bad_cwd", format!("folder {} is not there", folder.display())))
}

fn open_pipes() -> io::Result<(Pipes, Ends)> {
    let (input, stdin) = io::pipe()?;
    let (stdout, output) = io::pipe()?;
    let (stderr, error) = io::pipe()?;
    let pipes = Pipes {
        stdin: Sender::from_owned_fd(stdin.into())?,
        stdout: Receiver::from_owned_fd(stdout.into())?,
        stderr: Receiver::from_owned_fd(stderr.into())?,
    };
    Ok((pipes, Ends { stdin: input.into(), stdout: output.into(), stderr: error.into() }))
}
