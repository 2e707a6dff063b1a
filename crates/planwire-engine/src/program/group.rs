//! A program and all that it starts: a process group that is killed as a whole.
//!
//! The leader's end is seen through a pidfd, which does not reap it. While it is not reaped no other process can get
//! its number, so the signal to the group cannot hit a stranger.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};

/// A running program and what it started. Dropping it kills all of them.
#[derive(Debug)]
pub(super) struct Group {
    leader: Child,
    pid: Option<Pid>,
    exited: AsyncFd<OwnedFd>,
    grace: Duration,
}

impl Group {
    /// Starts a program as the leader of its own group, which has `grace` to end once it is asked to.
    pub(super) fn spawn(command: &mut Command, grace: Duration) -> io::Result<Self> {
        let mut leader = command.spawn()?;
        let pid = leader.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else {
            return Err(io::Error::other("the program has no process id"));
        };
        let exited = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from).and_then(watch);
        match exited {
            Ok(exited) => Ok(Self { leader, pid: Some(pid), exited, grace }),
            Err(error) => {
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = leader.start_kill();
                Err(error)
            }
        }
    }

    /// Waits until the leader has ended; does not reap it.
    pub(super) async fn leader_exited(&self) {
        // An error of the poller cannot be told from an end; reaping then waits for the real one.
        let _ = self.exited.readable().await;
    }

    /// Kills every process of the group.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Reaps the leader.
    pub(super) async fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.leader.wait().await?;
        self.pid = None;
        Ok(status)
    }

    /// Asks the group to end, then ends it, and reaps the leader within `patience`.
    pub(super) async fn end(&mut self, patience: Duration) {
        self.signal(Signal::TERM);
        // A stopped process does not see the request before it goes on.
        self.signal(Signal::CONT);
        let _ = tokio::time::timeout(self.grace, self.leader_exited()).await;
        self.kill();
        let _ = tokio::time::timeout(patience, self.reap()).await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            // A group that has already ended is what was wanted.
            let _ = kill_process_group(pid, signal);
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is an unsafe function; an OwnedFd keeps the promise that it asks for"
)]
fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

impl Drop for Group {
    fn drop(&mut self) {
        // The runtime reaps the leader later.
        self.kill();
    }
}
