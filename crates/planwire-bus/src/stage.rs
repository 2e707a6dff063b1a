//! What runs the tasks of handlers: threads of their own, or whoever takes the steps of a bus that has none.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::workers;

/// Runs the tasks of handlers in place of threads, as a simulation does.
#[doc(hidden)]
pub trait Stage: Send + Sync {
    /// Runs a task from now on.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs a call that may block, and waits for it.
    fn blocking(&self, call: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;

    /// Waits.
    fn pause(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// Where the handlers of a bus run.
#[derive(Clone)]
pub(crate) enum Crew {
    /// On threads, which the first handler starts.
    Threads,
    /// On somebody's stage.
    Stage(Arc<dyn Stage>),
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Threads => "Crew::Threads",
            Self::Stage(_) => "Crew::Stage",
        })
    }
}

impl Crew {
    /// Runs a call that may block, and waits for it. Called by a task of the crew.
    pub(crate) async fn blocking(&self, call: impl FnOnce() + Send + 'static) {
        match self {
            Self::Threads => workers::blocking(call).await,
            Self::Stage(stage) => stage.blocking(Box::new(call)).await,
        }
    }

    /// Waits. Called by a task of the crew.
    pub(crate) async fn pause(&self, time: Duration) {
        match self {
            Self::Threads => workers::pause(time).await,
            Self::Stage(stage) => stage.pause(time).await,
        }
    }
}
