//! An engine over a log of its own, which runs one document again and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use planwire_bus::{DocumentSource, PlanStarter as _, StartAt, StartRequest, Started};
use planwire_engine::document::{Document, Folder};
use planwire_engine::{Engine, EngineConfig, ToolSet};
use planwire_event::vocabulary::{Object, Origin};
use planwire_event::{Cursor, EventType, Filter, PlanId, SystemClock};
use tokio::sync::Notify;

use super::documents::{Nothing, Wait};
use crate::product::Product;
use crate::setting::Setting;

/// The name under which the document is registered.
const NAME: &str = "bench";

/// What came of plans that ran one after the other.
pub(super) struct Ran {
    /// How long each took.
    pub(super) times: Vec<Duration>,
    /// Commits of each.
    pub(super) commits: f64,
}

/// The engine and its log.
pub(super) struct Runner {
    pub(super) product: Product,
    pub(super) engine: Engine,
    /// Lets a step that waits go on.
    pub(super) go_on: Arc<Notify>,
}

impl Runner {
    /// Runs so many plans of a document, one after the other, in a new log. One more runs before.
    pub(super) fn measure(setting: &Setting, document: &str, plans: usize) -> Result<Ran> {
        let runner = Self::new(Product::open(setting.folder())?, document)?;
        setting.runtime.block_on(async {
            runner.run().await?;
            let (mut times, before) = (Vec::with_capacity(plans), runner.product.bus.counters().commits);
            for _ in 0..plans {
                let begun = Instant::now();
                runner.run().await?;
                times.push(begun.elapsed());
            }
            let commits = runner.product.bus.counters().commits - before;
            runner.engine.shutdown("measured").await;
            runner.product.close().await;
            Ok(Ran { times, commits: commits as f64 / plans.max(1) as f64 })
        })
    }

    pub(super) fn new(product: Product, document: &str) -> Result<Self> {
        let go_on = Arc::new(Notify::new());
        let tools = ToolSet::empty().with(Arc::new(Nothing)).with(Arc::new(Wait(Arc::clone(&go_on))));
        let resolved = Document::parse_with(document, NAME, Folder::None, &tools)
            .map_err(|found| anyhow!("the document is not sound: {found}"))?;
        let documents = BTreeMap::from([(NAME.to_owned(), resolved)]);
        let config = EngineConfig { tools, documents, ..EngineConfig::default() };
        let engine = Engine::new(&product.bus, Arc::new(SystemClock), Arc::clone(&product.ids), config)?;
        Ok(Self { product, engine, go_on })
    }

    /// Runs a plan, until whoever follows it sees that it has completed.
    async fn run(&self) -> Result<()> {
        let started = self.start().await?;
        self.completed(started.plan_id, started.cursor).await
    }

    pub(super) async fn start(&self) -> Result<Started> {
        let document = DocumentSource::Registered(NAME.to_owned());
        let origin = Origin { protocol: "bench".to_owned(), principal: "bench".to_owned(), message: None };
        let request = StartRequest { document, inputs: Object::new(), origin, context_id: None };
        Ok(self.engine.start(request).await?)
    }

    /// Waits until whoever follows a plan sees that it has completed.
    pub(super) async fn completed(&self, plan: PlanId, after: Cursor) -> Result<()> {
        let types = [EventType::PlanCompleted, EventType::PlanFailed];
        self.first_of(plan, after, &types, &EventType::PlanCompleted).await
    }

    /// Waits for the first event of a plan that is one of `types`; fails if it is not `wanted`.
    pub(super) async fn first_of(
        &self,
        plan: PlanId,
        after: Cursor,
        types: &[EventType],
        wanted: &EventType,
    ) -> Result<()> {
        let filter = Filter::plan(plan).with_types(types.iter().cloned());
        let mut events = self.product.bus.stream(filter, StartAt::After(after)).await?;
        let batch = events.next_batch(1, usize::MAX).await?;
        let first = &batch.events.first().context("the plan did not go on")?.event;
        if first.event_type() != wanted {
            bail!("the plan did not go on: {} {}", first.event_type(), first.payload().as_str());
        }
        Ok(())
    }
}
