//! Working folders of trees whose documents came over the network: each has one of its own while it is open.
//!
//! They lie beside each other in one folder, named by log and root: processes of several logs may share it.
//! **Invariants:** a folder is made after the start of its tree is durable, and removed after its end is. So one whose
//! tree is not open in the log is left over, whoever made it; and nothing outside of that one folder is made or removed,
//! whatever a log says.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use planwire_bus::EventBus;
use planwire_event::{LogId, PlanId};

use crate::shared::Shared;
use crate::tool_init::scratch;

/// The working folders of the trees of one log.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// Holds them, and those of other logs.
    parent: PathBuf,
    /// The log, then those that it continues.
    logs: Vec<LogId>,
}

impl Work {
    pub(crate) fn new(parent: &Path, bus: &EventBus) -> Self {
        let logs = std::iter::once(bus.log_id()).chain(bus.lineage()).collect();
        Self { parent: parent.to_path_buf(), logs }
    }

    /// The folder of a tree that starts.
    pub(crate) fn of_new(&self, root: &PlanId) -> Option<PathBuf> {
        self.all_of(root).next()
    }

    /// The folder of a tree that goes on, which started with `recorded`, in this data folder or another; none if that
    /// was not a folder of its own.
    pub(crate) fn of_known(&self, root: &PlanId, recorded: &Path) -> Option<PathBuf> {
        self.all_of(root).find(|folder| folder.file_name() == recorded.file_name())
    }

    /// What a tree may have: a log that goes on as another one keeps the names.
    fn all_of(&self, root: &PlanId) -> impl Iterator<Item = PathBuf> {
        self.logs.iter().map(move |log| self.parent.join(format!("{log}.{root}")))
    }

    /// Makes the folder of a tree, if it is one of these and is not there. Calls of tools say what is missing where it
    /// cannot be made.
    pub(crate) async fn make(&self, folder: &Arc<Path>) {
        if folder.parent() != Some(&self.parent) {
            return;
        }
        let made = Arc::clone(folder);
        let made = blocking(move || DirBuilder::new().recursive(true).mode(0o700).create(made)).await;
        if let Err(error) = made {
            tracing::error!(folder = %folder.display(), %error, "the working folder of a plan cannot be made");
        }
    }

    /// Removes what a tree had, unless it is open. Takes as long as there is in it.
    pub(crate) async fn clear(&self, shared: &Shared, root: &PlanId) {
        let folders = self.all_of(root).filter(|folder| folder.exists()).collect::<Vec<_>>();
        if folders.is_empty() || !has_ended(shared, root).await {
            return;
        }
        for folder in folders {
            let gone = folder.clone();
            if let Err(error) = blocking(move || scratch::remove(&gone)).await {
                tracing::warn!(
                    folder = %folder.display(), %error,
                    "the working folder of a plan that has ended is not removed; trying again at the next start"
                );
            }
        }
    }

    /// Removes the folders of trees that are not open any more: their process was killed, or others ended them.
    pub(crate) async fn sweep(&self, shared: &Shared) {
        for root in self.roots() {
            self.clear(shared, &root).await;
        }
    }

    /// Roots that have a folder, of this log or another.
    fn roots(&self) -> Vec<PlanId> {
        let entries = std::fs::read_dir(&self.parent).into_iter().flatten().flatten();
        let root = |name: &str| name.split_once('.')?.1.parse().ok();
        entries.filter_map(|entry| root(entry.file_name().to_str()?)).collect()
    }
}

/// Whether the log knows a tree as one that is not open.
async fn has_ended(shared: &Shared, root: &PlanId) -> bool {
    match shared.row(root).await {
        Ok(row) => row.is_none_or(|row| !row.status.is_open()),
        Err(error) => {
            tracing::warn!(%root, %error, "it cannot be found out whether a plan is open; its working folder stays");
            false
        }
    }
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
