//! Whether what an expression refers to exists.

use planwire_event::expression::Reference;

use super::diagnostic::{did_you_mean, quoted};
use super::keys;
use super::reading::{Reading, Written};
use super::source::Source;

/// What a step is, as far as its references need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tool,
    Decide,
    Plan,
    Ask,
    Approve,
    Fail,
    Artifact,
}

impl Kind {
    /// All kinds. One that others may be combined with comes first.
    pub(super) const ALL: [Self; 7] =
        [Self::Tool, Self::Decide, Self::Plan, Self::Ask, Self::Approve, Self::Fail, Self::Artifact];

    /// The key that makes a step one of this kind.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Decide => "decide",
            Self::Plan => "plan",
            Self::Ask => "ask",
            Self::Approve => "approve",
            Self::Fail => "fail",
            Self::Artifact => "artifact",
        }
    }

    /// All keys of a step of this kind.
    pub(super) const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Tool => &keys::TOOL_STEP,
            Self::Decide => &keys::DECIDE_STEP,
            Self::Plan => &keys::PLAN_STEP,
            Self::Ask => &keys::ASK_STEP,
            Self::Approve => &keys::APPROVE_STEP,
            Self::Fail => &keys::FAIL_STEP,
            Self::Artifact => &keys::ARTIFACT_STEP,
        }
    }

    /// The members of `steps.ID` that not every kind has.
    const fn members(self) -> &'static [&'static str] {
        match self {
            Self::Tool | Self::Fail | Self::Artifact => &["output"],
            Self::Ask | Self::Approve => &["output", "answer"],
            Self::Decide => &["chosen"],
            Self::Plan => &["outputs"],
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tool => "a tool step",
            Self::Decide => "a decision",
            Self::Plan => "a subplan step",
            Self::Ask => "a question",
            Self::Approve => "an approval",
            Self::Fail => "a fail step",
            Self::Artifact => "an artifact step",
        }
    }
}

impl Reading<'_, '_> {
    /// Reports what does not exist; remembers steps that are waited for.
    pub(super) fn check_reference(&mut self, reference: &Reference, written: Written<'_>) -> bool {
        let root = reference.path[0].trim_start_matches('.');
        let member = reference.path.get(1).map(String::as_str);
        let problem = match (root, member) {
            ("steps", None) => Some((
                "'steps' alone says nothing".to_owned(),
                Some("name the step and its member: steps.ID.output".to_owned()),
            )),
            ("steps", Some(id)) => return self.check_step_reference(id, reference, written),
            ("inputs", Some(name)) if !self.inputs.contains(name) => Some((
                format!("unknown input {}", quoted(name)),
                did_you_mean(name, self.inputs.iter().map(String::as_str), "inputs"),
            )),
            ("inputs", Some(name)) if self.secret_inputs.contains(name) => Some((
                format!("the secret input '{name}' has no value in expressions"),
                Some(format!(
                    "it stands alone in its ${{..}}, such as \"${{inputs.{name}}}\" in the with: of a tool step"
                )),
            )),
            ("plan", Some(name)) => unknown_member(name, "plan", &keys::PLAN_MEMBERS),
            ("error", Some(name)) => unknown_member(name, "error", &keys::ERROR_MEMBERS),
            _ => None,
        };
        match problem {
            None => true,
            Some((message, hint)) => {
                self.problem_maybe(written.place_of(self.source, reference.offset), message, hint);
                false
            }
        }
    }

    fn check_step_reference(&mut self, id: &str, reference: &Reference, written: Written<'_>) -> bool {
        // Finding a place takes a walk over the text: only for what is told or remembered.
        let place = |source: &Source| written.place_of(source, reference.offset);
        let Some((index, kind)) = self.steps.get(id).copied() else {
            let hint = did_you_mean(id, self.steps.keys().map(String::as_str), "steps");
            self.problem_maybe(place(self.source), format!("reference to unknown step {}", quoted(id)), hint);
            return false;
        };
        if self.current.as_deref() == Some(id) {
            let hint =
                "a step sees only what other steps did before it; in on_error and retry use error.code";
            self.problem_with(place(self.source), format!("step '{id}' refers to itself"), hint);
            return false;
        }
        self.needs.entry(index).or_insert_with(|| place(self.source));
        let (Some(kind), Some(member)) = (kind, reference.path.get(2)) else { return true };
        let known: Vec<&str> = kind.members().iter().copied().chain(keys::STEP_MEMBERS).collect();
        if known.contains(&member.as_str()) {
            return true;
        }
        let message = format!("'{id}' is {} and has no member {}", kind.name(), quoted(member));
        self.problem_maybe(place(self.source), message, did_you_mean(member, known, "members"));
        false
    }
}

fn unknown_member(name: &str, of: &str, known: &[&str]) -> Option<(String, Option<String>)> {
    let hint = || did_you_mean(name, known.iter().copied(), "members");
    (!known.contains(&name)).then(|| (format!("'{of}' has no member {}", quoted(name)), hint()))
}
