//! The tree of plans as lines that fit a terminal. Pure: time and size come in.

use std::collections::HashMap;

use planwire_event::state::{PlanState, StepKind, StepState, TreeState};
use planwire_event::vocabulary::PlanStarted;
use planwire_event::{Cost, PlanId, PlanStatus, StoredEvent, Timestamp};

use super::usage::{self, Detail, Kind};
use crate::output::{Paint, Style, counted, cut, duration, escape};

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// Characters of a plan's label.
const LABEL_CHARS_MAX: usize = 40;
/// Characters of what a call says of its progress.
const PROGRESS_CHARS_MAX: usize = 60;
/// Open calls that the line of a plan names.
const CALLS_MAX: usize = 2;
/// Inputs that say what one subplan of many is about, the first of them that there is.
const LABEL_INPUTS: [&str; 3] = ["label", "title", "name"];

/// What the watcher of a tree knows.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// The fold over its events.
    pub(crate) tree: TreeState,
    labels: HashMap<PlanId, String>,
    /// What a command line needs to find the log; empty if nothing.
    pub(crate) flag: String,
}

/// What a picture depends on besides the tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Now, by the clock that stamps events.
    pub(crate) now: Timestamp,
    /// Counts up with each picture: moves the spinner.
    pub(crate) tick: usize,
    /// Characters of a line.
    pub(crate) columns: usize,
    /// Lines.
    pub(crate) rows: usize,
    /// Colours.
    pub(crate) style: Style,
}

/// How much of the tree is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fold {
    /// All plans.
    Nothing,
    /// No subplans of completed plans.
    Completed,
    /// And completed siblings as one line.
    Siblings,
}

impl View {
    /// Takes in the next event.
    pub(crate) fn apply(&mut self, stored: &StoredEvent) {
        if let Some(started) = stored.event.read::<PlanStarted>() {
            let input = |name: &&str| started.inputs.get(*name).and_then(|value| value.as_str());
            let about = LABEL_INPUTS.iter().find_map(input).filter(|text| !text.is_empty());
            let label =
                about.map_or_else(|| started.name.clone(), |about| format!("{} {about}", started.name));
            self.labels.insert(stored.plan_id().clone(), cut(&escape(&label), LABEL_CHARS_MAX));
        }
        self.tree.apply(stored);
    }

    /// What people call a plan.
    pub(crate) fn label(&self, plan: &PlanId) -> &str {
        self.labels.get(plan).map_or("?", String::as_str)
    }

    /// Draws the tree: as many lines as fit, the last of them with totals.
    pub(crate) fn picture(&self, frame: &Frame) -> Vec<String> {
        let room = frame.rows.saturating_sub(1).max(1);
        let folds = [Fold::Nothing, Fold::Completed, Fold::Siblings];
        let drawn = folds.map(|fold| self.lines(fold, frame));
        let fitting = drawn.iter().find(|lines| lines.len() <= room).unwrap_or(&drawn[2]);
        let mut lines: Vec<Line> = fitting.clone();
        if lines.len() > room {
            let hidden = lines.len() - room + 1;
            lines.truncate(room - 1);
            lines.push(Line::of(Paint::Faint, &format!("  … {hidden} more lines")));
        }
        lines.push(self.totals(frame));
        lines.into_iter().map(|line| line.render(frame.columns, frame.style)).collect()
    }

    fn lines(&self, fold: Fold, frame: &Frame) -> Vec<Line> {
        let mut lines = Vec::new();
        for root in self.tree.roots() {
            self.add(root, "", "", fold, frame, &mut lines);
        }
        lines
    }

    fn add(
        &self,
        plan: &PlanState,
        own: &str,
        below: &str,
        fold: Fold,
        frame: &Frame,
        lines: &mut Vec<Line>,
    ) {
        let children: Vec<&PlanState> = self.tree.children(&plan.plan_id).collect();
        let folded = fold >= Fold::Completed && plan.status == PlanStatus::Completed && plan.depth > 0;
        lines.push(self.plan(plan, own, if folded { children.len() } else { 0 }, frame));
        if folded {
            return;
        }
        let bar = if children.is_empty() { "   " } else { "│  " };
        for asked in plan.questions.iter().filter(|asked| asked.for_plan_id.is_none()) {
            let mut line = Line::of(Paint::Faint, &format!("{below}{bar}"));
            line.push(Paint::Choice, &format!("? {}", escape(&asked.question)));
            line.push(Paint::Faint, &format!("  planwire{} answer {}", self.flag, plan.plan_id));
            lines.push(line);
        }
        let hides = |child: &&&PlanState| fold >= Fold::Siblings && child.status == PlanStatus::Completed;
        let hidden = children.iter().filter(hides).count();
        let mut shown = children.iter().filter(|child| !hides(child)).peekable();
        while let Some(child) = shown.next() {
            let last = shown.peek().is_none() && hidden == 0;
            let (own, more) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.add(child, &format!("{below}{own}"), &format!("{below}{more}"), fold, frame, lines);
        }
        if hidden > 0 {
            let mut line = Line::of(Paint::Faint, &format!("{below}└─ "));
            line.push(Paint::Good, "✔ ");
            line.push(Paint::Faint, &format!("{hidden} subplans completed"));
            lines.push(line);
        }
    }

    fn plan(&self, plan: &PlanState, branch: &str, folded: usize, frame: &Frame) -> Line {
        let mut line = Line::of(Paint::Faint, branch);
        let spinner = SPINNER[(frame.tick + plan.depth as usize) % SPINNER.len()];
        let (paint, glyph) = match plan.status {
            PlanStatus::Open if plan.cancel_requested.is_some() => (Paint::Warning, spinner),
            PlanStatus::Open if plan.pause_requested.is_some() => (Paint::Warning, "‖"),
            PlanStatus::Open => (Paint::Active, spinner),
            PlanStatus::Completed => (Paint::Good, "✔"),
            PlanStatus::Failed(_) => (Paint::Bad, "✘"),
        };
        line.push(paint, glyph);
        line.push(Paint::Plain, " ");
        let strong = if plan.depth == 0 { Paint::Strong } else { Paint::Plain };
        line.push(strong, self.label(&plan.plan_id));
        let elapsed_ms = plan.duration_ms.unwrap_or_else(|| frame.now.millis_since(plan.started_at));
        line.push(Paint::Faint, &format!("  {}", duration(elapsed_ms)));
        if folded > 0 {
            line.push(Paint::Faint, &format!("  {folded} subplans"));
        }
        // What the topmost plan used stands in the totals.
        let is_top = self.tree.roots().any(|root| root.plan_id == plan.plan_id);
        for (paint, text) in usage::of_plan(plan, is_top) {
            line.push(paint, &format!("  {text}"));
        }
        notes(plan, &mut line);
        line
    }

    fn totals(&self, frame: &Frame) -> Line {
        let totals = self.tree.totals();
        let mut line = Line::of(Paint::Strong, &progress_bar(totals.plans - totals.open, totals.plans));
        let plans = format!(" {} of {}", totals.plans - totals.open, counted(totals.plans, "plan"));
        let parts = [
            plans,
            counted(totals.tool_calls, "tool call"),
            counted(totals.decisions, "decision"),
            counted(totals.events, "event"),
        ];
        line.push(Paint::Plain, &parts.join("  "));
        let used = [(Kind::Tokens, totals.usage.tokens > 0), (Kind::Cost, totals.usage.cost > Cost::ZERO)];
        for (kind, _) in used.into_iter().filter(|(_, is_used)| *is_used) {
            line.push(
                Paint::Plain,
                &format!("  {}", usage::words(kind, &totals.usage, None, Detail::Exact).1),
            );
        }
        let root = self.tree.roots().next();
        let elapsed =
            root.map(|root| root.duration_ms.unwrap_or_else(|| frame.now.millis_since(root.started_at)));
        line.push(Paint::Faint, &elapsed.map_or_else(String::new, |ms| format!("  {}", duration(ms))));
        line
    }
}

/// What is going on in a plan, or what came of it.
fn notes(plan: &PlanState, line: &mut Line) {
    if let Some(error) = &plan.error {
        line.push(Paint::Bad, &format!("  {}: {}", escape(&error.code), escape(&error.message)));
        return;
    }
    if let Some(asked) = plan.cancel_requested.as_ref().filter(|_| plan.status.is_open()) {
        let by_key = asked.reason == "Ctrl-C";
        let text = if by_key { "  asked to end; Ctrl-C again ends at once" } else { "  asked to end" };
        line.push(Paint::Warning, text);
    }
    if let Some(asked) = plan.pause_requested.as_ref().filter(|_| plan.status.is_open()) {
        line.push(Paint::Warning, &format!("  paused by {}", escape(&asked.requested_by)));
    }
    if plan.questions.is_any_open() {
        line.push(Paint::Choice, "  waits for an answer");
    }
    for decision in plan.decisions.iter().rev().take(2) {
        line.push(Paint::Choice, &format!("  {}: {}", escape(&decision.step), escape(&decision.chosen)));
    }
    let recovered = plan.steps.iter().filter(|step| step.state == StepState::Recovered).count();
    if recovered > 0 {
        line.push(Paint::Warning, &format!("  {recovered} recovered"));
    }
    let retried = plan.steps.iter().filter(|step| step.kind == StepKind::Tool && step.attempts > 1).count();
    if retried > 0 {
        line.push(Paint::Warning, &format!("  {retried} retried"));
    }
    for call in plan.open_calls.values().take(CALLS_MAX) {
        line.push(Paint::Active, &format!("  {} → {}", escape(&call.step), escape(&call.tool)));
        if let Some(progress) = call.progress.as_deref().filter(|progress| !progress.is_empty()) {
            line.push(Paint::Plain, &format!(": {}", cut(&escape(progress), PROGRESS_CHARS_MAX)));
        }
    }
    let others = plan.open_calls.len().saturating_sub(CALLS_MAX);
    if others > 0 {
        line.push(Paint::Active, &format!("  and {others} more"));
    }
}

/// Ten characters of progress.
fn progress_bar(done: u64, all: u64) -> String {
    let filled = usize::try_from((done * 10).checked_div(all).unwrap_or(0)).unwrap_or(10).min(10);
    format!("{}{}", "━".repeat(filled), "╌".repeat(10 - filled))
}

/// A line of painted pieces.
#[derive(Clone, Debug, Default)]
struct Line(Vec<(Paint, String)>);

impl Line {
    fn of(paint: Paint, text: &str) -> Self {
        Self(vec![(paint, text.to_owned())])
    }

    fn push(&mut self, paint: Paint, text: &str) {
        self.0.push((paint, text.to_owned()));
    }

    /// Cuts the line to `columns` characters and paints it.
    fn render(&self, columns: usize, style: Style) -> String {
        let mut room = columns;
        let mut rendered = String::new();
        for (paint, text) in &self.0 {
            let short = cut(text, room);
            room -= short.chars().count();
            rendered.push_str(&style.paint(*paint, &short));
        }
        rendered
    }
}
