//! An engine in memory whose documents may call MCP servers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use planwire_bus::{Config, DocumentSource, EventBus, Item, Log, PlanStarter as _, StartAt, StartRequest};
use planwire_engine::{Engine, EngineConfig, Secrets, ToolSet};
use planwire_event::vocabulary::{CancelRequested, Object, Origin, PlanCompleted, PlanFailed, TypedPayload};
use planwire_event::{Event, EventType, Filter, IdGenerator, LogId, PlanId, StoredEvent, SystemClock};
use planwire_mcp::{Mcp, McpConfig, Reach, ServerConfig};
use planwire_store::MemoryStore;
use serde_json::{Value, json};
use tokio::net::UnixDatagram;

pub(crate) const SECRET: &str = "swordfish-17";

pub(crate) struct House {
    pub(crate) bus: EventBus,
    pub(crate) engine: Engine,
    pub(crate) folder: tempfile::TempDir,
    /// Has something to read when the server has noted something.
    wake: UnixDatagram,
}

/// The Python of the tests; any will do for the server of the standard library.
pub(crate) fn python() -> PathBuf {
    std::env::var_os("PLANWIRE_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// A server of `fake.py` that notes what it hears.
pub(crate) fn fake(mode: &str, log: &Path) -> ServerConfig {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fake.py");
    let mut config = ServerConfig::program(python().to_str().unwrap(), [script.to_str().unwrap(), mode]);
    if let Reach::Program { env, .. } = &mut config.reach {
        env.insert("FAKE_LOG".into(), log.to_str().unwrap().to_owned().into());
        env.insert("FAKE_SECRET".into(), SECRET.to_owned().into());
    }
    config
}

impl House {
    /// An engine whose one server `fake` runs in this mode.
    pub(crate) fn fake(mode: &str) -> Self {
        Self::fake_with(mode, |config| config)
    }

    pub(crate) fn fake_with(mode: &str, change: impl FnOnce(ServerConfig) -> ServerConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = change(fake(mode, &folder.path().join("log")));
        Self::with(folder, [("fake".to_owned(), server)])
    }

    pub(crate) fn with(
        folder: tempfile::TempDir,
        servers: impl IntoIterator<Item = (String, ServerConfig)>,
    ) -> Self {
        let config = McpConfig { servers: servers.into_iter().collect(), ..McpConfig::default() };
        Self::of(folder, config)
    }

    pub(crate) fn of(folder: tempfile::TempDir, config: McpConfig) -> Self {
        let store = MemoryStore::new(LogId::from_random(7));
        let log = Log::open(store.writer(), store.repository(), Arc::new(SystemClock)).unwrap();
        let bus = EventBus::open(log, Config::default()).unwrap();
        let config = EngineConfig {
            tools: ToolSet::standard().with_family(Arc::new(Mcp::new(config).unwrap())),
            secrets: Secrets::new([("TOKEN".to_owned(), SECRET.to_owned())]).unwrap(),
            folder: folder.path().into(),
            ..EngineConfig::default()
        };
        let engine =
            Engine::new(&bus, Arc::new(SystemClock), Arc::new(IdGenerator::system()), config).unwrap();
        let wake = UnixDatagram::bind(folder.path().join("log.wake")).unwrap();
        Self { bus, engine, folder, wake }
    }

    pub(crate) async fn start(&self, document: &str, inputs: Value) -> PlanId {
        let Value::Object(inputs) = inputs else { panic!("inputs are an object") };
        let folder = Some(self.folder.path().to_owned());
        let document = DocumentSource::Inline { text: document.into(), name: "test.yaml".into(), folder };
        let origin = Origin { protocol: "cli".into(), principal: "tester".into(), message: None };
        let request = StartRequest { document, inputs, origin, context_id: None };
        self.engine.start(request).await.unwrap_or_else(|error| panic!("{error}")).plan_id
    }

    pub(crate) async fn run(&self, document: &str) -> Events {
        let plan = self.start(document, json!({})).await;
        self.tree(&plan).await
    }

    /// Runs one step that calls a tool of `fake`.
    pub(crate) async fn call(&self, tool: &str, with: Value) -> Events {
        self.run(&one(tool, &with)).await
    }

    /// All events of the tree, once it has ended.
    pub(crate) async fn tree(&self, plan: &PlanId) -> Events {
        let mut stream = self.bus.stream(Filter::tree(plan.clone()), StartAt::Start).await.unwrap();
        let mut events = Vec::new();
        while let Some(Item::Event(event)) = stream.next().await.unwrap() {
            events.push((**event).clone());
        }
        Events(events)
    }

    pub(crate) async fn cancel(&self, plan: &PlanId) {
        let request = CancelRequested { requested_by: "tester".into(), reason: String::new() };
        let event = Event::of(&IdGenerator::system(), &SystemClock, plan.clone(), &request).unwrap();
        self.bus.publish(event).await.unwrap();
    }

    /// What the server noted.
    pub(crate) fn noted(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until the server has noted something.
    pub(crate) async fn until_noted(&self, what: &Value) {
        while !self.noted().contains(what) {
            // A note comes before its datagram; what was noted since the look is read with the next one.
            self.wake.recv(&mut []).await.unwrap();
        }
    }

    pub(crate) fn times_noted(&self, what: &Value) -> usize {
        self.noted().iter().filter(|noted| *noted == what).count()
    }

    /// The numbers of the processes that were noted under a name.
    pub(crate) fn pids(&self, name: &str) -> Vec<u64> {
        self.noted().iter().filter_map(|noted| noted[name].as_u64()).collect()
    }
}

/// A plan of one step that calls a tool of `fake`, whose output is the plan's.
pub(crate) fn one(tool: &str, with: &Value) -> String {
    let step = json!({"tool": format!("mcp:fake/{tool}"), "with": with});
    json!({"plan": "one", "goal": "g", "steps": {"a": step}, "outputs": {"all": "${steps.a.output}"}})
        .to_string()
}

/// Whether a process is there, and no zombie.
pub(crate) fn lives(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// Events of one tree, in order.
pub(crate) struct Events(pub(crate) Vec<StoredEvent>);

impl Events {
    pub(crate) fn all<T: TypedPayload>(&self) -> Vec<T> {
        self.0.iter().filter_map(|event| event.event.read()).collect()
    }

    pub(crate) fn count(&self, event_type: &EventType) -> usize {
        self.0.iter().filter(|event| event.event.event_type() == event_type).count()
    }

    pub(crate) fn end(&self) -> Result<Object, Box<PlanFailed>> {
        let last = &self.0.last().unwrap().event;
        last.read::<PlanCompleted>().map(|end| end.outputs).ok_or_else(|| Box::new(last.read().unwrap()))
    }

    /// The output of [`one`].
    #[track_caller]
    pub(crate) fn output(&self) -> Value {
        self.end().unwrap_or_else(|failed| panic!("{failed:?}"))["all"].clone()
    }

    /// Code and message of the failure.
    #[track_caller]
    pub(crate) fn failure(&self) -> (String, String) {
        let failed = self.end().unwrap_err();
        (failed.error.code, failed.error.message)
    }

    pub(crate) fn text(&self) -> String {
        self.0.iter().map(StoredEvent::to_json).collect()
    }
}
