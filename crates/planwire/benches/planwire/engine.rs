//! A plan of many steps that do nothing, one after the other, each durable before the next begins.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use planwire_bus::{DocumentSource, PlanStarter, StartAt, StartRequest};
use planwire_engine::tool::{Argument, Parameters, ToolContext, ToolError, ToolOutput};
use planwire_engine::{Engine, EngineConfig, Tool, ToolSet};
use planwire_event::vocabulary::{Object, Origin};
use planwire_event::{EventType, Filter, SystemClock};

use crate::blocks;
use crate::numbers::per_second;
use crate::product::Product;
use crate::raw_log;
use crate::row::{Row, Target};
use crate::setting::Setting;

const STEPS: usize = 200;

/// From the start of the plan until its terminal event is durable.
pub(crate) fn steps_in_sequence(setting: &Setting) -> Result<Vec<Row>> {
    let plans = setting.amount(5, 1);
    let blocks = blocks::alternate(
        setting,
        "append + fdatasync",
        || raw_log::appends(setting.folder(), plans * STEPS, 1),
        || run_plans(setting, plans),
    )?;
    let row = Row::new("engine: 200 no-op steps in sequence", "steps/s", blocks);
    Ok(vec![row.target(Target::Times(0.15))])
}

fn run_plans(setting: &Setting, plans: usize) -> Result<f64> {
    let product = Product::open(setting.folder())?;
    setting.runtime.block_on(async {
        let tools = ToolSet::empty().with(Arc::new(Nothing));
        let config = EngineConfig { tools, ..EngineConfig::default() };
        let engine = Engine::new(&product.bus, Arc::new(SystemClock), Arc::clone(&product.ids), config)?;
        let text = document();
        let begun = Instant::now();
        for _ in 0..plans {
            run_plan(&product, &engine, &text).await?;
        }
        let elapsed = begun.elapsed();
        engine.shutdown("measured").await;
        product.close().await;
        Ok(per_second(plans * STEPS, elapsed))
    })
}

async fn run_plan(product: &Product, engine: &Engine, text: &str) -> Result<()> {
    let document = DocumentSource::Inline { text: text.to_owned(), name: "bench".to_owned(), folder: None };
    let origin = Origin { protocol: "bench".to_owned(), principal: "bench".to_owned(), message: None };
    let request = StartRequest { document, inputs: Object::new(), origin, context_id: None };
    let started = engine.start(request).await?;
    let terminal = [EventType::PlanCompleted, EventType::PlanFailed];
    let filter = Filter::plan(started.plan_id).with_types(terminal);
    let mut ends = product.bus.stream(filter, StartAt::After(started.cursor)).await?;
    match ends.next_batch(1, usize::MAX).await?.events.first() {
        Some(end) if end.event.event_type() == &EventType::PlanCompleted => Ok(()),
        Some(end) => bail!("the plan failed: {}", end.event.payload().as_str()),
        None => bail!("the plan did not end"),
    }
}

/// Each step takes the output of the one before.
fn document() -> String {
    let mut text = "plan: bench\ngoal: Measure steps\nsteps:\n  s1: { tool: bench.nothing }\n".to_owned();
    for step in 2..=STEPS {
        // A String takes every write.
        let _ = writeln!(
            text,
            "  s{step}: {{ tool: bench.nothing, with: {{ last: \"${{steps.s{}.output}}\" }} }}",
            step - 1
        );
    }
    text
}

/// A tool that does nothing.
struct Nothing;

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
