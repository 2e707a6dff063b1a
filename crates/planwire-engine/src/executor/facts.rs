//! What the events of a plan say of each of its steps.

use std::collections::{BTreeMap, HashMap};

use planwire_event::vocabulary::{
    CancelRequested, Counts, DecisionMade, InputReceived, InputRequested, SubplanCompleted, SubplanSpawned,
    ToolCalled, ToolCompleted,
};
use planwire_event::{PlanId, Position, Timestamp};

use super::clock::TIMEOUT;
use crate::decision;
use crate::document::Document;
use crate::document::model::StepKind;
use crate::history::{Produced, Said, What};

/// What the events say of one step.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The decision of a step that decides.
    pub(super) choice: Option<DecisionMade>,
    /// The decision about the failure of the step.
    pub(super) recovery: Option<(Position, DecisionMade)>,
    /// Decisions about failures of single items.
    pub(super) items: BTreeMap<usize, (Position, DecisionMade)>,
    /// A call that has not ended.
    pub(super) call: Option<(ToolCalled, Timestamp)>,
    /// The end of the last call.
    pub(super) ended: Option<(Position, ToolCompleted)>,
    pub(super) children: Vec<SpawnedChild>,
    /// The question of the step, round by round.
    pub(super) asked: Vec<InputRequested>,
    /// What came of the last round.
    pub(super) answer: Option<(Position, InputReceived)>,
    /// Whether its artifact is there with all its parts.
    pub(super) is_produced: bool,
}

/// A subplan of a step.
#[derive(Debug)]
pub(super) struct SpawnedChild {
    pub(super) spawned: SubplanSpawned,
    /// Its place in the list of `for_each`; 0 without one.
    pub(super) index: usize,
    pub(super) at: Timestamp,
    pub(super) ended: Option<(Position, SubplanCompleted)>,
}

impl Facts {
    pub(super) fn is_empty(&self) -> bool {
        self.choice.is_none()
            && self.items.is_empty()
            && self.call.is_none()
            && self.ended.is_none()
            && self.children.is_empty()
            && self.asked.is_empty()
            && !self.is_produced
    }
}

/// What the events of a plan add up to.
#[derive(Debug)]
pub(super) struct Recalled {
    /// By step, in the order of the document.
    pub(super) steps: Vec<Facts>,
    pub(super) counts: Counts,
    /// Parts of artifacts that were produced, by artifact.
    pub(super) parts: HashMap<String, usize>,
    /// Bytes of them that are kept beside the log.
    pub(super) blob_bytes: usize,
    /// The first request to end the plan.
    pub(super) cancel: Option<(Position, CancelRequested)>,
    /// Whether it is paused.
    pub(super) is_paused: bool,
    /// Whether it was said that most of its time has run.
    pub(super) is_warned_of_time: bool,
}

/// Where what the events name stands in the document.
struct Places<'a> {
    steps: HashMap<&'a str, usize>,
    artifacts: HashMap<&'a str, usize>,
    /// Step and place among its children.
    children: HashMap<PlanId, (usize, usize)>,
}

impl Recalled {
    pub(super) fn of(document: &Document, said: Vec<Said>) -> Self {
        let steps = document.steps.iter().map(|_| Facts::default()).collect();
        let mut recalled = Self {
            steps,
            counts: Counts::default(),
            parts: HashMap::new(),
            blob_bytes: 0,
            cancel: None,
            is_paused: false,
            is_warned_of_time: false,
        };
        let by_id = document.steps.iter().enumerate().map(|(at, step)| (step.id.as_str(), at)).collect();
        let artifacts = document.steps.iter().enumerate().filter_map(|(at, step)| match &step.kind {
            StepKind::Artifact(artifact) => Some((artifact.id.as_str(), at)),
            _ => None,
        });
        let mut places = Places { steps: by_id, artifacts: artifacts.collect(), children: HashMap::new() };
        for said in said {
            recalled.take(&mut places, said);
        }
        recalled
    }

    fn take(&mut self, places: &mut Places<'_>, said: Said) {
        let Said { position, at, what } = said;
        match what {
            What::Decided(made) => self.decided(places, position, made),
            What::Called(called) => {
                self.counts.tool_calls += 1;
                if let Some(step) = self.step(places, &called.step) {
                    step.call = Some((called, at));
                }
            }
            What::CallEnded(ended) => {
                if let Some(step) = self.step(places, &ended.step) {
                    step.call = None;
                    step.ended = Some((position, ended));
                }
            }
            What::Spawned(spawned) => self.spawned(places, spawned, at),
            What::ChildEnded(ended) => {
                if let Some((step, child)) = places.children.get(&ended.child_plan_id) {
                    self.steps[*step].children[*child].ended = Some((position, ended));
                }
            }
            // What is only repeated here belongs to a step of another plan.
            What::Asked(asked) if asked.for_plan_id.is_some() => {}
            What::Asked(asked) => {
                if let Some(step) = self.step(places, &asked.step) {
                    step.asked.push(asked);
                    step.answer = None;
                }
            }
            What::Answered(answer) => self.answered(position, answer),
            What::Produced(produced) => self.produced(places, produced),
            What::PauseRequested => self.is_paused = true,
            What::ResumeRequested => self.is_paused = false,
            What::Warned(warned) => self.is_warned_of_time |= warned.limit == TIMEOUT,
            What::CancelRequested(cancel) => {
                self.cancel.get_or_insert((position, cancel));
            }
        }
    }

    fn step(&mut self, places: &Places<'_>, id: &str) -> Option<&mut Facts> {
        places.steps.get(id).map(|at| &mut self.steps[*at])
    }

    fn decided(&mut self, places: &Places<'_>, position: Position, made: DecisionMade) {
        self.counts.decisions += 1;
        let Some(step) = self.step(places, &made.step) else { return };
        if made.decision_type == decision::CHOICE {
            step.choice = Some(made);
            return;
        }
        match decision::item_of(&made) {
            Some(index) => drop(step.items.insert(index, (position, made))),
            None => step.recovery = Some((position, made)),
        }
    }

    fn spawned(&mut self, places: &mut Places<'_>, spawned: SubplanSpawned, at: Timestamp) {
        self.counts.subplans += 1;
        let Some(step) = places.steps.get(spawned.step.as_str()).copied() else { return };
        let children = &mut self.steps[step].children;
        places.children.insert(spawned.child_plan_id.clone(), (step, children.len()));
        let index = spawned.item.and_then(|item| usize::try_from(item).ok()).unwrap_or_default();
        children.push(SpawnedChild { spawned, index, at, ended: None });
    }

    fn answered(&mut self, position: Position, answer: InputReceived) {
        let asks =
            |step: &&mut Facts| step.asked.last().is_some_and(|asked| asked.request_id == answer.request_id);
        if let Some(step) = self.steps.iter_mut().find(asks) {
            step.answer = Some((position, answer));
        }
    }

    fn produced(&mut self, places: &Places<'_>, produced: Produced) {
        self.blob_bytes = self.blob_bytes.saturating_add(produced.blob_bytes);
        if let Some(at) = places.artifacts.get(produced.artifact_id.as_str()) {
            self.steps[*at].is_produced = produced.is_last;
        }
        *self.parts.entry(produced.artifact_id).or_default() += 1;
    }
}
