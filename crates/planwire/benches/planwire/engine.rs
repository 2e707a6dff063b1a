//! The engine: steps in sequence, subplans in parallel, a plan of one step, each durable before the next begins.
//!
//! - [`documents`]: the plans that are run
//! - [`runner`]: an engine over a log of its own that runs one of them again and again
//! - [`size`]: large plans, in a process of their own: time and memory

mod documents;
mod runner;
mod size;

use std::time::Duration;

use anyhow::Result;

use crate::blocks::{Side, alternate_all};
use crate::numbers::{Spread, millis, per_second};
use crate::raw_log;
use crate::rivals::langgraph::{Graph, LangGraph};
use crate::row::{Row, Target};
use crate::setting::Setting;
use documents::{CHILD_STEPS, CHILDREN, STEPS};
use runner::Runner;

pub(crate) use size::{hundred_thousand_events, run_large, thousand_subplans};

const LIMIT: &str = "append + fdatasync";
const LANGGRAPH: &str = "LangGraph, SqliteSaver, sync";

/// Five times what Restate reaches with subplans (1,160 steps/s), as it stands to LangGraph (515): both were measured
/// elsewhere, in one run.
const FIVE_TIMES_RESTATE: f64 = 5.0 * 1_160.0 / 515.0;

/// One plan after the other, each of [`STEPS`] steps of which each takes the output of the one before.
pub(crate) fn steps_in_sequence(setting: &Setting) -> Result<Vec<Row>> {
    let plans = setting.amount(5, 1);
    let mut graphs = LangGraph::start(setting)?;
    let mut sides =
        vec![Side::one(LIMIT, || raw_log::appends(setting.folder(), setting.amount(5, 1) * STEPS, 1))];
    if let Some(graphs) = &mut graphs {
        sides.push(Side::one(LANGGRAPH, || {
            anyhow::Ok(rate(STEPS, &graphs.run(Graph::Sequence(STEPS), plans)?))
        }));
    }
    let run = alternate_all(setting, &mut sides, || {
        Ok(vec![rate(STEPS, &Runner::times(setting, &documents::sequence(STEPS), plans)?)])
    })?;
    let row = |name, side, target| Some(Row::new(name, "steps/s", run.beside(side, 0)?).target(target));
    let rows = [
        row("engine: 200 no-op steps in sequence", LANGGRAPH, Target::Times(3.0)),
        row("the same", LIMIT, Target::Times(0.15)),
    ];
    Ok(rows.into_iter().flatten().collect())
}

/// One plan after the other, each with [`CHILDREN`] subplans of [`CHILD_STEPS`] steps.
pub(crate) fn children_in_parallel(setting: &Setting) -> Result<Vec<Row>> {
    const ALL: usize = CHILDREN * CHILD_STEPS;
    const NAME: &str = "engine: 50 children in parallel, 4 steps each";
    let plans = setting.amount(5, 1);
    let ours = || {
        anyhow::Ok(rate(ALL, &Runner::times(setting, &documents::children(CHILDREN, CHILD_STEPS), plans)?))
    };
    let Some(mut graphs) = LangGraph::start(setting)? else {
        return Ok(vec![Row::alone(NAME, "steps/s", [ours()?].into())]);
    };
    let graph = Graph::Children(CHILDREN, CHILD_STEPS);
    let side = Side::one(LANGGRAPH, || anyhow::Ok(rate(ALL, &graphs.run(graph, plans)?)));
    let run = alternate_all(setting, &mut [side], || Ok(vec![ours()?]))?;
    let note = "the target is 5 x Restate, by what both reached in another run: Restate 1,160, LangGraph 515 steps/s";
    let target = Target::Times((FIVE_TIMES_RESTATE * 10.0).round() / 10.0);
    Ok(vec![Row::new(NAME, "steps/s", run.blocks(0, 0)).target(target).note(note)])
}

/// One plan after the other, each of one step, from the call that starts it until its end is seen.
pub(crate) fn one_step(setting: &Setting) -> Result<Vec<Row>> {
    const NAME: &str = "engine: a plan of one step";
    let plans = setting.amount(200, 20);
    let ours = || anyhow::Ok(median_ms(&Runner::times(setting, &documents::sequence(1), plans)?));
    let Some(mut graphs) = LangGraph::start(setting)? else {
        return Ok(vec![Row::alone(NAME, "ms", [ours()?].into())]);
    };
    let side = Side::one(LANGGRAPH, || Ok(median_ms(&graphs.run(Graph::Sequence(1), plans)?)));
    let run = alternate_all(setting, &mut [side], || Ok(vec![ours()?]))?;
    Ok(vec![Row::new(NAME, "ms", run.blocks(0, 0)).target(Target::AtMostTimes(0.25)).note("medians")])
}

fn rate(steps: usize, plans: &[Duration]) -> f64 {
    per_second(steps * plans.len(), plans.iter().sum())
}

fn median_ms(plans: &[Duration]) -> f64 {
    Spread::of(plans.iter().copied().map(millis)).median()
}
