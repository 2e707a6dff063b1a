//! How a log in PostgreSQL is opened.

use std::time::Duration;

use planwire_event::LogId;

use crate::postgres::limits;

/// How a log in PostgreSQL is opened; the defaults are those of [`limits`].
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Id of the log if it is new; random if none.
    pub log_id: Option<LogId>,
    /// Connections that answer reads; [`limits::READERS_MAX`].
    pub readers_max: usize,
    /// How long a read waits for one of them; [`limits::READER_WAIT_MAX`].
    pub reader_wait_max: Duration,
    /// How long a session may hold the head without a word; [`limits::HEAD_HOLD_MAX`].
    pub head_hold_max: Duration,
    /// How long a statement waits for a lock; [`limits::LOCK_WAIT_MAX`].
    pub lock_wait_max: Duration,
    /// How long PostgreSQL works on one statement; [`limits::STATEMENT_MAX`].
    pub statement_max: Duration,
    /// How long an answer is waited for; [`limits::ANSWER_MAX`].
    pub answer_max: Duration,
    /// How long one look at all that is kept beside events takes; [`limits::INSPECT_MAX`].
    pub inspect_max: Duration,
    /// How long connecting may take; [`limits::CONNECT_MAX`].
    pub connect_max: Duration,
    /// How long it is tried to find out what became of a batch; [`limits::SETTLE_MAX`].
    pub settle_max: Duration,
    /// How often the head is looked at; [`limits::HEAD_POLL_INTERVAL`].
    pub head_poll_interval: Duration,
    /// From where pauses between tries to connect get their jitter: processes that lost the same server shall not
    /// come back at the same moment. The process id by default.
    pub jitter_seed: u64,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            log_id: None,
            readers_max: limits::READERS_MAX,
            reader_wait_max: limits::READER_WAIT_MAX,
            head_hold_max: limits::HEAD_HOLD_MAX,
            lock_wait_max: limits::LOCK_WAIT_MAX,
            statement_max: limits::STATEMENT_MAX,
            answer_max: limits::ANSWER_MAX,
            inspect_max: limits::INSPECT_MAX,
            connect_max: limits::CONNECT_MAX,
            settle_max: limits::SETTLE_MAX,
            head_poll_interval: limits::HEAD_POLL_INTERVAL,
            jitter_seed: u64::from(std::process::id()),
        }
    }
}
