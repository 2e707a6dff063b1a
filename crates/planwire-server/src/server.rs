//! The accept loop, from binding an address to the last connection's end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use planwire_bus::{EventBus, PlanStarter};
use planwire_event::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::a2a::{A2a, RouteError};
use crate::app::{App, Closing, Gauges};
use crate::config::ServerConfig;
use crate::connection;
use crate::routes::Service;

/// First and longest wait after the operating system gave no connection, as when file descriptors are used up.
const ACCEPT_BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The first time that a `Date` can say.
const EPOCH: Timestamp = Timestamp::from_micros_clamped(0);

/// Why a server does not listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Anybody could reach the address, and the server does not know who asks.
    #[error(
        "refusing to listen on {address}: only loopback addresses can be served, since there is no identity and no TLS yet"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The machine's clock shows a time that HTTP cannot write.
    #[error(
        "refusing to answer while the machine's clock shows {now}: HTTP has no dates before 1970; set the clock"
    )]
    Clock {
        /// What it shows.
        now: Timestamp,
    },
    /// A route of the A2A facade cannot be used.
    #[error("the routes of messages cannot be used: {0}")]
    Route(#[from] RouteError),
    /// The operating system refused.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A server that listens and does not answer yet; [`Server::run`] does.
///
/// It answers on the threads of the runtime that runs it, which should have begun with [`crate::prepare_thread`].
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    close: watch::Sender<bool>,
}

impl Server {
    /// Listens on the address of `config`. Without a `starter` the server starts no plans, everything else works.
    ///
    /// # Errors
    ///
    /// [`BindError::NotLoopback`] for addresses that others could reach, [`BindError::Clock`] for a clock before 1970,
    /// [`BindError::Route`] for a route that cannot be used, [`BindError::Listen`] if the operating system refuses.
    pub async fn bind(
        mut config: ServerConfig,
        bus: EventBus,
        starter: Option<Arc<dyn PlanStarter>>,
    ) -> Result<Self, BindError> {
        let address = config.listen;
        if !address.ip().is_loopback() {
            return Err(BindError::NotLoopback { address });
        }
        let now = config.clock.now();
        if now < EPOCH {
            return Err(BindError::Clock { now });
        }
        let a2a = A2a::new(&config.a2a, now)?;
        let failed = |source| BindError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        config.a2a.url.get_or_insert_with(|| format!("http://{address}"));
        let (close, closing) = watch::channel(false);
        let app = Arc::new(App::new(config, bus, starter, a2a, Closing(closing)));
        Ok(Self { listener, address, app, close })
    }

    /// The address on which the server listens; its port is the real one also where 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the server counts; stays readable while it runs.
    #[must_use]
    pub fn gauges(&self) -> Arc<Gauges> {
        Arc::clone(&self.app.gauges)
    }

    /// Answers requests until `shutdown` resolves, then lets open ones end.
    ///
    /// Event streams end cleanly at once and resume by their cursors elsewhere or later; other requests have the time
    /// of [`crate::config::SHUTDOWN_MS`], then they are cut off. The bus is left open.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, app, close, .. } = self;
        let service = Service::new(Arc::clone(&app));
        let mut connections = JoinSet::new();
        let mut backoff = Backoff::none();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => report(ended),
                stream = accept(&listener, &mut backoff) => admit(stream, &app, &service, &mut connections),
            }
        }
        drop(listener);
        close.send_replace(true);
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(app.config.limits.shutdown, all_ended).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "connections did not end in time and are cut off"
            );
            connections.shutdown().await;
        }
    }
}

/// When to ask for a connection again after the operating system had none to give. It outlives the future that asks,
/// which is dropped whenever a connection ends.
struct Backoff {
    wait: Duration,
    until: Instant,
}

impl Backoff {
    fn none() -> Self {
        Self { wait: ACCEPT_BACKOFF.0, until: Instant::now() }
    }

    /// Waits longer each time.
    fn grow(&mut self) {
        self.until = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(ACCEPT_BACKOFF.1);
    }
}

/// The next connection.
async fn accept(listener: &TcpListener, backoff: &mut Backoff) -> TcpStream {
    loop {
        tokio::time::sleep_until(backoff.until).await;
        match listener.accept().await {
            Ok((stream, _)) => {
                backoff.wait = ACCEPT_BACKOFF.0;
                return stream;
            }
            // The client was gone before it was let in.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "failed to accept a connection");
                backoff.grow();
            }
        }
    }
}

fn admit(stream: TcpStream, app: &Arc<App>, service: &Service, connections: &mut JoinSet<()>) {
    if connections.len() >= app.config.limits.connections_max {
        app.gauges.connections_refused.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let open = Open::count(Arc::clone(&app.gauges));
    let (app, service) = (Arc::clone(app), service.clone());
    connections.spawn(async move {
        connection::serve(stream, app, service).await;
        drop(open);
    });
}

/// Counts a connection as long as it lives, however its task ends.
struct Open(Arc<Gauges>);

impl Open {
    fn count(gauges: Arc<Gauges>) -> Self {
        gauges.connections_open.fetch_add(1, Ordering::Relaxed);
        Self(gauges)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection's task panicked; only that connection is lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_a_connection_grow_up_to_a_limit() {
        let mut backoff = Backoff::none();
        let waits: Vec<_> = (0..9)
            .map(|_| {
                let wait = backoff.wait;
                backoff.grow();
                wait.as_millis()
            })
            .collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }
}
