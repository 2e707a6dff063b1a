//! The first stage: starts the program in a place where it can be ended with all that it started, watches what it uses,
//! and lives until nothing of it is left.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, getpriority_process, kill_process, pidfd_open,
    set_child_subreaper, setpriority_process, wait,
};

use super::containment::Place;
use super::family;
use super::hunt::Hunt;
use super::limits::{Limit, Limits};
use super::message::{
    DESCRIPTORS, KILL, Launch, NotStarted, Said, Step, TERMINATE, hear, receive_launch, say, send_launch,
};
use super::scratch::Scratch;
use super::watch::Watch;
use super::{NAMESPACE, PROGRAM, socket, stage};
use crate::program::TEMPORARY;

/// Time between two looks at whether what the program left behind is gone.
const LEFT_PAUSE: Duration = Duration::from_millis(5);
/// Priority of the supervisor where it may have it: whoever wants all the time that there is must not keep it from looking.
const PRIORITY: i32 = -10;

/// Children reaped in one go: somebody who lets many end must not keep the supervisor from all else.
const REAPED_MAX: u32 = 1024;

/// Runs one program to its end.
pub(super) fn supervise() -> io::Result<()> {
    close_inherited()?;
    let engine = socket()?;
    set_child_subreaper(Some(getpid()))?;
    let (launch, descriptors) = receive_launch(&engine)?;
    match Supervisor::start(&engine, launch, descriptors) {
        // Folders and groups of the call are gone when this returns.
        Ok(supervisor) => supervisor.run(),
        Err(failed) => say(&engine, &Said::NotStarted(failed)),
    }
    say(&engine, &Said::Gone);
    Ok(())
}

/// Closes what whoever started the server left open for its children. Nothing of ours is open yet.
fn close_inherited() -> io::Result<()> {
    let listed: Vec<OsString> =
        std::fs::read_dir("/proc/self/fd")?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    for descriptor in listed.iter().filter_map(|name| name.to_str()?.parse::<i32>().ok()) {
        if descriptor > 2 {
            // That of the list itself is closed already.
            let _ = nix::unistd::close(descriptor);
        }
    }
    Ok(())
}

/// What the supervisor is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The program runs.
    Running,
    /// It has ended; what it started may go on until the engine says otherwise.
    Left,
    /// Everything was asked to end.
    Asked { until: Instant },
    /// Everything is being ended.
    Killing,
}

struct Supervisor<'a> {
    /// None after the engine closed it.
    engine: Option<&'a UnixStream>,
    /// To the program stage and the init of the namespace; none when both are past.
    stages: Option<UnixStream>,
    place: Place,
    /// The first process below; none after it was reaped.
    child: Option<Pid>,
    limits: Limits,
    grace: Duration,
    phase: Phase,
    hunt: Hunt,
    /// Whether all was said about the program that can be.
    told: bool,
    watch: Watch,
    /// Removed when nothing can write into it any more.
    _scratch: Scratch,
}

impl<'a> Supervisor<'a> {
    fn start(
        engine: &'a UnixStream,
        mut launch: Launch,
        descriptors: [OwnedFd; DESCRIPTORS],
    ) -> Result<Self, NotStarted> {
        let scratch =
            Scratch::new(&launch.temporary).map_err(|error| NotStarted::new(Step::Limits, &error))?;
        if !launch.env.iter().any(|(name, _)| name == TEMPORARY) {
            launch.env.push((TEMPORARY.into(), scratch.path().into()));
        }
        if let Some(sandbox) = &mut launch.sandbox {
            sandbox.scratch = Some(scratch.path().into());
        }
        let failed = |error: io::Error| NotStarted::new(Step::Containment, &error);
        let place = Place::make(launch.containment, &launch.limits).map_err(failed)?;
        launch.inside = place.inside(&launch.limits);
        launch.inside.priority = getpriority_process(None).unwrap_or_default();
        // Mostly root alone may.
        let _ = setpriority_process(None, PRIORITY);
        let group = place.group().map(Into::into);
        say(engine, &Said::Prepared { containment: place.containment(), group });
        let (stages, child) = start_stage(&place, &launch, &descriptors).map_err(failed)?;
        Ok(Self {
            engine: Some(engine),
            stages: Some(stages),
            place,
            child: Some(child),
            limits: launch.limits,
            grace: Duration::from_millis(launch.grace_ms),
            phase: Phase::Running,
            hunt: Hunt::new(),
            told: false,
            watch: Watch::new(Instant::now()),
            _scratch: scratch,
        })
    }

    /// Until nothing is left.
    fn run(mut self) {
        while self.reap() {
            self.wait();
            self.hear_engine();
            self.act();
        }
        if let Some(engine) = self.engine {
            say(engine, &Said::NoneLeft);
        }
    }

    /// Reaps what has ended; whether anything may live. A reaper has no child only if nothing descends from it.
    fn reap(&mut self) -> bool {
        for _ in 0..REAPED_MAX {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if Some(pid) == self.child => self.child_ended(status),
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        true
    }

    fn child_ended(&mut self, status: WaitStatus) {
        self.child = None;
        // Whatever the stages had to say stands in the socket, whose other ends are closed by now.
        while self.stages.is_some() {
            self.hear_stages();
        }
        self.exited(status.as_raw(), family::peak_bytes());
    }

    /// Waits until something happens, or it is time to look.
    fn wait(&mut self) {
        let until = match self.phase {
            Phase::Running => self.watch.left(Instant::now()),
            Phase::Left | Phase::Asked { .. } => LEFT_PAUSE,
            Phase::Killing => self.hunt.pause(),
        };
        let child = self.child.and_then(|child| pidfd_open(child, PidfdFlags::empty()).ok());
        let engine = self.engine.map(AsFd::as_fd);
        let stages = self.stages.as_ref().map(AsFd::as_fd);
        let all = [engine, stages, child.as_ref().map(AsFd::as_fd)];
        let mut polled: Vec<_> =
            all.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        // A wait that is cut short is a wait.
        let _ = poll(&mut polled, Timespec::try_from(until).ok().as_ref());
        let spoken = |fd: Option<BorrowedFd<'_>>| {
            let number = fd.map(|fd| fd.as_raw_fd());
            polled.iter().any(|one| Some(one.as_fd().as_raw_fd()) == number && !one.revents().is_empty())
        };
        if spoken(stages) {
            self.hear_stages();
        }
    }

    fn hear_stages(&mut self) {
        let Some(stages) = &self.stages else { return };
        match hear(stages) {
            Some(Said::Exited { status, peak_bytes }) => self.exited(status, peak_bytes),
            Some(said @ Said::NotStarted(_)) => self.tell(&said),
            Some(_) => {}
            None => self.stages = None,
        }
    }

    fn exited(&mut self, status: i32, peak_bytes: u64) {
        if status != 0 && !self.told {
            self.find_reason(peak_bytes);
        }
        self.tell(&Said::Exited { status, peak_bytes });
        if self.phase == Phase::Running {
            self.phase = Phase::Left;
        }
    }

    /// Says how the program ended, once.
    fn tell(&mut self, said: &Said) {
        if !std::mem::replace(&mut self.told, true)
            && let Some(engine) = self.engine
        {
            say(engine, said);
        }
    }

    /// The kernel may have refused a program that failed what it wanted before we looked.
    fn find_reason(&mut self, peak_bytes: u64) {
        if peak_bytes > self.limits.memory_bytes {
            self.over(Limit::Memory);
        } else if let Some(limit) = self.place.refused() {
            self.over(limit);
        } else {
            self.look();
        }
    }

    fn over(&mut self, limit: Limit) {
        self.begin_killing();
        self.tell(&Said::Over { limit });
    }

    fn begin_killing(&mut self) {
        if self.phase != Phase::Killing {
            self.phase = Phase::Killing;
            self.kill_at_once();
        }
    }

    /// What the kernel ends in one step.
    fn kill_at_once(&self) {
        self.place.kill();
        // The first process of a namespace takes all others with it.
        if let Some(child) = self.child {
            // Its number is its own until we reap it. One that has ended is what was wanted.
            let _ = kill_process(child, Signal::KILL);
        }
    }

    /// Again and again what ends all, until nothing is left.
    fn kill(&mut self) {
        self.kill_at_once();
        // In a namespace nothing can be left that is not being ended by the kernel.
        if !matches!(self.place, Place::Namespace { .. }) {
            self.hunt.round();
        }
    }

    fn hear_engine(&mut self) {
        let Some(engine) = self.engine else { return };
        let mut orders = [0; 8];
        match recv(engine, &mut orders, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok((received, _)) if received > 0 => self.obey(&orders[..received]),
            _ => {
                self.engine = None;
                self.begin_killing();
            }
        }
    }

    fn obey(&mut self, orders: &[u8]) {
        if orders.contains(&KILL) {
            self.begin_killing();
        } else if orders.contains(&TERMINATE) && self.phase != Phase::Killing {
            let members: Vec<_> = family::members().take(self.counted()).collect();
            family::signal(&members, Signal::TERM);
            // A stopped process does not see the request before it goes on.
            family::signal(&members, Signal::CONT);
            self.phase = Phase::Asked { until: Instant::now() + self.grace };
        }
    }

    fn act(&mut self) {
        let now = Instant::now();
        match self.phase {
            Phase::Killing => self.kill(),
            Phase::Asked { until } if now >= until => self.begin_killing(),
            _ if self.watch.left(now).is_zero() => self.look(),
            _ => {}
        }
    }

    /// Processes that may descend from this one.
    fn processes_max(&self) -> u64 {
        self.limits.processes.saturating_add(u64::from(matches!(self.place, Place::Namespace { .. })))
    }

    /// Processes that are looked at. One more than may be is enough to know; whoever multiplies has time while we count.
    fn counted(&self) -> usize {
        usize::try_from(self.processes_max()).unwrap_or(usize::MAX).saturating_add(1)
    }

    /// Compares what is used with what may be.
    fn look(&mut self) {
        let processes_max = self.processes_max();
        let members: Vec<_> = family::members().take(self.counted()).collect();
        let used = family::usage(&members, self.limits.memory_bytes);
        self.watch.found(used, Instant::now());
        if used.processes > processes_max {
            self.over(Limit::Processes);
        } else if used.memory_bytes > self.limits.memory_bytes {
            self.over(Limit::Memory);
        } else if self.limits.cpu_s.is_some_and(|cpu_s| used.cpu >= Duration::from_secs(cpu_s)) {
            self.over(Limit::Cpu);
        }
    }
}

fn start_stage(
    place: &Place,
    launch: &Launch,
    descriptors: &[OwnedFd; DESCRIPTORS],
) -> io::Result<(UnixStream, Pid)> {
    let name = if matches!(place, Place::Namespace { .. }) { NAMESPACE } else { PROGRAM };
    let (ours, theirs) = UnixStream::pair()?;
    let child = stage(name, OwnedFd::from(theirs)).spawn()?;
    send_launch(&ours, launch, descriptors)?;
    Ok((ours, Pid::from_child(&child)))
}
