//! The last stage before the program: limits, sandbox and descriptors of this process become those of the program.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{fchdir, setpriority_process, setsid};

use super::message::{DESCRIPTORS, Launch, NotStarted, Said, Step, receive_launch, say};
use super::{end_with_parent, socket};

/// Becomes the program; returns only if that fails, after it was said.
pub(super) fn become_program() -> io::Result<()> {
    let supervisor = socket()?;
    // Without its supervisor the program itself ends; what it has started elsewhere is found by the control group.
    end_with_parent(&supervisor)?;
    let (launch, descriptors) = receive_launch(&supervisor)?;
    let failed = start(&launch, descriptors);
    say(&supervisor, &Said::NotStarted(failed));
    Ok(())
}

/// Gives only what went wrong.
fn start(launch: &Launch, descriptors: [OwnedFd; DESCRIPTORS]) -> NotStarted {
    let [stdin, stdout, stderr, folder] = descriptors;
    if let Err(error) = prepare(launch, &folder) {
        return NotStarted::new(Step::Limits, &error);
    }
    if let Some(sandbox) = &launch.sandbox
        && let Err(error) = sandbox.enter()
    {
        return NotStarted { step: Step::Sandbox, errno: None, message: error };
    }
    let unnamed = OsString::new();
    let mut command = Command::new(launch.argv.first().unwrap_or(&unnamed));
    command.args(launch.argv.iter().skip(1)).env_clear().envs(launch.env.iter().map(|(k, v)| (k, v)));
    NotStarted::new(Step::Program, &command.stdin(stdin).stdout(stdout).stderr(stderr).exec())
}

fn prepare(launch: &Launch, folder: &OwnedFd) -> io::Result<()> {
    // No terminal, and no group but its own.
    setsid()?;
    setpriority_process(None, launch.inside.priority)?;
    if let Some(group) = &launch.inside.group {
        std::fs::write(group, "0")?;
    }
    fchdir(folder)?;
    launch.limits.set(launch.inside.own_processes_max)
}
