//! How long and how much: every wait for PostgreSQL has an end, and the ends fit each other.

use std::time::Duration;

/// Connections that answer reads.
pub const READERS_MAX: usize = 4;

/// How long a read waits for a connection while all are in use.
pub const READER_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a session may hold the head without a word; PostgreSQL then ends it, so that a process that stopped keeps
/// nobody from writing. Catching up with others between lock and append takes milliseconds.
pub const HEAD_HOLD_MAX: Duration = Duration::from_secs(3);

/// How long a statement waits for a lock, that of the head above all.
pub const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long PostgreSQL works on one statement; the largest batch and the largest page take a second.
pub const STATEMENT_MAX: Duration = Duration::from_secs(7);

/// How long an answer is waited for before the connection counts as lost; a read has all of its answers by then.
pub const ANSWER_MAX: Duration = Duration::from_secs(8);

/// How long one look at all that is kept beside events takes, which reads every document and blob.
pub const INSPECT_MAX: Duration = Duration::from_secs(3_600);

/// How long connecting may take, with all that is asked and set before the first statement.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long the writer tries to find out what became of a batch whose connection was lost, before it tells its
/// publishers that it does not know.
pub const SETTLE_MAX: Duration = Duration::from_secs(12);

/// Batches that are lost one after the other and found not to be stored, until one is refused instead of sent again: a
/// network may pass what asks for a batch, and never the batch.
pub(crate) const LOSSES_MAX: u32 = 2;

/// Pause before the first try to connect again.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(50);

/// Longest pause between two tries; a server that is back is found within it.
pub const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How often the head is looked at when no notification came: the longest that events of another process wait for a
/// reader here whose notifications are lost.
pub const HEAD_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long an opener waits for another one that migrates.
pub const MIGRATION_WAIT_MAX: Duration = Duration::from_secs(60);

/// Seconds without an answer after which a peer is probed, between probes, and probes until it counts as gone. Both
/// sides have them, so that neither waits for a machine that vanished.
pub(crate) const KEEPALIVE_SECONDS: (u64, u64, u32) = (5, 2, 3);

/// Lowest version, as `server_version_num` writes it.
pub(crate) const SERVER_VERSION_MIN: i32 = 140_000;

const _: () =
    assert!(HEAD_HOLD_MAX.as_millis() < LOCK_WAIT_MAX.as_millis(), "who waits outlives who stopped");
const _: () =
    assert!(LOCK_WAIT_MAX.as_millis() < STATEMENT_MAX.as_millis(), "a lock that is held is named as such");
const _: () = assert!(STATEMENT_MAX.as_millis() < ANSWER_MAX.as_millis(), "the server gives up first");
const _: () = assert!(
    ANSWER_MAX.as_millis() + SETTLE_MAX.as_millis() + CONNECT_MAX.as_millis() <= 25_000,
    "what waits behind a batch that is lost, and then for a connection of its own, is answered within this"
);
const _: () = assert!(BACKOFF_MAX.as_millis() < SETTLE_MAX.as_millis());
const _: () = assert!(LOCK_WAIT_MAX.as_millis() < SETTLE_MAX.as_millis());
