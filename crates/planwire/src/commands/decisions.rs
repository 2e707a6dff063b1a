//! `planwire decisions`: what was decided in a plan and all below it, by whom and why.

use std::collections::BTreeMap;

use planwire_event::vocabulary::{DecidedBy, DecisionMade, PlanStarted, SubplanSpawned};
use planwire_event::{EventType, Filter, PlanId, Position, StoredEvent};
use planwire_store::{EventRepository, PageLimits};
use serde_json::json;

use crate::args::DecisionsArguments;
use crate::commands::events::unknown_plan;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Paint, Style, cut, escape};
use crate::place::Place;

/// Characters of a text that is shown in full otherwise by `--json`.
const TEXT_CHARS_MAX: usize = 400;

/// Shows the decisions of a plan and of all below it.
///
/// # Errors
///
/// If the log cannot be read, or the plan is unknown.
pub(crate) async fn decisions(
    arguments: &DecisionsArguments,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    let repository = place.require_reader()?;
    let tree = Decided::read(repository.as_ref(), &arguments.plan).await?;
    let Some(root) = tree.plans.get(&arguments.plan) else {
        return Err(unknown_plan(&arguments.plan));
    };
    if output.json {
        for decision in &tree.in_order {
            output.json(decision)?;
        }
        return Ok(Exit::Completed);
    }
    if tree.in_order.is_empty() {
        output.line(&format!(
            "{} {} and all below it decided nothing",
            escape(&root.name),
            arguments.plan
        ))?;
        return Ok(Exit::Completed);
    }
    let mut lines = Vec::new();
    tree.lines(&arguments.plan, "", output.style, &mut lines);
    for line in lines {
        output.line(&line)?;
    }
    Ok(Exit::Completed)
}

/// A plan as far as its decisions matter.
#[derive(Default)]
struct Plan {
    name: String,
    /// The step that started it, with the place of its item.
    by: String,
    made: Vec<DecisionMade>,
    children: Vec<PlanId>,
}

#[derive(Default)]
struct Decided {
    plans: BTreeMap<PlanId, Plan>,
    /// What `--json` prints.
    in_order: Vec<serde_json::Value>,
}

impl Decided {
    async fn read(repository: &dyn EventRepository, root: &PlanId) -> Result<Self, Failure> {
        let types = [EventType::PlanStarted, EventType::SubplanSpawned, EventType::DecisionMade];
        let filter = Filter::tree(root.clone()).with_types(types);
        let (mut decided, mut position) = (Self::default(), Position::ZERO);
        loop {
            let page = repository.read_after(position, &filter, PageLimits::default()).await?;
            page.events.iter().for_each(|event| decided.take(event));
            if page.at_head {
                return Ok(decided);
            }
            position = page.scanned_to;
        }
    }

    fn take(&mut self, stored: &StoredEvent) {
        let (event, plan_id) = (&stored.event, stored.plan_id());
        if let Some(started) = event.read::<PlanStarted>() {
            self.plans.entry(plan_id.clone()).or_default().name = started.name;
        } else if let Some(spawned) = event.read::<SubplanSpawned>() {
            let child = spawned.child_plan_id;
            let item = spawned.item.map_or_else(String::new, |item| format!("[{item}]"));
            let entry = self.plans.entry(child.clone()).or_default();
            (entry.name, entry.by) = (spawned.name, format!("{}{item}", spawned.step));
            self.plans.entry(plan_id.clone()).or_default().children.push(child);
        } else if let Some(made) = event.read::<DecisionMade>() {
            let mut value = event.payload().to_value();
            value["plan_id"] = json!(plan_id);
            value["timestamp"] = json!(event.timestamp());
            value["cursor"] = json!(stored.cursor());
            self.in_order.push(value);
            self.plans.entry(plan_id.clone()).or_default().made.push(made);
        }
    }

    /// Whether anything was decided in a plan or below it. Depth is bounded by the levels of plans that the log takes.
    fn has_any(&self, id: &PlanId) -> bool {
        let Some(plan) = self.plans.get(id) else { return false };
        !plan.made.is_empty() || plan.children.iter().any(|child| self.has_any(child))
    }

    fn lines(&self, id: &PlanId, indent: &str, style: Style, lines: &mut Vec<String>) {
        let Some(plan) = self.plans.get(id) else { return };
        let by = if plan.by.is_empty() { String::new() } else { format!("{} ", escape(&plan.by)) };
        let name = style.paint(Paint::Strong, &escape(&plan.name));
        lines.push(format!("{indent}{by}{name} {}", style.paint(Paint::Faint, id.as_str())));
        let indent = format!("{indent}  ");
        for made in &plan.made {
            decision(made, &indent, style, lines);
        }
        for child in plan.children.iter().filter(|child| self.has_any(child)) {
            self.lines(child, &indent, style, lines);
        }
    }
}

fn decision(made: &DecisionMade, indent: &str, style: Style, lines: &mut Vec<String>) {
    let shown = |text: &str| cut(&escape(text), TEXT_CHARS_MAX);
    let who = match made.decided_by {
        DecidedBy::Rule => "by rule",
        DecidedBy::Model => "by a model",
        DecidedBy::Person => "by a person",
    };
    let confidence = made.confidence.map_or_else(String::new, |sure| format!(", confidence {sure}"));
    lines.push(format!("{indent}? {}: {}", shown(&made.step), shown(&made.question)));
    if let Some(error) = &made.error {
        let error = format!("{}: {}", error.code, error.message);
        lines.push(format!("{indent}    after {}", style.paint(Paint::Bad, &shown(&error))));
    }
    let description = |name: &str| {
        let option = made.options.iter().find(|option| option.name == name);
        option.map(|option| option.description.as_str()).filter(|text| !text.is_empty())
    };
    let meaning =
        |name: &str| description(name).map_or_else(String::new, |text| format!(", {}", shown(text)));
    let chosen = style.paint(Paint::Choice, &shown(&made.chosen));
    lines.push(format!("{indent}  → {chosen}{}  ({who}{confidence})", meaning(&made.chosen)));
    if !made.rationale.is_empty() {
        lines.push(format!("{indent}    because {}", shown(&made.rationale)));
    }
    for other in &made.alternatives {
        let reason =
            if other.reason.is_empty() { String::new() } else { format!(": {}", shown(&other.reason)) };
        let line = format!("{indent}  · not {}{}{reason}", shown(&other.name), meaning(&other.name));
        lines.push(style.paint(Paint::Faint, &line));
    }
}
