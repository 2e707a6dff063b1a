//! The threads on which handlers run: a runtime of their own, never the server's.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

/// Threads that drive async handlers and the tasks of all handlers.
const RUNTIME_THREADS: usize = 2;

/// A runtime. Dropping it, also within another one, leaves calls that run behind.
pub(crate) struct Workers {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Workers {
    /// Starts it, with at most `blocking_max` threads for calls that block.
    pub(crate) fn start(blocking_max: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .max_blocking_threads(blocking_max)
            .thread_name("planwire-handlers")
            .enable_time()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // A runtime must not be dropped within another one the blocking way.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `call` on a thread for calls that block, and waits for it. Called by a task of [`Workers`].
pub(crate) async fn blocking(call: impl FnOnce() + Send + 'static) {
    // Only the runtime's end cancels it, and then nobody waits here.
    let _ = tokio::task::spawn_blocking(call).await;
}

/// Waits. Called by a task of [`Workers`].
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Tells when `time` has passed, unless the sender is dropped before. On a thread of its own: the caller's runtime may
/// have no timer, and a handler that blocks may hold that of the handlers.
pub(crate) fn after(time: Duration) -> (Sender<()>, oneshot::Receiver<()>) {
    let ((needed, waits), (passed, limit)) = (channel(), oneshot::channel());
    let thread = std::thread::Builder::new().name("planwire-drain".into()).spawn(move || {
        if waits.recv_timeout(time).is_err() {
            let _ = passed.send(());
        }
    });
    if let Err(error) = thread {
        tracing::warn!(%error, "no thread could be started; handlers are not waited for");
    }
    (needed, limit)
}
