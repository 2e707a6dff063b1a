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
    let mut sides = vec![Side::one(LIMIT, || raw_log::appends(setting.folder(), plans * STEPS, 1))];
    if let Some(graphs) = &mut graphs {
        sides.push(Side::one(LANGGRAPH, || Ok(rate(STEPS, &graphs.run(Graph::Sequence(STEPS), plans)?))));
    }
    let mut commits = Vec::new();
    let run = alternate_all(setting, &mut sides, || {
        let ran = Runner::measure(setting, &documents::sequence(STEPS), plans)?;
        commits.push(ran.commits / STEPS as f64);
        Ok(vec![rate(STEPS, &ran.times)])
    })?;
    let note = format!("{:.2} commits for each step", Spread::of(commits).median());
    let row = |name, side, target| Some(Row::new(name, "steps/s", run.beside(side, 0)?).target(target));
    let rows = [
        row("engine: 200 no-op steps in sequence", LANGGRAPH, Target::Times(3.0)),
        row("the same", LIMIT, Target::Times(0.15)).map(|row| row.note(note)),
    ];
    Ok(rows.into_iter().flatten().collect())
}

/// One plan after the other, each with [`CHILDREN`] subplans of [`CHILD_STEPS`] steps.
pub(crate) fn children_in_parallel(setting: &Setting) -> Result<Vec<Row>> {
    const ALL: usize = CHILDREN * CHILD_STEPS;
    let (plans, mut commits) = (setting.amount(5, 1), Vec::new());
    let ours = || {
        let ran = Runner::measure(setting, &documents::children(CHILDREN, CHILD_STEPS), plans)?;
        commits.push(ran.commits);
        Ok(rate(ALL, &ran.times))
    };
    let theirs =
        |graphs: &mut LangGraph| Ok(rate(ALL, &graphs.run(Graph::Children(CHILDREN, CHILD_STEPS), plans)?));
    let target = Target::Times((FIVE_TIMES_RESTATE * 10.0).round() / 10.0);
    let bare = Bare { name: "engine: 50 children in parallel, 4 steps each", unit: "steps/s", target };
    let row = bare.beside_langgraph(setting, theirs, ours)?;
    let note = "the target is 5 x Restate, by what both reached in another run: Restate 1,160, LangGraph 515 steps/s";
    let commits = format!("{:.0} commits for each plan", Spread::of(commits).median());
    Ok(vec![row.note(note).note(commits)])
}

/// One plan after the other, each of one step, from the call that starts it until its end is seen.
pub(crate) fn one_step(setting: &Setting) -> Result<Vec<Row>> {
    let (plans, mut commits) = (setting.amount(200, 20), Vec::new());
    let ours = || {
        let ran = Runner::measure(setting, &documents::sequence(1), plans)?;
        commits.push(ran.commits);
        Ok(median_ms(&ran.times))
    };
    let theirs = |graphs: &mut LangGraph| Ok(median_ms(&graphs.run(Graph::Sequence(1), plans)?));
    let bare = Bare { name: "engine: a plan of one step", unit: "ms", target: Target::AtMostTimes(0.25) };
    let row = bare.beside_langgraph(setting, theirs, ours)?;
    let note = format!("medians; {:.2} commits for each plan", Spread::of(commits).median());
    Ok(vec![row.note(note)])
}

/// A row without its figures.
struct Bare {
    name: &'static str,
    unit: &'static str,
    target: Target,
}

impl Bare {
    /// The product beside LangGraph; alone, and without a target, where that is not installed.
    fn beside_langgraph(
        self,
        setting: &Setting,
        theirs: impl Fn(&mut LangGraph) -> Result<f64>,
        mut ours: impl FnMut() -> Result<f64>,
    ) -> Result<Row> {
        let Some(mut graphs) = LangGraph::start(setting)? else {
            return Ok(Row::alone(self.name, self.unit, [ours()?].into()));
        };
        let side = Side::one(LANGGRAPH, || theirs(&mut graphs));
        let run = alternate_all(setting, &mut [side], || Ok(vec![ours()?]))?;
        Ok(Row::new(self.name, self.unit, run.blocks(0, 0)).target(self.target))
    }
}

fn rate(steps: usize, plans: &[Duration]) -> f64 {
    per_second(steps * plans.len(), plans.iter().sum())
}

fn median_ms(plans: &[Duration]) -> f64 {
    Spread::of(plans.iter().copied().map(millis)).median()
}
