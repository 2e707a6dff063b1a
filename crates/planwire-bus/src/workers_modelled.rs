//! The threads on which handlers run in a model: tasks of its scheduler, and no time.

use std::time::Duration;

use tokio::sync::oneshot;

pub(crate) struct Workers;

impl Workers {
    #[expect(clippy::unnecessary_wraps, reason = "the real ones may not start")]
    pub(crate) fn start(_blocking_max: usize) -> std::io::Result<Self> {
        Ok(Self)
    }

    #[expect(clippy::unused_self, reason = "the real ones have a runtime")]
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(shuttle::future::spawn(task));
    }
}

/// Runs `call` on a thread of its own, and waits for it.
pub(crate) async fn blocking(call: impl FnOnce() + Send + 'static) {
    let (ended, end) = oneshot::channel();
    shuttle::thread::spawn(move || {
        call();
        let _ = ended.send(());
    });
    let _ = end.await;
}

/// Lets others go first.
pub(crate) async fn pause(_time: Duration) {
    shuttle::future::yield_now().await;
}

/// A time that never passes: whoever hangs is found as a deadlock.
pub(crate) fn after(_time: Duration) -> (oneshot::Sender<()>, oneshot::Receiver<()>) {
    oneshot::channel()
}
