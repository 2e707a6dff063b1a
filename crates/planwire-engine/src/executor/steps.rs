//! Where each step of a running plan stands.

use std::collections::HashMap;

use planwire_event::PlanId;
use serde_json::Value;

use super::values::{Member, Seen};
use crate::document::model::{Step, StepKind};
use crate::output::size;
use crate::stop::Stopper;

/// Bytes of JSON that the results of all steps of one plan may add up to.
pub const STATE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where one step stands.
#[derive(Debug)]
pub(super) enum State {
    /// It waits for other steps, or for room.
    Waiting,
    /// It waits for room to make this attempt.
    Due(u32),
    /// A call runs; the stopper ends it.
    Calling(Stopper),
    /// A pause before the next attempt runs; the stopper ends it.
    Pausing(Stopper),
    /// A question is open; the stopper withdraws it.
    Asking(Stopper),
    /// Subplans run, or wait for room.
    Spawning(Children),
    /// Nothing more comes of it.
    Done,
}

/// The subplans of one step.
#[derive(Debug)]
pub(super) struct Children {
    /// What they are for; `None`: one subplan, for nothing in particular.
    pub(super) items: Option<Vec<Value>>,
    /// The next to spawn.
    pub(super) next: usize,
    /// Those that run.
    pub(super) running: HashMap<PlanId, Stopper>,
    /// Results by index; null until there is one.
    pub(super) outputs: Vec<Value>,
    /// The last failure from which a decision recovered.
    pub(super) recovered: Option<Value>,
}

impl Children {
    pub(super) fn new(items: Option<Vec<Value>>) -> Self {
        let count = items.as_ref().map_or(1, Vec::len);
        let outputs = vec![Value::Null; count];
        Self { items, next: 0, running: HashMap::new(), outputs, recovered: None }
    }

    pub(super) fn all_spawned(&self) -> bool {
        self.next >= self.outputs.len()
    }

    /// What the step gave, once every subplan is done.
    pub(super) fn into_seen(mut self) -> Seen {
        let result = match self.items {
            Some(_) => Value::Array(self.outputs),
            None => self.outputs.pop().unwrap_or_default(),
        };
        match self.recovered {
            Some(error) => Seen::Recovered(result, error),
            None => Seen::Ok(result),
        }
    }
}

impl State {
    /// Calls and subplans that run. A question takes no place: people may take their time.
    pub(super) fn running(&self) -> usize {
        match self {
            Self::Calling(_) => 1,
            Self::Spawning(children) => children.running.len(),
            Self::Waiting | Self::Due(_) | Self::Pausing(_) | Self::Asking(_) | Self::Done => 0,
        }
    }
}

/// The member in which a step's result is seen.
pub(super) const fn member_of(step: &Step) -> Member {
    match step.kind {
        StepKind::Tool(_) | StepKind::Fail(_) | StepKind::Artifact(_) => Member::Output,
        StepKind::Ask(_) => Member::Answer,
        StepKind::Decide(_) | StepKind::AskModel(_) => Member::Chosen,
        StepKind::Subplan(_) => Member::Outputs,
    }
}

/// Counts what results take up.
#[derive(Debug, Default)]
pub(super) struct Room(usize);

impl Room {
    /// Takes room for `value`; says whether there was enough.
    pub(super) fn take(&mut self, value: &Value) -> bool {
        self.0 = self.0.saturating_add(size(value));
        self.0 <= STATE_BYTES_MAX
    }
}
