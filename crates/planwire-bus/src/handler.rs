//! What a subscriber gives to the bus: a function of an event, blocking or async.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::recorded::Recorded;

/// Why a handler failed with an event. It is reported and counted; the next event is handled all the same.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

type Blocking = dyn Fn(&Recorded) -> Result<(), HandlerError> + Send + Sync;
type Async = dyn Fn(Arc<Recorded>) -> BoxFuture<'static, Result<(), HandlerError>> + Send + Sync;

/// A function that is called with each event of a subscription, one call at a time, in order.
#[derive(Clone)]
pub struct Handler(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    Blocking(Arc<Blocking>),
    Async(Arc<Async>),
}

impl Handler {
    /// A function that may block: it runs on a thread of a pool for such handlers.
    pub fn blocking(call: impl Fn(&Recorded) -> Result<(), HandlerError> + Send + Sync + 'static) -> Self {
        Self(Kind::Blocking(Arc::new(call)))
    }

    /// An async function: it runs on the runtime of the handlers and must not block.
    pub fn future<F>(call: impl Fn(Arc<Recorded>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        Self(Kind::Async(Arc::new(move |event| Box::pin(call(event)))))
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Blocking(_) => "Handler::blocking",
            Kind::Async(_) => "Handler::future",
        })
    }
}
