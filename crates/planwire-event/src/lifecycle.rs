//! What may follow what in a plan; the writer applies it to every publisher.
//!
//! [`Fact`] is the part of an event that matters here, [`PlanLifecycle`] the state of one plan that it is checked
//! against. A check needs the plan's own state and, where an event names another plan, that plan's.

mod fact;
mod refusal;
mod status;

pub use fact::{Fact, Question};
pub use refusal::Refusal;
pub use status::PlanStatus;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::cursor::Seq;
use crate::event::Producer;
use crate::event_type::EventType;
use crate::ids::PlanId;
use crate::limits::{OPEN_ID_BYTES_MAX, OPEN_ITEMS_MAX, PLAN_DEPTH_MAX};
use crate::vocabulary::AnswerOutcome;

/// Where a plan stands in its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The root of the tree; the plan itself if it is one.
    pub root_plan_id: PlanId,
    /// The plan that spawned it.
    pub parent_plan_id: Option<PlanId>,
    /// 0 at the root.
    pub depth: u32,
    /// Groups several trees.
    pub context_id: Arc<str>,
}

/// What the log knows of another plan that an event names.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    /// The log has no event of it.
    Unknown,
    /// The log has this of it.
    Plan(&'a PlanLifecycle),
}

/// One plan as far as it decides what may follow.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanLifecycle {
    plan_id: PlanId,
    lineage: Lineage,
    seq: Seq,
    status: PlanStatus,
    owner: Option<Arc<str>>,
    open: Open,
    children: HashMap<PlanId, Child>,
}

/// What waits for its end within a plan.
#[derive(Clone, Debug, Default, PartialEq)]
struct Open {
    calls: HashSet<Arc<str>>,
    questions: HashMap<Arc<str>, Question>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Child {
    Spawned,
    Reported,
}

/// What [`PlanLifecycle::apply`] changed, so that it can be taken back.
#[derive(Debug)]
pub struct Undo(Change);

#[derive(Debug)]
enum Change {
    Nothing,
    Called(Arc<str>),
    CallEnded(Arc<str>),
    Spawned(PlanId),
    ChildEnded(PlanId),
    Asked(Arc<str>),
    Answered(Arc<str>, Option<Question>),
    Adopted(Option<Arc<str>>),
    Ended { open: Open, children: HashMap<PlanId, Child> },
}

impl PlanLifecycle {
    /// Starts a plan: its first event.
    ///
    /// `producer` is who published the event; it owns the plan if it is the executor that the payload names, or if it
    /// owns the parent.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the event is no PlanStarted, or its parent is unknown, has ended, belongs to another owner, or
    /// did not announce it.
    pub fn start(
        plan_id: &PlanId,
        fact: &Fact,
        parent: Known<'_>,
        producer: &Producer,
    ) -> Result<Self, Refusal> {
        let Fact::Started(started) = fact else {
            return Err(Refusal::PlanNotStarted { plan_id: plan_id.clone() });
        };
        let own = started.executor_id.as_deref().filter(|id| producer.is_executor(id)).map(Arc::from);
        // An owned tree is owned to its leaves, whether a child's PlanStarted says so or not.
        let owner = match (&started.parent_plan_id, parent) {
            (Some(_), Known::Plan(parent)) => parent.owner.clone().or(own),
            _ => own,
        };
        let lineage = match (&started.parent_plan_id, parent) {
            (None, _) => Lineage {
                root_plan_id: plan_id.clone(),
                parent_plan_id: None,
                depth: 0,
                context_id: started.context_id.as_deref().unwrap_or(plan_id.as_str()).into(),
            },
            (Some(named), Known::Unknown) => {
                return Err(Refusal::ParentUnknown {
                    plan_id: plan_id.clone(),
                    parent_plan_id: named.clone(),
                });
            }
            (Some(_), Known::Plan(parent)) => parent.lineage_of_child(plan_id, producer)?,
        };
        let (open, children) = (Open::default(), HashMap::new());
        Ok(Self {
            plan_id: plan_id.clone(),
            lineage,
            seq: Seq::new(1),
            status: PlanStatus::Open,
            owner,
            open,
            children,
        })
    }

    /// A plan of which only this matters any more: it has ended.
    #[must_use]
    pub fn ended(
        plan_id: PlanId,
        lineage: Lineage,
        last_seq: Seq,
        status: PlanStatus,
        owner: Option<Arc<str>>,
    ) -> Self {
        Self {
            plan_id,
            lineage,
            seq: last_seq,
            status,
            owner,
            open: Open::default(),
            children: HashMap::new(),
        }
    }

    fn lineage_of_child(&self, child: &PlanId, producer: &Producer) -> Result<Lineage, Refusal> {
        self.check_open()?;
        self.check_owner(producer, false)?;
        if self.children.get(child) != Some(&Child::Spawned) {
            return Err(Refusal::LineageConflict {
                plan_id: child.clone(),
                message: format!("its parent {} has not announced it by SubplanSpawned", self.plan_id),
            });
        }
        let depth = self.lineage.depth + 1;
        if depth > PLAN_DEPTH_MAX {
            return Err(Refusal::LimitExceeded {
                plan_id: child.clone(),
                what: "levels of plans".into(),
                max: u64::from(PLAN_DEPTH_MAX),
            });
        }
        Ok(Lineage {
            root_plan_id: self.lineage.root_plan_id.clone(),
            parent_plan_id: Some(self.plan_id.clone()),
            depth,
            context_id: Arc::clone(&self.lineage.context_id),
        })
    }

    /// Checks whether an event may follow; `named` is the other plan that it names, if it names one.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says why not.
    pub fn check(
        &self,
        event_type: &EventType,
        fact: &Fact,
        named: Known<'_>,
        producer: &Producer,
    ) -> Result<(), Refusal> {
        let plan_id = || self.plan_id.clone();
        if matches!(fact, Fact::Started(_)) {
            return Err(Refusal::AlreadyStarted { plan_id: plan_id() });
        }
        self.check_open()?;
        if let Fact::Answered { request_id, outcome, arguments_digest } = fact {
            return self.check_answer(request_id, *outcome, arguments_digest.as_ref(), producer);
        }
        if let Fact::Adopted { executor_id, previous } = fact {
            return self.check_adoption(executor_id, previous, producer);
        }
        let anybody = event_type.is_command() || matches!(event_type, EventType::Custom(_));
        self.check_owner(producer, anybody)?;
        match fact {
            Fact::Called(call) if self.open.calls.contains(call) => {
                Err(Refusal::CallOpen { plan_id: plan_id(), call_id: call.to_string() })
            }
            Fact::Called(call) => {
                self.check_id(call, "bytes of a call_id")?;
                self.check_room(self.open.calls.len(), "open tool calls")
            }
            Fact::CallProgress(call) | Fact::CallEnded(call) if !self.open.calls.contains(call) => {
                Err(Refusal::CallUnknown { plan_id: plan_id(), call_id: call.to_string() })
            }
            Fact::Spawned(child) => self.check_spawn(child, named),
            Fact::ChildEnded(child) => self.check_child_ended(child, named),
            Fact::Asked { request_id, .. } if self.open.questions.contains_key(request_id) => {
                Err(Refusal::RequestOpen { plan_id: plan_id(), request_id: request_id.to_string() })
            }
            Fact::Asked { request_id, .. } => {
                self.check_id(request_id, "bytes of a request_id")?;
                self.check_room(self.open.questions.len(), "open questions")
            }
            _ => Ok(()),
        }
    }

    /// Anybody may answer a question where it is asked; the rest is the owner's.
    fn check_answer(
        &self,
        request_id: &Arc<str>,
        outcome: AnswerOutcome,
        arguments_digest: Option<&Arc<str>>,
        producer: &Producer,
    ) -> Result<(), Refusal> {
        let (plan_id, id) = (|| self.plan_id.clone(), || request_id.to_string());
        let Some(question) = self.open.questions.get(request_id) else {
            return Err(Refusal::RequestNotOpen { plan_id: plan_id(), request_id: id() });
        };
        let owned = self.check_owner(producer, false);
        if let (Err(_), Some(origin)) = (&owned, &question.for_plan_id) {
            let for_plan_id = origin.clone();
            return Err(Refusal::RequestElsewhere { plan_id: plan_id(), request_id: id(), for_plan_id });
        }
        if outcome != AnswerOutcome::Answered {
            return owned;
        }
        match arguments_digest {
            Some(digest) if question.arguments_digest.as_ref() != Some(digest) => {
                let arguments_digest = question.arguments_digest.as_deref().map(str::to_owned);
                Err(Refusal::ArgumentsChanged { plan_id: plan_id(), request_id: id(), arguments_digest })
            }
            _ => Ok(()),
        }
    }

    fn check_spawn(&self, child: &PlanId, named: Known<'_>) -> Result<(), Refusal> {
        if matches!(named, Known::Plan(_)) || *child == self.plan_id {
            return Err(Refusal::AlreadyStarted { plan_id: child.clone() });
        }
        if self.children.contains_key(child) {
            let message = format!("subplan {child} has already been spawned");
            return Err(Refusal::LineageConflict { plan_id: self.plan_id.clone(), message });
        }
        self.check_room(self.children.len(), "subplans of one plan")
    }

    fn check_child_ended(&self, child: &PlanId, named: Known<'_>) -> Result<(), Refusal> {
        let conflict =
            |message: String| Err(Refusal::LineageConflict { plan_id: self.plan_id.clone(), message });
        match self.children.get(child) {
            None => conflict(format!("it has not spawned a subplan {child}")),
            Some(Child::Reported) => {
                conflict(format!("the end of subplan {child} has already been reported"))
            }
            Some(Child::Spawned) => match named {
                Known::Plan(plan) if plan.lineage.parent_plan_id.as_ref() != Some(&self.plan_id) => {
                    conflict(format!("subplan {child} has another parent"))
                }
                Known::Plan(plan) if !plan.status.is_open() => Ok(()),
                _ => Err(Refusal::ChildOpen { plan_id: self.plan_id.clone(), child_plan_id: child.clone() }),
            },
        }
    }

    fn check_open(&self) -> Result<(), Refusal> {
        if self.status.is_open() { Ok(()) } else { Err(Refusal::PlanEnded { plan_id: self.plan_id.clone() }) }
    }

    fn check_owner(&self, producer: &Producer, anybody: bool) -> Result<(), Refusal> {
        match &self.owner {
            Some(owner) if !anybody && **owner != *producer.as_str() => {
                Err(Refusal::NotOwner { plan_id: self.plan_id.clone(), owner: owner.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// An executor takes over the tree of the one that it names, for itself and from its root. On a tree that nobody
    /// owns it is told what happened elsewhere.
    fn check_adoption(&self, executor_id: &str, previous: &str, producer: &Producer) -> Result<(), Refusal> {
        if self.lineage.parent_plan_id.is_some() {
            let message = format!("its tree is adopted at its root {}", self.lineage.root_plan_id);
            return Err(Refusal::LineageConflict { plan_id: self.plan_id.clone(), message });
        }
        match &self.owner {
            Some(owner) if **owner != *previous || !producer.is_executor(executor_id) => {
                Err(Refusal::NotOwner { plan_id: self.plan_id.clone(), owner: owner.to_string() })
            }
            _ => Ok(()),
        }
    }

    fn check_room(&self, open: usize, what: &str) -> Result<(), Refusal> {
        if open < OPEN_ITEMS_MAX { Ok(()) } else { Err(self.exceeds(OPEN_ITEMS_MAX, what)) }
    }

    /// What opens under an id: what closes under a longer one is older than the limit, or not open.
    fn check_id(&self, id: &str, what: &str) -> Result<(), Refusal> {
        if id.len() <= OPEN_ID_BYTES_MAX { Ok(()) } else { Err(self.exceeds(OPEN_ID_BYTES_MAX, what)) }
    }

    fn exceeds(&self, max: usize, what: &str) -> Refusal {
        Refusal::LimitExceeded { plan_id: self.plan_id.clone(), what: what.into(), max: max as u64 }
    }

    /// A plan whose stored events are about to be applied one by one, its PlanStarted first.
    #[must_use]
    pub fn replay(plan_id: PlanId, lineage: Lineage, owner: Option<Arc<str>>) -> Self {
        Self { status: PlanStatus::Open, ..Self::ended(plan_id, lineage, Seq::ZERO, PlanStatus::Open, owner) }
    }

    /// Takes in an event that was checked; [`PlanLifecycle::seq`] is then its seq.
    pub fn apply(&mut self, fact: &Fact) -> Undo {
        self.seq = self.seq.next();
        Undo(match fact {
            Fact::Completed => self.end(PlanStatus::Completed),
            Fact::Failed(reason) => self.end(PlanStatus::Failed(*reason)),
            Fact::Called(call) => {
                self.open.calls.insert(Arc::clone(call));
                Change::Called(Arc::clone(call))
            }
            Fact::CallEnded(call) => {
                self.open.calls.remove(call);
                Change::CallEnded(Arc::clone(call))
            }
            Fact::Spawned(child) => {
                self.children.insert(child.clone(), Child::Spawned);
                Change::Spawned(child.clone())
            }
            Fact::ChildEnded(child) => {
                self.children.insert(child.clone(), Child::Reported);
                Change::ChildEnded(child.clone())
            }
            Fact::Asked { request_id, question } => {
                self.open.questions.insert(Arc::clone(request_id), question.clone());
                Change::Asked(Arc::clone(request_id))
            }
            Fact::Answered { request_id, .. } => {
                let question = self.open.questions.remove(request_id);
                Change::Answered(Arc::clone(request_id), question)
            }
            Fact::Adopted { executor_id, .. } if self.owner.is_some() => {
                Change::Adopted(self.owner.replace(Arc::clone(executor_id)))
            }
            Fact::Adopted { .. } | Fact::Started(_) | Fact::CallProgress(_) | Fact::Other => Change::Nothing,
        })
    }

    /// Follows its root, whose tree another executor has taken over; gives who owned it before.
    ///
    /// No event of the plan says so: [`Fact::Adopted`] is one of the root.
    pub fn adopt(&mut self, owner: Option<Arc<str>>) -> Option<Arc<str>> {
        std::mem::replace(&mut self.owner, owner)
    }

    fn end(&mut self, status: PlanStatus) -> Change {
        self.status = status;
        Change::Ended { open: std::mem::take(&mut self.open), children: std::mem::take(&mut self.children) }
    }

    /// Takes an event back that could not be stored; the last one first.
    pub fn revert(&mut self, undo: Undo) {
        self.seq = Seq::new(self.seq.get().saturating_sub(1));
        match undo.0 {
            Change::Nothing => {}
            Change::Called(call) => {
                self.open.calls.remove(&call);
            }
            Change::CallEnded(call) => {
                self.open.calls.insert(call);
            }
            Change::Asked(request_id) => {
                self.open.questions.remove(&request_id);
            }
            Change::Answered(request_id, question) => {
                self.open.questions.extend(question.map(|question| (request_id, question)));
            }
            Change::Spawned(child) => {
                self.children.remove(&child);
            }
            Change::ChildEnded(child) => {
                self.children.insert(child, Child::Spawned);
            }
            Change::Adopted(owner) => self.owner = owner,
            Change::Ended { open, children } => {
                self.status = PlanStatus::Open;
                (self.open, self.children) = (open, children);
            }
        }
    }

    /// The plan.
    #[must_use]
    pub const fn plan_id(&self) -> &PlanId {
        &self.plan_id
    }

    /// Where it stands in its tree.
    #[must_use]
    pub const fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// The seq of its last event.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// Whether it runs, and how it ended if not.
    #[must_use]
    pub const fn status(&self) -> PlanStatus {
        self.status
    }

    /// The executor that alone may publish its events, if it has one.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Children that were announced and whose end was not reported yet.
    pub fn announced_children(&self) -> impl Iterator<Item = &PlanId> {
        self.children.iter().filter(|(_, child)| **child == Child::Spawned).map(|(plan, _)| plan)
    }
}
