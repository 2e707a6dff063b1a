//! Where things are, and what the environment asks for.
//!
//! One [`Workspace`] is made at the start and passed to every command; nothing else reads the
//! environment for places.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The checkout that the commands work on.
pub(crate) struct Workspace {
    /// Folder of the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// `CI=true` or `CI=1`: whatever is skipped is a failure.
    pub(crate) ci: bool,
}

impl Workspace {
    /// Finds the checkout from the place of this package.
    pub(crate) fn locate() -> Self {
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().map_or(package.clone(), Path::to_path_buf);
        let ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
        Self { root, ci }
    }

    /// Cargo's output folder.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// Folder of the tools that these commands install.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target().join("tools")
    }

    /// Folder with one folder for each tool that pip installed.
    pub(crate) fn wheels(&self) -> PathBuf {
        self.tools().join("wheels")
    }

    /// Folder for files that the steps of a run hand to each other.
    ///
    /// # Errors
    ///
    /// If the folder can not be made.
    pub(crate) fn scratch(&self) -> Result<PathBuf> {
        let folder = self.target().join("xtask");
        std::fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
        Ok(folder)
    }

    /// A command that runs in the root folder, with the folders of installed tools first in `PATH`.
    pub(crate) fn command(&self, program: impl Into<OsString>) -> Command {
        let mut command = Command::new(program.into());
        command.current_dir(&self.root).env("PATH", self.path());
        // Cargo sets these for `cargo run`; a nested cargo must not take them for its own.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_PKG_") {
                command.env_remove(name);
            }
        }
        command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_PATH");
        if self.ci {
            // A build that is made once gains nothing from incremental files.
            command.env("CARGO_INCREMENTAL", "0");
        }
        command
    }

    /// The cargo that runs this command.
    pub(crate) fn cargo(&self) -> Command {
        self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// Finds an executable: below `target/tools` first, then on `PATH`.
    pub(crate) fn find(&self, program: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.path())
            .map(|folder| folder.join(program))
            .find(|path| is_executable(path))
    }

    fn path(&self) -> OsString {
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let wheels = std::fs::read_dir(self.wheels()).into_iter().flatten().flatten();
        let own = wheels.map(|wheel| wheel.path().join("bin"));
        let own = std::iter::once(self.tools().join("bin")).chain(own);
        let folders = own.chain(std::env::split_paths(&inherited));
        std::env::join_paths(folders).unwrap_or(inherited)
    }
}

/// Runs `command` to its end and returns what it wrote to standard output.
///
/// # Errors
///
/// If it can not be started or does not end with 0.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.stderr(Stdio::null()).output().with_context(|| format!("failed to start {name}"))?;
    ensure!(done.status.success(), "{name} ended with {}", done.status);
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}
