//! How everything that descends from a program is ended at once, whatever it has done to get away.
//!
//! A control group and a pid namespace are ended by the kernel in one step. Where neither can be had the supervisor
//! alone is left: as the reaper of all descendants it finds each of them, and ends them until there is none.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Access, access};
use rustix::process::{getgid, getuid};
use serde::{Deserialize, Serialize};

use super::limits::{Limit, Limits};
use super::message::Inside;
use super::scratch::{named_by_us, supervisor_is_gone};

/// What the names of control groups begin with; who the supervisor is follows.
const PREFIX: &str = "planwire-";
/// Tries to remove a control group whose last process has just ended, 1 ms apart.
const REMOVE_TRIES: u32 = 200;

/// How the descendants of a program are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Containment {
    /// By `cgroup.kill` of a control group (version 2) of their own.
    Cgroup,
    /// With the first process of a pid namespace of their own, which root and, mostly, user namespaces may make.
    PidNamespace,
    /// One after the other, by their reaper.
    Subreaper,
}

impl Containment {
    /// All, the first that can be had first.
    pub const ALL: [Self; 3] = [Self::Cgroup, Self::PidNamespace, Self::Subreaper];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::PidNamespace => "pid-namespace",
            Self::Subreaper => "subreaper",
        }
    }
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no [`Containment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of cgroup, pid-namespace, subreaper")]
pub struct UnknownContainment;

impl FromStr for Containment {
    type Err = UnknownContainment;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|known| known.name() == name).ok_or(UnknownContainment)
    }
}

/// A place for one program.
pub(super) enum Place {
    Group(Group),
    /// Children of this process are in a pid namespace that the first of them begins.
    Namespace {
        /// Whether they are also in a user namespace of their own, where the kernel counts their processes apart.
        own_user: bool,
    },
    Nowhere,
}

impl Place {
    /// Makes the place that is asked for, else the first that can be had.
    pub(super) fn make(asked: Option<Containment>, limits: &Limits) -> io::Result<Self> {
        match asked {
            Some(Containment::Cgroup) => Group::new(limits).map(Self::Group),
            Some(Containment::PidNamespace) => unshare_pids(),
            Some(Containment::Subreaper) => Ok(Self::Nowhere),
            None => Group::new(limits).map(Self::Group).or_else(|_| unshare_pids()).or(Ok(Self::Nowhere)),
        }
    }

    pub(super) const fn containment(&self) -> Containment {
        match self {
            Self::Group(_) => Containment::Cgroup,
            Self::Namespace { .. } => Containment::PidNamespace,
            Self::Nowhere => Containment::Subreaper,
        }
    }

    /// The folder of the control group, if it is one.
    pub(super) fn group(&self) -> Option<&Path> {
        match self {
            Self::Group(group) => Some(&group.folder),
            _ => None,
        }
    }

    /// What the program stage does to be in it.
    pub(super) fn inside(&self, limits: &Limits) -> Inside {
        let own_user = matches!(self, Self::Namespace { own_user: true });
        Inside {
            group: self.group().map(|folder| folder.join("cgroup.procs")),
            own_processes_max: own_user.then(|| limits.own_processes_max()),
            ..Inside::default()
        }
    }

    /// Ends what is in the control group, if it is one.
    pub(super) fn kill(&self) {
        if let Self::Group(group) = self {
            group.kill();
        }
    }

    /// What the kernel has refused since the control group had no more of it.
    pub(super) fn refused(&self) -> Option<Limit> {
        let Self::Group(group) = self else { return None };
        let counted = |file: &str, name: &str| {
            let events = std::fs::read_to_string(group.folder.join(file)).unwrap_or_default();
            events
                .lines()
                .filter_map(|line| line.split_once(' '))
                .any(|(key, count)| key == name && count != "0")
        };
        match () {
            () if counted("memory.events", "oom_kill") => Some(Limit::Memory),
            () if counted("pids.events", "max") => Some(Limit::Processes),
            () => None,
        }
    }
}

/// A control group of our own, which is gone afterwards.
pub(super) struct Group {
    folder: PathBuf,
}

impl Group {
    fn new(limits: &Limits) -> io::Result<Self> {
        let parent = own_group()?;
        // Whoever moves a process down from a group must be allowed to write this file.
        access(parent.join("cgroup.procs"), Access::WRITE_OK)?;
        let folder = parent.join(named_by_us(PREFIX));
        if let Err(error) = std::fs::create_dir(&folder) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            // Of a supervisor that was killed and had this number before.
            drop(Self { folder: folder.clone() });
            std::fs::create_dir(&folder)?;
        }
        let group = Self { folder };
        if !group.folder.join("cgroup.kill").exists() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel has no cgroup.kill"));
        }
        for (file, limit) in limits.of_group() {
            let path = group.folder.join(file);
            if path.exists() {
                std::fs::write(path, limit.to_string())?;
            }
        }
        Ok(group)
    }

    fn kill(&self) {
        // A group that is gone has no process.
        let _ = std::fs::write(self.folder.join("cgroup.kill"), "1");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        end_group(&self.folder);
    }
}

/// Ends all that is in a control group, and removes it.
pub(crate) fn end_group(folder: &Path) {
    for _ in 0..REMOVE_TRIES {
        match std::fs::remove_dir(folder) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) => {
                let _ = std::fs::write(folder.join("cgroup.kill"), "1");
                std::thread::sleep(Duration::from_millis(1));
            }
            _ => return,
        }
    }
}

/// Ends the control groups of supervisors that were killed.
pub(super) fn sweep() {
    let Ok(parent) = own_group() else { return };
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if supervisor_is_gone(&entry.file_name().to_string_lossy(), PREFIX) {
            end_group(&entry.path());
        }
    }
}

/// The folder of the control group (version 2) that this process is in.
fn own_group() -> io::Result<PathBuf> {
    let groups = std::fs::read_to_string("/proc/self/cgroup")?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    group_folder(&groups, &mounts)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no control group of version 2 is mounted"))
}

/// Reads `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn group_folder(groups: &str, mounts: &str) -> Option<PathBuf> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, point) = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        kind.starts_with("cgroup2 ").then_some((fields.next()?, fields.next()?))
    })?;
    let below = Path::new(own).strip_prefix(root).ok()?;
    Some(Path::new(point).join(below))
}

/// Lets the next child begin a pid namespace; in a user namespace where that needs one.
fn unshare_pids() -> io::Result<Place> {
    if unshare(CloneFlags::CLONE_NEWPID).is_ok() {
        return Ok(Place::Namespace { own_user: false });
    }
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID)?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    Ok(Place::Namespace { own_user: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_of_the_group_is_found_where_it_is_mounted() {
        let check = |groups: &str, mounts: &str, expected: Option<&str>| {
            assert_eq!(group_folder(groups, mounts).as_deref(), expected.map(Path::new), "{groups} {mounts}");
        };
        let unified = "25 1 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        check("0::/user.slice/app.scope\n", unified, Some("/sys/fs/cgroup/user.slice/app.scope"));
        let hybrid = "30 29 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      31 29 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        check("8:pids:/\n0::/\n", hybrid, Some("/sys/fs/cgroup/unified"));
        let bound = "25 1 0:22 /pod/one /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        check("0::/pod/one/inner\n", bound, Some("/sys/fs/cgroup/inner"));
        check("0::/other\n", bound, None);
        check("8:pids:/\n", unified, None);
        check("0::/\n", "31 29 0:27 / /tmp rw - tmpfs tmpfs rw\n", None);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for containment in Containment::ALL {
            assert_eq!(containment.to_string().parse(), Ok(containment));
        }
        assert_eq!("cgroups".parse::<Containment>(), Err(UnknownContainment));
    }
}
