//! A plan as a picture: its steps and what they wait for, as a Mermaid flowchart; with how each stands, if it ran.
//!
//! - `mermaid`: how a flowchart is written.

mod mermaid;

use std::collections::BTreeMap;
use std::sync::Arc;

use planwire_engine::document::Document;
use planwire_engine::document::model::{Step, StepKind, SubplanSource, SubplanStep};
use planwire_event::PlanId;
use planwire_event::state::{PlanState, StepRecord, StepState};
use planwire_event::vocabulary::{FailureReason, QuestionKind};

use mermaid::{Chart, Class, Shape};

/// Steps of one picture; what is beyond is counted.
pub(crate) const STEPS_MAX: usize = 500;

/// What ran of a plan: the plans by their id, and their documents by digest.
#[derive(Default)]
pub(crate) struct Ran {
    pub(crate) plans: BTreeMap<PlanId, PlanState>,
    pub(crate) documents: BTreeMap<String, Arc<Document>>,
}

/// The picture of a document, as Mermaid.
pub(crate) fn of_document(document: &Document) -> String {
    let ran = Ran::default();
    let mut drawing = Drawing { chart: Chart::new(&document.name), ran: &ran, left: STEPS_MAX, more: 0 };
    drawing.document(document, None, "");
    drawing.finish()
}

/// The picture of a plan as it ran, as Mermaid.
pub(crate) fn of_plan(plan: &PlanState, ran: &Ran) -> String {
    let title = format!("{} {}: {}", plan.name, plan.plan_id, plan.phase.as_str());
    let mut drawing = Drawing { chart: Chart::new(&title), ran, left: STEPS_MAX, more: 0 };
    drawing.plan(plan, "");
    drawing.finish()
}

struct Drawing<'a> {
    chart: Chart,
    ran: &'a Ran,
    /// Steps that may still be drawn.
    left: usize,
    /// Steps that were left out.
    more: usize,
}

impl Drawing<'_> {
    fn finish(mut self) -> String {
        if self.more > 0 {
            let text = format!("and {} steps more", self.more);
            self.chart.node("more", Shape::Rectangle, &[&text], None);
        }
        self.chart.into_text()
    }

    fn plan(&mut self, plan: &PlanState, above: &str) {
        let document = plan.document_digest.as_ref().and_then(|digest| self.ran.documents.get(digest));
        match document.cloned() {
            Some(document) => self.document(&document, Some(plan), above),
            None => self.told(plan, above),
        }
    }

    /// A plan whose publisher has no document: the steps that its events name.
    fn told(&mut self, plan: &PlanState, above: &str) {
        for (at, step) in plan.steps.iter().enumerate() {
            if !self.takes() {
                continue;
            }
            let lines = [step.step.as_str(), step.tool.as_deref().unwrap_or_default()];
            let id = format!("{above}s{at}");
            self.children(&id, &lines, step, None);
        }
    }

    fn takes(&mut self) -> bool {
        if self.left == 0 {
            self.more += 1;
            return false;
        }
        self.left -= 1;
        true
    }

    fn document(&mut self, document: &Document, plan: Option<&PlanState>, above: &str) {
        let mut drawn = vec![false; document.steps.len()];
        for (at, step) in document.steps.iter().enumerate() {
            drawn[at] = self.takes();
            if drawn[at] {
                self.step(step, &format!("{above}s{at}"), plan);
            }
        }
        for (at, step) in document.steps.iter().enumerate().filter(|(at, _)| drawn[*at]) {
            for need in step.needs.iter().filter(|need| drawn[**need]) {
                self.chart.edge(&format!("{above}s{need}"), &format!("{above}s{at}"));
            }
        }
    }

    fn step(&mut self, step: &Step, id: &str, plan: Option<&PlanState>) {
        let record = plan.and_then(|plan| plan.steps.iter().find(|record| record.step == step.id));
        let class = plan.map(|plan| class_of(plan, record));
        let when = step.when.as_ref().map(|when| format!("when {}", when.source()));
        let (shape, what) = self.shape_of(step, record);
        let mut lines = vec![step.id.as_str()];
        // Many a step is called like the plan that it runs.
        lines.extend(Some(what.as_str()).filter(|what| *what != step.id));
        lines.extend(when.as_deref());
        match &step.kind {
            StepKind::Subplan(subplan) => self.subplan(id, &lines, subplan, record, class),
            _ => self.chart.node(id, shape, &lines, class),
        }
    }

    fn shape_of(&self, step: &Step, record: Option<&StepRecord>) -> (Shape, String) {
        let chosen = record.and_then(|record| record.chosen.as_deref());
        let decided = |question: &str| match chosen {
            Some(chosen) => format!("{question} → {chosen}"),
            None => question.to_owned(),
        };
        match &step.kind {
            StepKind::Tool(tool) if tool.approve.is_some() => {
                (Shape::Rectangle, format!("{}, if it is approved", tool.tool))
            }
            StepKind::Tool(tool) => (Shape::Rectangle, tool.tool.clone()),
            StepKind::Decide(decision) => (Shape::Hexagon, decided(&decision.question)),
            StepKind::AskModel(decision) => {
                (Shape::Hexagon, format!("{} (a model)", decided(&decision.question)))
            }
            StepKind::Ask(ask) if ask.kind == QuestionKind::Approval => {
                (Shape::Slanted, "asks for approval".to_owned())
            }
            StepKind::Ask(_) => (Shape::Slanted, "asks".to_owned()),
            StepKind::Fail(fail) if fail.reason == FailureReason::Rejected => {
                (Shape::Stadium, "ends the plan as rejected".to_owned())
            }
            StepKind::Fail(_) => (Shape::Stadium, "fails the plan".to_owned()),
            StepKind::Artifact(artifact) => (Shape::Flag, artifact.media_type.clone()),
            StepKind::Subplan(subplan) => (Shape::Subroutine, named(subplan)),
        }
    }

    fn subplan(
        &mut self,
        id: &str,
        lines: &[&str],
        subplan: &SubplanStep,
        record: Option<&StepRecord>,
        class: Option<Class>,
    ) {
        let document = match &subplan.plan {
            SubplanSource::Written(document) => Some(Arc::clone(&document.document)),
            SubplanSource::Made(_) => None,
        };
        match (record, document) {
            (Some(record), document) => self.children(id, lines, record, document.as_deref()),
            // It did not begin, or nothing ran: the document says what it would be.
            (None, Some(document)) => {
                self.chart.begin(id, lines, class);
                self.document(&document, None, id);
                self.chart.end();
            }
            (None, None) => self.chart.node(id, Shape::Subroutine, lines, class),
        }
    }

    /// A step that began: with its one subplan inside, or with how many there are.
    fn children(&mut self, id: &str, lines: &[&str], record: &StepRecord, document: Option<&Document>) {
        let class = Some(class_of_record(record));
        match record.child_plan_ids.as_slice() {
            [] => self.chart.node(id, Shape::Rectangle, lines, class),
            [child] => {
                self.chart.begin(id, lines, class);
                if let Some(child) = self.ran.plans.get(child) {
                    self.plan(child, id);
                }
                self.chart.end();
            }
            children => {
                let count = format!("{} times", children.len());
                let lines: Vec<&str> = lines.iter().copied().chain([count.as_str()]).collect();
                match document {
                    Some(document) => {
                        self.chart.begin(id, &lines, class);
                        self.document(document, None, id);
                        self.chart.end();
                    }
                    None => self.chart.node(id, Shape::Subroutine, &lines, class),
                }
            }
        }
    }
}

/// What a subplan step runs.
fn named(subplan: &SubplanStep) -> String {
    let name = match &subplan.plan {
        SubplanSource::Written(document) => document.document.name.clone(),
        SubplanSource::Made(made) => format!("the plan of {}", made.source()),
    };
    match &subplan.for_each {
        Some(for_each) => format!("{name}, for each of {}", for_each.items.source()),
        None => name,
    }
}

/// A step without events was skipped, if its plan is over.
fn class_of(plan: &PlanState, record: Option<&StepRecord>) -> Class {
    match record {
        Some(record) => class_of_record(record),
        None if plan.status.is_open() => Class::Waiting,
        None => Class::Skipped,
    }
}

const fn class_of_record(record: &StepRecord) -> Class {
    match record.state {
        StepState::Running => Class::Running,
        StepState::Ok => Class::Ok,
        StepState::Recovered => Class::Recovered,
        StepState::Failed | StepState::Abandoned => Class::Failed,
    }
}
