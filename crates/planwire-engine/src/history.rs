//! What the log holds of a tree that is open: everything that its plans need to go on.
//!
//! The events of each open plan are kept in order as far as its run depends on them; of plans that have ended only
//! the end, if their parent has not said it yet. Nothing here is worked out: that is done by the code that runs
//! plans, from these facts.

mod rests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::budget::history::{OpenPlan, Spent};
use planwire_event::vocabulary::{
    ArtifactPart, ArtifactProduced, CancelRequested, DecisionMade, InputReceived, InputRequested,
    LimitWarned, Object, PlanCompleted, PlanFailed, PlanStarted, SubplanCompleted, SubplanSpawned,
    ToolCalled, ToolCompleted, UsageSum,
};
use planwire_event::{EventType, Filter, PlanId, Position, StoredEvent, Timestamp};
use planwire_store::{EventRepository, PageLimits, PlanQuery, PlanScope, StoreError};

use rests::Turns;

/// An open tree as the log holds it.
#[derive(Debug)]
pub(crate) struct TreeHistory {
    /// The root, with all that is open below it.
    pub(crate) root: PlanHistory,
    /// Plans of the tree, the ended ones included.
    pub(crate) plans: usize,
    /// Plans of the tree that are open, or announced and not started, parents first.
    pub(crate) open: Vec<OpenPlan>,
    /// The documents of those that were made at run time, by their digest.
    pub(crate) made: HashSet<String>,
}

/// An open plan as the log holds it.
#[derive(Debug)]
pub(crate) struct PlanHistory {
    pub(crate) started: PlanStarted,
    pub(crate) started_at: Timestamp,
    /// What it said, in order.
    pub(crate) said: Vec<Said>,
    /// The subplans whose end it has not said.
    pub(crate) children: HashMap<PlanId, ChildHistory>,
    /// Questions that are open anywhere in the tree, by the plan on which they are asked or repeated.
    pub(crate) open_questions: Arc<OpenQuestions>,
    /// The last position that is taken into account.
    pub(crate) position: Position,
    /// When it waited for nothing but people.
    rests: Turns,
}

/// Open questions: plan and `request_id`.
pub(crate) type OpenQuestions = HashSet<(PlanId, String)>;

/// A subplan whose end its parent has not said.
#[derive(Debug)]
pub(crate) enum ChildHistory {
    /// It was announced and has not started.
    Announced,
    Open(Box<PlanHistory>),
    Ended(Box<ChildEnd>),
}

/// How a subplan ended.
#[derive(Debug)]
pub(crate) struct ChildEnd {
    pub(crate) outputs: Result<Object, Box<PlanFailed>>,
    /// What it and all below it used.
    pub(crate) used: UsageSum,
    pub(crate) at: Timestamp,
    pub(crate) position: Position,
}

/// One event of a plan.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) position: Position,
    pub(crate) at: Timestamp,
    pub(crate) what: What,
}

/// What an event says that matters for going on.
#[derive(Debug)]
pub(crate) enum What {
    Decided(DecisionMade),
    Called(ToolCalled),
    CallEnded(ToolCompleted),
    Spawned(SubplanSpawned),
    ChildEnded(SubplanCompleted),
    /// A question of the plan, or one that is repeated here.
    Asked(InputRequested),
    Answered(InputReceived),
    Produced(Produced),
    CancelRequested(CancelRequested),
    PauseRequested,
    ResumeRequested,
    Warned(LimitWarned),
}

/// A part of an artifact.
#[derive(Debug)]
pub(crate) struct Produced {
    pub(crate) artifact_id: String,
    pub(crate) is_last: bool,
    /// Bytes that are kept beside the log.
    pub(crate) blob_bytes: usize,
}

/// Reads a tree; none if its root is not open, or its start cannot be read any more.
pub(crate) async fn read(
    repository: &dyn EventRepository,
    root: &PlanId,
) -> Result<Option<TreeHistory>, StoreError> {
    let mut reading = Reading::of(open_plans(repository, root).await?);
    let filter = Filter::tree(root.clone());
    let mut after = reading.first.previous();
    loop {
        let page = repository.read_after(after, &filter, PageLimits::default()).await?;
        page.events.iter().for_each(|event| reading.take(event));
        after = page.scanned_to;
        if page.at_head {
            return Ok(reading.finish(root, after));
        }
    }
}

/// The open plans of a tree with their parents, and where the tree begins.
async fn open_plans(
    repository: &dyn EventRepository,
    root: &PlanId,
) -> Result<Vec<(PlanId, Option<PlanId>, Position)>, StoreError> {
    let scope = PlanScope::Tree(root.clone());
    let mut query = PlanQuery { scope, open_only: true, ..PlanQuery::default() };
    let mut open = Vec::new();
    loop {
        let page = repository.plans(&query).await?;
        open.extend(page.plans.into_iter().map(|row| (row.plan_id, row.parent_plan_id, row.first_position)));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(open),
        }
    }
}

/// A tree that is being read.
struct Reading {
    first: Position,
    plans: usize,
    /// Open plans with their parents.
    open: HashMap<PlanId, Option<PlanId>>,
    started: HashMap<PlanId, (PlanStarted, Timestamp)>,
    said: HashMap<PlanId, Vec<Said>>,
    /// Subplans whose end was not said, with the plan that announced them.
    unsaid: HashMap<PlanId, PlanId>,
    /// Digests of their documents, where those were made at run time.
    made: HashMap<PlanId, String>,
    ended: HashMap<PlanId, ChildEnd>,
    questions: OpenQuestions,
    spent: Spent,
}

impl Reading {
    fn of(open: Vec<(PlanId, Option<PlanId>, Position)>) -> Self {
        let first = open.iter().map(|(_, _, first)| *first).min().unwrap_or_default();
        let open = open.into_iter().map(|(plan, parent, _)| (plan, parent)).collect();
        Self {
            first,
            plans: 0,
            open,
            started: HashMap::new(),
            said: HashMap::new(),
            unsaid: HashMap::new(),
            made: HashMap::new(),
            ended: HashMap::new(),
            questions: OpenQuestions::new(),
            spent: Spent::default(),
        }
    }

    fn take(&mut self, stored: &StoredEvent) {
        let (event, plan) = (&stored.event, stored.plan_id());
        self.spent.take(stored);
        if *event.event_type() == EventType::PlanStarted {
            self.plans += 1;
        }
        if !self.open.contains_key(plan) {
            if event.event_type().is_terminal() && self.unsaid.contains_key(plan) {
                let used = self.spent.used(plan);
                self.ended.extend(end_of(stored, used).map(|end| (plan.clone(), end)));
            }
            return;
        }
        if let Some(started) = event.read::<PlanStarted>() {
            self.started.insert(plan.clone(), (started, event.timestamp()));
            return;
        }
        let Some(what) = what_of(stored) else { return };
        self.note(plan, &what);
        let said = Said { position: stored.position, at: event.timestamp(), what };
        self.said.entry(plan.clone()).or_default().push(said);
    }

    fn note(&mut self, plan: &PlanId, what: &What) {
        match what {
            What::Spawned(spawned) => {
                self.unsaid.insert(spawned.child_plan_id.clone(), plan.clone());
                let made = spawned.document_digest.clone();
                self.made.extend(made.map(|digest| (spawned.child_plan_id.clone(), digest)));
            }
            What::ChildEnded(ended) => {
                self.unsaid.remove(&ended.child_plan_id);
                self.made.remove(&ended.child_plan_id);
                self.ended.remove(&ended.child_plan_id);
            }
            What::Asked(asked) => {
                self.questions.insert((plan.clone(), asked.request_id.clone()));
            }
            What::Answered(answer) => {
                self.questions.remove(&(plan.clone(), answer.request_id.clone()));
            }
            _ => {}
        }
    }

    fn finish(mut self, root: &PlanId, position: Position) -> Option<TreeHistory> {
        let questions = Arc::new(std::mem::take(&mut self.questions));
        let mut children: HashMap<PlanId, Vec<PlanId>> = HashMap::new();
        for (child, parent) in &self.unsaid {
            children.entry(parent.clone()).or_default().push(child.clone());
        }
        let running = self.unsaid.iter().filter(|(child, _)| !self.ended.contains_key(*child));
        let announced = running.clone().filter(|(child, _)| !self.open.contains_key(*child));
        let mut spent = std::mem::take(&mut self.spent);
        for (child, parent) in announced.clone() {
            spent.enter(child, Some(parent.clone()));
        }
        let plans = self.plans + announced.count();
        let open = running.map(|(child, _)| child).chain([root]).cloned().collect();
        let open = spent.open(&open);
        let shared = Common { children: &children, questions: &questions, position };
        let made = std::mem::take(&mut self.made).into_values().collect();
        Some(TreeHistory { root: self.assemble(root, &shared, &Turns::new())?, plans, open, made })
    }

    /// Depth is bounded by the levels of plans that the log takes.
    fn assemble(&mut self, plan: &PlanId, tree: &Common<'_>, paused_above: &Turns) -> Option<PlanHistory> {
        let (started, started_at) = self.started.remove(plan)?;
        let said = self.said.remove(plan).unwrap_or_default();
        let paused = rests::paused(&said, paused_above);
        let mut below = HashMap::new();
        for child in tree.children.get(plan).into_iter().flatten() {
            let history = match self.ended.remove(child) {
                Some(end) => ChildHistory::Ended(Box::new(end)),
                None if self.open.contains_key(child) => {
                    ChildHistory::Open(Box::new(self.assemble(child, tree, &paused)?))
                }
                None => ChildHistory::Announced,
            };
            below.insert(child.clone(), history);
        }
        let rests = rests::rested(&said, &paused, &below);
        let (open_questions, position) = (Arc::clone(tree.questions), tree.position);
        Some(PlanHistory { started, started_at, said, children: below, open_questions, position, rests })
    }
}

/// What all plans of a tree have in common.
struct Common<'a> {
    /// By plan, the subplans whose end it has not said.
    children: &'a HashMap<PlanId, Vec<PlanId>>,
    questions: &'a Arc<OpenQuestions>,
    position: Position,
}

fn what_of(stored: &StoredEvent) -> Option<What> {
    let event = &stored.event;
    match event.event_type() {
        EventType::DecisionMade => event.read().map(What::Decided),
        EventType::ToolCalled => event.read().map(What::Called),
        EventType::ToolCompleted => event.read().map(What::CallEnded),
        EventType::SubplanSpawned => event.read().map(What::Spawned),
        EventType::SubplanCompleted => event.read().map(What::ChildEnded),
        EventType::InputRequested => event.read().map(What::Asked),
        EventType::InputReceived => event.read().map(What::Answered),
        EventType::CancelRequested => event.read().map(What::CancelRequested),
        EventType::PauseRequested => Some(What::PauseRequested),
        EventType::ResumeRequested => Some(What::ResumeRequested),
        EventType::LimitWarned => event.read().map(What::Warned),
        EventType::ArtifactProduced => event.read().map(|produced: ArtifactProduced| {
            let blob_bytes = match produced.part {
                ArtifactPart::Blob { size_bytes, .. } => usize::try_from(size_bytes).unwrap_or(usize::MAX),
                _ => 0,
            };
            let (artifact_id, is_last) = (produced.artifact_id, produced.last_chunk);
            What::Produced(Produced { artifact_id, is_last, blob_bytes })
        }),
        _ => None,
    }
}

fn end_of(stored: &StoredEvent, used: UsageSum) -> Option<ChildEnd> {
    let outputs = match stored.event.read::<PlanCompleted>() {
        Some(completed) => Ok(completed.outputs),
        None => stored.event.read::<PlanFailed>().map(|failed| Err(Box::new(failed)))?,
    };
    Some(ChildEnd { outputs, used, at: stored.event.timestamp(), position: stored.position })
}
