//! What a program and all that descends from it may use.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// Bytes of memory that a program and what it starts may have together, unless the configuration says otherwise.
pub const MEMORY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Processes that they may be.
pub const PROCESSES_MAX: u64 = 64;
/// Descriptors that each of them may have open.
pub const FILES_MAX: u64 = 256;
/// Bytes of each file that they write.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Seconds of CPU time that they may have together.
pub const CPU_S_MAX: u64 = 60;

/// Where the kernel's own limit, which can only refuse, stands above ours, which can say why: it is what holds a
/// program that is faster than the supervisor looks.
const SLACK: u64 = 2;

/// Limits of one program with all that it starts: of a call, or of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory of all its processes. Default: [`MEMORY_BYTES_MAX`].
    pub memory_bytes: u64,
    /// Processes. Default: [`PROCESSES_MAX`].
    pub processes: u64,
    /// Open descriptors of each process. Default: [`FILES_MAX`].
    pub files: u64,
    /// Bytes of each file written. Default: [`FILE_BYTES_MAX`].
    pub file_bytes: u64,
    /// Seconds of CPU time of all its processes; `None`: any. Default: [`CPU_S_MAX`].
    pub cpu_s: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: MEMORY_BYTES_MAX,
            processes: PROCESSES_MAX,
            files: FILES_MAX,
            file_bytes: FILE_BYTES_MAX,
            cpu_s: Some(CPU_S_MAX),
        }
    }
}

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    Memory,
    Processes,
    Cpu,
}

impl Limits {
    /// What its user may have of processes and threads where only those of this call are counted; two are ours.
    pub(super) fn own_processes_max(&self) -> u64 {
        self.processes.saturating_mul(SLACK).saturating_add(2)
    }

    /// What the control group takes, if it has limits.
    pub(super) fn of_group(&self) -> [(&'static str, u64); 3] {
        let processes = self.processes.saturating_mul(SLACK);
        [("memory.max", self.memory_bytes), ("memory.swap.max", 0), ("pids.max", processes)]
    }

    /// Sets the limits of this process, which its children inherit.
    pub(super) fn set(&self, own_processes_max: Option<u64>) -> io::Result<()> {
        // Private memory that can be written. The whole address space would misjudge programs that reserve it.
        let memory = self.memory_bytes.saturating_mul(SLACK);
        lower(Resource::Data, memory, memory)?;
        lower(Resource::Nofile, self.files, self.files)?;
        lower(Resource::Fsize, self.file_bytes, self.file_bytes)?;
        if let Some(cpu_s) = self.cpu_s {
            // SIGXCPU says why; a second later SIGKILL is for those who do not care.
            lower(Resource::Cpu, cpu_s, cpu_s.saturating_add(1))?;
        }
        lower(Resource::Core, 0, 0)?;
        own_processes_max.map_or(Ok(()), |max| lower(Resource::Nproc, max, max))
    }
}

/// Sets a limit that is not above the one that holds already.
fn lower(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let held = getrlimit(resource).maximum;
    let below = |to: u64| Some(held.map_or(to, |held| held.min(to)));
    Ok(setrlimit(resource, Rlimit { current: below(current), maximum: below(maximum) })?)
}
