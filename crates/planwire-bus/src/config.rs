//! The limits of a bus, each with its reason.

/// Bytes of events that may wait for the writer. Publishers wait when it is reached; nothing is dropped.
pub const INFLIGHT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of one request: what is stored all or not at all.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that a request counts for at least, so that empty ones are bounded too.
pub(crate) const REQUEST_BYTES_MIN: usize = 512;

/// Events of one request.
pub const REQUEST_EVENTS_MAX: usize = 1_000;

/// Events that share a commit. At this size the cost of the commit itself has vanished among that of the rows, and
/// no caller waits for more than some milliseconds of other people's rows.
pub const BATCH_EVENTS_MAX: usize = 1_024;

/// Bytes of events that the tail ring keeps, with their frames.
pub const RING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Plans whose state the writer keeps in memory; others are read from the store when an event names them.
pub(crate) const PLANS_CACHED_MAX: usize = 50_000;

/// Calls of blocking handlers that run at a time, each on a thread of its own. Calls beyond it wait and are counted.
pub const BLOCKING_HANDLERS_MAX: usize = 64;

/// Milliseconds that a shutdown waits for handlers to reach the end of the log.
pub const HANDLERS_DRAIN_MS_MAX: u64 = 5_000;

const _: () = assert!(REQUEST_BYTES_MAX < INFLIGHT_BYTES_MAX, "one request must get its permits");
const _: () = assert!(REQUEST_EVENTS_MAX <= BATCH_EVENTS_MAX);
const _: () = assert!(REQUEST_BYTES_MAX < RING_BYTES_MAX);
const _: () = assert!(INFLIGHT_BYTES_MAX < u32::MAX as usize, "permits are counted in u32");
const _: () = assert!(planwire_event::limits::PAYLOAD_BYTES_MAX < REQUEST_BYTES_MAX);

/// What a bus may use.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of events that may wait for the writer; [`INFLIGHT_BYTES_MAX`].
    pub inflight_bytes_max: usize,
    /// Bytes that the tail ring keeps; [`RING_BYTES_MAX`].
    pub ring_bytes_max: usize,
    /// Events that share a commit; [`BATCH_EVENTS_MAX`].
    pub batch_events_max: usize,
    /// Calls of blocking handlers at a time; [`BLOCKING_HANDLERS_MAX`].
    pub blocking_handlers_max: usize,
    /// Milliseconds that a shutdown waits for handlers; [`HANDLERS_DRAIN_MS_MAX`].
    pub handlers_drain_ms_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            inflight_bytes_max: INFLIGHT_BYTES_MAX,
            ring_bytes_max: RING_BYTES_MAX,
            batch_events_max: BATCH_EVENTS_MAX,
            blocking_handlers_max: BLOCKING_HANDLERS_MAX,
            handlers_drain_ms_max: HANDLERS_DRAIN_MS_MAX,
        }
    }
}
