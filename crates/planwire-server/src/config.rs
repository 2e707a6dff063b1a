//! What a server is told when it starts, and its limits by name.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use planwire_event::{Clock, IdGenerator, SystemClock};

use crate::a2a::A2aConfig;

/// Port on which a server listens unless it is told otherwise.
pub const PORT: u16 = 7420;

/// Connections that may be open at a time; further ones are closed when they arrive.
pub const CONNECTIONS_MAX: usize = 20_000;

/// Event streams that may be open at a time; further ones get 503 and `Retry-After`.
pub const STREAMS_MAX: usize = 10_000;

/// Bytes of a request's head, and bytes after which a connection's write buffer takes no more.
///
/// hyper has one number for both.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header fields of a request.
pub const HEADERS_MAX: usize = 64;

/// Bytes of a request's target: path and query.
pub const URI_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Events of one publish request.
pub const PUBLISH_EVENTS_MAX: usize = 1_000;

/// Bytes of frames that are joined into one chunk of an event stream; a larger single frame is a chunk of its own.
///
/// A stream takes from the log what fits into one chunk, and the next when that is written: so this is also what a
/// client that does not read holds, and those who stand at the same place hold it together.
///
/// Over loopback a byte of a write of 32 or 64 KiB costs about half of one of 16 KiB.
pub const SSE_CHUNK_BYTES_MAX: usize = 32 * 1024;

/// Events that a stream takes from the log at a time. The smallest frame has about 350 bytes, so more would not fit
/// into a chunk.
pub const SSE_BATCH_EVENTS_MAX: usize = 96;

/// Events that a stream takes from the log at a time while it is behind and has one of [`SSE_REPLAYS_MAX`] places.
pub const SSE_REPLAY_EVENTS_MAX: usize = 512;

/// Bytes of what a stream takes so at a time.
pub const SSE_REPLAY_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a chunk of such a stream.
pub const SSE_REPLAY_CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Streams that may hold so much at a time, however many are behind; the others go on in small steps.
pub const SSE_REPLAYS_MAX: usize = 16;

/// Bytes that may be on their way to a client (`SO_SNDBUF`; Linux doubles it for its own needs).
///
/// Less than 64 KiB, one segment of the loopback device, makes the sender wait 40 ms for delayed acknowledgements:
/// 60 events of 200 KB took 13 s instead of 1.
pub const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// Bytes that the kernel may hold and not yet have sent (`TCP_NOTSENT_LOWAT`, Linux): what a client that does not
/// read costs there.
pub const UNSENT_BYTES_MAX: u32 = 16 * 1024;

/// Events of a page if the request names no limit.
pub const PAGE_EVENTS_DEFAULT: usize = 100;

/// Plans of a page if the request names no limit.
pub const PAGE_PLANS_DEFAULT: usize = 100;

/// Milliseconds within which a request's head must arrive; also how long an idle connection is kept.
pub const HEAD_READ_MS: u64 = 10_000;

/// Milliseconds within which a request's body must arrive.
pub const BODY_READ_MS: u64 = 30_000;

/// Milliseconds after which a client that takes nothing of what it is sent is cut off. It resumes by its cursor.
pub const WRITE_STALL_MS: u64 = 60_000;

/// Milliseconds without an event after which a stream sends a heartbeat.
pub const HEARTBEAT_MS: u64 = 3_000;

/// Milliseconds that open requests have to end when the server shuts down.
pub const SHUTDOWN_MS: u64 = 5_000;

/// Milliseconds after which an EventSource shall reconnect, at least; a jitter of as much again spreads a crowd.
pub const RETRY_MS: u64 = 500;

/// Seconds after which a client that got 503 shall ask again.
pub const RETRY_AFTER_S: u32 = 2;

const _: () =
    assert!(URI_BYTES_MAX < HEAD_BYTES_MAX, "a target that is too long is answered with 414, not 431");
const _: () = assert!(SSE_CHUNK_BYTES_MAX <= 32 * 1024, "what a stalled client may hold");
const _: () =
    assert!(2 * SSE_REPLAYS_MAX * SSE_REPLAY_BYTES_MAX <= 8 * 1024 * 1024, "what all replays may hold");
const _: () =
    assert!(SSE_REPLAY_BYTES_MAX > SSE_CHUNK_BYTES_MAX && SSE_REPLAY_EVENTS_MAX > SSE_BATCH_EVENTS_MAX);
const _: () = assert!(SSE_CHUNK_BYTES_MAX < SSE_REPLAY_CHUNK_BYTES_MAX);
const _: () = assert!(SSE_REPLAY_CHUNK_BYTES_MAX <= SSE_REPLAY_BYTES_MAX);
const _: () = assert!(HEARTBEAT_MS * 10 < WRITE_STALL_MS, "heartbeats find half-open connections");
const _: () = assert!(planwire_event::limits::PAYLOAD_BYTES_MAX < BODY_BYTES_MAX);

/// How a server listens and what it allows.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen. Only loopback addresses, until the server knows who asks. Default `127.0.0.1:7420`.
    pub listen: SocketAddr,
    /// Names under which the server may be asked for, besides `localhost`, `127.0.0.1` and `[::1]`; with or without
    /// port. Default none.
    pub hosts: Vec<String>,
    /// Origins of other pages that may ask, as `https://console.example`. They get no CORS headers all the same.
    /// Default none.
    pub origins: Vec<String>,
    /// Whether anybody who reaches the server may send plan documents along. Default no: only the holder of the token.
    pub allow_inline_documents: bool,
    /// What proves the same user, from the lock file. Default none.
    pub token: Option<String>,
    /// Ids of events that come without; one generator per process.
    pub ids: Arc<IdGenerator>,
    /// Time of events that come without.
    pub clock: Arc<dyn Clock>,
    /// What `/readyz` tells beside the state of the log, by name. Default none.
    pub facts: BTreeMap<String, String>,
    /// What the A2A facade says of itself, and its routes.
    pub a2a: A2aConfig,
    /// Limits and waits.
    pub limits: Limits,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            hosts: Vec::new(),
            origins: Vec::new(),
            allow_inline_documents: false,
            token: None,
            ids: Arc::new(IdGenerator::system()),
            clock: Arc::new(SystemClock),
            facts: BTreeMap::new(),
            a2a: A2aConfig::default(),
            limits: Limits::default(),
        }
    }
}

/// Limits and waits of a server; the constants of this module are the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// See [`STREAMS_MAX`].
    pub streams_max: usize,
    /// See [`HEAD_READ_MS`].
    pub head_read: Duration,
    /// See [`BODY_READ_MS`].
    pub body_read: Duration,
    /// See [`WRITE_STALL_MS`].
    pub write_stall: Duration,
    /// See [`HEARTBEAT_MS`].
    pub heartbeat: Duration,
    /// See [`SHUTDOWN_MS`].
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            streams_max: STREAMS_MAX,
            head_read: Duration::from_millis(HEAD_READ_MS),
            body_read: Duration::from_millis(BODY_READ_MS),
            write_stall: Duration::from_millis(WRITE_STALL_MS),
            heartbeat: Duration::from_millis(HEARTBEAT_MS),
            shutdown: Duration::from_millis(SHUTDOWN_MS),
        }
    }
}
