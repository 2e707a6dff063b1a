//! The body of an event stream: one reader's place in the log, written as chunks of frames.
//!
//! Everything that is pending for a client is joined into one chunk per wake-up, at most
//! [`crate::config::SSE_CHUNK_BYTES_MAX`]; the next chunk is made only when the connection has room for it. A client
//! that does not read therefore holds a bounded buffer and its cursor, and nothing grows with what is published
//! meanwhile. A client that is behind and reads takes larger steps through the log, as long as one of a few places for
//! that is free. Dropping the stream unsubscribes. What the frames look like is the affair of [`Frames`].

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use planwire_bus::{Batch, ReadError, Subscription};
use planwire_event::Cursor;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::app::{App, Closing};
use crate::config::{
    SSE_BATCH_EVENTS_MAX, SSE_CHUNK_BYTES_MAX, SSE_REPLAY_BYTES_MAX, SSE_REPLAY_CHUNK_BYTES_MAX,
    SSE_REPLAY_EVENTS_MAX,
};
use crate::sse_chunks::Chunks;

/// Writes what lies next as frames.
pub(crate) trait Frames: Send + 'static {
    /// Adds the frames of `batch` to `chunks`.
    fn write(
        &mut self,
        batch: &Batch,
        chunks: &mut Chunks,
    ) -> impl Future<Output = Result<(), ReadError>> + Send;

    /// Whether nothing follows what was written.
    fn has_ended(&self) -> bool;

    /// Shows that the connection lives, and that everything up to `scanned` was looked at.
    fn heartbeat(&self, scanned: Cursor) -> Bytes;
}

/// What a stream needs besides its place in the log.
pub(crate) struct Options {
    /// See [`crate::config::HEARTBEAT_MS`].
    heartbeat: Duration,
    /// Says when the server shuts down.
    closing: Closing,
    /// Places for streams that are behind, shared by all.
    replays: Arc<Semaphore>,
    /// This stream's share of [`crate::config::STREAMS_MAX`].
    _permit: OwnedSemaphorePermit,
}

impl Options {
    pub(crate) fn of(app: &App, permit: OwnedSemaphorePermit) -> Self {
        Self {
            heartbeat: app.config.limits.heartbeat,
            closing: app.closing.clone(),
            replays: Arc::clone(&app.replays),
            _permit: permit,
        }
    }
}

struct State<F> {
    subscription: Subscription,
    frames: F,
    options: Options,
    /// Chunks that are made and not yet handed to the connection.
    chunks: Chunks,
    heartbeat_at: Instant,
    /// The last batch was so full that more is likely to lie there already.
    behind: bool,
    /// This stream's place among those that are behind; held as long as what was taken with it.
    replay: Option<OwnedSemaphorePermit>,
    finished: bool,
}

/// Answers with a stream that begins with `first` and goes on at the subscription's place.
pub(crate) fn answer(
    subscription: Subscription,
    frames: impl Frames,
    first: Bytes,
    options: Options,
) -> Response {
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        // no-transform: a proxy that compresses would hold frames back; nginx buffers unless it is told not to.
        (header::CACHE_CONTROL.as_str(), "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ];
    (headers, Body::from_stream(body(subscription, frames, first, options))).into_response()
}

fn body(
    subscription: Subscription,
    frames: impl Frames,
    first: Bytes,
    options: Options,
) -> impl Stream<Item = Result<Bytes, ReadError>> + Send {
    let heartbeat_at = Instant::now() + options.heartbeat;
    let mut chunks = Chunks::default();
    chunks.push(first);
    chunks.finish();
    let (behind, replay, finished) = (false, None, false);
    let state = State { subscription, frames, options, chunks, heartbeat_at, behind, replay, finished };
    futures_util::stream::unfold(state, |mut state| async move {
        let chunk = state.next_chunk().await.transpose()?;
        if let Err(error) = &chunk {
            tracing::error!(error = error as &dyn std::error::Error, "an event stream breaks off");
            state.finished = true;
            // The connection is dropped at once with an error; what it was given before goes out first.
            tokio::task::yield_now().await;
        }
        Some((chunk, state))
    })
}

impl<F: Frames> State<F> {
    /// The next chunk; none after the end, and when the server shuts down.
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            if self.replay.is_some() && self.options.closing.has_begun() {
                // What is left of a large batch would hold up the shutdown; the client resumes by its cursor.
                self.chunks.clear();
                self.finished = true;
            }
            if let Some(chunk) = self.chunks.pop() {
                self.heartbeat_at = Instant::now() + self.options.heartbeat;
                return Ok(Some(chunk));
            }
            if self.finished || self.frames.has_ended() {
                return Ok(None);
            }
            let (events_max, bytes_max) = self.step();
            tokio::select! {
                biased;
                () = self.options.closing.begun() => self.finished = true,
                batch = self.subscription.next_batch(events_max, bytes_max) => self.take(&batch?).await?,
                () = tokio::time::sleep_until(self.heartbeat_at) => {
                    self.behind = false;
                    self.chunks.push(self.frames.heartbeat(self.subscription.scanned()));
                    self.chunks.finish();
                }
            }
        }
    }

    /// How much the next batch may hold, in events and bytes.
    fn step(&mut self) -> (usize, usize) {
        if !self.behind {
            self.replay = None;
        } else if self.replay.is_none() {
            self.replay = Arc::clone(&self.options.replays).try_acquire_owned().ok();
        }
        let (chunk_bytes_max, events_max, bytes_max) = match self.replay {
            Some(_) => (SSE_REPLAY_CHUNK_BYTES_MAX, SSE_REPLAY_EVENTS_MAX, SSE_REPLAY_BYTES_MAX),
            None => (SSE_CHUNK_BYTES_MAX, SSE_BATCH_EVENTS_MAX, SSE_CHUNK_BYTES_MAX),
        };
        self.chunks.grow_to(chunk_bytes_max);
        (events_max, bytes_max)
    }

    async fn take(&mut self, batch: &Batch) -> Result<(), ReadError> {
        let before = self.chunks.bytes_added();
        self.frames.write(batch, &mut self.chunks).await?;
        self.chunks.finish();
        // Less than half a chunk is what comes of single events that are happening now.
        self.behind = self.chunks.bytes_added() - before >= SSE_CHUNK_BYTES_MAX / 2;
        self.finished = batch.closed;
        Ok(())
    }
}
