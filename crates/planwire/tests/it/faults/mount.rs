//! File systems of a test's own: ext4 in a file, whose power can be cut, and a small tmpfs, which can be full.
//!
//! They lie below a temporary folder that carries this process's id. Dropping one unmounts it, also when a test fails;
//! what a killed test left is unmounted by the next.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::chance::skip;

const PREFIX: &str = "planwire-mount-";
/// Kills processes and at once tells ext4 to write nothing any more (`EXT4_IOC_SHUTDOWN` without a flush of the journal):
/// what only the page cache holds is gone with the mount.
///
/// The processes come first, as the processor of a machine stops with its disk. A call to `fsync` that the shutdown meets
/// half way may return 0 with nothing on disk; no real program gets to see that answer, and neither may this one. From
/// Python, since safe Rust has no door to the call.
const CUT_POWER: &str = "import fcntl, os, struct, sys
disk = os.open(sys.argv[1], os.O_RDONLY)
request = struct.pack('I', 2)
for process in sys.argv[2:]: os.kill(int(process), 9)
fcntl.ioctl(disk, 0x8004587D, request)";

/// A mounted file system.
#[derive(Debug)]
pub(crate) struct Mounted {
    folder: tempfile::TempDir,
    /// The file that holds it; none for a tmpfs.
    image: Option<PathBuf>,
}

impl Mounted {
    /// An ext4 in a file of `mebibytes`; none, and a line among the skips, where that cannot be.
    pub(crate) fn ext4(test: &str, mebibytes: u64) -> Option<Self> {
        let mounted = Self::prepare(true);
        let image = mounted.image.as_deref().expect("an image was prepared");
        let file = std::fs::File::create(image).expect("a file");
        file.set_len(mebibytes << 20).expect("a sparse file");
        let made = run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image));
        let made = made.and_then(|()| mounted.mount());
        mounted.offered(test, made)
    }

    /// A tmpfs of `mebibytes`; none, and a line among the skips, where that cannot be.
    pub(crate) fn tmpfs(test: &str, mebibytes: u64) -> Option<Self> {
        let mounted = Self::prepare(false);
        let size = format!("size={mebibytes}m");
        let made =
            run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "planwire"]).arg(mounted.point()));
        mounted.offered(test, made)
    }

    fn prepare(in_a_file: bool) -> Self {
        sweep();
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().expect("a folder");
        // A database that does not run as root reaches what is mounted here.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).expect("a folder of ours");
        std::fs::create_dir(folder.path().join("point")).expect("a folder");
        let image = in_a_file.then(|| folder.path().join("image"));
        Self { folder, image }
    }

    fn offered(self, test: &str, made: Result<(), String>) -> Option<Self> {
        made.map_err(|why| skip(test, &format!("a file system cannot be mounted here: {why}"))).ok()?;
        Some(self)
    }

    /// Where it is mounted.
    pub(crate) fn point(&self) -> PathBuf {
        self.folder.path().join("point")
    }

    /// The processes end, and nothing that they did not flush reaches the disk any more.
    pub(crate) fn cut_power(&self, processes: &[u32]) {
        let mut python = Command::new("python3");
        python.args(["-c", CUT_POWER]).arg(self.point()).args(processes.iter().map(u32::to_string));
        run(&mut python).expect("the power is cut");
    }

    /// Writes what there is so far to the disk.
    pub(crate) fn sync(&self) {
        run(Command::new("sync").arg("--file-system").arg(self.point())).expect("it is written");
    }

    /// Mounts it anew, as after a cut. Nobody may use it.
    pub(crate) fn remount(&self) {
        run(Command::new("umount").arg(self.point())).expect("it is unmounted");
        self.mount().expect("it is mounted again");
    }

    fn mount(&self) -> Result<(), String> {
        let image = self.image.as_deref().expect("a tmpfs is not mounted again");
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(self.point()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.point());
    }
}

/// The loop device goes with its last user.
fn unmount(point: &Path) {
    if run(Command::new("umount").arg(point)).is_err() {
        // Somebody still has a file open: it vanishes for all others.
        let _ = run(Command::new("umount").arg("--lazy").arg(point));
    }
}

/// Unmounts what tests left that were killed.
fn sweep() {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    for point in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        let owner = point.split_once(PREFIX).and_then(|(_, rest)| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            unmount(Path::new(point));
            if let Some(folder) = Path::new(point).parent() {
                let _ = std::fs::remove_dir_all(folder);
            }
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said.trim().to_owned()) }
}
