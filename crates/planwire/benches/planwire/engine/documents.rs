//! The plans that the rows of the engine run, and the tool that their steps call.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use planwire_engine::Tool;
use planwire_engine::tool::{Argument, Parameters, ToolContext, ToolError, ToolOutput};
use planwire_event::vocabulary::Object;
use tokio::sync::Notify;

/// Steps of a plan in sequence.
pub(super) const STEPS: usize = 200;

/// Subplans that run in parallel, and steps of each.
pub(super) const CHILDREN: usize = 50;
pub(super) const CHILD_STEPS: usize = 4;

/// A plan of so many steps; each takes the output of the one before.
pub(super) fn sequence(steps: usize) -> String {
    format!("plan: bench\ngoal: Measure steps\nsteps:\n{}", sequence_of(steps, 2))
}

/// A plan with so many subplans, all at a time, each of so many steps in sequence.
pub(super) fn children(children: usize, steps: usize) -> String {
    children_of(children, children, steps)
}

fn children_of(all: usize, parallel: usize, steps: usize) -> String {
    format!(
        "plan: bench\ngoal: Measure subplans\nlimits: {{ parallel: {parallel} }}\n\
         inputs: {{ items: {{ type: list, default: {:?} }} }}\nsteps:\n  work:\n    for_each: inputs.items\n    \
         parallel: {parallel}\n    plan:\n      plan: child\n      goal: Measure steps\n      steps:\n{}",
        (0..all).collect::<Vec<_>>(),
        sequence_of(steps, 8)
    )
}

/// As [`children`], with a step behind them that is called again after a restart.
pub(super) fn children_and_wait(all: usize, parallel: usize, steps: usize) -> String {
    let wait = "  wait: { tool: bench.wait, after: [work], idempotent: true }\n";
    children_of(all, parallel, steps) + wait
}

/// The lines of steps.
fn sequence_of(steps: usize, indent: usize) -> String {
    let mut text = format!("{:indent$}s1: {{ tool: bench.nothing }}\n", "");
    for step in 2..=steps {
        let before = step - 1;
        // A String takes every write.
        let _ = writeln!(
            text,
            "{:indent$}s{step}: {{ tool: bench.nothing, with: {{ last: \"${{steps.s{before}.output}}\" }} }}",
            ""
        );
    }
    text
}

/// A tool that does nothing.
pub(super) struct Nothing;

impl Tool for Nothing {
    fn name(&self) -> &str {
        "bench.nothing"
    }

    fn purpose(&self) -> &str {
        "does nothing"
    }

    fn arguments(&self) -> Parameters {
        Parameters::listed(const { &[Argument::optional("last", "anything", "What the step before gave.")] })
    }

    fn call(
        &self,
        _arguments: Object,
        _context: ToolContext,
    ) -> Pin<Box<dyn Future<Output = Result<ToolOutput, ToolError>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(serde_json::json!({ "done": true }).into())))
    }
}

/// A tool that ends when it is told so, and before that never.
pub(super) struct Wait(pub(super) Arc<Notify>);

impl Tool for Wait {
    fn name(&self) -> &str {
        "bench.wait"
    }

    fn purpose(&self) -> &str {
        "waits"
    }

    fn arguments(&self) -> Parameters {
        Parameters::listed(&[])
    }

    fn call(
        &self,
        _arguments: Object,
        _context: ToolContext,
    ) -> Pin<Box<dyn Future<Output = Result<ToolOutput, ToolError>> + Send + '_>> {
        Box::pin(async {
            self.0.notified().await;
            Ok(serde_json::json!({ "done": true }).into())
        })
    }
}
