//! What the expressions of a plan see: inputs, steps that are done, and the plan itself.

use planwire_event::expression::Variables;
use serde_json::{Map, Value, json};

use super::Plan;

/// What the expressions of one plan see.
#[derive(Debug)]
pub(super) struct Values {
    inputs: Value,
    steps: Value,
    plan: Value,
    now: Value,
}

impl Values {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            inputs: Value::Object(plan.inputs.clone()),
            steps: Value::Object(Map::new()),
            plan: json!({"id": plan.plan_id, "name": plan.document.name}),
            now: json!(plan.started_at.to_string()),
        }
    }

    /// What every expression sees.
    pub(super) fn variables(&self) -> Variables<'_> {
        Variables::new()
            .with("inputs", &self.inputs)
            .with("steps", &self.steps)
            .with("plan", &self.plan)
            .with("now", &self.now)
    }

    /// Lets expressions see a step from now on.
    pub(super) fn set_step(&mut self, id: &str, value: Value) {
        if let Value::Object(steps) = &mut self.steps {
            steps.insert(id.into(), value);
        }
    }
}

/// Which member of a step holds its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Output,
    /// The output, and beside it who gave it and how.
    Answer,
    Chosen,
    Outputs,
}

impl Member {
    const fn name(self) -> &'static str {
        match self {
            Self::Output | Self::Answer => "output",
            Self::Chosen => "chosen",
            Self::Outputs => "outputs",
        }
    }
}

/// How a step that is done is seen.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Ok(Value),
    /// A question was answered; the second says by whom, how, and with which message.
    Answered(Value, Value),
    /// A decision put this in place of what failed with the error.
    Recovered(Value, Value),
    Skipped,
}

impl Seen {
    pub(super) fn into_value(self, member: Member) -> Value {
        let (ok, skipped, recovered) = (
            !matches!(self, Self::Skipped),
            matches!(self, Self::Skipped),
            matches!(self, Self::Recovered(..)),
        );
        let (result, error, answer) = match self {
            Self::Ok(result) => (result, Value::Null, Value::Null),
            Self::Answered(result, answer) => (result, Value::Null, answer),
            Self::Recovered(result, error) => (result, error, Value::Null),
            Self::Skipped => (Value::Null, Value::Null, Value::Null),
        };
        let mut seen = json!({"ok": ok, "skipped": skipped, "recovered": recovered, "error": error, member.name(): result});
        if member == Member::Answer {
            seen["answer"] = answer;
        }
        seen
    }
}
