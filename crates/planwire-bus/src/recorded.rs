//! A stored event together with its encoded forms, each made once and shared by all readers.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use planwire_event::StoredEvent;

use crate::counters::{Live, add};

/// The forms in which a facade frames an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameForm {
    /// Server-sent event with `event:`.
    Sse,
    /// Server-sent event without `event:`, for `onmessage`.
    SseUnnamed,
    /// Update of an A2A task: its place only.
    A2aPlain,
    /// Update of an A2A task with the event itself.
    A2aExtended,
}

const FORMS: usize = 4;

/// A stored event as readers get it. Dereferences to [`StoredEvent`].
#[derive(Debug)]
pub struct Recorded {
    event: Arc<StoredEvent>,
    /// Whether this event ended its whole tree, where the writer knows it.
    tree_ended: Option<bool>,
    /// Whether it lies in the ring, so that others may want the same forms.
    shared: bool,
    json: OnceLock<Bytes>,
    frames: [OnceLock<Bytes>; FORMS],
    counters: Arc<Live>,
}

impl Recorded {
    /// An event of the ring.
    pub(crate) fn new(event: Arc<StoredEvent>, tree_ended: Option<bool>, counters: Arc<Live>) -> Self {
        Self { event, tree_ended, shared: true, json: OnceLock::new(), frames: Default::default(), counters }
    }

    /// An event that one reader has read from the store.
    pub(crate) fn of_store(event: Arc<StoredEvent>, counters: Arc<Live>) -> Self {
        Self { shared: false, ..Self::new(event, None, counters) }
    }

    /// Whether other readers may have the same event, so that it pays to keep its encoded forms.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.shared
    }

    /// The wire form: one line of JSON.
    pub fn json(&self) -> &Bytes {
        self.json.get_or_init(|| {
            add(&self.counters.encodes, 1);
            let mut out = Vec::with_capacity(self.event.event.payload().as_str().len() + 512);
            self.event.write_json(&mut out);
            Bytes::from(out)
        })
    }

    /// The frame of `form`; `make` is called with the event and its wire form if nobody has made it yet.
    pub fn frame(&self, form: FrameForm, make: impl FnOnce(&StoredEvent, &Bytes) -> Bytes) -> &Bytes {
        self.frames[form as usize].get_or_init(|| make(&self.event, self.json()))
    }

    /// Whether the frame of `form` is made already.
    pub fn has_frame(&self, form: FrameForm) -> bool {
        self.frames[form as usize].get().is_some()
    }

    pub(crate) const fn tree_ended(&self) -> Option<bool> {
        self.tree_ended
    }

    /// Bytes that the event takes up in the ring: itself, its wire form and one frame. Frames of other forms come on
    /// top, each where readers want it at the same time.
    pub(crate) fn weight_bytes(&self) -> usize {
        3 * self.event.event.weight_bytes()
    }
}

impl Deref for Recorded {
    type Target = StoredEvent;

    fn deref(&self) -> &StoredEvent {
        &self.event
    }
}
