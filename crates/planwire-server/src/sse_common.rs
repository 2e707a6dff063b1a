//! Chunks that several streams have in common.
//!
//! Those who follow the same plan are woken by the same event and get the same bytes. What one of them was given last
//! is therefore kept for the others: a thousand clients then share a buffer of 32 KiB, which stays in the processor's
//! cache, instead of filling one each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use planwire_bus::{FrameForm, Recorded};
use planwire_event::Position;

use crate::config::SSE_CHUNK_BYTES_MAX;

/// Chunks that are kept: some plans at a time, or one whose readers are not all at the same place. 256 KiB at most.
const KEPT_MAX: usize = 8;

const _: () = assert!(KEPT_MAX * SSE_CHUNK_BYTES_MAX <= 256 * 1024);

/// The chunks that were made last.
#[derive(Debug, Default)]
pub(crate) struct CommonChunks {
    kept: Mutex<VecDeque<Common>>,
}

#[derive(Debug)]
struct Common {
    form: FrameForm,
    /// The events in it. Readers with other filters may begin and end with the same ones.
    positions: Box<[Position]>,
    chunk: Bytes,
}

impl Common {
    fn is_of(&self, form: FrameForm, events: &[Arc<Recorded>]) -> bool {
        self.form == form && self.positions.iter().copied().eq(events.iter().map(|event| event.position))
    }
}

impl CommonChunks {
    /// The frames of `events` in one piece, as `frame` makes each of them; none if they are more than a chunk holds.
    pub(crate) fn get<'a>(
        &self,
        form: FrameForm,
        events: &'a [Arc<Recorded>],
        frame: impl Fn(&'a Recorded) -> &'a Bytes,
    ) -> Option<Bytes> {
        if let Some(known) = self.find(form, events) {
            return Some(known);
        }
        let bytes: usize = events.iter().map(|event| frame(event).len()).sum();
        if bytes > SSE_CHUNK_BYTES_MAX {
            return None;
        }
        let mut joined = Vec::with_capacity(bytes);
        events.iter().for_each(|event| joined.extend_from_slice(frame(event)));
        let positions = events.iter().map(|event| event.position).collect();
        let chunk = Bytes::from(joined);
        self.keep(Common { form, positions, chunk: chunk.clone() });
        Some(chunk)
    }

    /// Keeps nothing of what it had: something was removed from the log.
    pub(crate) fn forget(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn find(&self, form: FrameForm, events: &[Arc<Recorded>]) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().find(|common| common.is_of(form, events)).map(|common| common.chunk.clone())
    }

    fn keep(&self, common: Common) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(common);
    }
}
