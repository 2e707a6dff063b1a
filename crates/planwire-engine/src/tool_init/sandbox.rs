//! What a program may touch: Landlock, which only ever allows. What is to be hidden is left out of what is allowed.
//!
//! Names of all folders can be listed. Files can be read and run below [`Sandbox::readable`], and changed below
//! [`Sandbox::writable`], the folder in which the program starts, the working folder of its plan, the call's own temporary
//! folder and a few devices.
//! A folder that holds something hidden is not allowed as a whole but each of its entries is: what comes into it
//! later is not, and nothing can be made directly in it. Links are never followed for that, since what they name
//! is allowed, or not, where it lies.
//!
//! A program in a sandbox also cannot send signals to, trace or read the memory and environment of processes outside of
//! it, and gains no rights by running a program. Root is no exception: it loses the rights with which it could, and those
//! to lift its limits.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, LandlockStatus, PathBeneath, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope,
};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat};
use rustix::process::getuid;
use rustix::thread::{
    CapabilitySet, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};
use serde::{Deserialize, Serialize};

/// What has to be there where a sandbox is required: before this a file that cannot be written could be cut off.
const REQUIRED: ABI = ABI::V3;

/// Entries of folders that are allowed one by one; those beyond stay hidden.
const ENTRIES_MAX: usize = 20_000;

/// Devices that hold nothing, whatever else is in `/dev`.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What below the home folder holds keys and passwords.
const HIDDEN_IN_HOME: [&str; 14] = [
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".netrc",
    ".pgpass",
    ".pypirc",
    ".git-credentials",
    ".password-store",
    ".config/gcloud",
    ".config/gh",
    ".cargo/credentials.toml",
];

/// Rights of root that lead out of a sandbox: to the memory and environment of others past Landlock (`PERFMON`,
/// `SYS_ADMIN`), to the kernel, to devices, past permissions of files by their handles, above limits.
const LEADING_OUT: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::CHECKPOINT_RESTORE)
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::SYS_MODULE)
    .union(CapabilitySet::SYS_RAWIO)
    .union(CapabilitySet::SYS_BOOT)
    .union(CapabilitySet::SYS_TIME)
    .union(CapabilitySet::SYSLOG)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::SYS_RESOURCE);

/// What one program may touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Whether a kernel that cannot do this refuses the program; else it does what it can.
    pub required: bool,
    /// Where files can be read and run. Absolute, as all of these.
    pub readable: BTreeSet<PathBuf>,
    /// Where they can also be changed, made and removed, beside the folder in which the program starts.
    pub writable: BTreeSet<PathBuf>,
    /// What cannot be touched wherever it lies.
    pub hidden: BTreeSet<PathBuf>,
    /// Holds working folders of trees, also where it is hidden: of those a program touches the one that it works for.
    pub work: Option<PathBuf>,
    /// The folder in `work` that the program works for.
    pub(crate) own: Option<PathBuf>,
    /// The temporary folder of the call, which lies among those of others.
    pub(crate) scratch: Option<PathBuf>,
}

impl Sandbox {
    /// Reads everywhere but in keys and passwords of the user and devices; writes nowhere yet.
    #[must_use]
    pub fn new(home: Option<&Path>) -> Self {
        let keys = home.into_iter().flat_map(|home| HIDDEN_IN_HOME.map(|name| home.join(name)));
        Self {
            readable: BTreeSet::from(["/".into()]),
            hidden: keys.chain(["/dev".into()]).collect(),
            ..Self::default()
        }
    }

    /// Enters it for good, with all that comes after; this process is where the program is to start.
    pub(super) fn enter(&self) -> Result<(), String> {
        give_up_rights()
            .map_err(|error| format!("rights that lead out of it cannot be given up: {error}"))?;
        let status = self.enforce().map_err(|error| match error {
            RulesetError::CreateRuleset(_) | RulesetError::HandleAccesses(_) => {
                format!("the kernel has not the Landlock that is required: {error}")
            }
            other => other.to_string(),
        })?;
        if self.required && !matches!(status, LandlockStatus::Available { .. }) {
            return Err("the kernel has no Landlock".into());
        }
        Ok(())
    }

    fn enforce(&self) -> Result<LandlockStatus, RulesetError> {
        let level = if self.required { CompatLevel::HardRequirement } else { CompatLevel::BestEffort };
        let ruleset = Ruleset::default()
            .set_compatibility(level)
            .handle_access(AccessFs::from_all(REQUIRED))?
            .set_compatibility(CompatLevel::BestEffort)
            .scope(Scope::Signal)?
            .create()?;
        let mut grants = Grants { ruleset: Some(ruleset), hidden: self.hidden(), entries: 0 };
        let read = AccessFs::from_read(REQUIRED);
        // A device that root made would be a way to everything.
        let write = AccessFs::from_all(REQUIRED) & !(AccessFs::MakeBlock | AccessFs::MakeChar);
        grants.allow(Path::new("/"), AccessFs::ReadDir.into())?;
        for readable in &self.readable {
            grants.below(readable, read)?;
        }
        for writable in &self.writable {
            grants.below(writable, write)?;
        }
        for device in DEVICES {
            grants.allow(&Path::new("/dev").join(device), AccessFs::ReadFile | AccessFs::WriteFile)?;
        }
        for own in self.scratch.iter().chain(&self.own) {
            grants.allow(own, write)?;
        }
        // Whoever starts a program in a folder wants it to work there. The root of all files is not such a choice.
        if let Ok(folder) = std::fs::read_link("/proc/self/cwd")
            && folder != Path::new("/")
        {
            grants.below(&folder, write)?;
        }
        let Some(ruleset) = grants.ruleset else { return Ok(LandlockStatus::NotImplemented) };
        Ok(ruleset.restrict_self()?.landlock)
    }

    /// What is hidden, as it is named without links; what is not there needs no hiding.
    fn hidden(&self) -> Vec<PathBuf> {
        let scratches = self.scratch.iter().filter_map(|scratch| scratch.parent().map(Path::to_path_buf));
        let among = scratches.chain(self.work.clone());
        self.hidden.iter().cloned().chain(among).filter_map(|path| path.canonicalize().ok()).collect()
    }
}

/// Rules while they are made.
struct Grants {
    /// There is always one between two calls.
    ruleset: Option<RulesetCreated>,
    hidden: Vec<PathBuf>,
    entries: usize,
}

impl Grants {
    fn is_hidden(&self, path: &Path) -> bool {
        self.hidden.iter().any(|hidden| path.starts_with(hidden))
    }

    /// The entries of a folder that are hidden or hold something that is.
    fn leading_to_hidden(&self, folder: &Path) -> BTreeSet<OsString> {
        let below = self.hidden.iter().filter_map(|hidden| hidden.strip_prefix(folder).ok());
        below.filter_map(|below| below.iter().next().map(OsStr::to_os_string)).collect()
    }

    /// Allows everything below `path` that is not hidden. What is not there is not needed.
    fn below(&mut self, path: &Path, access: BitFlags<AccessFs>) -> Result<(), RulesetError> {
        let Ok(path) = path.canonicalize() else { return Ok(()) };
        let mut left = vec![path];
        while let Some(path) = left.pop() {
            if self.is_hidden(&path) {
                continue;
            }
            let leading = self.leading_to_hidden(&path);
            if leading.is_empty() {
                self.allow(&path, access)?;
            } else {
                self.entries_but(&leading, &path, access)?;
                left.extend(leading.iter().map(|name| path.join(name)));
            }
        }
        Ok(())
    }

    /// Allows each entry of a folder that is no link, without those named. Temporary folders have thousands.
    fn entries_but(
        &mut self,
        named: &BTreeSet<OsString>,
        folder: &Path,
        access: BitFlags<AccessFs>,
    ) -> Result<(), RulesetError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(folder) = openat(CWD, folder, flags, Mode::empty()) else { return Ok(()) };
        let Ok(entries) = Dir::read_from(&folder) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if matches!(name.as_bytes(), b"." | b"..") || named.contains(name) {
                continue;
            }
            self.entries += 1;
            if self.entries <= ENTRIES_MAX && entry.file_type() != FileType::Symlink {
                self.allow_at(folder.as_fd(), Path::new(name), access)?;
            }
        }
        Ok(())
    }

    fn allow(&mut self, path: &Path, access: BitFlags<AccessFs>) -> Result<(), RulesetError> {
        self.allow_at(CWD, path, access)
    }

    /// Allows what has this name in a folder. Landlock takes what makes sense for a file where it is one.
    fn allow_at(
        &mut self,
        folder: BorrowedFd<'_>,
        path: &Path,
        access: BitFlags<AccessFs>,
    ) -> Result<(), RulesetError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // What cannot be opened went away, or its user may not see it.
        if let Ok(fd) = openat(folder, path, flags, Mode::empty())
            && let Some(ruleset) = self.ruleset.take()
        {
            self.ruleset = Some(ruleset.add_rule(PathBeneath::new(fd, access))?);
        }
        Ok(())
    }
}

/// Sees to it that no program that this process becomes has [`LEADING_OUT`].
fn give_up_rights() -> io::Result<()> {
    // Kernels before 4.3 have none.
    let _ = clear_ambient_capability_set();
    // Others get none by becoming a program that may not gain any.
    if getuid().is_root() {
        // What can be inherited is root's at once, whatever else it may have.
        let mut sets = capabilities(None)?;
        sets.inheritable.remove(LEADING_OUT);
        set_capabilities(None, sets)?;
        for right in LEADING_OUT {
            if capability_is_in_bounding_set(right)? {
                remove_capability_from_bounding_set(right)?;
            }
        }
    }
    Ok(())
}
