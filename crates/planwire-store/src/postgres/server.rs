//! The server of a log: connects, waits with an end, and drives all connections on threads of its own.
//!
//! Callers may be on any thread, within any runtime or none: they talk with the drivers by channels.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use planwire_event::IdGenerator;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::postgres::backoff::Backoff;
use crate::postgres::options::PostgresOptions;
use crate::postgres::session::{ConnectError, Session};
use crate::postgres::url::PostgresUrl;

/// Threads that move bytes between callers and sockets.
const DRIVER_THREADS: usize = 2;

/// Bytes of a session's name.
const NAME_BYTES_MAX: usize = 63;

/// Where a log lies, and the threads that talk with it.
pub(crate) struct Server {
    pub(crate) url: PostgresUrl,
    pub(crate) options: PostgresOptions,
    /// Tells the sessions of this opening of the log from those of others.
    instance: u32,
    /// `None` only while this is dropped.
    runtime: Option<Runtime>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Server {
    pub(crate) fn start(url: PostgresUrl, options: PostgresOptions) -> std::io::Result<Arc<Self>> {
        let instance =
            u32::try_from(IdGenerator::system().next_id().as_u128() & u128::from(u32::MAX)).unwrap_or(0);
        let runtime = Builder::new_multi_thread()
            .worker_threads(DRIVER_THREADS)
            .thread_name("planwire-postgres")
            .enable_all()
            .build()?;
        Ok(Arc::new(Self { url, options, instance, runtime: Some(runtime) }))
    }

    /// What the sessions of this opening are called. PostgreSQL cuts it after 63 bytes.
    pub(crate) fn name(&self) -> String {
        let mut name = format!("planwire {:08x} {}", self.instance, self.url.schema());
        name.truncate(NAME_BYTES_MAX);
        name
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("the runtime is there until this is dropped").handle()
    }

    /// Begins a session; one try.
    pub(crate) async fn connect(&self) -> Result<Session, ConnectError> {
        self.connect_with(None, self.options.connect_max).await
    }

    /// Begins a session whose notifications go to `told`; one try.
    pub(crate) async fn connect_listening(
        &self,
        told: mpsc::Sender<String>,
    ) -> Result<Session, ConnectError> {
        self.connect_with(Some(told), self.options.connect_max).await
    }

    async fn connect_with(
        &self,
        told: Option<mpsc::Sender<String>>,
        most: Duration,
    ) -> Result<Session, ConnectError> {
        let (url, options, name) = (self.url.clone(), self.options.clone(), self.name());
        let connecting = self.handle().spawn(async move {
            let mut config = url.config().clone();
            config.application_name(name);
            let session = Session::open(&config, url.schema(), &options, told);
            tokio::time::timeout(most, session).await
        });
        match connecting.await {
            Ok(Ok(session)) => session,
            Ok(Err(_)) => Err(ConnectError::Unreachable("no answer within the time for connecting".into())),
            Err(ended) => Err(ConnectError::Unreachable(Box::new(ended))),
        }
    }

    /// Begins a session, and tries again until `deadline`, beyond which no try lasts either. A server that answers and
    /// will not have us is not asked twice.
    pub(crate) async fn connect_until(&self, deadline: Instant) -> Result<Session, ConnectError> {
        let mut backoff = Backoff::new(self.options.jitter_seed);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match self.connect_with(None, left.min(self.options.connect_max)).await {
                Ok(session) => return Ok(session),
                Err(error @ ConnectError::Unreachable(_)) => error,
                Err(error) => return Err(error),
            };
            let pause = backoff.next();
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            self.sleep(pause).await;
        }
    }

    /// Waits for `work`, but not for longer than `most`.
    pub(crate) async fn within<T>(&self, most: Duration, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(work), pin!(self.sleep(most))).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    /// Pauses, on whatever thread this is.
    pub(crate) fn sleep(&self, pause: Duration) -> tokio::time::Sleep {
        let _timers = self.handle().enter();
        tokio::time::sleep(pause)
    }
}

/// Waits for `work` on whatever thread this is.
///
/// Within a task of tokio a wait like this would spend the task's budget and then never be woken: so it has none.
pub(crate) fn wait<T>(work: impl Future<Output = T>) -> T {
    futures_executor::block_on(tokio::task::unconstrained(work))
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The last owner may be within a runtime, where waiting for another one is not allowed.
            runtime.shutdown_background();
        }
    }
}
