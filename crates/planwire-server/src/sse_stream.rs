//! The body of an event stream: one reader's place in the log, written as chunks of frames.
//!
//! Everything that is pending for a client is joined into one chunk per wake-up, at most
//! [`crate::config::SSE_CHUNK_BYTES_MAX`]; the next chunk is made only when the connection has taken this one. A client
//! that does not read therefore holds one chunk and its cursor, and nothing grows with what is published
//! meanwhile. A client that is behind and reads takes larger steps through the log, as long as one of a few places for
//! that is free. Dropping the stream unsubscribes. What the frames look like is the affair of [`Frames`].

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use planwire_bus::{Batch, ReadError, Subscription};
use planwire_event::Cursor;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::{App, Closing};
use crate::config::{
    SSE_BATCH_EVENTS_MAX, SSE_CHUNK_BYTES_MAX, SSE_REPLAY_BYTES_MAX, SSE_REPLAY_CHUNK_BYTES_MAX,
    SSE_REPLAY_EVENTS_MAX,
};
use crate::sse_body;
use crate::sse_chunks::Chunks;
use crate::sse_heartbeat::Heartbeat;

/// Writes what lies next as frames.
pub(crate) trait Frames: Send + 'static {
    /// How many times as long as an event weighs ([`planwire_event::Event::weight_bytes`]) its frame is at most, but
    /// for ids that are unusually long.
    const LENGTH: usize;

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

/// A stream that was answered: its place in the log, and what is made of it and not yet written.
pub(crate) struct EventStream<F> {
    subscription: Subscription,
    frames: F,
    options: Options,
    /// Chunks that are made and not yet handed to the connection.
    chunks: Chunks,
    /// Resolves when the server shuts down. It waits as long as the stream lives, and not anew after each event.
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    heartbeat: Heartbeat,
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
    sse_body::answer(EventStream::new(subscription, frames, first, options))
}

impl<F: Frames> EventStream<F> {
    fn new(subscription: Subscription, frames: F, first: Bytes, options: Options) -> Self {
        let mut chunks = Chunks::default();
        chunks.push(first);
        chunks.finish();
        let closing = options.closing.clone();
        let heartbeat = Heartbeat::new(options.heartbeat);
        Self {
            subscription,
            frames,
            options,
            chunks,
            closing: Box::pin(async move { closing.begun().await }),
            heartbeat,
            behind: false,
            replay: None,
            finished: false,
        }
    }

    /// The next chunk; none after the end, when the server shuts down, and after an error. Whoever drops it before it
    /// is ready drops the stream, too.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the log could not be read: the stream breaks off.
    pub(crate) async fn next_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        let chunk = self.go_on().await;
        if let Err(error) = &chunk {
            tracing::error!(error = error as &dyn std::error::Error, "an event stream breaks off");
            self.finished = true;
        }
        chunk
    }

    async fn go_on(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            if self.options.closing.has_begun() {
                if self.behind {
                    // What is left would hold up the shutdown; the client resumes by its cursor.
                    self.chunks.clear();
                }
                self.finished = true;
            }
            if let Some(chunk) = self.chunks.pop() {
                self.heartbeat.put_off();
                return Ok(Some(chunk));
            }
            if self.finished || self.frames.has_ended() {
                return Ok(None);
            }
            let (events_max, bytes_max) = self.step();
            tokio::select! {
                biased;
                batch = self.subscription.next_batch(events_max, bytes_max) => self.take(&batch?).await?,
                () = &mut self.closing => self.finished = true,
                () = self.heartbeat.due() => {
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
            // So that one chunk holds it.
            None => (SSE_CHUNK_BYTES_MAX, SSE_BATCH_EVENTS_MAX, SSE_CHUNK_BYTES_MAX / F::LENGTH),
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

#[cfg(test)]
mod tests {
    use planwire_bus::{Config, EventBus, FrameForm, Log, StartAt};
    use planwire_event::{Event, EventType, Filter, IdGenerator, LogId, Payload, Producer, SystemClock};
    use planwire_store::MemoryStore;
    use tokio::sync::watch;

    use super::*;
    use crate::sse_common::CommonChunks;
    use crate::sse_frame::Native;

    fn event(ids: &IdGenerator, event_type: EventType, payload: &str) -> Event {
        let (plan, clock) = ("p".parse().unwrap(), &SystemClock as &dyn planwire_event::Clock);
        let payload = Payload::parse(payload).unwrap();
        Event::new(ids.next_id(), event_type, plan, clock.now(), payload).unwrap()
    }

    async fn bus_with_events(text_bytes: impl Iterator<Item = usize>) -> EventBus {
        let (writer, repository) = MemoryStore::open(LogId::from_random(1));
        let log = Log::open(writer, repository, Arc::new(SystemClock)).unwrap();
        let (bus, ids) = (EventBus::open(log, Config::default()).unwrap(), IdGenerator::system());
        let publisher = bus.publisher(Producer::new("test"));
        publisher.publish(event(&ids, EventType::PlanStarted, r#"{"name":"p"}"#)).await.unwrap();
        for bytes in text_bytes {
            let payload = format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes));
            publisher.publish(event(&ids, "test.note".parse().unwrap(), &payload)).await.unwrap();
        }
        bus
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_holds_one_chunk() {
        let sizes = (0..400).map(|n| (n * 7_919) % 9_000).chain([200_000, 10, 40_000]);
        let bus = bus_with_events(sizes).await;
        let subscription = bus.stream(Filter::all(), StartAt::Start).await.unwrap();
        let (_close, closing) = watch::channel(false);
        let options = Options {
            heartbeat: Duration::from_secs(3),
            closing: Closing(closing),
            replays: Arc::new(Semaphore::new(0)),
            _permit: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
        };
        let frames = Native::new(FrameForm::Sse, None, Arc::new(CommonChunks::default()));
        let mut stream = EventStream::new(subscription, frames, Bytes::from_static(b"hello\n\n"), options);
        let mut read = 0;
        while read < 405 {
            let chunk = stream.next_chunk().await.unwrap().unwrap();
            let ends = chunk.windows(2).filter(|end| *end == b"\n\n").count();
            assert!(chunk.len() <= SSE_CHUNK_BYTES_MAX || ends == 1, "{} bytes", chunk.len());
            assert_eq!(stream.chunks.pop(), None, "a second chunk waits behind one of {} bytes", chunk.len());
            read += ends;
        }
        assert_eq!(read, 405);
    }
}
