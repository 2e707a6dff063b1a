//! What a fold keeps of a step.

use schemars::JsonSchema;
use serde::Serialize;

use crate::ids::PlanId;
use crate::vocabulary::Failure;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// It calls a tool.
    Tool,
    /// It decides.
    Decision,
    /// It runs subplans.
    Subplan,
    /// It asks somebody.
    Question,
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// A call or subplan of it is open.
    Running,
    /// All that it began went well.
    Ok,
    /// Something that it began failed.
    Failed,
    /// Something that it began failed, and the plan went on: by a decision, or because it completed all the same.
    Recovered,
    /// Its plan ended before it did.
    Abandoned,
}

/// How many calls or subplans a step has begun, one for each item of `for_each`; a retry is not counted again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Items {
    /// Not ended.
    pub open: u64,
    /// Ended well.
    pub ok: u64,
    /// Ended badly, and neither tried again nor recovered from so far.
    pub failed: u64,
    /// Ended badly, and a decision recovered from it.
    pub recovered: u64,
}

/// A step, in order of first appearance. Steps that were never begun have no event and so no record.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StepRecord {
    /// Its id in the plan document.
    pub step: String,
    /// What it does.
    pub kind: StepKind,
    /// How it stands.
    pub state: StepState,
    /// The highest attempt so far.
    pub attempts: u32,
    /// The tool that it called last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The option that it chose, if it decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    /// How many calls or subplans it has begun.
    pub items: Items,
    /// Its subplans, in order of their spawn; at most as many as the plan keeps children.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub child_plan_ids: Vec<PlanId>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl StepRecord {
    pub(super) fn new(step: &str, kind: StepKind) -> Self {
        Self {
            step: step.to_owned(),
            kind,
            state: StepState::Running,
            attempts: 0,
            tool: None,
            chosen: None,
            items: Items::default(),
            child_plan_ids: Vec::new(),
            error: None,
        }
    }

    /// A call or subplan begins.
    pub(super) fn begin(&mut self, attempt: u32) {
        if attempt > 1 {
            // It takes the place of an attempt that failed.
            self.items.failed = self.items.failed.saturating_sub(1);
        }
        self.attempts = self.attempts.max(attempt);
        self.items.open += 1;
        self.state = StepState::Running;
    }

    /// A call or subplan ends.
    pub(super) fn finish(&mut self, error: Option<Failure>) {
        self.items.open = self.items.open.saturating_sub(1);
        match error {
            None => self.items.ok += 1,
            Some(error) => {
                self.items.failed += 1;
                self.error = Some(error);
            }
        }
        self.state = self.settled();
    }

    /// A question is asked: the step's own, or whether its tool may be called.
    pub(super) fn ask(&mut self) {
        self.attempts = self.attempts.max(1);
        self.items.open += 1;
        self.state = StepState::Running;
    }

    /// A question is no longer open: `error` says why nobody answered it.
    pub(super) fn answered(&mut self, error: Option<Failure>) {
        if error.is_some() || self.kind == StepKind::Question {
            return self.finish(error);
        }
        // The call that was approved follows.
        self.items.open = self.items.open.saturating_sub(1);
        self.state = self.settled();
    }

    fn settled(&self) -> StepState {
        match self.items {
            Items { open: 1.., .. } => StepState::Running,
            Items { failed: 1.., .. } => StepState::Failed,
            Items { recovered: 1.., .. } => StepState::Recovered,
            _ => StepState::Ok,
        }
    }

    /// The step decided; a decision about a failure recovers from it.
    pub(super) fn decide(&mut self, chosen: String) {
        self.chosen = Some(chosen);
        self.attempts = self.attempts.max(1);
        if self.items.failed > 0 {
            self.items.failed -= 1;
            self.items.recovered += 1;
        }
        self.state = self.settled();
    }

    /// The plan failed with the failure of this step, whatever was decided or answered about it.
    pub(super) fn plan_failed(&mut self) {
        if matches!(self.state, StepState::Recovered | StepState::Ok) {
            self.state = StepState::Failed;
        }
    }

    /// The plan ended: nothing runs any more, and a plan that completed has got over its failures.
    pub(super) fn plan_ended(&mut self, completed: bool) {
        self.state = match self.state {
            StepState::Running => StepState::Abandoned,
            StepState::Failed if completed => StepState::Recovered,
            other => other,
        };
    }
}
