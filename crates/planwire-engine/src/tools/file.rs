//! `file.list`, `file.read`, `file.digest`, `file.write`: files below a root folder, and nothing outside of it.
//!
//! Every path is resolved by the kernel (`openat2` with `RESOLVE_BENEATH`), so that neither `..` nor a link nor a
//! rename at the wrong moment leads out of the root. Walks never follow links. The work is done on blocking threads,
//! looks at the request to end at each entry, and ends when its call is dropped.
//!
//! - `root`: the root folder; opening what lies below it.
//! - `walk`: folder by folder, in the order of names.
//! - `list`, `read`, `digest`, `write`: the tools.

mod digest;
mod list;
mod reach;
mod read;
mod root;
mod walk;
mod write;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

pub use digest::DigestFiles;
pub use list::List;
pub use read::Read;
pub use root::DEPTH_MAX;
pub use walk::ENTRIES_MAX;
pub use write::Write;

use crate::stop::Stop;
use crate::tool::{Argument, ToolContext, ToolError, ToolOutput};

/// Paths of things that could not be read that a tool names; their number is always exact.
const UNREADABLE_NAMED_MAX: usize = 100;

const ROOT: Argument = Argument::required("root", "path", "the folder that nothing leads out of");

// Of tools that take a file, or the files of a folder.
const PATH: Argument =
    Argument::optional("path", "path", "the file or folder, below the root; default: the root");
const EXTENSIONS: Argument =
    Argument::optional("extensions", "list of texts", "of a folder, only files with one of these");
const SKIP: Argument = Argument::optional("skip", "list of texts", "of a folder, names that are passed over");

/// Tells work on a blocking thread that nobody waits for it any more.
#[derive(Clone)]
struct Attention {
    stop: Stop,
    dropped: Arc<AtomicBool>,
}

impl Attention {
    /// Fails if the work should end.
    fn check(&self) -> Result<(), ToolError> {
        if self.dropped.load(Ordering::Relaxed) || self.stop.requested() {
            return Err(ToolError::stopped());
        }
        Ok(())
    }
}

/// A reader that fails when the work should end.
struct Watched<'a, R> {
    source: R,
    attention: &'a Attention,
}

impl<R: io::Read> io::Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.attention.check().map_err(io::Error::other)?;
        self.source.read(buffer)
    }
}

/// Sets its flag when the call that waits is dropped.
struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` on a blocking thread.
async fn blocking(
    context: ToolContext,
    work: impl FnOnce(&ToolContext, &Attention) -> Result<ToolOutput, ToolError> + Send + 'static,
) -> Result<ToolOutput, ToolError> {
    let guard = OnDrop(Arc::default());
    let attention = Attention { stop: context.stop.clone(), dropped: Arc::clone(&guard.0) };
    match tokio::task::spawn_blocking(move || work(&context, &attention)).await {
        Ok(result) => result,
        Err(error) => Err(ToolError::new("failed", format!("the tool ended unexpectedly: {error}"))),
    }
}

/// Paths that could not be read: the first ones by name, all by number.
#[derive(Default)]
struct Unreadable {
    paths: Vec<String>,
    count: u64,
}

impl Unreadable {
    fn add(&mut self, path: String) {
        self.count += 1;
        if self.paths.len() < UNREADABLE_NAMED_MAX {
            self.paths.push(path);
        }
    }

    fn into_value(self) -> Value {
        self.paths.into()
    }
}
