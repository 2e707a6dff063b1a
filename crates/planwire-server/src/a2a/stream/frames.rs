//! The frames of a task's stream: shared updates with what stands around them for one reader.

use std::sync::Arc;

use bytes::Bytes;
use planwire_bus::{Batch, ReadError, Recorded};
use planwire_event::{Cursor, EventType};

use super::Envelope;
use crate::a2a::fold::{About, Followed};
use crate::a2a::jsonrpc::ID_BYTES_MAX;
use crate::a2a::mapping::{self, Frame, Links, Scene};
use crate::a2a::wire::{StreamResponse, TaskState};
use crate::app::App;
use crate::sse_chunks::Chunks;
use crate::sse_stream::Frames;

/// Bytes of a frame beyond which the strictest client drops it.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a frame besides its body and the id of its request: its lines, and the rest of the envelope.
const LINES_BYTES: usize = 512;

/// How much longer a character becomes where it would break a line.
const ESCAPE_FACTOR: usize = 3;

const _: () = assert!(mapping::BODY_BYTES_MAX + ESCAPE_FACTOR * ID_BYTES_MAX + LINES_BYTES < FRAME_BYTES_MAX);

/// What stands before and after each body.
#[derive(Clone, Debug)]
pub(super) struct Around {
    before: Bytes,
    after: &'static [u8],
}

impl Around {
    pub(super) fn of(envelope: &Envelope) -> Self {
        match envelope {
            Envelope::Rest => Self { before: Bytes::new(), after: b"" },
            Envelope::JsonRpc(id) => {
                let before = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":", mapping::line(id));
                Self { before: before.into(), after: b"}" }
            }
        }
    }

    const fn is_nothing(&self) -> bool {
        self.before.is_empty()
    }
}

/// The frame of the task, with which each stream begins.
pub(super) fn first(around: &Around, cursor: Cursor, task: &StreamResponse) -> Bytes {
    let head = format!("id: {cursor}\ndata: ");
    [head.as_bytes(), &around.before, mapping::line(task).as_bytes(), around.after, b"\n\n"].concat().into()
}

/// The updates of one task for one reader.
pub(super) struct TaskFrames {
    pub(super) app: Arc<App>,
    pub(super) about: Arc<About>,
    /// How the plan stands after what was written.
    pub(super) followed: Followed,
    pub(super) around: Around,
    pub(super) extended: bool,
    pub(super) event_field: bool,
    pub(super) ends_at_interruption: bool,
    /// The bus has no more of the plan.
    pub(super) at_end: bool,
}

impl TaskFrames {
    async fn update<'a>(&self, event: &'a Recorded, state: TaskState) -> Result<&'a Bytes, ReadError> {
        let form = mapping::form(self.extended);
        let blob = if event.has_frame(form) { None } else { self.blob(event).await? };
        let scene = Scene { about: &self.about, state, links: Links::of(&self.app), blob: blob.as_deref() };
        Ok(event.frame(form, |stored, json| mapping::frame(stored, json, scene, self.extended)))
    }

    async fn blob(&self, event: &Recorded) -> Result<Option<Vec<u8>>, ReadError> {
        if *event.event.event_type() != EventType::ArtifactProduced {
            return Ok(None);
        }
        match mapping::small_blob(event) {
            Some(digest) => Ok(self.app.bus.repository().blob(digest, 0).await?),
            None => Ok(None),
        }
    }

    fn push(&self, frame: &Bytes, event_type: &EventType, chunks: &mut Chunks) {
        if self.event_field && self.around.is_nothing() {
            chunks.push(frame.clone());
            return;
        }
        let Frame { id_line, event_line, body } = Frame::of(frame, event_type);
        let event_line = if self.event_field { event_line } else { b"" };
        let Around { before, after } = &self.around;
        chunks.push_pieces(&[id_line, event_line, b"data: ", before, body, after, b"\n\n"]);
    }
}

impl Frames for TaskFrames {
    /// The update and, with our extension, the event itself.
    const LENGTH: usize = 2;

    async fn write(&mut self, batch: &Batch, chunks: &mut Chunks) -> Result<(), ReadError> {
        for event in &batch.events {
            let state = self.followed.apply(&self.app, event).await?;
            let frame = self.update(event, state).await?;
            self.push(frame, event.event.event_type(), chunks);
            if self.has_ended() {
                // What follows an interruption is not for this reader any more.
                return Ok(());
            }
        }
        self.at_end = batch.end.is_some();
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.at_end || self.followed.has_ended() || (self.ends_at_interruption && self.followed.rests())
    }

    fn heartbeat(&self, _scanned: Cursor) -> Bytes {
        // Without a cursor: some clients take a block with an id for an event, and this one has no data.
        Bytes::from_static(b": hb\n\n")
    }
}
