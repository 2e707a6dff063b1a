//! `planwire show`: one plan and all below it, as their events tell it.

use planwire_event::state::{PlanState, StepState};
use planwire_event::{Clock as _, Filter, PlanId, Position, SystemClock, Timestamp};
use planwire_store::{EventRepository, PageLimits};
use serde_json::Value;

use crate::args::ShowArguments;
use crate::commands::events::unknown_plan;
use crate::failure::{Exit, Failure};
use crate::follow::check_cursor;
use crate::output::{Output, Paint, cut, escape, grouped};
use crate::place::Place;
use crate::watch::picture::{Frame, View};
use crate::watch::usage::{self, Detail, Kind};

/// Characters of a value that is shown in full otherwise by `--json`.
const VALUE_CHARS_MAX: usize = 400;

/// Shows a plan.
///
/// # Errors
///
/// If the log cannot be read, or the plan is unknown.
pub(crate) async fn show(arguments: &ShowArguments, place: &Place, output: Output) -> Result<Exit, Failure> {
    let repository = place.require_reader()?;
    let at = match arguments.at {
        Some(cursor) => Some(check_cursor(cursor, &repository.log_info().await?)?),
        None => None,
    };
    let (mut plan, mut view) = fold(repository.as_ref(), &arguments.plan, at).await?;
    view.flag = place.flag();
    if let Some(shown) = &mut plan {
        // The whole subtree was read, so what runs below it counts too, also below plans that are not kept.
        shown.usage.total = view.tree.totals().usage.clone();
    }
    let plan = plan.ok_or_else(|| match arguments.at {
        Some(cursor) => Failure::failed(format!("there is no plan {} up to cursor {cursor}", arguments.plan)),
        None => unknown_plan(&arguments.plan),
    })?;
    if output.json {
        let object = |plan: &PlanState| serde_json::to_value(plan).map_err(Failure::failed);
        output.json(&object(&plan)?)?;
        for below in view.tree.depth_first().iter().filter(|below| below.plan_id != plan.plan_id) {
            output.json(&object(below)?)?;
        }
        return Ok(Exit::Completed);
    }
    // What was open then has lasted until then.
    let now = if at.is_some() {
        view.tree.plans().map(|plan| plan.last_event_at).max().unwrap_or(plan.last_event_at)
    } else {
        SystemClock.now()
    };
    let limits = limits(repository.as_ref(), &plan).await?;
    for line in describe(&plan, &limits, &view, now, output) {
        output.line(&line)?;
    }
    Ok(Exit::Completed)
}

/// Folds the events of a plan in full and those of all below it in short, up to a position.
pub(super) async fn fold(
    repository: &dyn EventRepository,
    id: &PlanId,
    until: Option<Position>,
) -> Result<(Option<PlanState>, View), Failure> {
    let is_later = |position: Position| until.is_some_and(|until| position > until);
    let filter = Filter::tree(id.clone());
    let (mut plan, mut view): (Option<PlanState>, View) = (None, View::default());
    let mut position = Position::ZERO;
    loop {
        let page = repository.read_after(position, &filter, PageLimits::default()).await?;
        for event in page.events.iter().filter(|event| !is_later(event.position)) {
            view.apply(event);
            match &mut plan {
                _ if event.plan_id() != id => {}
                None => plan = PlanState::start(event),
                Some(plan) => plan.apply(event),
            }
        }
        if page.at_head || is_later(page.scanned_to.next()) {
            return Ok((plan, view));
        }
        position = page.scanned_to;
    }
}

/// The limits that the document of a plan sets for it and all below it.
async fn limits(repository: &dyn EventRepository, plan: &PlanState) -> Result<Value, Failure> {
    let Some(digest) = plan.document_digest.as_deref().and_then(|digest| digest.parse().ok()) else {
        return Ok(Value::Null);
    };
    let body = repository.document(digest).await?;
    let document = body.and_then(|body| serde_json::from_str::<Value>(&body).ok()).unwrap_or_default();
    Ok(document["limits"].clone())
}

/// What the plan and all below it used, of what they may use.
fn used(plan: &PlanState, limits: &Value, output: Output) -> Vec<String> {
    let sum = &plan.usage.total;
    let kinds = [Kind::Calls, Kind::Tokens, Kind::Cost];
    let kinds =
        kinds.map(|kind| (kind, usage::warned(plan, kind).or_else(|| kind.read(&limits[kind.name()]))));
    // How many calls there were stands in the totals of the tree.
    if kinds.iter().all(|(kind, max)| max.is_none() && (*kind == Kind::Calls || kind.used(sum) == 0)) {
        return Vec::new();
    }
    let mut lines = vec![String::new(), output.style.paint(Paint::Strong, "usage")];
    for (kind, max) in kinds.into_iter().filter(|(kind, max)| max.is_some() || kind.used(sum) > 0) {
        let (paint, text) = usage::words(kind, sum, max, Detail::Exact);
        let (into, out) = (grouped(sum.input_tokens), grouped(sum.output_tokens));
        let is_split = kind == Kind::Tokens && sum.input_tokens + sum.output_tokens > 0;
        let split = if is_split { format!(" ({into} in, {out} out)") } else { String::new() };
        lines.push(output.style.paint(paint, &format!("  {text}{split}")));
    }
    lines
}

fn describe(plan: &PlanState, limits: &Value, view: &View, now: Timestamp, output: Output) -> Vec<String> {
    let style = output.style;
    let title = |text: &str| style.paint(Paint::Strong, text);
    let mut lines = vec![
        format!("{}  {}  {}", title(&escape(&plan.name)), plan.plan_id, plan.phase.as_str()),
        format!("  {}", escape(&plan.goal)),
    ];
    if let Some(parent) = &plan.parent_plan_id {
        lines.push(format!("  subplan of {parent}, in the tree of {}", plan.root_plan_id));
    }
    let columns = if output.live { Output::size().0 } else { usize::MAX };
    let frame = Frame { now, tick: 0, columns, rows: usize::MAX, style };
    lines.push(String::new());
    lines.extend(view.picture(&frame));
    lines.extend(used(plan, limits, output));
    if !plan.steps.is_empty() {
        lines.extend([String::new(), title("steps")]);
        lines.extend(plan.steps.iter().map(|step| {
            let (paint, word) = match step.state {
                StepState::Running => (Paint::Active, "running"),
                StepState::Ok => (Paint::Good, "ok"),
                StepState::Failed => (Paint::Bad, "failed"),
                StepState::Recovered => (Paint::Warning, "recovered"),
                StepState::Abandoned => (Paint::Bad, "abandoned"),
            };
            let tool = step.tool.as_deref().map(|tool| format!("  {}", escape(tool))).unwrap_or_default();
            let tries =
                if step.attempts > 1 { format!("  {} attempts", step.attempts) } else { String::new() };
            let error = step.error.as_ref().map(|error| format!("  {}: {}", error.code, error.message));
            let error = escape(&error.unwrap_or_default());
            let state = style.paint(paint, &format!("{word:<10}"));
            format!("  {state} {}{tool}{tries}{error}", escape(&step.step))
        }));
    }
    if !plan.questions.is_empty() {
        lines.extend([String::new(), title("questions")]);
        for asked in plan.questions.iter() {
            let by = asked.for_plan_id.as_ref().unwrap_or(&plan.plan_id);
            let question = style.paint(Paint::Choice, &escape(&asked.question));
            lines.push(format!("  {}: {question}  planwire{} answer {by}", escape(&asked.step), view.flag));
        }
    }
    if !plan.decisions.is_empty() {
        lines.extend([String::new(), title("decisions")]);
        for made in &plan.decisions {
            let chosen = style.paint(Paint::Choice, &escape(&made.chosen));
            lines.push(format!("  {}: {} {chosen}", escape(&made.step), escape(&made.question)));
            lines.push(format!("    because {}", escape(&made.rationale)));
        }
    }
    if !plan.artifacts.is_empty() {
        lines.extend([String::new(), title("artifacts")]);
        lines.extend(plan.artifacts.iter().map(|artifact| {
            let (name, media_type) = (escape(&artifact.name), escape(&artifact.media_type));
            format!("  {name}  {media_type}  {} bytes", artifact.size_bytes)
        }));
    }
    for (name, values) in [("inputs", &plan.inputs), ("outputs", &plan.outputs)] {
        let Some(values) = values.as_ref().filter(|values| !values.is_empty()) else { continue };
        lines.extend([String::new(), title(name)]);
        lines.extend(values.iter().map(|(key, value)| {
            format!("  {}: {}", escape(key), cut(&escape(&value.to_string()), VALUE_CHARS_MAX))
        }));
    }
    if let Some(error) = &plan.error {
        let what = format!("{}: {}", escape(&error.code), escape(&error.message));
        lines.extend([String::new(), style.paint(Paint::Bad, &what)]);
    }
    lines
}
