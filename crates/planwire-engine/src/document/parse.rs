//! From nodes to a [`Document`]: everything but the steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::diagnostic::{did_you_mean, quoted};
use super::graph;
use super::keys;
use super::model::{
    DEPTH_MAX, Document, Input, InputKind, Limits, MEMBERS_MAX, PARALLEL_MAX, PLAN_TIMEOUT_MAX,
    SECRET_INPUTS_MAX, STEPS_MAX, TREE_CALLS_MAX, TREE_PARALLEL_MAX, TREE_TOKENS_MAX,
};
use super::node::{Key, Node, NodeValue};
use super::reading::{Fields, Reading, is_id};
use super::references::Kind;
use super::resolve::Loader;
use super::source::{Place, Source};
use crate::budget::TreeLimits;
use crate::template::Template;

/// Variables of expressions that are evaluated when all steps are done.
pub(super) const PLAN_VARIABLES: [&str; 4] = ["inputs", "steps", "now", "plan"];
/// Characters of a goal.
const GOAL_CHARS_MAX: usize = 500;

/// A document that has been read, with the bodies of its subplans by step.
pub(super) struct Parsed {
    pub(super) document: Document,
    pub(super) children: BTreeMap<String, Arc<str>>,
}

/// Reads a document; problems go to the loader. The result is only to be used if there were none.
pub(super) fn document(source: &Source, node: &Node, loader: &mut Loader<'_>) -> Option<Parsed> {
    let mut reading = Reading {
        source,
        loader,
        steps: BTreeMap::new(),
        inputs: BTreeSet::new(),
        secret_inputs: BTreeSet::new(),
        current: None,
        needs: BTreeMap::new(),
        secrets_allowed: false,
    };
    reading.document(node)
}

impl Reading<'_, '_> {
    fn document(&mut self, node: &Node) -> Option<Parsed> {
        let fields = self.fields(node, "the plan", &keys::DOCUMENT)?;
        let name = self.plan_name(&fields);
        let goal = self.goal(&fields);
        let inputs = fields.get("inputs").map_or_else(Vec::new, |node| self.inputs(node));
        let limits = fields.get("limits").map_or_else(Limits::default, |node| self.limits(node));
        self.survey(&fields);
        let read = match fields.get("steps") {
            Some(node) => self.steps(node, limits),
            None => {
                self.problem_with(fields.place, "the plan has no steps", "add steps: with one step or more");
                return None;
            }
        };
        let outputs = fields.get("outputs").map_or_else(Vec::new, |node| self.outputs(node));
        let artifacts = fields.get("artifacts").map_or_else(Vec::new, |node| self.artifacts(node));
        self.check_depth(&fields, limits, read.levels);
        let edges: Vec<Vec<(usize, Place)>> = read.edges;
        if let Some(cycle) = graph::cycle(&edges) {
            let ids = self.step_ids();
            let path: Vec<&str> =
                cycle.steps.iter().filter_map(|at| ids.get(*at).map(String::as_str)).collect();
            let message = format!("steps wait for each other: {}", path.join(" -> "));
            self.problem_with(cycle.place, message, "take one of these references out");
            return None;
        }
        let document = Document {
            name: name?,
            goal: goal?,
            inputs,
            limits,
            steps: read.steps.into_iter().collect::<Option<Vec<_>>>()?,
            outputs,
            artifacts,
            levels: read.levels,
        };
        Some(Parsed { document, children: read.children })
    }

    fn step_ids(&self) -> Vec<String> {
        let mut ids: Vec<(usize, String)> =
            self.steps.iter().map(|(id, (index, _))| (*index, id.clone())).collect();
        ids.sort();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    fn plan_name(&mut self, fields: &Fields<'_>) -> Option<String> {
        let Some(node) = fields.get("plan") else {
            let hint = "add plan: with a name such as repo-report";
            self.problem_with(fields.place, "the plan has no name", hint);
            return None;
        };
        let name = self.text(node, "'plan'")?;
        if !is_id(name, '-') {
            let hint = "names of plans are a lower-case letter, then lower-case letters, digits and -";
            self.problem_with(node.place, format!("{} is no name of a plan", quoted(name)), hint);
            return None;
        }
        Some(name.to_owned())
    }

    fn goal(&mut self, fields: &Fields<'_>) -> Option<String> {
        let Some(node) = fields.get("goal") else {
            self.problem_with(
                fields.place,
                "the plan has no goal",
                "add goal: with one line that says what it is for",
            );
            return None;
        };
        let goal = self.text(node, "'goal'")?.trim();
        if goal.contains('\n') || goal.chars().count() > GOAL_CHARS_MAX {
            self.problem(
                node.place,
                format!("the goal must be one line of at most {GOAL_CHARS_MAX} characters"),
            );
            return None;
        }
        Some(goal.to_owned())
    }

    fn inputs(&mut self, node: &Node) -> Vec<Input> {
        let members = self.named(node, "'inputs'", MEMBERS_MAX);
        self.inputs = members.iter().map(|(key, _)| key.name.clone()).collect();
        let inputs = members.iter().filter_map(|(key, node)| self.input(key, node)).collect();
        if self.secret_inputs.len() > SECRET_INPUTS_MAX {
            self.problem(node.place, format!("'inputs' has more than {SECRET_INPUTS_MAX} secret ones"));
        }
        inputs
    }

    fn input(&mut self, key: &Key, node: &Node) -> Option<Input> {
        let what = format!("input '{}'", key.name);
        let fields = self.fields(node, &what, &keys::INPUT)?;
        let Some(type_node) = fields.get("type") else {
            let hint = format!("types: {}", keys::INPUT_TYPES.join(", "));
            self.problem_with(key.place, format!("{what} has no type"), hint);
            return None;
        };
        let name = self.text(type_node, "'type'")?;
        let Some(kind) = InputKind::of_name(name) else {
            let hint = did_you_mean(name, keys::INPUT_TYPES, "types");
            self.problem_maybe(type_node.place, format!("unknown type {}", quoted(name)), hint);
            return None;
        };
        let default = fields.get("default");
        if let Some(node) = default
            && !kind.accepts(&node.to_value())
        {
            let message = format!("the default of {what} must be {}, not {}", kind.wanted(), node.kind());
            self.problem(node.place, message);
        }
        let is_secret = fields.get("secret").and_then(|node| self.boolean(node, "'secret'")) == Some(true);
        if is_secret {
            self.secret_inputs.insert(key.name.clone());
        }
        if is_secret && kind != InputKind::String {
            self.problem(
                type_node.place,
                format!("{what} is secret, so its type must be string, not {name}"),
            );
        }
        if let Some(node) = default.filter(|_| is_secret) {
            let hint =
                "whoever starts the plan gives it; a value that is always the same is one of engine.secrets";
            self.problem_with(node.place, format!("{what} is secret and can have no default"), hint);
        }
        let description = fields.get("description").and_then(|node| self.text(node, "'description'"));
        Some(Input {
            name: key.name.clone(),
            kind,
            default: default.map(Node::to_value),
            secret: is_secret,
            description: description.map(str::to_owned),
        })
    }

    fn limits(&mut self, node: &Node) -> Limits {
        let mut limits = Limits::default();
        let Some(fields) = self.fields(node, "'limits'", &keys::LIMITS) else { return limits };
        if let Some(node) = fields.get("parallel") {
            limits.parallel = self.parallel(node).unwrap_or(limits.parallel);
        }
        if let Some(node) = fields.get("depth") {
            limits.depth = self.integer(node, "'depth'", 0, DEPTH_MAX).unwrap_or(limits.depth);
        }
        if let Some(node) = fields.get("timeout") {
            limits.timeout = self.duration(node, "'timeout'", PLAN_TIMEOUT_MAX).unwrap_or(limits.timeout);
        }
        limits.tree = self.tree_limits(&fields);
        limits
    }

    /// What holds for the plan and all below it.
    fn tree_limits(&mut self, fields: &Fields<'_>) -> TreeLimits {
        let mut number = |name: &str, max: u64| {
            let node = fields.get(name)?;
            self.amount(node, &format!("'{name}'"), 1, max)
        };
        let parallel_max = u64::try_from(TREE_PARALLEL_MAX).unwrap_or(u64::MAX);
        let tool_calls = number("tool_calls", TREE_CALLS_MAX);
        let tokens = number("tokens", TREE_TOKENS_MAX);
        let parallel_calls = number("parallel_calls", parallel_max);
        let parallel_plans = number("parallel_plans", parallel_max);
        let size = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
        TreeLimits {
            tool_calls,
            tokens,
            cost: fields.get("cost").and_then(|node| self.cost(node, "'cost'")),
            parallel_calls: size(parallel_calls),
            parallel_plans: size(parallel_plans),
        }
    }

    pub(super) fn parallel(&mut self, node: &Node) -> Option<usize> {
        let max = u32::try_from(PARALLEL_MAX).unwrap_or(u32::MAX);
        self.integer(node, "'parallel'", 1, max).and_then(|value| usize::try_from(value).ok())
    }

    /// Learns which steps there are before any expression is read.
    fn survey(&mut self, fields: &Fields<'_>) {
        let Some(Node { value: NodeValue::Map(members), .. }) = fields.get("steps") else { return };
        for (index, (key, node)) in members.iter().take(STEPS_MAX).enumerate() {
            let kind = Kind::ALL.into_iter().find(|kind| node.get(kind.key()).is_some());
            self.steps.insert(key.name.clone(), (index, kind));
        }
    }

    fn check_depth(&mut self, fields: &Fields<'_>, limits: Limits, levels: u32) {
        if levels > limits.depth {
            let place = fields.get("limits").map_or(fields.place, |node| node.place);
            let message = format!("its subplans go {levels} deep, its limit of depth is {}", limits.depth);
            self.problem(place, message);
        }
    }

    fn outputs(&mut self, node: &Node) -> Vec<(String, Template)> {
        let members = self.named(node, "'outputs'", MEMBERS_MAX);
        let read = members.iter().map(|(key, node)| (key.name.clone(), self.template(node, &PLAN_VARIABLES)));
        read.filter_map(|(name, template)| Some((name, template?))).collect()
    }
}
