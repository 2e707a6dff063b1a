//! Large plans: how long they take, and how much memory. Each runs in a process of its own.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use planwire_event::state::{PlanState, TreeState};
use planwire_event::{EventType, Filter, PlanId, Position};
use planwire_store::PageLimits;
use serde::{Deserialize, Serialize};

use super::documents::{self, CHILD_STEPS};
use super::runner::Runner;
use crate::memory::{high_water_kib, resident_kib};
use crate::numbers::{Spread, grouped};
use crate::product::Product;
use crate::row::Row;
use crate::setting::Setting;

/// Subplans that run at a time.
const SUBPLANS: usize = 1_000;

/// Events of the large plan with all below it.
const EVENTS: usize = 100_000;

/// Of them, those of one subplan: its announcement, start, steps, end, and that its parent says so.
const EVENTS_PER_CHILD: usize = 2 * CHILD_STEPS + 4;

/// Subplans of the large plan that run at a time.
const PARALLEL: usize = 64;

const KIB_PER_MIB: f64 = 1_024.0;

/// What a process tells of the plan that it ran.
#[derive(Serialize, Deserialize)]
struct Figures {
    events: usize,
    /// From the call that starts it until its end is seen, or until its last step runs.
    run_s: f64,
    /// By how much the memory has grown at its highest.
    grown_mib: f64,
    restart: Option<Restart>,
}

/// What it costs to go on with an open plan in a new process.
#[derive(Serialize, Deserialize)]
struct Restart {
    /// Until its state is known, as `show` tells it.
    fold_s: f64,
    /// Until it is taken up and has ended.
    resume_s: f64,
}

/// One plan that spawns a thousand subplans of one step, which all run at a time.
pub(crate) fn thousand_subplans(setting: &Setting) -> Result<Vec<Row>> {
    let figures = measure(setting, &format!("subplans:{}", setting.amount(SUBPLANS, 100)))?;
    let of = |figure: &dyn Fn(&Figures) -> f64| Spread::of(figures.iter().map(figure));
    let kib = of(&|figures| figures.grown_mib * KIB_PER_MIB / setting.amount(SUBPLANS, 100) as f64);
    Ok(vec![
        Row::alone("engine: 1,000 subplans at a time", "s", of(&|figures| figures.run_s))
            .note(format!("of one step each; {} events", setting.amount(SUBPLANS, 100) * 6 + 2)),
        Row::alone("the same, memory", "MiB", of(&|figures| figures.grown_mib)).note(format!(
            "growth of the process at its highest, {} KiB for each subplan; the log's caches are among it",
            grouped(kib.median())
        )),
    ])
}

/// One plan that has, with all below it, a hundred thousand events; and how it goes on after a restart.
pub(crate) fn hundred_thousand_events(setting: &Setting) -> Result<Vec<Row>> {
    let events = setting.amount(EVENTS, EVENTS / 20);
    let figures = measure(setting, &format!("events:{events}"))?;
    let of = |figure: &dyn Fn(&Figures) -> f64| Spread::of(figures.iter().map(figure));
    let restart = |figure: &dyn Fn(&Restart) -> f64| {
        Spread::of(figures.iter().filter_map(|figures| figures.restart.as_ref()).map(figure))
    };
    let children = events / EVENTS_PER_CHILD;
    Ok(vec![
        Row::alone("engine: a plan of 100,000 events", "s", of(&|figures| figures.run_s)).note(format!(
            "{children} subplans of {CHILD_STEPS} steps, {PARALLEL} at a time; {} events",
            figures.first().map_or(0, |figures| figures.events)
        )),
        Row::alone("the same, memory", "MiB", of(&|figures| figures.grown_mib))
            .note("growth of the process at its highest; the log's caches are among it"),
        Row::alone("the same, its state after a restart", "s", restart(&|restart| restart.fold_s))
            .note("all its events read and folded"),
        Row::alone("the same, resumed and ended", "s", restart(&|restart| restart.resume_s))
            .note("taken up before its last step ends, until its end is seen"),
    ])
}

fn measure(setting: &Setting, plan: &str) -> Result<Vec<Figures>> {
    let run = |_| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--size", plan]).arg(setting.folder());
        let output = command.output().context("failed to start a process for the plan")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let figures: Figures =
            serde_json::from_str(&said).with_context(|| format!("the plan's process said: {said}"))?;
        let restart = figures.restart.as_ref().map_or(String::new(), |restart| {
            format!(
                ", after a restart {:.2} s to fold and {:.2} s to resume",
                restart.fold_s, restart.resume_s
            )
        });
        println!(
            "  {} events in {:.2} s, memory grew by {:.0} MiB{restart}",
            grouped(figures.events as f64),
            figures.run_s,
            figures.grown_mib
        );
        Ok(figures)
    };
    (0..setting.amount(3, 1)).map(run).collect()
}

/// Runs a large plan and tells its figures.
pub(crate) fn run_large(plan: &str, folder: &Path) -> Result<()> {
    let (kind, count) = plan.split_once(':').context("a plan is KIND:COUNT")?;
    let count: usize = count.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(async {
        match kind {
            "subplans" => subplans(count, folder).await,
            "events" => events(count, folder).await,
            _ => bail!("there is no large plan of {kind}"),
        }
    })?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

async fn subplans(count: usize, folder: &Path) -> Result<Figures> {
    let runner = Runner::new(Product::open(folder)?, &documents::children(count, 1))?;
    let before = resident_kib(std::process::id())?;
    let begun = Instant::now();
    let started = runner.start().await?;
    let plan = started.plan_id.clone();
    runner.completed(started.plan_id, started.cursor).await?;
    let run_s = begun.elapsed().as_secs_f64();
    let grown_mib = (high_water_kib(std::process::id())? - before) / KIB_PER_MIB;
    let (events, _) = fold(&runner, &plan).await?;
    runner.engine.shutdown("measured").await;
    runner.product.close().await;
    Ok(Figures { events, run_s, grown_mib, restart: None })
}

async fn events(count: usize, folder: &Path) -> Result<Figures> {
    let folder = tempfile::tempdir_in(folder)?;
    let path = folder.path().join("log.db");
    let children = count / EVENTS_PER_CHILD;
    let document = documents::children_and_wait(children, PARALLEL.min(children), CHILD_STEPS);
    let runner = Runner::new(Product::open_at(&path)?, &document)?;
    let before = resident_kib(std::process::id())?;
    let begun = Instant::now();
    let started = runner.start().await?;
    // The plan's own one call comes when all subplans have ended.
    let types = [EventType::ToolCalled, EventType::PlanFailed];
    runner.first_of(started.plan_id.clone(), started.cursor, &types, &EventType::ToolCalled).await?;
    let run_s = begun.elapsed().as_secs_f64();
    let grown_mib = (high_water_kib(std::process::id())? - before) / KIB_PER_MIB;
    runner.engine.suspend().await;
    runner.product.close().await;
    drop(runner.engine);

    let runner = Runner::new(Product::open_at(&path)?, &document)?;
    let begun = Instant::now();
    let (events, plans) = fold(&runner, &started.plan_id).await?;
    ensure!(plans == children + 1, "the state has {plans} plans");
    let fold_s = begun.elapsed().as_secs_f64();
    runner.go_on.notify_one();
    let begun = Instant::now();
    let recovered = runner.engine.recover().await?;
    ensure!(recovered.resumed == 1, "the plan was not taken up: {recovered:?}");
    runner.completed(started.plan_id, started.cursor).await?;
    let resume_s = begun.elapsed().as_secs_f64();
    runner.engine.shutdown("measured").await;
    runner.product.close().await;
    Ok(Figures { events, run_s, grown_mib, restart: Some(Restart { fold_s, resume_s }) })
}

/// Reads all events of a tree and works out its state, as `planwire show` does. Gives its events and plans.
async fn fold(runner: &Runner, root: &PlanId) -> Result<(usize, usize)> {
    let repository = runner.product.bus.repository();
    let filter = Filter::tree(root.clone());
    let (mut tree, mut plan, mut events) = (TreeState::new(), None::<PlanState>, 0);
    let mut after = Position::ZERO;
    loop {
        let page = repository.read_after(after, &filter, PageLimits::default()).await?;
        for event in &page.events {
            tree.apply(event);
            events += 1;
            match &mut plan {
                _ if event.plan_id() != root => {}
                None => plan = PlanState::start(event),
                Some(plan) => plan.apply(event),
            }
        }
        if page.at_head {
            break;
        }
        after = page.scanned_to;
    }
    ensure!(plan.is_some(), "the plan is not in the log");
    Ok((events, usize::try_from(tree.totals().plans)?))
}
