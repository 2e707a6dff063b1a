//! What stands between the engine and a program that a tool starts: the own executable, started anew.
//!
//! ```text
//! engine --socket--> supervisor --socket--> [init of the pid namespace] --> program stage, which becomes the program
//! ```
//!
//! The engine starts the supervisor and sends it a [`message::Launch`] with the descriptors that shall be the program's
//! standard input, output, error and working folder. The supervisor is the reaper of all that descends from the
//! program, ends it when it is told to or when the socket closes, which it also does when the engine is killed, and
//! tells the exit status once. The program stage sets limits and sandbox on itself and becomes the program.
//!
//! **Invariant:** the supervisor says [`message::Said::NoneLeft`] only when the kernel says that it has no child left, and
//! a reaper has none only if nothing that descends from it lives.
//!
//! - [`message`]: what they tell each other.
//! - [`supervisor`]: the first stage. [`containment`]: how everything is ended at once; [`hunt`]: how, where it cannot be;
//!   [`family`]: who that is, and what it uses; [`watch`]: how often that is looked at; [`scratch`]: the temporary folder
//!   of one call.
//! - [`namespace`]: the first process of a pid namespace.
//! - [`program`]: the last stage. [`limits`]: what the program may use; [`sandbox`]: what it may touch.
//! - [`probe`]: what of all this can be had here.
//!
//! A program that embeds the engine calls [`intercept`] first in its `main`, and gives its tool `exec` a
//! [`Launcher`](crate::launcher::Launcher).

pub(crate) mod containment;
mod family;
mod hunt;
pub(crate) mod limits;
pub(crate) mod message;
mod namespace;
pub(crate) mod probe;
mod program;
pub(crate) mod sandbox;
pub(crate) mod scratch;
mod supervisor;
mod watch;

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Pid, Signal, set_parent_process_death_signal};

/// The first argument with which the executable is started anew.
pub const NAME: &str = "tool-init";

/// The stages, by their second argument.
pub(crate) const SUPERVISE: &str = "supervise";
const NAMESPACE: &str = "namespace";
const PROGRAM: &str = "program";
pub(crate) const PROBE: &str = "probe";

/// The executable of this process, also when the file was replaced meanwhile.
pub(crate) const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// Does the work of `tool-init` if that is what the process was started for; gives the exit code then.
///
/// Belongs before everything else in `main`, while the process has one thread.
pub fn intercept(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != NAME {
        return None;
    }
    let stage = arguments.next().unwrap_or_default();
    let done = match stage.to_str() {
        Some(SUPERVISE) => supervisor::supervise(),
        Some(NAMESPACE) => namespace::reap(),
        Some(PROGRAM) => program::become_program(),
        Some(PROBE) => probe::answer(),
        _ => return Some(ExitCode::from(2)),
    };
    Some(if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The id of a process that `text` is. Other numbers, as -1, mean many processes or none, to the kernel and to rustix.
fn pid(text: &str) -> Option<Pid> {
    text.parse().ok().filter(|raw| *raw > 0).and_then(Pid::from_raw)
}

/// Standard input as the socket that it is, under a number that a program does not inherit.
fn socket() -> io::Result<UnixStream> {
    Ok(UnixStream::from(fcntl_dupfd_cloexec(io::stdin(), 3)?))
}

/// Lets the kernel end this process with the one that started it.
///
/// # Errors
///
/// Of the kind `BrokenPipe` if that one has ended before: nobody holds the other end of `socket` any more.
fn end_with_parent(socket: &UnixStream) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut polled = [PollFd::new(socket, PollFlags::empty())];
    poll(&mut polled, Some(&Timespec::default()))?;
    if polled[0].revents().contains(PollFlags::HUP) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}

/// Starts another stage, whose standard input is `socket`.
fn stage(name: &str, socket: impl Into<Stdio>) -> Command {
    let mut command = Command::new(OWN_EXECUTABLE);
    command.args([NAME, name]).stdin(socket).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
