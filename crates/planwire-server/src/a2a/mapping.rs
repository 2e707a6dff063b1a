//! One event as exactly one update of its task.
//!
//! The state in an update is that of the plan after the event, which every reader of the plan works out alike; so an
//! update is made once for each form and shared by all readers through [`planwire_bus::Recorded::frame`]. What is
//! shared is the whole frame of a REST stream; [`Frame`] finds its pieces, between which other streams put theirs.
//! **Invariant:** an update is smaller than [`BODY_BYTES_MAX`], whatever the event holds: what does not fit is given
//! by its address.

mod artifact;
mod links;
mod message;

pub(crate) use artifact::{part as artifact_part, small_blob};
pub(crate) use links::Links;
pub(crate) use message::{event_part, of_history, of_status, shortened};

use std::fmt::Write as _;

use bytes::Bytes;
use planwire_bus::FrameForm;
use planwire_event::vocabulary::ArtifactProduced;
use planwire_event::{EventType, StoredEvent};
use serde::Serialize;
use serde_json::value::RawValue;

use super::fold::{About, cut};
use super::wire::{
    Artifact, Extension, PlanEvents, StreamResponse, TaskArtifactUpdateEvent, TaskState, TaskStatus,
    TaskStatusUpdateEvent,
};
use crate::sse_frame;

/// Bytes of an update, without head and envelope. The strictest client drops lines beyond 64 KiB.
pub(crate) const BODY_BYTES_MAX: usize = 60 * 1024;

/// Bytes of an event that are sent along where our extension is active.
const EVENT_BYTES_MAX: usize = BODY_BYTES_MAX;

const ID_LINE_BYTES: usize = "id: 7Q4M2K9A-00000000000004d2\n".len();
const DATA: &str = "data: ";
const FRAME_END: &str = "\n\n";

/// What an update needs besides its event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) about: &'a About,
    /// After the event.
    pub(crate) state: TaskState,
    pub(crate) links: Links<'a>,
    /// The bytes of the event's blob, if it has a small one.
    pub(crate) blob: Option<&'a [u8]>,
}

/// The form of an update.
pub(crate) const fn form(extended: bool) -> FrameForm {
    if extended { FrameForm::A2aExtended } else { FrameForm::A2aPlain }
}

/// How much of an event an update holds; each holds less than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// With the event itself.
    Extended,
    Plain,
    /// The event itself is left out.
    WithoutEvent,
    /// Addresses in place of content.
    Short,
}

/// The frame of an event on a REST stream: `id`, `event`, `data`.
pub(crate) fn frame(stored: &StoredEvent, json: &Bytes, scene: Scene<'_>, extended: bool) -> Bytes {
    let body = body(stored, json, scene, extended);
    let mut frame = String::with_capacity(body.len() + 96);
    // A String takes every write.
    let _ = write!(frame, "id: {}\nevent: {}\n{DATA}", stored.cursor(), stored.event.event_type());
    frame.push_str(&body);
    frame.push_str(FRAME_END);
    frame.into()
}

fn body(stored: &StoredEvent, json: &Bytes, scene: Scene<'_>, extended: bool) -> String {
    let extents: &[Extent] = match extended {
        true if json.len() <= EVENT_BYTES_MAX => &[Extent::Extended, Extent::WithoutEvent, Extent::Short],
        true => &[Extent::WithoutEvent, Extent::Short],
        false => &[Extent::Plain, Extent::Short],
    };
    let mut body = String::new();
    for extent in extents {
        body = line(&update(stored, json, scene, *extent));
        if body.len() <= BODY_BYTES_MAX {
            break;
        }
    }
    body
}

fn update(stored: &StoredEvent, json: &Bytes, scene: Scene<'_>, extent: Extent) -> StreamResponse {
    let metadata = metadata(stored, json, extent);
    let (task_id, context_id) = (scene.about.plan.to_string(), scene.about.context_id.to_string());
    if *stored.event.event_type() == EventType::ArtifactProduced
        && let Some(produced) = stored.event.read::<ArtifactProduced>()
    {
        let part = match extent {
            Extent::Short => event_part(stored, scene.links),
            _ => artifact_part(&produced, &scene.about.plan, scene.links, scene.blob),
        };
        let (append, last_chunk) = (produced.append, produced.last_chunk);
        let artifact = Artifact {
            artifact_id: cut(&produced.artifact_id).to_owned(),
            name: cut(&produced.name).to_owned(),
            parts: vec![part],
        };
        return StreamResponse::ArtifactUpdate(Box::new(TaskArtifactUpdateEvent {
            task_id,
            context_id,
            artifact,
            append,
            last_chunk,
            metadata,
        }));
    }
    let message = of_status(stored, scene.about).map(|message| match extent {
        Extent::Short => shortened(message, stored, scene.links),
        _ => message,
    });
    let status = TaskStatus { state: scene.state, message, timestamp: stored.recorded_at };
    StreamResponse::StatusUpdate(Box::new(TaskStatusUpdateEvent { task_id, context_id, status, metadata }))
}

fn metadata(stored: &StoredEvent, json: &Bytes, extent: Extent) -> Extension {
    let mut plan_events = PlanEvents::at(stored.cursor(), stored.seq);
    plan_events.paused = match stored.event.event_type() {
        EventType::PauseRequested => Some(true),
        EventType::ResumeRequested => Some(false),
        _ => None,
    };
    match extent {
        Extent::Plain => {}
        Extent::Extended => {
            plan_events.event = RawValue::from_string(String::from_utf8_lossy(json).into_owned()).ok();
        }
        Extent::WithoutEvent | Extent::Short => {
            plan_events.event_id = Some(stored.event.event_id().to_string());
            plan_events.truncated = true;
        }
    }
    plan_events.into()
}

/// JSON as one line that no client breaks: the line ends of Unicode are escaped.
pub(crate) fn line(value: &impl Serialize) -> String {
    // What we write has texts as keys and no value that fails.
    let json = serde_json::to_string(value).unwrap_or_default();
    let mut line = String::with_capacity(json.len());
    sse_frame::push_line(&mut line, &json);
    line
}

/// The pieces of a frame that [`frame`] made.
pub(crate) struct Frame<'a> {
    /// `id: ..` and its line end.
    pub(crate) id_line: &'a [u8],
    /// `event: ..` and its line end.
    pub(crate) event_line: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl<'a> Frame<'a> {
    pub(crate) fn of(frame: &'a [u8], event_type: &EventType) -> Self {
        let event_line_bytes = "event: \n".len() + event_type.as_str().len();
        let (id_line, rest) = frame.split_at(ID_LINE_BYTES);
        let (event_line, rest) = rest.split_at(event_line_bytes);
        Self { id_line, event_line, body: &rest[DATA.len()..rest.len() - FRAME_END.len()] }
    }
}

#[cfg(test)]
mod tests;
