//! How all that descends from this process is ended where the kernel does not do it in one step: round by round.
//!
//! Between a look and a signal a process can start another one, so no single round can be enough. Each first stops
//! everybody, until a look finds nobody who was not stopped: whoever is stopped starts nothing, and takes up the room
//! that a limit of processes leaves. Then it kills all of them. Who slipped through becomes a child of the reaper when
//! its parent is gone, and is found in the next round. Only the kernel says when it is over: the reaper has no child.

use std::collections::HashSet;
use std::time::Duration;

use rustix::process::Signal;

use super::family::{Member, kill_groups_of_children, members_as_they_come, signal};

/// Looks in one round. Whoever starts processes faster than this is met by the next round.
const LOOKS_MAX: u32 = 16;

/// Processes that are stopped in one round before they are killed, so that a round ends however many come.
const STOPPED_MAX: usize = 16 * 1024;

/// Time to the next round after one that found somebody new.
const PAUSE_MIN: Duration = Duration::from_micros(500);

/// Time to the next round at most: those who are left were killed and hang in the kernel.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// Ends all descendants.
#[derive(Debug)]
pub(super) struct Hunt {
    /// Whom the last round killed.
    killed: HashSet<Member>,
    pause: Duration,
}

impl Hunt {
    pub(super) fn new() -> Self {
        Self { killed: HashSet::new(), pause: PAUSE_MIN }
    }

    /// Time until the next round.
    pub(super) const fn pause(&self) -> Duration {
        self.pause
    }

    /// Kills everybody who is found.
    pub(super) fn round(&mut self) {
        kill_groups_of_children();
        let found = stop_all();
        let all: Vec<_> = found.iter().copied().collect();
        signal(&all, Signal::KILL);
        let anew = !found.is_subset(&self.killed);
        self.pause = if anew { PAUSE_MIN } else { (self.pause * 2).min(PAUSE_MAX) };
        self.killed = found;
    }
}

/// Stops everybody; gives all who were found.
fn stop_all() -> HashSet<Member> {
    let mut stopped = HashSet::new();
    for _ in 0..LOOKS_MAX {
        let before = stopped.len();
        for member in members_as_they_come() {
            if stopped.insert(member) {
                signal(&[member], Signal::STOP);
            }
            if stopped.len() >= STOPPED_MAX {
                return stopped;
            }
        }
        if stopped.len() == before {
            break;
        }
    }
    stopped
}
