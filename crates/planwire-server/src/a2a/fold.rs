//! What the events of a plan add up to as an A2A task.
//!
//! The fold keeps names, never content: what a task shows is read from the log when it is shown, so that a fold is
//! small, cheap to clone, and can be kept for many places of many plans. An event goes in as a [`Step`], the part of
//! it that matters here. **Invariant:** a fold is total, and the same steps give the same fold whoever applies them.

mod followed;
mod ledger;
mod standing;
mod step;
mod task;
#[cfg(test)]
mod tests;

pub(crate) use followed::{Followed, Settled};
pub(crate) use ledger::Ledgers;
pub(crate) use standing::{Counts, OpenQuestion, Standing, Turn};
pub(crate) use step::{Change, Chunk, Step, cut};
pub(crate) use task::TaskView;

use std::collections::VecDeque;
use std::sync::Arc;

use planwire_event::{Cursor, EventId, LogId, PlanId, Position, Seq, Timestamp};
use planwire_store::PlanRow;

use super::wire::TaskState;

/// Messages of the history that a fold knows, the newest.
pub(crate) const HISTORY_MAX: usize = 100;

/// Artifacts that a fold knows; a task with more says that it is truncated.
pub(crate) const ARTIFACTS_MAX: usize = 500;

/// Chunks that a fold knows of one artifact; a longer one is shown by its address only.
pub(crate) const CHUNKS_MAX: usize = 4_000;

/// What never changes about a plan.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) plan: PlanId,
    pub(crate) context_id: Arc<str>,
    /// Name of its document.
    pub(crate) name: String,
    pub(crate) root: PlanId,
    pub(crate) parent: Option<PlanId>,
    pub(crate) depth: u32,
    /// Before its PlanStarted.
    pub(crate) before: Position,
}

impl From<PlanRow> for About {
    fn from(row: PlanRow) -> Self {
        Self {
            plan: row.plan_id,
            context_id: cut(&row.context_id).into(),
            name: cut(&row.name).to_owned(),
            root: row.root_plan_id,
            parent: row.parent_plan_id,
            depth: row.depth,
            before: row.first_position.previous(),
        }
    }
}

/// One artifact, by the events that made it.
#[derive(Clone, Debug)]
struct Artifact {
    id: Arc<str>,
    /// A file name or title, cut.
    name: Arc<str>,
    chunks: Vec<Piece>,
    /// Payload bytes of all its chunks.
    bytes: usize,
    /// It has more chunks than are known.
    long: bool,
}

/// An event that a task shows, or a part of one.
#[derive(Clone, Copy, Debug)]
struct Piece {
    event_id: EventId,
    /// Of its payload.
    bytes: u32,
}

/// One plan as an A2A task, after some event of it.
#[derive(Clone, Debug)]
pub(crate) struct TaskFold {
    about: Arc<About>,
    standing: Standing,
    cursor: Cursor,
    seq: Seq,
    status_at: Timestamp,
    /// The request that it begin nothing new, while it is paused.
    paused: Option<Piece>,
    /// The last event with a message for people.
    said: Option<Piece>,
    /// Events that are messages of the history, oldest first.
    history: VecDeque<Piece>,
    /// Messages of the history were forgotten.
    more_history: bool,
    artifacts: Vec<Arc<Artifact>>,
    /// Artifacts were left out.
    more_artifacts: bool,
}

impl TaskFold {
    /// The plan before its first event.
    pub(crate) fn new(about: Arc<About>, log_id: LogId) -> Self {
        Self {
            cursor: Cursor { log_id, position: about.before },
            about,
            standing: Standing::default(),
            seq: Seq::ZERO,
            status_at: Timestamp::from_micros_clamped(0),
            paused: None,
            said: None,
            history: VecDeque::new(),
            more_history: false,
            artifacts: Vec::new(),
            more_artifacts: false,
        }
    }

    /// Takes in the next event of the plan.
    pub(crate) fn apply(&mut self, step: &Step) {
        self.cursor.position = step.position;
        self.seq = step.seq;
        self.status_at = step.recorded_at;
        let piece = Piece { event_id: step.event_id, bytes: step.bytes };
        match &step.change {
            Change::None => {}
            Change::Started => self.remember(piece),
            Change::Said => self.said = Some(piece),
            Change::Chunk(chunk) => self.add_chunk(chunk, piece),
            Change::Turned(turn) => self.turn(turn, piece),
            Change::Paused => {
                self.paused.get_or_insert(piece);
            }
            Change::Resumed => (self.paused, self.said) = (None, Some(piece)),
        }
    }

    fn turn(&mut self, turn: &Turn, piece: Piece) {
        self.standing.apply(turn);
        match turn {
            Turn::None => {}
            Turn::Asked(_) => {
                self.said = Some(piece);
                self.remember(piece);
            }
            Turn::Closed { answered: true, .. } => {
                self.said = None;
                self.remember(piece);
            }
            Turn::Closed { answered: false, .. } => self.said = Some(piece),
            Turn::Ended(_) => (self.paused, self.said) = (None, Some(piece)),
        }
    }

    fn remember(&mut self, piece: Piece) {
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
            self.more_history = true;
        }
        self.history.push_back(piece);
    }

    fn add_chunk(&mut self, chunk: &Chunk, piece: Piece) {
        let place = self.artifacts.iter().rposition(|artifact| artifact.id == chunk.artifact_id);
        let artifact = match place {
            Some(place) => Arc::make_mut(&mut self.artifacts[place]),
            None if self.artifacts.len() == ARTIFACTS_MAX => {
                self.more_artifacts = true;
                return;
            }
            None => {
                let (id, name) = (Arc::clone(&chunk.artifact_id), Arc::clone(&chunk.name));
                let chunks = Vec::new();
                self.artifacts.push(Arc::new(Artifact { id, name, chunks, bytes: 0, long: false }));
                let last = self.artifacts.len() - 1;
                Arc::make_mut(&mut self.artifacts[last])
            }
        };
        if !chunk.append {
            artifact.name = Arc::clone(&chunk.name);
            (artifact.bytes, artifact.long) = (0, false);
            artifact.chunks.clear();
        }
        artifact.bytes += piece.bytes as usize;
        if artifact.chunks.len() < CHUNKS_MAX {
            artifact.chunks.push(piece);
        } else {
            artifact.long = true;
        }
    }

    /// The plan in the eyes of one whose message has answered `settled`: the same, but for that question.
    pub(crate) fn without(self: &Arc<Self>, settled: &Settled) -> Arc<Self> {
        let Some(question) = self.questions().iter().find(|question| settled.is(question)) else {
            return Arc::clone(self);
        };
        let mut fold = (**self).clone();
        if fold.said.is_some_and(|said| said.event_id == question.event_id) {
            fold.said = None;
        }
        let request_id = Arc::clone(&question.request_id);
        fold.standing.apply(&Turn::Closed { request_id, answered: true });
        Arc::new(fold)
    }

    pub(crate) const fn about(&self) -> &Arc<About> {
        &self.about
    }

    pub(crate) const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The state of the task after the last event.
    pub(crate) fn state(&self) -> TaskState {
        self.standing.counts().state()
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.state().is_terminal()
    }

    /// The last event's place in the log: a stream from here goes on where this fold ends.
    pub(crate) const fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The last event's place in the plan.
    pub(crate) const fn seq(&self) -> Seq {
        self.seq
    }

    /// Open questions, oldest first.
    pub(crate) fn questions(&self) -> &[Arc<OpenQuestion>] {
        self.standing.questions()
    }

    /// Bytes that the fold takes up, what it shares with others included.
    pub(crate) fn weight_bytes(&self) -> usize {
        const REST_BYTES: usize = 512;
        let questions: usize = self
            .questions()
            .iter()
            .map(|question| size_of::<OpenQuestion>() + question.request_id.len())
            .sum();
        let artifacts: usize = self
            .artifacts
            .iter()
            .map(|artifact| {
                let texts = artifact.id.len() + artifact.name.len();
                size_of::<Artifact>() + texts + artifact.chunks.capacity() * size_of::<Piece>()
            })
            .sum();
        REST_BYTES + questions + artifacts + self.history.capacity() * size_of::<Piece>()
    }
}
