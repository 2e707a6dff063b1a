//! The fold over the events of one plan.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{
    ARTIFACTS_MAX, ArtifactRecord, CallRecord, CancelNote, ChildRecord, ChildState, Counts, DECISIONS_MAX,
    DecisionRecord, Detail, Kept, LIMITS_MAX, Omitted, Phase, PlanUsage, QUESTIONS_MAX, Questions, STEPS_MAX,
    StepKind, StepRecord,
};
use crate::cursor::{Cursor, Position, Seq};
use crate::event::StoredEvent;
use crate::event_type::EventType;
use crate::ids::PlanId;
use crate::lifecycle::PlanStatus;
use crate::limits::{OPEN_ID_BYTES_MAX, OPEN_ITEMS_MAX};
use crate::timestamp::Timestamp;
use crate::vocabulary::{
    AnswerOutcome, ArtifactProduced, CancelRequested, DecisionMade, Failure, FailureReason, InputReceived,
    InputRequested, LimitWarned, Object, PauseRequested, PlanAdopted, PlanCompleted, PlanFailed, PlanStarted,
    SubplanCompleted, SubplanSpawned, ToolCalled, ToolCompleted, ToolProgress, UsageSum,
};

/// One plan, as its events tell it. In JSON the members stand in this order and with these names, which are part of
/// the HTTP API; `status` is written as `state` and `reason`.
///
/// ```
/// # use planwire_event::*;
/// # use planwire_event::state::{PlanState, Phase};
/// # fn example(stored: &[StoredEvent]) -> Option<PlanState> {
/// let (first, rest) = stored.split_first()?;
/// let mut plan = PlanState::start(first)?;
/// for event in rest {
///     plan.apply(event);
/// }
/// assert_ne!(plan.phase, Phase::Cancelling);
/// # Some(plan)
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PlanState {
    /// The plan.
    pub plan_id: PlanId,
    /// The root of its tree.
    pub root_plan_id: PlanId,
    /// The plan that spawned it; null at the root.
    pub parent_plan_id: Option<PlanId>,
    /// 0 at the root.
    pub depth: u32,
    /// Name of its document.
    pub name: String,
    /// What it is to reach, for people.
    pub goal: String,
    /// Groups several trees, where the plan's own PlanStarted says so.
    pub context_id: Option<String>,
    /// SHA-256 of its document.
    pub document_digest: Option<String>,
    /// The executor that its PlanStarted names; at a root, the one that adopted its tree last.
    pub executor_id: Option<String>,
    /// Whether it runs, and how it ended if not.
    #[serde(flatten, serialize_with = "status_members")]
    pub status: PlanStatus,
    /// The same in one word for people.
    pub phase: Phase,
    /// Timestamp of its PlanStarted.
    pub started_at: Timestamp,
    /// Timestamp of its terminal event.
    pub ended_at: Option<Timestamp>,
    /// Milliseconds from start to end, once it has ended.
    pub duration_ms: Option<u64>,
    /// Inputs by name; none in a summary.
    pub inputs: Option<Arc<Object>>,
    /// Outputs by name, once it completed; none in a summary.
    pub outputs: Option<Arc<Object>>,
    /// What went wrong, if it failed.
    pub error: Option<Failure>,
    /// Who first asked for its end.
    pub cancel_requested: Option<CancelNote>,
    /// Who asked that it begin nothing new, as long as nobody asked that it go on. What was asked of a plan above is
    /// said there.
    pub pause_requested: Option<CancelNote>,
    /// Its steps in order of first appearance; at most [`STEPS_MAX`].
    pub steps: Kept<StepRecord>,
    /// Its decisions in order; at most [`DECISIONS_MAX`].
    pub decisions: Vec<DecisionRecord>,
    /// Tool calls that have not ended, by their id.
    #[serde(serialize_with = "values")]
    #[schemars(with = "Vec<CallRecord>")]
    pub open_calls: BTreeMap<String, CallRecord>,
    /// Its open questions, oldest first; at most [`QUESTIONS_MAX`].
    pub questions: Questions,
    /// Its subplans in order of their spawn.
    pub children: Kept<ChildRecord>,
    /// Its artifacts in order of first appearance; at most [`ARTIFACTS_MAX`].
    pub artifacts: Kept<ArtifactRecord>,
    /// What its calls used, and those of all below it.
    pub usage: PlanUsage,
    /// Limits that are nearly used up; at most [`LIMITS_MAX`].
    pub limits_warned: Vec<LimitWarned>,
    /// How much has happened.
    pub counts: Counts,
    /// What is not in the lists above.
    pub omitted: Omitted,
    /// Seq of the last event.
    pub last_seq: Seq,
    /// Position of the last event.
    pub last_position: Position,
    /// Cursor of the last event: a stream from here goes on where this state ends.
    pub last_cursor: Cursor,
    /// Timestamp of the last event.
    pub last_event_at: Timestamp,
    #[serde(skip)]
    detail: Detail,
    /// Places in `steps` of subplans that have not ended, also of those that are not kept: their end does not name
    /// the step. The writer bounds their number by [`OPEN_ITEMS_MAX`].
    #[serde(skip)]
    open_children: HashMap<PlanId, usize>,
    /// Who says what the plans below it use.
    #[serde(skip)]
    below: Below,
}

/// Who says what the plans below a plan use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Below {
    /// The plan's own events, when they have ended.
    #[default]
    Told,
    /// The fold of the tree, as it happens.
    Watched,
}

fn status_members<S: Serializer>(status: &PlanStatus, serializer: S) -> Result<S::Ok, S::Error> {
    let mut members = serializer.serialize_map(Some(2))?;
    members.serialize_entry("state", status.state())?;
    members.serialize_entry("reason", &status.reason())?;
    members.end()
}

fn values<S: Serializer>(calls: &BTreeMap<String, CallRecord>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(calls.values())
}

impl PlanState {
    /// Begins with the first event of a plan; none if that is no PlanStarted.
    #[must_use]
    pub fn start(event: &StoredEvent) -> Option<Self> {
        Self::start_with(event, Detail::Full)
    }

    /// As [`PlanState::start`], keeping as much as `detail` says.
    #[must_use]
    pub fn start_with(stored: &StoredEvent, detail: Detail) -> Option<Self> {
        let event = &stored.event;
        if *event.event_type() != EventType::PlanStarted {
            return None;
        }
        // A payload that retention removed cannot be read; the plan has started all the same.
        let started = event.read::<PlanStarted>();
        let text = |text: Option<&str>| text.map(|text| detail.text(text));
        let named = |of: fn(&PlanStarted) -> Option<&str>| text(started.as_ref().and_then(of));
        Some(Self {
            plan_id: event.plan_id().clone(),
            root_plan_id: stored.root_plan_id.clone(),
            parent_plan_id: stored.parent_plan_id.clone(),
            depth: stored.depth,
            name: named(|started| Some(&started.name)).unwrap_or_default(),
            goal: named(|started| Some(&started.goal)).unwrap_or_default(),
            context_id: named(|started| started.context_id.as_deref()),
            document_digest: named(|started| started.document_digest.as_deref()),
            executor_id: named(|started| started.executor_id.as_deref()),
            status: PlanStatus::Open,
            phase: Phase::Running,
            started_at: event.timestamp(),
            ended_at: None,
            duration_ms: None,
            inputs: started.filter(|_| detail == Detail::Full).map(|started| Arc::new(started.inputs)),
            outputs: None,
            error: None,
            cancel_requested: None,
            pause_requested: None,
            steps: Kept::default(),
            decisions: Vec::new(),
            open_calls: BTreeMap::new(),
            questions: Questions::default(),
            children: Kept::default(),
            artifacts: Kept::default(),
            usage: PlanUsage::default(),
            limits_warned: Vec::new(),
            counts: Counts { events: 1, ..Counts::default() },
            omitted: Omitted::default(),
            last_seq: stored.seq,
            last_position: stored.position,
            last_cursor: stored.cursor(),
            last_event_at: event.timestamp(),
            detail,
            open_children: HashMap::new(),
            below: Below::default(),
        })
    }

    /// Folds the events of one plan in seq order; none if they do not begin with its PlanStarted.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a StoredEvent>) -> Option<Self> {
        let mut events = events.into_iter();
        let mut plan = Self::start(events.next()?)?;
        events.for_each(|event| plan.apply(event));
        Some(plan)
    }

    /// Takes in the next event of the plan. Events of other plans, and events up to `last_seq`, change nothing.
    pub fn apply(&mut self, stored: &StoredEvent) {
        let event = &stored.event;
        if *event.plan_id() != self.plan_id || stored.seq <= self.last_seq {
            return;
        }
        self.counts.events += 1;
        self.last_seq = stored.seq;
        self.last_position = stored.position;
        self.last_cursor = stored.cursor();
        self.last_event_at = event.timestamp();
        match event.event_type() {
            EventType::PlanCompleted => self.completed(event.read(), event.timestamp()),
            EventType::PlanFailed => self.failed(event.read(), event.timestamp()),
            EventType::DecisionMade => self.decision_made(event.read(), stored),
            EventType::ToolCalled => self.tool_called(event.read(), stored),
            EventType::ToolProgress => self.tool_progress(event.read()),
            EventType::ToolCompleted => self.tool_completed(event.read()),
            EventType::SubplanSpawned => self.subplan_spawned(event.read()),
            EventType::SubplanCompleted => self.subplan_completed(event.read()),
            EventType::ArtifactProduced => self.artifact_produced(event.read()),
            EventType::InputRequested => self.input_requested(event.read(), stored),
            EventType::InputReceived => self.input_received(event.read()),
            EventType::CancelRequested => self.cancel_requested(event.read(), event.timestamp()),
            EventType::PauseRequested => self.pause_requested(event.read(), event.timestamp()),
            EventType::ResumeRequested => self.pause_requested = None,
            EventType::PlanAdopted => self.adopted(event.read()),
            EventType::LimitWarned => self.limit_warned(event.read()),
            EventType::Custom(_) => self.counts.custom += 1,
            // The writer accepts one PlanStarted in each plan.
            EventType::PlanStarted => {}
        }
        let asked = (self.cancel_requested.is_some(), self.pause_requested.is_some());
        self.phase = Phase::of(self.status, asked, &self.questions);
    }

    /// How much is kept of it.
    #[must_use]
    pub const fn detail(&self) -> Detail {
        self.detail
    }

    /// Whether the plan has ended.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        !self.status.is_open()
    }

    /// Leaves it to somebody else to say what the plans below it use.
    pub(super) fn watched(mut self) -> Self {
        self.below = Below::Watched;
        self
    }

    fn limit_warned(&mut self, payload: Option<LimitWarned>) {
        let Some(warned) = payload else { return };
        if self.limits_warned.len() < LIMITS_MAX {
            let limit = self.detail.text(&warned.limit);
            self.limits_warned.push(LimitWarned { limit, ..warned });
        }
    }

    fn adopted(&mut self, payload: Option<PlanAdopted>) {
        if let Some(adopted) = payload {
            self.executor_id = Some(self.detail.text(&adopted.executor_id));
        }
    }

    fn completed(&mut self, payload: Option<PlanCompleted>, at: Timestamp) {
        let payload = payload.unwrap_or_default();
        if self.detail == Detail::Full {
            self.outputs = Some(Arc::new(payload.outputs));
        }
        self.end(PlanStatus::Completed, payload.duration_ms, at);
    }

    fn failed(&mut self, payload: Option<PlanFailed>, at: Timestamp) {
        let reason = payload.as_ref().map_or(FailureReason::Error, |failed| failed.reason);
        self.error = payload.as_ref().map(|failed| self.detail.failure(&failed.error));
        self.end(PlanStatus::Failed(reason), payload.map_or(0, |failed| failed.duration_ms), at);
        // A decision about its failure did not recover the step that the plan fails with.
        let step = self.error.as_ref().and_then(|error| error.step.as_deref());
        if let Some(step) = step.and_then(|step| self.steps.named_mut(step)) {
            step.plan_failed();
        }
    }

    fn end(&mut self, status: PlanStatus, duration_ms: u64, at: Timestamp) {
        self.status = status;
        self.ended_at = Some(at);
        // Publishers may leave the duration out; their own clock says more than two timestamps do.
        let measured_ms = at.millis_since(self.started_at);
        self.duration_ms = Some(if duration_ms > 0 { duration_ms } else { measured_ms });
        self.open_calls.clear();
        self.questions = Questions::default();
        self.omitted.questions = 0;
        self.open_children = HashMap::new();
        self.omitted.open_calls = 0;
        let completed = status == PlanStatus::Completed;
        self.steps.iter_mut().for_each(|step| step.plan_ended(completed));
    }

    /// Lets go of the lists, once nobody needs more of the plan than its header.
    pub(super) fn shrink(&mut self) {
        self.detail = Detail::Header;
        (self.inputs, self.outputs) = (None, None);
        (self.steps, self.children, self.artifacts) = (Kept::default(), Kept::default(), Kept::default());
        self.decisions = Vec::new();
    }

    /// The record of a step, made where there is room; steps without a name have none.
    fn step(&mut self, name: &str, kind: StepKind) -> Option<&mut StepRecord> {
        let detail = self.detail;
        if name.is_empty() {
            return None;
        }
        let key = detail.text(name);
        let step = self.steps.named_or(&key, detail.items(STEPS_MAX), || StepRecord::new(&key, kind));
        if step.is_none() {
            self.omitted.step_events += 1;
        }
        step
    }

    fn decision_made(&mut self, payload: Option<DecisionMade>, stored: &StoredEvent) {
        self.counts.decisions += 1;
        let Some(made) = payload else { return };
        let detail = self.detail;
        if let Some(step) = self.step(&made.step, StepKind::Decision) {
            step.decide(detail.text(&made.chosen));
        }
        if self.decisions.len() < detail.items(DECISIONS_MAX) {
            let record = DecisionRecord::of(&made, detail, stored.event.timestamp(), stored.seq);
            self.decisions.push(record);
        } else {
            self.omitted.decisions += 1;
        }
    }

    fn tool_called(&mut self, payload: Option<ToolCalled>, stored: &StoredEvent) {
        self.counts.tool_calls += 1;
        self.usage.add_own(&UsageSum::of_call());
        let Some(called) = payload else { return };
        let detail = self.detail;
        if let Some(step) = self.step(&called.step, StepKind::Tool) {
            step.tool = Some(detail.text(&called.tool));
            step.begin(called.attempt);
        }
        let room = self.open_calls.len() < detail.items(OPEN_ITEMS_MAX);
        // A longer id is older than the limit; cut it would be no use.
        if room && called.call_id.len() <= OPEN_ID_BYTES_MAX {
            let record = CallRecord::of(&called, detail, stored.event.timestamp(), stored.seq);
            self.open_calls.insert(called.call_id, record);
        } else {
            self.omitted.open_calls += 1;
        }
    }

    fn tool_progress(&mut self, payload: Option<ToolProgress>) {
        let Some(said) = payload else { return };
        let detail = self.detail;
        if let Some(call) = self.open_calls.get_mut(&said.call_id) {
            call.progress = Some(detail.text(&said.text));
        }
    }

    fn tool_completed(&mut self, payload: Option<ToolCompleted>) {
        let Some(ended) = payload else { return };
        if let Some(usage) = &ended.usage {
            self.usage.add_own(&usage.into());
        }
        let detail = self.detail;
        let called = self.open_calls.remove(&ended.call_id);
        if called.is_none() {
            self.omitted.open_calls = self.omitted.open_calls.saturating_sub(1);
        }
        self.counts.tool_failures += u64::from(!ended.ok);
        let error = failure(ended.ok, ended.error.as_ref(), detail);
        // Publishers may name the step in the call only.
        let step = called.map_or_else(|| detail.text(&ended.step), |called| called.step);
        if let Some(step) = self.steps.named_mut(&step) {
            step.finish(error);
        }
    }

    fn subplan_spawned(&mut self, payload: Option<SubplanSpawned>) {
        self.counts.subplans += 1;
        let Some(spawned) = payload else { return };
        let detail = self.detail;
        let children_max = detail.items(OPEN_ITEMS_MAX);
        let child = spawned.child_plan_id.as_str();
        let kept =
            self.children.named_or(child, children_max, || ChildRecord::of(&spawned, detail)).is_some();
        if !kept {
            self.omitted.children += 1;
        }
        let Some(step) = self.step(&spawned.step, StepKind::Subplan) else { return };
        step.begin(1);
        if kept {
            step.child_plan_ids.push(spawned.child_plan_id.clone());
        }
        if let Some(place) = self.steps.place(&detail.text(&spawned.step)) {
            self.open_children.insert(spawned.child_plan_id, place);
        }
    }

    fn subplan_completed(&mut self, payload: Option<SubplanCompleted>) {
        let Some(ended) = payload else { return };
        if let Some(usage) = ended.usage.as_ref().filter(|_| self.below == Below::Told) {
            self.usage.add_below(usage);
        }
        let detail = self.detail;
        self.counts.subplan_failures += u64::from(!ended.ok);
        let error = failure(ended.ok, ended.error.as_ref(), detail);
        if let Some(child) = self.children.named_mut(ended.child_plan_id.as_str()) {
            child.state = if ended.ok { ChildState::Completed } else { ChildState::Failed };
            child.duration_ms = Some(ended.duration_ms);
            child.error.clone_from(&error);
        }
        let place = self.open_children.remove(&ended.child_plan_id);
        if let Some(step) = place.and_then(|place| self.steps.get_mut(place)) {
            step.finish(error);
        }
    }

    fn artifact_produced(&mut self, payload: Option<ArtifactProduced>) {
        self.counts.artifacts += 1;
        let Some(produced) = payload else { return };
        let detail = self.detail;
        let artifacts_max = detail.items(ARTIFACTS_MAX);
        let new = || ArtifactRecord::of(&produced, detail);
        match self.artifacts.named_or(&detail.text(&produced.artifact_id), artifacts_max, new) {
            Some(artifact) => artifact.add(&produced, detail),
            None => self.omitted.artifact_events += 1,
        }
    }

    fn input_requested(&mut self, payload: Option<InputRequested>, stored: &StoredEvent) {
        let repeated = payload.as_ref().is_some_and(|asked| asked.for_plan_id.is_some());
        self.counts.questions += u64::from(!repeated);
        let Some(asked) = payload else { return };
        let detail = self.detail;
        if !repeated {
            let of_call = asked.arguments.as_ref().is_some_and(|arguments| arguments.contains_key("tool"));
            let kind = if of_call { StepKind::Tool } else { StepKind::Question };
            if let Some(step) = self.step(&asked.step, kind) {
                step.ask();
            }
        }
        self.questions.ask(asked, detail, detail.items(QUESTIONS_MAX), stored.event.timestamp(), stored.seq);
        self.omitted.questions = self.questions.beyond();
    }

    fn input_received(&mut self, payload: Option<InputReceived>) {
        let Some(answer) = payload else { return };
        let closed = self.questions.close(&answer.request_id);
        self.omitted.questions = self.questions.beyond();
        let own = closed.filter(|question| question.for_plan_id.is_none());
        let Some(step) = own.and_then(|question| self.steps.named_mut(&question.step)) else { return };
        step.answered((answer.outcome != AnswerOutcome::Answered).then(|| Failure {
            code: answer.outcome.as_str().into(),
            message: format!("the question was {}", answer.outcome.as_str()),
            step: None,
        }));
    }

    fn pause_requested(&mut self, payload: Option<PauseRequested>, at: Timestamp) {
        let detail = self.detail;
        let (requested_by, reason) = payload.map_or_else(Default::default, |request| {
            (detail.text(&request.requested_by), detail.text(&request.reason))
        });
        self.pause_requested.get_or_insert(CancelNote { requested_by, reason, at });
    }

    fn cancel_requested(&mut self, payload: Option<CancelRequested>, at: Timestamp) {
        let detail = self.detail;
        let (requested_by, reason) = payload.map_or_else(Default::default, |request| {
            (detail.text(&request.requested_by), detail.text(&request.reason))
        });
        self.cancel_requested.get_or_insert(CancelNote { requested_by, reason, at });
    }
}

/// What an end that is not `ok` says; a publisher may have left the error out.
fn failure(ok: bool, error: Option<&Failure>, detail: Detail) -> Option<Failure> {
    if ok {
        return None;
    }
    let unknown = || Failure { code: "unknown".into(), message: "no error was given".into(), step: None };
    Some(error.map_or_else(unknown, |error| detail.failure(error)))
}
