//! The body of an event stream: one reader's place in the log, written as chunks of frames.
//!
//! Everything that is pending for a client is joined into one chunk per wake-up, at most [`SSE_CHUNK_BYTES_MAX`];
//! the next chunk is made only when the connection has room for it. A client that does not read therefore holds a
//! bounded buffer and its cursor, and nothing grows with what is published meanwhile. A client that is behind and reads
//! takes larger steps through the log, as long as one of a few places for that is free. Dropping the stream
//! unsubscribes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use planwire_bus::{Batch, FrameForm, ReadError, Recorded, Subscription};
use planwire_event::PlanId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::app::Closing;
use crate::config::{SSE_BATCH_EVENTS_MAX, SSE_CHUNK_BYTES_MAX, SSE_REPLAY_BYTES_MAX, SSE_REPLAY_EVENTS_MAX};
use crate::sse_frame;

/// What a stream needs besides its place in the log.
pub(crate) struct Options {
    /// With `event:` or without.
    pub(crate) form: FrameForm,
    /// The plan that the stream's filter names.
    pub(crate) plan: Option<PlanId>,
    /// See [`crate::config::HEARTBEAT_MS`].
    pub(crate) heartbeat: Duration,
    /// When the client shall come back.
    pub(crate) retry_ms: u64,
    /// Says when the server shuts down.
    pub(crate) closing: Closing,
    /// Places for streams that are behind, shared by all.
    pub(crate) replays: Arc<Semaphore>,
    /// This stream's share of [`crate::config::STREAMS_MAX`].
    pub(crate) _permit: OwnedSemaphorePermit,
}

struct State {
    subscription: Subscription,
    options: Options,
    /// Chunks that are made and not yet handed to the connection.
    ready: VecDeque<Bytes>,
    heartbeat_at: Instant,
    /// The last batch was so full that more is likely to lie there already.
    behind: bool,
    /// This stream's place among those that are behind; held as long as what was taken with it.
    replay: Option<OwnedSemaphorePermit>,
    finished: bool,
}

/// Starts the body at the subscription's place.
pub(crate) fn body(
    subscription: Subscription,
    options: Options,
) -> impl Stream<Item = Result<Bytes, ReadError>> + Send {
    let hello = sse_frame::hello(subscription.scanned(), options.retry_ms);
    let heartbeat_at = Instant::now() + options.heartbeat;
    let ready = VecDeque::from([hello]);
    let (behind, replay, finished) = (false, None, false);
    let state = State { subscription, options, ready, heartbeat_at, behind, replay, finished };
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

impl State {
    /// The next chunk; none after the end, and when the server shuts down.
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            if self.replay.is_some() && self.options.closing.has_begun() {
                // What is left of a large batch would hold up the shutdown; the client resumes by its cursor.
                self.ready.clear();
                self.finished = true;
            }
            if let Some(chunk) = self.ready.pop_front() {
                self.heartbeat_at = Instant::now() + self.options.heartbeat;
                return Ok(Some(chunk));
            }
            if self.finished {
                return Ok(None);
            }
            let (events_max, bytes_max) = self.step();
            tokio::select! {
                biased;
                () = self.options.closing.begun() => self.finished = true,
                batch = self.subscription.next_batch(events_max, bytes_max) => self.take(batch?),
                () = tokio::time::sleep_until(self.heartbeat_at) => {
                    self.behind = false;
                    self.ready.push_back(sse_frame::heartbeat(self.subscription.scanned()));
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
        match self.replay {
            Some(_) => (SSE_REPLAY_EVENTS_MAX, SSE_REPLAY_BYTES_MAX),
            None => (SSE_BATCH_EVENTS_MAX, SSE_CHUNK_BYTES_MAX),
        }
    }

    fn take(&mut self, batch: Batch) {
        let form = self.options.form;
        let frames: Vec<_> = batch.events.iter().map(|event| frame(event, form)).collect();
        // Less than half a chunk is what comes of single events that are happening now.
        self.behind = frames.iter().map(Bytes::len).sum::<usize>() >= SSE_CHUNK_BYTES_MAX / 2;
        join(&frames, &mut self.ready);
        if let Some(end) = batch.end {
            self.ready.push_back(sse_frame::end(end, self.options.plan.as_ref()));
        }
        self.finished = batch.closed || batch.end.is_some();
    }
}

/// The event's frame, made once for all readers.
fn frame(event: &Arc<Recorded>, form: FrameForm) -> Bytes {
    event.frame(form, |stored, json| sse_frame::event(form, stored, json)).clone()
}

/// Joins frames into chunks. A frame that stands alone is shared, not copied.
fn join(frames: &[Bytes], ready: &mut VecDeque<Bytes>) {
    let mut rest = frames;
    while let Some(first) = rest.first() {
        let mut bytes = first.len();
        let fitting = rest[1..].iter().take_while(|frame| {
            bytes += frame.len();
            bytes <= SSE_CHUNK_BYTES_MAX
        });
        let (chunk, later) = rest.split_at(1 + fitting.count());
        ready.push_back(if chunk.len() == 1 { first.clone() } else { chunk.concat().into() });
        rest = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(frames: &[usize]) -> Vec<usize> {
        let mut ready = VecDeque::new();
        join(&frames.iter().map(|len| Bytes::from(vec![b'x'; *len])).collect::<Vec<_>>(), &mut ready);
        ready.iter().map(Bytes::len).collect()
    }

    #[test]
    fn pending_frames_become_one_chunk() {
        assert!(lengths(&[]).is_empty());
        assert_eq!(lengths(&[400]), [400]);
        assert_eq!(lengths(&[400, 500, 600]), [1500]);
    }

    #[test]
    fn chunks_are_bounded_and_keep_the_order() {
        const MAX: usize = SSE_CHUNK_BYTES_MAX;
        assert_eq!(lengths(&[MAX - 1, 1, 1]), [MAX, 1]);
        assert_eq!(lengths(&[10, MAX + 1, 20]), [10, MAX + 1, 20]);
        assert_eq!(lengths(&[MAX / 2, MAX / 2 + 1, 5]), [MAX / 2, MAX / 2 + 6]);
    }

    #[test]
    fn a_frame_that_stands_alone_is_shared() {
        let frame = Bytes::from(vec![b'x'; 100]);
        let mut ready = VecDeque::new();
        join(std::slice::from_ref(&frame), &mut ready);
        assert_eq!(ready[0].as_ptr(), frame.as_ptr());
    }
}
