//! From nodes to the steps of a [`Document`](super::Document).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use planwire_event::expression::Expression;

use super::diagnostic::{did_you_mean, quoted};
use super::keys;
use super::model::{
    ATTEMPTS_MAX, BACKOFF_MAX, DEPTH_MAX, ForEach, Limits, MEMBERS_MAX, Resolved, Retry, STEPS_MAX, Step,
    StepKind, SubplanSource, SubplanStep, TOOL_TIMEOUT_DEFAULT, TOOL_TIMEOUT_MAX, TREE_TOKENS_MAX, ToolStep,
};
use super::node::{Key, Node, NodeValue};
use super::parse::PLAN_VARIABLES;
use super::reading::{Fields, Reading, sound};
use super::references::Kind;
use super::source::Place;
use crate::template::Template;

const TOOL_VARIABLES: [&str; 5] = ["inputs", "steps", "now", "plan", "attempt"];
const ITEM_VARIABLES: [&str; 6] = ["inputs", "steps", "now", "plan", "item", "index"];
const USAGE_VARIABLES: [&str; 6] = ["inputs", "steps", "now", "plan", "attempt", "output"];
pub(super) const RETRY_VARIABLES: [&str; 6] = ["inputs", "steps", "now", "plan", "error", "attempt"];

/// The steps of a document as far as they could be read.
#[derive(Default)]
pub(super) struct ReadSteps {
    /// `None` where a step has a problem.
    pub(super) steps: Vec<Option<Step>>,
    /// For each step, what it waits for, and where that is said.
    pub(super) edges: Vec<Vec<(usize, Place)>>,
    pub(super) children: BTreeMap<String, Arc<str>>,
    /// Levels of plans below.
    pub(super) levels: u32,
}

impl Reading<'_, '_> {
    pub(super) fn steps(&mut self, node: &Node, limits: Limits) -> ReadSteps {
        let mut read = ReadSteps::default();
        let members = self.named(node, "'steps'", STEPS_MAX);
        if matches!(&node.value, NodeValue::Map(members) if members.is_empty()) {
            self.problem(node.place, "the plan has no steps");
        }
        for (key, node) in members {
            self.current = Some(key.name.clone());
            self.needs = BTreeMap::new();
            let step = self.step(key, node, limits);
            if let Some(Step { kind: StepKind::Subplan(subplan), .. }) = &step {
                // How deep a plan goes that is made at run time is seen then.
                if let SubplanSource::Written(plan) = &subplan.plan {
                    read.children.insert(key.name.clone(), plan.body.clone());
                    read.levels = read.levels.max(plan.document.levels + 1);
                }
            }
            read.steps.push(step);
            read.edges.push(self.needs.iter().map(|(index, place)| (*index, *place)).collect());
        }
        self.current = None;
        read
    }

    fn step(&mut self, key: &Key, node: &Node, limits: Limits) -> Option<Step> {
        let what = format!("step '{}'", key.name);
        let members = self.members(node, &what)?;
        let named = |name: &str| members.iter().find(|(key, _)| key.name == name);
        let mut given: Vec<(Kind, &Key)> =
            Kind::ALL.into_iter().filter_map(|kind| named(kind.key()).map(|(key, _)| (kind, key))).collect();
        // A tool may wait for approval.
        given.retain(|(kind, _)| *kind != Kind::Approve || named("tool").is_none());
        if let [(_, first), (_, second), ..] = given.as_slice() {
            let place = first.place.max(second.place);
            let message = format!("{what} has both '{}' and '{}'", first.name, second.name);
            self.problem_with(place, message, "a step does one thing: give each a step of its own");
            return None;
        }
        let Some((kind, _)) = given.first().copied() else {
            self.without_kind(key, members, &what);
            return None;
        };
        let fields = self.step_fields(node, &what, kind)?;
        let when = fields.get("when").map(|node| self.expression(node, "'when'", &PLAN_VARIABLES));
        if let Some(node) = fields.get("after") {
            self.after(node);
        }
        let on_error = fields.get("on_error").map(|node| self.recovery(node, &what));
        let kind = match kind {
            Kind::Tool => self.tool(&fields).map(StepKind::Tool),
            Kind::Decide if fields.raw("model").is_some() => {
                self.model_decision(&fields, &what).map(StepKind::AskModel)
            }
            Kind::Decide => self.decision(&fields, &what).map(StepKind::Decide),
            Kind::Plan => self.subplan(&fields, &what, limits).map(StepKind::Subplan),
            Kind::Ask => self.ask(&fields, &what).map(StepKind::Ask),
            Kind::Approve => self.approval(&fields).map(StepKind::Ask),
            Kind::Fail => self.fail(&fields).map(StepKind::Fail),
            Kind::Artifact => {
                let node = fields.raw("artifact").map(|(_, node)| node);
                node.and_then(|node| self.artifact(key, node)).map(StepKind::Artifact)
            }
        };
        Some(Step {
            id: key.name.clone(),
            needs: self.needs.keys().copied().collect(),
            when: sound(when)?,
            kind: kind?,
            on_error: sound(on_error)?,
        })
    }

    /// A step that nobody can tell the kind of.
    fn without_kind(&mut self, key: &Key, members: &[(Key, Node)], what: &str) {
        let known: BTreeSet<&str> = all_keys().collect();
        if let Some((key, _)) = members.iter().find(|(key, _)| !known.contains(key.name.as_str())) {
            let hint = did_you_mean(&key.name, known, "keys");
            self.problem_maybe(key.place, format!("unknown key {} in {what}", quoted(&key.name)), hint);
            return;
        }
        let [first @ .., last] = Kind::ALL.map(|kind| format!("{}:", kind.key()));
        let hint = format!("give it {} or {last}", first.join(", "));
        self.problem_with(key.place, format!("{what} does nothing"), hint);
    }

    /// A key that another kind of step has gets a message of its own.
    fn step_fields<'n>(&mut self, node: &'n Node, what: &str, kind: Kind) -> Option<Fields<'n>> {
        let known = kind.keys();
        let mut allowed = known.to_vec();
        for (key, _) in self.members(node, what)? {
            let name = key.name.as_str();
            if !known.contains(&name) && all_keys().any(|known| known == name) {
                let message = format!("'{name}' is not for {}", kind.name());
                let hint = match name {
                    "for_each" | "parallel" => {
                        "it repeats a subplan: put the step into a plan of its own".to_owned()
                    }
                    _ => format!("its keys: {}", known.join(", ")),
                };
                self.problem_with(key.place, message, hint);
                allowed.push(name);
            }
        }
        self.fields(node, what, &allowed)
    }

    fn after(&mut self, node: &Node) {
        let NodeValue::List(items) = &node.value else {
            let message = format!("'after' must be a list of steps, not {}", node.kind());
            return self.problem_with(node.place, message, "such as after: [list, history]");
        };
        if items.len() > STEPS_MAX {
            return self.problem(node.place, format!("'after' names more than {STEPS_MAX} steps"));
        }
        for item in items {
            let Some(id) = self.text(item, "an entry of 'after'") else { continue };
            match self.steps.get(id).copied() {
                _ if self.current.as_deref() == Some(id) => {
                    self.problem(item.place, format!("step '{id}' waits for itself"));
                }
                Some((index, _)) => {
                    self.needs.entry(index).or_insert(item.place);
                }
                None => {
                    let hint = did_you_mean(id, self.steps.keys().map(String::as_str), "steps");
                    self.problem_maybe(item.place, format!("reference to unknown step {}", quoted(id)), hint);
                }
            }
        }
    }

    fn tool(&mut self, fields: &Fields<'_>) -> Option<ToolStep> {
        let (_, node) = fields.raw("tool")?;
        let name = self.text(node, "'tool'");
        let with = fields.get("with");
        if let Some(name) = name {
            self.check_tool(name, node.place, with);
        }
        let with = match with {
            Some(node) => {
                self.members(node, "'with'")?;
                self.arguments(node, &TOOL_VARIABLES)
            }
            None => Some(Template::Object(Vec::new())),
        };
        let timeout = match fields.get("timeout") {
            Some(node) => self.duration(node, "'timeout'", TOOL_TIMEOUT_MAX),
            None => Some(TOOL_TIMEOUT_DEFAULT),
        };
        let retry = match fields.get("retry") {
            Some(node) => self.retry(node),
            None => Some(Retry::default()),
        };
        let idempotent = match fields.get("idempotent") {
            Some(node) => self.boolean(node, "'idempotent'"),
            None => Some(false),
        };
        let usage = fields.get("usage").map(|node| self.usage(node));
        let reserve = fields.get("reserve").map(|node| self.reserve(node));
        let approve = fields.get("approve").map(|_| self.approval(fields));
        if let Some((key, _)) = fields.raw("expires").filter(|_| approve.is_none()) {
            self.problem(key.place, "'expires' is only for steps with 'approve' or 'ask'");
        }
        Some(ToolStep {
            tool: name?.to_owned(),
            with: with?,
            approve: sound(approve)?,
            timeout: timeout?,
            retry: retry?,
            idempotent: idempotent?,
            usage: sound(usage)?,
            reserve: sound(reserve)?,
        })
    }

    fn usage(&mut self, node: &Node) -> Option<Template> {
        self.members(node, "'usage'")?;
        self.template(node, &USAGE_VARIABLES)
    }

    pub(super) fn reserve(&mut self, node: &Node) -> Option<Template> {
        let fields = self.fields(node, "'reserve'", &keys::RESERVE)?;
        for name in keys::RESERVE {
            let Some(node) = fields.get(name) else { continue };
            let is_written_out = !matches!(&node.value, NodeValue::Text(text, _) if text.contains("${"));
            if is_written_out && name == "tokens" {
                self.amount(node, "'tokens'", 0, TREE_TOKENS_MAX)?;
            } else if is_written_out {
                self.cost(node, "'cost'")?;
            }
        }
        self.template(node, &TOOL_VARIABLES)
    }

    fn check_tool(&mut self, name: &str, place: Place, with: Option<&Node>) {
        let Some(tools) = self.loader.tools else { return };
        let Some(tool) = tools.get(name) else {
            let known = || tools.iter().map(|tool| tool.name());
            let hint = tools.hint(name).or_else(|| did_you_mean(name, known(), "tools"));
            return self.problem_maybe(place, format!("unknown tool {}", quoted(name)), hint);
        };
        let given = given(with);
        let arguments = tool.arguments();
        // Where any may be given, none is unknown.
        let unknown = |key: &Key| arguments.names().filter(|names| !names.contains(&key.name.as_str()));
        for (key, known) in given.iter().filter_map(|(key, _)| unknown(key).map(|known| (key, known))) {
            if !self.loader.problems.is_full() {
                let hint = did_you_mean(&key.name, known, "arguments");
                let message = format!("tool '{name}' has no argument {}", quoted(&key.name));
                self.problem_maybe(key.place, message, hint);
            }
        }
        for (argument, purpose) in arguments.required() {
            if !given.iter().any(|(key, _)| key.name == argument) {
                let message = format!("tool '{name}' needs the argument '{argument}'");
                let purpose = if purpose.is_empty() { String::new() } else { format!(" ({purpose})") };
                let hint = format!("add {argument}:{purpose} to its with:");
                self.problem_with(place, message, hint);
            }
        }
    }

    pub(super) fn retry(&mut self, node: &Node) -> Option<Retry> {
        let fields = self.fields(node, "'retry'", &keys::RETRY)?;
        let mut retry = Retry::default();
        match fields.get("attempts") {
            Some(node) => retry.attempts = self.integer(node, "'attempts'", 1, ATTEMPTS_MAX)?,
            None => {
                self.problem(fields.place, "'retry' must have 'attempts'");
                return None;
            }
        }
        if let Some(node) = fields.get("max_backoff") {
            retry.max_backoff = self.duration(node, "'max_backoff'", BACKOFF_MAX)?;
        }
        if let Some(node) = fields.get("backoff") {
            retry.backoff = self.duration(node, "'backoff'", BACKOFF_MAX)?;
        }
        let when = fields.get("when").map(|node| self.expression(node, "'when'", &RETRY_VARIABLES));
        retry.when = sound(when)?;
        Some(retry)
    }

    fn subplan(&mut self, fields: &Fields<'_>, what: &str, limits: Limits) -> Option<SubplanStep> {
        let (_, node) = fields.raw("plan")?;
        let for_each = fields.get("for_each");
        let variables: &[&str] = if for_each.is_some() { &ITEM_VARIABLES } else { &PLAN_VARIABLES };
        let items = for_each.map(|node| self.expression(node, "'for_each'", &PLAN_VARIABLES));
        let mut parallel = limits.parallel;
        if let Some((key, node)) = fields.raw("parallel") {
            if for_each.is_none() {
                self.problem(key.place, "'parallel' is only for steps with 'for_each'");
            }
            parallel = self.parallel(node).unwrap_or(parallel);
        }
        let with_node = fields.get("with");
        let made = self.made_plan(node, variables);
        let with = match with_node {
            // Inputs of a plan that is not known yet may be unknown too.
            Some(node) if made.is_some() && matches!(node.value, NodeValue::Text(..)) => {
                self.template(node, variables)
            }
            Some(node) => self.members(node, "'with'").and_then(|_| self.template(node, variables)),
            None => Some(Template::Object(Vec::new())),
        };
        let plan = match made {
            Some(made) => SubplanSource::Made(made?),
            None => SubplanSource::Written(self.written_plan(node, with_node, what)?),
        };
        let for_each = match items {
            None => None,
            Some(items) => Some(ForEach { items: items?, parallel }),
        };
        Some(SubplanStep { plan, with: with?, for_each })
    }

    /// The expression that gives the document, if `plan:` is one; `Some(None)` if it has a problem.
    #[expect(clippy::option_option, reason = "made or written, sound or not")]
    fn made_plan(&mut self, node: &Node, variables: &[&str]) -> Option<Option<Box<Expression>>> {
        let NodeValue::Text(text, _) = &node.value else { return None };
        if !text.contains("${") {
            return None;
        }
        Some(match self.template(node, variables)? {
            Template::Expression(expression) => Some(expression),
            _ => {
                let hint = "write the expression alone, such as plan: \"${steps.planner.output}\"";
                let message = "'plan' is a file, a plan, or one expression that gives a plan".to_owned();
                self.problem_with(node.place, message, hint);
                None
            }
        })
    }

    fn written_plan(&mut self, node: &Node, with: Option<&Node>, what: &str) -> Option<Resolved> {
        let plan = self.loader.subplan(self.source, node)?;
        if plan.document.levels >= DEPTH_MAX {
            self.problem(node.place, format!("more than {DEPTH_MAX} levels of plans"));
            return None;
        }
        self.check_child_inputs(&plan, node.place, with, what);
        Some(plan)
    }

    fn check_child_inputs(&mut self, plan: &Resolved, place: Place, with: Option<&Node>, what: &str) {
        let child = &plan.document;
        if let Some(input) = child.secret_inputs().next() {
            let message =
                format!("input '{input}' of plan '{}' is secret: it cannot run as a subplan", child.name);
            let hint = "a secret input is given to a plan that is started by itself; a subplan may use ${secret('NAME')}";
            return self.problem_with(place, message, hint);
        }
        let given = given(with);
        for (key, node) in given.iter().take(MEMBERS_MAX + 1) {
            let Some(input) = child.inputs.iter().find(|input| input.name == key.name) else {
                let known = child.inputs.iter().map(|input| input.name.as_str());
                let hint = did_you_mean(&key.name, known, "inputs");
                let message = format!("plan '{}' has no input {}", child.name, quoted(&key.name));
                self.problem_maybe(key.place, message, hint);
                continue;
            };
            let value = node.to_value();
            let fixed = !value.as_str().is_some_and(|text| text.contains("${"));
            if fixed && !input.kind.accepts(&value) {
                let wanted = input.kind.wanted();
                let message = format!(
                    "input '{}' of plan '{}' must be {wanted}, not {}",
                    key.name,
                    child.name,
                    node.kind()
                );
                self.problem(node.place, message);
            }
        }
        for input in child.inputs.iter().filter(|input| input.default.is_none()) {
            if !given.iter().any(|(key, _)| key.name == input.name) {
                let message = format!(
                    "{what} does not give the input '{}' that plan '{}' needs",
                    input.name, child.name
                );
                self.problem_with(place, message, format!("add {}: to its with:", input.name));
            }
        }
    }
}

fn given(with: Option<&Node>) -> &[(Key, Node)] {
    match with.map(|node| &node.value) {
        Some(NodeValue::Map(members)) => members,
        _ => &[],
    }
}

fn all_keys() -> impl Iterator<Item = &'static str> {
    Kind::ALL.into_iter().flat_map(Kind::keys).copied()
}
