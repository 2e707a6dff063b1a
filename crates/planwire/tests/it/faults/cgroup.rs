//! A control group for one server: how much memory, or how many processes and threads it may have.

use std::path::PathBuf;

use super::chance::skip;
use crate::harness::Server;

/// Where the controllers of version 1 and version 2 lie, with the name of the file of each limit.
const ROOT: &str = "/sys/fs/cgroup";

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Pids,
}

/// A group that is gone afterwards. Its server has to end before it.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folder: PathBuf,
    controller: Controller,
    second: bool,
}

impl Cgroup {
    /// Makes a group; none, and a line among the skips, where that cannot be.
    pub(crate) fn new(test: &str, controller: Controller) -> Option<Self> {
        let name = match controller {
            Controller::Memory => "memory",
            Controller::Pids => "pids",
        };
        let listed = std::fs::read_to_string(format!("{ROOT}/cgroup.controllers")).unwrap_or_default();
        let second = listed.split_whitespace().any(|known| known == name);
        let parent = if second { PathBuf::from(ROOT) } else { PathBuf::from(ROOT).join(name) };
        let group =
            Self { folder: parent.join(format!("planwire-{}", std::process::id())), controller, second };
        let made = if parent.is_dir() { std::fs::create_dir(&group.folder) } else { Ok(()) };
        if !group.folder.is_dir() {
            skip(test, &format!("no control group for {name} can be made: {made:?}"));
            return None;
        }
        Some(group)
    }

    /// Sets the limit: bytes, or processes and threads; none lifts it.
    pub(crate) fn limit(&self, limit: Option<u64>) {
        let file = match (self.controller, self.second) {
            (Controller::Memory, true) => "memory.max",
            (Controller::Memory, false) => "memory.limit_in_bytes",
            (Controller::Pids, _) => "pids.max",
        };
        let lifted = if file == "memory.limit_in_bytes" { "-1" } else { "max" };
        self.write(file, &limit.map_or_else(|| lifted.to_owned(), |limit| limit.to_string()));
    }

    /// Moves a server with all its threads into the group.
    pub(crate) fn take(&self, server: &Server) {
        self.write("cgroup.procs", &server.running.pid().to_string());
    }

    /// Processes that were killed since the group had no memory left.
    pub(crate) fn killed(&self) -> u64 {
        let file = if self.second { "memory.events" } else { "memory.oom_control" };
        let text = std::fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        let number = |line: &str| line.strip_prefix("oom_kill ")?.parse().ok();
        text.lines().find_map(number).unwrap_or(0)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.join(file), text).expect("the group can be changed");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It can be removed as soon as its last process is gone.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
