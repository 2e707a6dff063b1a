//! How tools start programs: which executable supervises them, within which limits and which sandbox.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::tool_init::message::{Inside, Launch};
use crate::tool_init::probe::Asked;
use crate::tool_init::{NAME, OWN_EXECUTABLE, PROBE, SUPERVISE};

pub use crate::tool_init::containment::{Containment, UnknownContainment};
pub use crate::tool_init::limits::{
    CPU_S_MAX, FILE_BYTES_MAX, FILES_MAX, Limits, MEMORY_BYTES_MAX, PROCESSES_MAX,
};
pub use crate::tool_init::probe::Found;
pub use crate::tool_init::sandbox::Sandbox;

/// How a [`Launcher`] starts programs.
#[derive(Clone, Debug)]
pub struct LauncherConfig {
    /// An executable that begins with [`intercept`](crate::tool_init::intercept). Default: the one of this process.
    pub executable: PathBuf,
    /// What each program may use, with all that it starts. Default: [`Limits::default`].
    pub limits: Limits,
    /// What it may touch, beside what each call says. Default: everything that its user may.
    pub sandbox: Option<Sandbox>,
    /// How its descendants are ended. Default: by the first of [`Containment::ALL`] that can be had.
    pub containment: Option<Containment>,
    /// Where each call gets a folder for temporary files. Default: that of the system.
    pub temporary: PathBuf,
}

impl Default for LauncherConfig {
    fn default() -> Self {
        Self {
            executable: OWN_EXECUTABLE.into(),
            limits: Limits::default(),
            sandbox: None,
            containment: None,
            temporary: std::env::temp_dir(),
        }
    }
}

/// Starts programs below a supervisor. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Launcher {
    config: Arc<LauncherConfig>,
}

/// Why programs cannot be started as the configuration asks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The executable does not do what is expected.
    #[error("the executable that supervises programs does not answer")]
    NoAnswer(#[source] io::Error),
    /// The containment that is asked for cannot be had.
    #[error("no {asked} can be had here: {why}")]
    NoContainment {
        /// What is asked for.
        asked: String,
        /// What the system says.
        why: String,
    },
    /// The sandbox that is asked for cannot be had.
    #[error("the kernel has no Landlock, which the sandbox of tools needs")]
    NoSandbox,
}

impl Launcher {
    /// Starts nothing yet.
    #[must_use]
    pub fn new(config: LauncherConfig) -> Self {
        Self { config: Arc::new(config) }
    }

    /// Whether programs are put into a sandbox, as far as the kernel has one.
    #[must_use]
    pub fn is_sandboxed(&self) -> bool {
        self.config.sandbox.is_some()
    }

    /// Finds out what can be had here. Also removes what supervisors left behind that were killed.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] if what the configuration asks for cannot be had.
    pub async fn probe(&self) -> Result<Found, ProbeError> {
        let asked = self.config.containment;
        let temporary = self.config.temporary.clone();
        let answer =
            self.ask(&Asked { containment: asked, temporary }).await.map_err(ProbeError::NoAnswer)?;
        let found = answer.map_err(|why| ProbeError::NoContainment {
            asked: asked.map_or_else(|| "containment".into(), |asked| asked.to_string()),
            why,
        })?;
        let required = self.config.sandbox.as_ref().is_some_and(|sandbox| sandbox.required);
        if required && found.landlock.is_none() { Err(ProbeError::NoSandbox) } else { Ok(found) }
    }

    async fn ask(&self, asked: &Asked) -> io::Result<Result<Found, String>> {
        let mut command = Command::new(&self.config.executable);
        command.args([NAME, PROBE]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&serde_json::to_vec(asked)?).await?;
        }
        Ok(serde_json::from_slice(&child.wait_with_output().await?.stdout)?)
    }

    /// What all launches have in common; what they start may write below `folder`.
    pub(crate) fn launch(&self, folder: &Path, grace: Duration) -> Launch {
        let mut sandbox = self.config.sandbox.clone();
        // Whoever works in the root of all files has not chosen a folder to work in.
        if let Some(sandbox) = &mut sandbox
            && folder != Path::new("/")
        {
            sandbox.writable.insert(folder.into());
            sandbox.own =
                sandbox.work.as_deref().filter(|work| folder.parent() == Some(work)).map(|_| folder.into());
        }
        Launch {
            argv: Vec::new(),
            env: Vec::new(),
            limits: self.config.limits,
            sandbox,
            containment: self.config.containment,
            temporary: self.config.temporary.clone(),
            grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
            inside: Inside::default(),
        }
    }

    /// Starts a supervisor, which waits for its launch.
    pub(crate) fn supervise(&self) -> io::Result<(Child, UnixStream)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        let mut command = Command::new(&self.config.executable);
        command
            .args([NAME, SUPERVISE])
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        Ok((command.spawn()?, ours))
    }
}
