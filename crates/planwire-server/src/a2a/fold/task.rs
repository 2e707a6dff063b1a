//! The task of a fold: what it names, read from the log and written out, as far as it fits.

use std::collections::HashMap;
use std::sync::Arc;

use planwire_bus::ReadError;
use planwire_event::vocabulary::ArtifactProduced;
use planwire_event::{EventId, StoredEvent};
use planwire_store::{EventRepository, PAGE_EVENTS_MAX};
use serde::Serialize;

use super::{Artifact, TaskFold};
use crate::a2a::mapping::{self, Links};
use crate::a2a::wire::{self, Content, Lineage, Message, Part, PlanEvents, Task, TaskStatus};
use crate::app::App;

/// Blobs that are read for one task; of further ones it gives the addresses. Each is a question to the store.
const BLOBS_MAX: usize = 64;

/// Of the bytes of a task, the share that its history may take.
const HISTORY_SHARE: usize = 4;

/// How much of a task is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskView {
    /// Messages of the history, the newest; none: all that are known.
    pub(crate) history_length: Option<u32>,
    /// Whether artifacts are wanted.
    pub(crate) artifacts: bool,
    /// Bytes of the task as JSON, about. What does not fit is given by its address or left out, and the task says so.
    pub(crate) bytes_max: usize,
}

/// Events by their ids.
type Found = HashMap<EventId, Arc<StoredEvent>>;

/// Bytes that are left.
struct Room {
    bytes: usize,
    /// Blobs that may be read.
    blobs: usize,
    truncated: bool,
}

impl Room {
    const fn of(bytes: usize) -> Self {
        Self { bytes, blobs: BLOBS_MAX, truncated: false }
    }

    /// Takes `value` in if it fits.
    fn fit<T: Serialize>(&mut self, value: T) -> Option<T> {
        let bytes = mapping::line(&value).len() + 1;
        if bytes > self.bytes {
            self.truncated = true;
            return None;
        }
        self.bytes -= bytes;
        Some(value)
    }
}

impl TaskFold {
    /// The task, as `view` wants it.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`] if what it shows could not be read.
    pub(crate) async fn task(&self, app: &App, view: TaskView) -> Result<Task, ReadError> {
        let repository = &**app.bus.repository();
        let links = Links::of(app);
        let mut room = Room::of(view.bytes_max.saturating_sub(self.frame_bytes()));
        let message = self.message(repository, links, &mut room).await?;
        let history = self.history(repository, links, view.history_length, &mut room).await?;
        let artifacts = match view.artifacts {
            true => self.artifacts(repository, links, &mut room).await?,
            false => Vec::new(),
        };
        let mut plan_events = PlanEvents::at(self.cursor, self.seq);
        plan_events.truncated = room.truncated;
        plan_events.paused = self.paused.map(|_| true);
        plan_events.lineage = Some(Lineage {
            parent_plan_id: self.about.parent.as_ref().map(ToString::to_string),
            root_plan_id: self.about.root.to_string(),
            depth: self.about.depth,
        });
        Ok(Task {
            id: self.about.plan.to_string(),
            context_id: self.about.context_id.to_string(),
            status: TaskStatus { state: self.state(), message, timestamp: self.status_at },
            artifacts,
            history,
            metadata: plan_events.into(),
        })
    }

    /// Bytes of a task with nothing in it.
    fn frame_bytes(&self) -> usize {
        const REST_BYTES: usize = 1_024;
        REST_BYTES + 2 * self.about.context_id.len()
    }

    /// The message of the status: the newest open question, or else why it is paused, or else what was said last.
    async fn message(
        &self,
        repository: &dyn EventRepository,
        links: Links<'_>,
        room: &mut Room,
    ) -> Result<Option<Message>, ReadError> {
        let asked = self.questions().last().map(|question| question.event_id);
        let told = self.paused.or(self.said).map(|told| told.event_id);
        let Some(event_id) = asked.or(told) else { return Ok(None) };
        let found = read(repository, &[event_id]).await?;
        let Some(stored) = found.get(&event_id) else { return Ok(None) };
        let Some(message) = mapping::of_status(stored, &self.about) else { return Ok(None) };
        let mut half = Room::of(room.bytes / 2);
        let message = match half.fit(&message).is_some() {
            true => message,
            false => mapping::shortened(message, stored, links),
        };
        room.truncated |= half.truncated;
        Ok(room.fit(message))
    }

    async fn history(
        &self,
        repository: &dyn EventRepository,
        links: Links<'_>,
        length: Option<u32>,
        room: &mut Room,
    ) -> Result<Vec<Message>, ReadError> {
        let length = length.map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(usize::MAX));
        let mut share = Room::of(room.bytes / HISTORY_SHARE);
        let whole = share.bytes;
        let mut ids = Vec::new();
        let mut payloads = 0;
        for piece in self.history.iter().rev().take(length) {
            // What cannot fit is not read; of the newest the beginning is shown in any case.
            if payloads > whole {
                break;
            }
            payloads += piece.bytes as usize;
            ids.push(piece.event_id);
        }
        share.truncated = ids.len() < length && (self.more_history || ids.len() < self.history.len());
        let found = read(repository, &ids).await?;
        let mut messages = Vec::new();
        for stored in ids.iter().filter_map(|id| found.get(id)) {
            let Some(message) = mapping::of_history(stored, &self.about) else { continue };
            let fits = mapping::line(&message).len() < share.bytes;
            let message = if fits { message } else { mapping::shortened(message, stored, links) };
            share.truncated |= !fits;
            let Some(message) = share.fit(message) else { break };
            messages.push(message);
        }
        room.bytes -= whole - share.bytes;
        room.truncated |= share.truncated;
        messages.reverse();
        Ok(messages)
    }

    async fn artifacts(
        &self,
        repository: &dyn EventRepository,
        links: Links<'_>,
        room: &mut Room,
    ) -> Result<Vec<wire::Artifact>, ReadError> {
        room.truncated |= self.more_artifacts;
        let wanted = self.artifacts_within(room.bytes);
        let found = read(repository, &wanted).await?;
        let mut artifacts = Vec::new();
        for artifact in &self.artifacts {
            let parts = self.parts(repository, links, artifact, &found, room).await?;
            let whole = parts.and_then(|parts| room.fit(shown(artifact, parts)));
            let shown = match whole {
                Some(whole) => Some(whole),
                None => room.fit(shown(artifact, vec![self.address(artifact, links)])),
            };
            let Some(shown) = shown else { break };
            artifacts.push(shown);
        }
        Ok(artifacts)
    }

    /// The events of those artifacts that may fit into so many bytes.
    fn artifacts_within(&self, mut bytes: usize) -> Vec<EventId> {
        let mut wanted = Vec::new();
        for artifact in self.artifacts.iter().filter(|artifact| !artifact.long) {
            if let Some(rest) = bytes.checked_sub(artifact.bytes) {
                bytes = rest;
                wanted.extend(artifact.chunks.iter().map(|piece| piece.event_id));
            }
        }
        wanted
    }

    /// All parts of an artifact; none if they were not read, or are certainly too large.
    async fn parts(
        &self,
        repository: &dyn EventRepository,
        links: Links<'_>,
        artifact: &Artifact,
        found: &Found,
        room: &mut Room,
    ) -> Result<Option<Vec<Part>>, ReadError> {
        let (mut parts, mut raw_bytes) = (Vec::new(), 0);
        for piece in &artifact.chunks {
            let Some(stored) = found.get(&piece.event_id) else { return Ok(None) };
            let Some(produced) = stored.event.read::<ArtifactProduced>() else { return Ok(None) };
            let raw = match mapping::small_blob(stored) {
                Some(digest) if room.blobs > 0 => {
                    room.blobs -= 1;
                    repository.blob(digest, 0).await?
                }
                Some(_) => {
                    room.truncated = true;
                    None
                }
                None => None,
            };
            raw_bytes += raw.as_ref().map_or(0, Vec::len);
            if raw_bytes > room.bytes {
                return Ok(None);
            }
            parts.push(mapping::artifact_part(&produced, &self.about.plan, links, raw.as_deref()));
        }
        Ok((!artifact.long).then_some(parts))
    }

    /// Where the content of an artifact is that does not fit.
    fn address(&self, artifact: &Artifact, links: Links<'_>) -> Part {
        let url = match artifact.chunks[..] {
            [only] if !artifact.long => links.event(only.event_id),
            _ => links.artifacts(&self.about.plan),
        };
        Part { media_type: Some("application/json".into()), ..Content::Url(url).into() }
    }
}

fn shown(artifact: &Artifact, parts: Vec<Part>) -> wire::Artifact {
    wire::Artifact { artifact_id: artifact.id.to_string(), name: artifact.name.to_string(), parts }
}

async fn read(repository: &dyn EventRepository, ids: &[EventId]) -> Result<Found, ReadError> {
    let mut found = Found::with_capacity(ids.len());
    for some in ids.chunks(PAGE_EVENTS_MAX) {
        let events = repository.by_event_ids(some).await?;
        found.extend(events.into_iter().map(|stored| (stored.event.event_id(), stored)));
    }
    Ok(found)
}
