//! How much is measured, where, and on what machine.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::arguments::Arguments;
use crate::numbers::grouped;
use crate::raw_log;

/// Files that five thousand clients and their server hold in one process, with room to spare.
const FILES: u64 = 16_384;

/// Blocks of one row that are kept.
const ROUNDS: (usize, usize) = (5, 2);

/// How long one side of a block goes on at most, where it can stop at any event: on a slow disk fewer are measured.
pub(crate) const SIDE_MAX: Duration = Duration::from_secs(2);

/// One run of the benchmark.
pub(crate) struct Setting {
    /// What the rows run on, with as many workers as the machine has cores, as the product's own program has.
    pub(crate) runtime: Arc<Runtime>,
    quick: bool,
    against: bool,
    folder: TempDir,
    load: String,
    fdatasync_ms: f64,
    not_measured: RefCell<Vec<String>>,
}

impl Setting {
    /// Prepares a run.
    pub(crate) fn new(arguments: &Arguments) -> Result<Self> {
        let parent = arguments.folder.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
        std::fs::create_dir_all(&parent).with_context(|| format!("failed to make {}", parent.display()))?;
        let folder = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(&parent)
            .with_context(|| format!("failed to make a folder in {}", parent.display()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let fdatasync_ms = raw_log::fdatasync_ms(folder.path())?;
        let (runtime, not_measured) = (Arc::new(runtime), RefCell::default());
        let &Arguments { quick, against, .. } = arguments;
        Ok(Self { runtime, quick, against, folder, load: load(), fdatasync_ms, not_measured })
    }

    /// Where the logs lie.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Blocks of one row that are kept.
    pub(crate) const fn rounds(&self) -> usize {
        if self.quick { ROUNDS.1 } else { ROUNDS.0 }
    }

    /// How many of something, as the run is a whole one or a quick one.
    pub(crate) const fn amount(&self, whole: usize, quick: usize) -> usize {
        if self.quick { quick } else { whole }
    }

    /// Says that something is not measured, and why.
    pub(crate) fn not_measured(&self, what: impl Into<String>) {
        let what = what.into();
        println!("  not measured: {what}");
        let mut all = self.not_measured.borrow_mut();
        if !all.contains(&what) {
            all.push(what);
        }
    }

    /// What was not measured, and why.
    pub(crate) fn all_not_measured(&self) -> Vec<String> {
        self.not_measured.borrow().clone()
    }

    /// One line for people.
    pub(crate) fn describe(&self) -> String {
        let quick = if self.quick { ", quick: the figures are rough" } else { "" };
        format!(
            "{} cores, load {} at the start, append + fdatasync {:.3} ms, events of {} bytes{quick}",
            cores(),
            self.load,
            self.fdatasync_ms,
            grouped(crate::product::EVENT_BYTES as f64),
        )
    }

    /// The same for programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "cores": cores(),
            "load": self.load,
            "fdatasync_ms": self.fdatasync_ms,
            "event_bytes": crate::product::EVENT_BYTES,
            "quick": self.quick,
            "against": self.against,
            "rounds": self.rounds(),
            "version": env!("CARGO_PKG_VERSION"),
        })
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Processes that wait for a core, averaged over a minute: other work makes every figure worse.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Lets this process hold as many files as the largest burst needs, where it may.
pub(crate) fn allow_many_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < FILES) {
        let wanted = maximum.map_or(FILES, |maximum| maximum.min(FILES));
        // Where it is refused, the row that needs it says what is missing.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}
