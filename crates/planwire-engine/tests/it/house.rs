//! An engine over a real bus, with tools that tests control.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use planwire_bus::{
    Config, DocumentSource, EventBus, Item, Log, PlanStarter as _, StartAt, StartError, StartRequest,
};
use planwire_engine::tool::{Argument, Parameters, Tool, ToolContext, ToolError, ToolOutput};
use planwire_engine::{Engine, EngineConfig, ToolSet};
use planwire_event::vocabulary::{
    CancelRequested, Object, Origin, PlanCompleted, PlanFailed, SubplanCompleted, ToolCalled, ToolCompleted,
    TypedPayload, Usage,
};
use planwire_event::{Clock, Event, Filter, IdGenerator, LogId, PlanId, StoredEvent, SystemClock};
use planwire_store::MemoryStore;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// A bus, its engine and the tools of the tests.
pub(crate) struct House {
    pub(crate) bus: EventBus,
    pub(crate) engine: Engine,
    pub(crate) probe: Arc<Probe>,
    pub(crate) folder: tempfile::TempDir,
}

/// What the test tools did, and what holds them.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) gate: Semaphore,
    running: AtomicUsize,
    peak: AtomicUsize,
    calls: Mutex<Vec<Value>>,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            gate: Semaphore::new(0),
            running: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            calls: Mutex::default(),
        }
    }
}

impl Probe {
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::SeqCst)
    }

    pub(crate) fn calls(&self) -> Vec<Value> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) async fn until_running(&self, count: usize) {
        while self.running() != count {
            tokio::task::yield_now().await;
        }
    }
}

struct Inside<'a>(&'a Probe);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// `test.NAME`: gives its arguments back, fails, waits at the gate, panics; `test.meter` used as many tokens as `value`.
struct TestTool(&'static str, Arc<Probe>);

impl Tool for TestTool {
    fn name(&self) -> &str {
        self.0
    }

    fn purpose(&self) -> &str {
        "is controlled by a test"
    }

    fn arguments(&self) -> Parameters {
        Parameters::listed(
            const {
                &[
                    Argument::optional("value", "anything", "is given back"),
                    Argument::optional("fail", "text", "the code of a failure"),
                ]
            },
        )
    }

    fn reports_usage(&self) -> bool {
        self.0 == "test.meter"
    }

    fn call(&self, arguments: Object, context: ToolContext) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let probe = &*self.1;
            let running = probe.running.fetch_add(1, Ordering::SeqCst) + 1;
            let _inside = Inside(probe);
            probe.peak.fetch_max(running, Ordering::SeqCst);
            probe.calls.lock().unwrap().push(Value::Object(arguments.clone()));
            match self.0 {
                "test.gate" => {
                    tokio::select! {
                        permit = probe.gate.acquire() => permit.unwrap().forget(),
                        _ = context.stop.wait() => return Err(ToolError::stopped()),
                    }
                }
                "test.progress" => {
                    for at in 0..100 {
                        context.progress.say(format!("{at} of 100"));
                    }
                    tokio::select! {
                        permit = probe.gate.acquire() => permit.unwrap().forget(),
                        _ = context.stop.wait() => return Err(ToolError::stopped()),
                    }
                    context.progress.say("done");
                }
                "test.deaf" => std::future::pending().await,
                "test.panic" => panic!("as asked"),
                _ => {}
            }
            let total_tokens = arguments.get("value").and_then(Value::as_u64);
            let usage = self.reports_usage().then(|| Usage { total_tokens, ..Usage::default() });
            if let Some(code) = arguments.get("fail").and_then(Value::as_str).filter(|code| !code.is_empty())
            {
                let failed = ToolError::new(code, "as asked");
                return Err(match usage {
                    Some(usage) => failed.with_usage(usage),
                    None => failed,
                });
            }
            Ok(ToolOutput { usage, ..arguments.get("value").cloned().unwrap_or_default().into() })
        })
    }
}

fn tools(probe: &Arc<Probe>) -> ToolSet {
    ["test.echo", "test.gate", "test.deaf", "test.panic", "test.progress", "test.meter"]
        .into_iter()
        .fold(ToolSet::standard(), |tools, name| tools.with(Arc::new(TestTool(name, Arc::clone(probe)))))
}

impl House {
    pub(crate) fn open() -> Self {
        Self::with(MemoryStore::new(LogId::from_random(7)), |config| config)
    }

    pub(crate) fn open_with(change: impl FnOnce(EngineConfig) -> EngineConfig) -> Self {
        Self::with(MemoryStore::new(LogId::from_random(7)), change)
    }

    /// A new process over the same log.
    pub(crate) fn with(store: MemoryStore, change: impl FnOnce(EngineConfig) -> EngineConfig) -> Self {
        Self::over(Log::open(store.writer(), store.repository(), Arc::new(SystemClock)).unwrap(), change)
    }

    /// A process over a log of any kind.
    pub(crate) fn over(log: Log, change: impl FnOnce(EngineConfig) -> EngineConfig) -> Self {
        Self::at(Arc::new(SystemClock), log, change)
    }

    /// The same, whose engine has a clock of its own.
    pub(crate) fn at(
        clock: Arc<dyn Clock>,
        log: Log,
        change: impl FnOnce(EngineConfig) -> EngineConfig,
    ) -> Self {
        let bus = EventBus::open(log, Config::default()).unwrap();
        let probe = Arc::new(Probe::default());
        let folder = tempfile::tempdir().unwrap();
        let config = change(EngineConfig {
            tools: tools(&probe),
            folder: folder.path().into(),
            documents: BTreeMap::new(),
            ..EngineConfig::default()
        });
        let engine = Engine::new(&bus, clock, Arc::new(IdGenerator::system()), config).unwrap();
        Self { bus, engine, probe, folder }
    }

    pub(crate) async fn try_start(&self, document: &str, inputs: Value) -> Result<PlanId, StartError> {
        let Value::Object(inputs) = inputs else { panic!("inputs are an object") };
        let folder = Some(PathBuf::from(self.folder.path()));
        let request = StartRequest {
            document: DocumentSource::Inline { text: document.into(), name: "test.yaml".into(), folder },
            inputs,
            origin: Origin { protocol: "cli".into(), principal: "tester".into(), message: None },
            context_id: None,
        };
        self.engine.start(request).await.map(|started| started.plan_id)
    }

    pub(crate) async fn start(&self, document: &str) -> PlanId {
        self.try_start(document, json!({})).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// All events of the tree, once it has ended.
    pub(crate) async fn tree(&self, root: &PlanId) -> Events {
        let mut stream = self.bus.stream(Filter::tree(root.clone()), StartAt::Start).await.unwrap();
        let mut events = Vec::new();
        while let Some(item) = stream.next().await.unwrap() {
            match item {
                Item::Event(event) => events.push((**event).clone()),
                Item::End(_) => break,
            }
        }
        let events = Events(events);
        events.check();
        events
    }

    pub(crate) async fn run(&self, document: &str) -> Events {
        let root = self.start(document).await;
        self.tree(&root).await
    }

    pub(crate) async fn cancel(&self, plan: &PlanId, reason: &str) {
        let request = CancelRequested { requested_by: "tester".into(), reason: reason.into() };
        let event = Event::of(&IdGenerator::system(), &SystemClock, plan.clone(), &request).unwrap();
        self.bus.publish(event).await.unwrap();
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path: &Path = &self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Events of one tree, in position order.
#[derive(Debug)]
pub(crate) struct Events(pub(crate) Vec<StoredEvent>);

impl Events {
    pub(crate) fn types(&self) -> Vec<&str> {
        self.0.iter().map(|event| event.event.event_type().as_str()).collect()
    }

    pub(crate) fn all<T: TypedPayload>(&self) -> Vec<T> {
        self.0.iter().filter_map(|event| event.event.read()).collect()
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.types().into_iter().filter(|found| *found == name).count()
    }

    pub(crate) fn root(&self) -> &PlanId {
        &self.0[0].root_plan_id
    }

    /// How the root ended.
    pub(crate) fn end(&self) -> Result<Object, Box<PlanFailed>> {
        let last = self.0.iter().rev().find(|event| event.plan_id() == self.root()).unwrap();
        match last.event.read::<PlanCompleted>() {
            Some(completed) => Ok(completed.outputs),
            None => Err(Box::new(last.event.read::<PlanFailed>().unwrap())),
        }
    }

    pub(crate) fn outputs(&self) -> Value {
        Value::Object(self.end().unwrap_or_else(|failed| panic!("{failed:?}")))
    }

    pub(crate) fn failed(&self) -> PlanFailed {
        *self.end().expect_err("the plan failed")
    }

    /// A plan takes as long as its timestamps say, a call no longer, and a subplan no less than the plan itself.
    fn check_durations(&self, plans: &BTreeMap<&PlanId, Vec<&StoredEvent>>) {
        let duration_of = |event: &StoredEvent| event.event.payload().to_value()["duration_ms"].as_u64();
        for events in plans.values() {
            let (first, last) = (&events[0].event, &events.last().unwrap());
            let between = last.event.timestamp().millis_since(first.timestamp());
            assert_eq!(duration_of(last), Some(between));
            for event in events {
                if let Some(completed) = event.event.read::<ToolCompleted>() {
                    let is_call = |event: &&&StoredEvent| {
                        event.event.read::<ToolCalled>().is_some_and(|call| call.call_id == completed.call_id)
                    };
                    let called = events.iter().find(is_call).unwrap();
                    let between = event.event.timestamp().millis_since(called.event.timestamp());
                    assert!(completed.duration_ms <= between);
                }
                if let Some(completed) = event.event.read::<SubplanCompleted>()
                    && let Some(child) = plans.get(&completed.child_plan_id)
                {
                    assert!(Some(completed.duration_ms) >= duration_of(child.last().unwrap()));
                }
            }
        }
    }

    /// What holds for every tree: seq without gaps, one start and one end per plan, all calls and subplans ended.
    fn check(&self) {
        let mut plans: BTreeMap<&PlanId, Vec<&StoredEvent>> = BTreeMap::new();
        for event in &self.0 {
            plans.entry(event.plan_id()).or_default().push(event);
        }
        for events in plans.values() {
            assert!(events.iter().zip(1..).all(|(event, seq)| event.seq.get() == seq), "{:?}", self.types());
            assert_eq!(events[0].event.event_type().as_str(), "PlanStarted");
            let terminal = events.iter().filter(|event| event.event.event_type().is_terminal()).count();
            assert_eq!(terminal, 1);
            assert!(events.last().unwrap().event.event_type().is_terminal());
        }
        self.check_durations(&plans);
        assert_eq!(self.count("ToolCalled"), self.count("ToolCompleted"));
        assert_eq!(self.count("SubplanSpawned"), self.count("SubplanCompleted"));
        assert_eq!(self.count("SubplanSpawned") + 1, plans.len());
    }
}
