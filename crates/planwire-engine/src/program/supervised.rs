//! A program below its supervisor, see [`crate::tool_init`].

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::time::timeout;

use super::{Ended, Ends, NotEnded, Order, TEMPORARY, not_started, usual};
use crate::launcher::Launcher;
use crate::tool::ToolError;
use crate::tool_init::containment::{Containment, end_group};
use crate::tool_init::limits::{Limit, Limits};
use crate::tool_init::message::{
    self, KILL, LENGTH_BYTES, Launch, NotStarted, Said, Step, TERMINATE, encode, send_head,
};

/// Bytes read at a time; a message has some hundred.
const READ_BYTES: usize = 1024;

/// A program that a supervisor holds. The supervisor ends everything when this is dropped.
#[derive(Debug)]
pub(super) struct Supervised {
    supervisor: Child,
    socket: UnixStream,
    /// What came and is no whole message yet.
    received: Vec<u8>,
    program: String,
    limits: Limits,
    grace: Duration,
    /// None before it was said.
    containment: Option<Containment>,
    group: Option<PathBuf>,
    status: Option<ExitStatus>,
    /// Whether no process is left.
    none_left: bool,
    /// Whether nothing else is left of it either.
    gone: bool,
}

impl Supervised {
    pub(super) async fn start(launcher: &Launcher, order: Order, ends: Ends) -> Result<Self, ToolError> {
        let program = order.argv[0].clone();
        let failed = |error: io::Error| {
            ToolError::new("failed", format!("program {program} cannot be started: {error}"))
        };
        let launch = Launch {
            argv: order.argv.into_iter().map(Into::into).collect(),
            env: usual().filter(|(name, _)| name != TEMPORARY).chain(order.env).collect(),
            ..launcher.launch(&order.base, order.grace)
        };
        let encoded = encode(&launch).map_err(failed)?;
        let (supervisor, socket) = launcher.supervise().map_err(failed)?;
        let descriptors = [&ends.stdin, &ends.stdout, &ends.stderr, &order.folder].map(|fd| fd.as_fd());
        send_head(&socket, &encoded, &descriptors).map_err(failed)?;
        // Only the program holds its ends from here on.
        drop(ends);
        let mut supervised = Self {
            supervisor,
            socket,
            received: Vec::new(),
            program: program.clone(),
            limits: launch.limits,
            grace: order.grace,
            containment: None,
            group: None,
            status: None,
            none_left: false,
            gone: false,
        };
        supervised.socket.write_all(&encoded[LENGTH_BYTES..]).await.map_err(failed)?;
        Ok(supervised)
    }

    /// Waits until the program has ended. Can be dropped and called again.
    pub(super) async fn ended(&mut self) -> Ended {
        loop {
            match self.hear().await {
                Some(Said::Prepared { containment, group }) => {
                    self.containment = Some(containment);
                    self.group = group;
                }
                Some(Said::Exited { status, .. }) => {
                    self.status = Some(ExitStatus::from_raw(status));
                    return Ended::Exited;
                }
                Some(Said::NotStarted(why)) => return Ended::Failed(refused(&self.program, &why)),
                Some(Said::Over { limit }) => return Ended::Failed(self.over(limit)),
                Some(Said::NoneLeft | Said::Gone) | None => {
                    let message = format!("what holds {} was ended from outside", self.program);
                    return Ended::Failed(ToolError::new("failed", message));
                }
            }
        }
    }

    /// Ends everything that is left, and gives the status of the program.
    pub(super) async fn settle(&mut self, patience: Duration) -> Result<Option<ExitStatus>, NotEnded> {
        self.order(KILL).await;
        self.await_gone(patience).await?;
        Ok(self.status)
    }

    /// Asks everything to end, then ends it.
    pub(super) async fn end(&mut self, patience: Duration) -> Result<(), NotEnded> {
        self.order(TERMINATE).await;
        self.await_gone(self.grace + patience).await
    }

    async fn order(&mut self, order: u8) {
        if !self.gone {
            // A supervisor that has ended does not listen; `await_gone` notices.
            let _ = self.socket.write_all(&[order]).await;
            self.wake();
        }
    }

    /// A program without a sandbox may have stopped its supervisor.
    fn wake(&self) {
        let pid = self.supervisor.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Its number is its own until it is waited for.
            let _ = kill_process(pid, Signal::CONT);
        }
    }

    /// Waits until the supervisor says that nothing is left, or no process and only its folder takes longer. It is never
    /// killed: with a reaper alone, nobody else can end what is left, and it goes on after nobody waits for it.
    async fn await_gone(&mut self, patience: Duration) -> Result<(), NotEnded> {
        let heard = async { while !self.gone && self.hear().await.is_some() {} };
        let silent = timeout(patience, heard).await.is_ok();
        if self.none_left {
            // It ends itself, and is reaped later: nobody needs to wait for that.
            return Ok(());
        }
        self.end_without_supervisor().await;
        if !silent {
            let id = self.supervisor.id().unwrap_or_default();
            return Err(NotEnded(format!(
                "not everything that {} started has ended {patience:?} later; process {id} goes on to end it",
                self.program
            )));
        }
        // It is dead. The program ends with it, and so does a pid namespace.
        match self.containment {
            Some(Containment::Subreaper) => {
                Err(NotEnded(format!("what {} has started may go on", self.program)))
            }
            _ => Ok(()),
        }
    }

    /// Ends the control group of a supervisor that was killed, or is stopped.
    async fn end_without_supervisor(&mut self) {
        if let Some(group) = self.group.take() {
            let _ = tokio::task::spawn_blocking(move || end_group(&group)).await;
        }
    }

    /// What the supervisor says next; none when it is gone. Can be dropped and called again.
    async fn hear(&mut self) -> Option<Said> {
        loop {
            if let Some(said) = self.take_message() {
                self.none_left |= matches!(said, Said::NoneLeft | Said::Gone);
                self.gone |= said == Said::Gone;
                return Some(said);
            }
            let mut bytes = [0; READ_BYTES];
            match self.socket.read(&mut bytes).await {
                Ok(read) if read > 0 => self.received.extend_from_slice(&bytes[..read]),
                _ => return None,
            }
        }
    }

    fn take_message(&mut self) -> Option<Said> {
        let (head, rest) = self.received.split_first_chunk::<LENGTH_BYTES>()?;
        let body = rest.get(..message::length(*head).ok()?)?;
        let said = serde_json::from_slice(body).ok();
        self.received.drain(..LENGTH_BYTES + body.len());
        said
    }

    fn over(&self, limit: Limit) -> ToolError {
        let Self { program, limits, .. } = self;
        let (code, message) = match limit {
            Limit::Memory => ("memory_limit", format!("more than {} bytes of memory", limits.memory_bytes)),
            Limit::Processes => ("process_limit", format!("more than {} processes", limits.processes)),
            Limit::Cpu => ("cpu_limit", format!("{} s of CPU time", limits.cpu_s.unwrap_or_default())),
        };
        ToolError::new(code, format!("{program} was ended: it had {message}"))
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if self.gone {
            return;
        }
        // The end of the socket tells it to end everything.
        self.wake();
        if self.supervisor.try_wait().is_ok_and(|ended| ended.is_some())
            && let Some(group) = self.group.take()
        {
            // Nobody waits for it. Without a thread the next start sweeps it up.
            let _ = std::thread::Builder::new().spawn(move || end_group(&group));
        }
    }
}

fn refused(program: &str, why: &NotStarted) -> ToolError {
    let error = why.errno.map_or_else(|| io::Error::other(why.message.clone()), io::Error::from_raw_os_error);
    match why.step {
        Step::Program => not_started(program, &error),
        Step::Sandbox => {
            ToolError::new("sandbox", format!("program {program} was not started: {}", why.message))
        }
        Step::Containment | Step::Limits => {
            ToolError::new("failed", format!("program {program} was not started: {}", why.message))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::Stdio;

    use super::*;

    /// Held by a supervisor that says this and goes on.
    fn held_by_one_who_says(said: &[Said]) -> (Supervised, std::os::unix::net::UnixStream) {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        for message in said {
            theirs.write_all(&encode(message).unwrap()).unwrap();
        }
        let supervisor = tokio::process::Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let supervised = Supervised {
            supervisor,
            socket: UnixStream::from_std(ours).unwrap(),
            received: Vec::new(),
            program: "a".to_owned(),
            limits: Limits::default(),
            grace: Duration::ZERO,
            containment: None,
            group: None,
            status: None,
            none_left: false,
            gone: false,
        };
        (supervised, theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_whose_folder_takes_long_to_remove_has_ended() {
        const PATIENCE: Duration = Duration::from_secs(10);
        let exited = Said::Exited { status: 0, peak_bytes: 0 };

        let (mut program, _supervisor) = held_by_one_who_says(&[exited.clone(), Said::NoneLeft]);
        assert!(matches!(program.ended().await, Ended::Exited));
        assert!(program.settle(PATIENCE).await.unwrap().is_some_and(|status| status.success()));

        let (mut program, _supervisor) = held_by_one_who_says(&[exited]);
        assert!(matches!(program.ended().await, Ended::Exited));
        let NotEnded(message) = program.settle(PATIENCE).await.unwrap_err();
        assert!(message.ends_with(" goes on to end it"), "{message}");
    }
}
