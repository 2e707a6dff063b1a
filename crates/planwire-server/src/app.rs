//! What the routes share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use planwire_bus::{EventBus, PlanStarter, Publisher};
use planwire_event::{PlanId, Producer};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::a2a::A2a;
use crate::a2a::fold::Ledgers;
use crate::a2a::folds::Folds;
use crate::a2a::open_plans::OpenPlans;
use crate::config::{RETRY_MS, SSE_REPLAYS_MAX, STREAMS_MAX, ServerConfig};
use crate::guard::Guard;
use crate::problem::{Kind, Problem};
use crate::sse_common::CommonChunks;
use crate::states::States;

/// Who asks, as long as there is no identity; the log notes it as the producer of what comes by HTTP.
pub(crate) const PRINCIPAL: &str = "anonymous";

/// What the routes share.
pub(crate) struct App {
    pub(crate) bus: EventBus,
    pub(crate) publisher: Publisher,
    pub(crate) starter: Option<Arc<dyn PlanStarter>>,
    pub(crate) config: ServerConfig,
    pub(crate) guard: Guard,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) closing: Closing,
    /// Routes and card of the A2A facade.
    pub(crate) a2a: A2a,
    /// Tasks as they stood, for the A2A facade.
    pub(crate) folds: Folds,
    /// How the plans stand that are followed over A2A.
    pub(crate) ledgers: Ledgers,
    /// Where open plans stand, for lists of the A2A facade.
    pub(crate) open_plans: OpenPlans,
    /// Plans as they stand, for who polls them.
    pub(crate) states: States,
    streams: Arc<Semaphore>,
    /// Places for streams that are behind, see [`SSE_REPLAYS_MAX`].
    pub(crate) replays: Arc<Semaphore>,
    /// What streams were given last, for others that get the same.
    pub(crate) common: Arc<CommonChunks>,
}

/// Whether the server shuts down.
#[derive(Clone)]
pub(crate) struct Closing(pub(crate) watch::Receiver<bool>);

impl Closing {
    /// Whether the server shuts down. Costs a look at a number that nobody writes before.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Resolves when the server shuts down, also if it is simply dropped.
    pub(crate) async fn begun(&self) {
        // Waiting takes note of the change, and then there is none any more.
        let _ = self.0.clone().wait_for(|closing| *closing).await;
    }
}

/// What a server counts: for metrics, and for tests that would otherwise have to guess.
#[derive(Debug, Default)]
pub struct Gauges {
    pub(crate) connections_open: AtomicUsize,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) streams_opened: AtomicU64,
}

impl Gauges {
    /// Connections that are open now.
    pub fn connections_open(&self) -> usize {
        self.connections_open.load(Ordering::Relaxed)
    }

    /// Connections that were closed at once because too many were open.
    pub fn connections_refused(&self) -> u64 {
        self.connections_refused.load(Ordering::Relaxed)
    }

    /// Event streams that were opened so far.
    pub fn streams_opened(&self) -> u64 {
        self.streams_opened.load(Ordering::Relaxed)
    }
}

impl App {
    pub(crate) fn new(
        config: ServerConfig,
        bus: EventBus,
        starter: Option<Arc<dyn PlanStarter>>,
        a2a: A2a,
        closing: Closing,
    ) -> Self {
        Self {
            publisher: bus.publisher(Producer::new(format!("http:{PRINCIPAL}"))),
            bus,
            starter,
            guard: Guard::new(&config),
            gauges: Arc::default(),
            closing,
            a2a,
            folds: Folds::default(),
            ledgers: Ledgers::default(),
            open_plans: OpenPlans::default(),
            states: States::default(),
            streams: Arc::new(Semaphore::new(config.limits.streams_max.min(STREAMS_MAX))),
            replays: Arc::new(Semaphore::new(SSE_REPLAYS_MAX)),
            common: Arc::default(),
            config,
        }
    }

    /// Replaces values of secrets in what somebody else wants to be published about a plan; says whether there were any.
    pub(crate) fn redact(&self, plan: Option<&PlanId>, value: &mut Value) -> bool {
        self.starter.as_ref().is_some_and(|starter| starter.redact(plan, value))
    }

    /// A text about a plan without values of secrets; whether there were any.
    pub(crate) fn redacted(&self, plan: Option<&PlanId>, text: String) -> (String, bool) {
        let mut value = Value::String(text);
        let redacted = self.redact(plan, &mut value);
        match value {
            Value::String(text) => (text, redacted),
            other => (other.to_string(), redacted),
        }
    }

    /// Keeps nothing of the log that was read before: something was removed from it.
    pub(crate) fn forget(&self) {
        self.folds.forget();
        self.states.forget();
        self.common.forget();
    }

    /// A share of the streams that may be open, kept as long as the stream is.
    pub(crate) fn admit_stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            let max = self.config.limits.streams_max;
            Problem::new(
                Kind::TooManyStreams,
                format!("{max} event streams are open; pages are still served"),
            )
        })
    }

    /// Counts a stream that is opened; how many there were before.
    pub(crate) fn count_stream(&self) -> u64 {
        self.gauges.streams_opened.fetch_add(1, Ordering::Relaxed)
    }

    /// When the next stream's client shall come back: a crowd that drops at once returns spread over as long again.
    pub(crate) fn next_retry_ms(&self) -> u64 {
        /// Odd and near the golden ratio of 2^32: neighbours land far apart.
        const STEP: u64 = 2_654_435_761;
        let number = self.count_stream();
        RETRY_MS + (number.wrapping_mul(STEP) >> 16) % RETRY_MS
    }
}
