//! A server that is a program: starting it, seeing its end, and ending it with all that it started.
//!
//! It leads a process group of its own. **Invariant:** once a [`Process`] has ended or was dropped, no process of its
//! group is left. This file alone knows how a program is started.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use planwire_engine::tools::exec::ENVIRONMENT;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Hidden;
use crate::limits::{KILL_GRACE, TERM_GRACE};

/// What a server is started from.
pub(crate) struct Program<'a> {
    pub(crate) command: &'a str,
    pub(crate) args: &'a [String],
    pub(crate) env: &'a BTreeMap<String, Hidden>,
    pub(crate) folder: &'a Path,
}

/// The three pipes of a program.
pub(crate) struct Pipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

/// A running program and what it started.
pub(crate) struct Process {
    pid: Pid,
    /// Turns true when the program has ended; its group is gone by then.
    ended: watch::Receiver<bool>,
    /// Owns the program until it is reaped.
    watcher: JoinHandle<()>,
}

impl Process {
    /// Starts a program.
    pub(crate) fn start(program: &Program<'_>) -> io::Result<(Self, Pipes)> {
        let mut command = Command::new(program.command);
        command
            .args(program.args)
            .current_dir(program.folder)
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value))))
            .envs(program.env.iter().map(|(name, value)| (name, value.reveal())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(pid), (Some(stdin), Some(stdout), Some(stderr))) = (pid, pipes) else {
            return Err(io::Error::other("the program has no process id or no pipes"));
        };
        // Until it is reaped no other process can get its number; so it is seen to end before.
        let exited = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from).and_then(watched)?;
        let (tell, ended) = watch::channel(false);
        let watcher = tokio::spawn(watch(child, pid, exited, tell));
        Ok((Self { pid, ended, watcher }, Pipes { stdin, stdout, stderr }))
    }

    /// Says when the program has ended.
    pub(crate) fn ended(&self) -> watch::Receiver<bool> {
        self.ended.clone()
    }

    /// Waits for the end after the input was closed, then asks for it, then kills.
    pub(crate) async fn end(&self, grace: Duration) {
        if self.ends_within(grace).await {
            return;
        }
        self.signal(Signal::TERM);
        // A stopped process does not see the request before it goes on.
        self.signal(Signal::CONT);
        if !self.ends_within(TERM_GRACE).await {
            self.signal(Signal::KILL);
            self.ends_within(KILL_GRACE).await;
        }
    }

    async fn ends_within(&self, grace: Duration) -> bool {
        let mut ended = self.ended.clone();
        matches!(tokio::time::timeout(grace, ended.wait_for(|ended| *ended)).await, Ok(Ok(_)))
    }

    fn signal(&self, signal: Signal) {
        // Once it is reaped its number may be another's.
        if !*self.ended.borrow() {
            let _ = kill_process_group(self.pid, signal);
        }
    }
}

/// Kills what the program left behind when it ends, and reaps it.
async fn watch(mut child: Child, pid: Pid, exited: AsyncFd<OwnedFd>, tell: watch::Sender<bool>) {
    // An error of the poller cannot be told from an end; reaping then waits for the real one.
    let _ = exited.readable().await;
    let _ = kill_process_group(pid, Signal::KILL);
    tell.send_replace(true);
    let _ = child.wait().await;
}

#[expect(
    deprecated,
    reason = "its successor is an unsafe function; an OwnedFd keeps the promise that it asks for"
)]
fn watched(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        // The runtime reaps the program later.
        self.watcher.abort();
    }
}
