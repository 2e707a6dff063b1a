//! The first process of a pid namespace: starts the program stage, reaps whatever ends, and says how the program did.
//!
//! When it ends the kernel ends everything else in the namespace.

use std::io;

use rustix::process::{WaitOptions, wait};

use super::family::peak_bytes;
use super::message::{Said, say};
use super::{PROGRAM, end_with_parent, socket, stage};

/// Lives until nothing else does in the namespace.
pub(super) fn reap() -> io::Result<()> {
    let supervisor = socket()?;
    // The supervisor may be killed by whoever runs as the same user.
    end_with_parent(&supervisor)?;
    let program = stage(PROGRAM, supervisor.try_clone().map(std::os::fd::OwnedFd::from)?).spawn()?.id();
    while let Ok(ended) = wait(WaitOptions::empty()) {
        if let Some((pid, status)) = ended
            && u32::try_from(pid.as_raw_nonzero().get()) == Ok(program)
        {
            say(&supervisor, &Said::Exited { status: status.as_raw(), peak_bytes: peak_bytes() });
        }
    }
    Ok(())
}
