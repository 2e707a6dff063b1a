//! A process that ends at a chosen moment: a test that runs itself again, with an engine over a real log whose hook kills the
//! process at the n-th moment of one kind.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use planwire_bus::{Config, DocumentSource, EventBus, Item, Log, PlanStarter as _, StartAt, StartRequest};
use planwire_engine::launcher::{Launcher, LauncherConfig, Sandbox};
use planwire_engine::tools::exec::Exec;
use planwire_engine::{AtMoment, Engine, EngineConfig, Stage, ToolSet};
use planwire_event::vocabulary::{Object, Origin};
use planwire_event::{EventType, Filter, IdGenerator, StoredEvent, SystemClock};
use planwire_store::{OpenOptions, SqliteStore};
use rustix::process::{Signal, getpid, kill_process};

use crate::harness::{PATIENCE, Place};

const TYPE_VARIABLE: &str = "PLANWIRE_TEST_KILL_AT";
const STAGE_VARIABLE: &str = "PLANWIRE_TEST_KILL_STAGE";
const NUMBER_VARIABLE: &str = "PLANWIRE_TEST_KILL_NUMBER";
const FOLDER_VARIABLE: &str = "PLANWIRE_TEST_FOLDER";

/// Both sides of the moment in which an event becomes durable.
pub(super) const STAGES: [(&str, Stage); 2] = [("before", Stage::Before), ("durable", Stage::Durable)];

/// The `number`-th moment of a kind, at which a process ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kill {
    pub(super) event_type: &'static str,
    /// The name of one of [`STAGES`].
    pub(super) stage: &'static str,
    /// 1, 2, ..
    pub(super) number: usize,
}

/// Runs `test` again in `folder`, as a process of its own over the log of `place`, which `kill` ends; false if it came to the
/// end of its plan without that moment.
pub(super) fn is_killed(test: &str, place: &Place, folder: &Path, kill: Option<Kill>) -> bool {
    std::fs::create_dir_all(place.data()).expect("a folder");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--nocapture"]).env(FOLDER_VARIABLE, place.data()).current_dir(folder);
    if let Some(Kill { event_type, stage, number }) = kill {
        command.env(TYPE_VARIABLE, event_type).env(STAGE_VARIABLE, stage);
        command.env(NUMBER_VARIABLE, number.to_string());
    }
    let output = command.output().expect("a process");
    if output.status.success() {
        return false;
    }
    assert_eq!(output.status.signal(), Some(Signal::KILL.as_raw()), "{kill:?} {output:?}");
    true
}

/// What the process is to do that a test started by [`is_killed`].
pub(super) struct Doomed {
    /// The folder of the log.
    data: PathBuf,
    at_moment: Option<AtMoment>,
}

impl Doomed {
    /// None in the test itself.
    pub(super) fn of_environment() -> Option<Self> {
        let data = PathBuf::from(std::env::var_os(FOLDER_VARIABLE)?);
        let at_moment = std::env::var(TYPE_VARIABLE).ok().map(|event_type| {
            let number = std::env::var(NUMBER_VARIABLE).expect("a number").parse().expect("a number");
            let stage = std::env::var(STAGE_VARIABLE).expect("a stage");
            let stage = STAGES.iter().find(|(name, _)| *name == stage).expect("a stage").1;
            killing(event_type.parse().expect("a type"), stage, number)
        });
        Some(Self { data, at_moment })
    }

    /// Goes on with the tree that it finds in the log, else starts `document`; shows `meanwhile` each event of the log, until
    /// the root has ended.
    pub(super) fn live(
        self,
        tools: ToolSet,
        document: &str,
        inputs: Object,
        meanwhile: impl AsyncFnMut(&EventBus, &StoredEvent),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let life =
            async { tokio::time::timeout(PATIENCE, self.run(tools, document, inputs, meanwhile)).await };
        runtime.block_on(life).expect("the plan ends in time");
    }

    async fn run(
        self,
        tools: ToolSet,
        document: &str,
        inputs: Object,
        mut meanwhile: impl AsyncFnMut(&EventBus, &StoredEvent),
    ) {
        let (writer, repository) =
            SqliteStore::open(&self.data.join("default.db"), &OpenOptions::default()).expect("a log");
        let log = Log::open(Box::new(writer), repository, Arc::new(SystemClock)).expect("a log");
        let bus = EventBus::open(log, Config::default()).expect("a bus");
        let mut stream = bus.stream(Filter::default(), StartAt::Start).await.expect("a stream");
        let tools = tools.with(Arc::new(Exec::launched_by(launcher(&self.data))));
        let folder = std::env::current_dir().expect("a folder");
        let config = EngineConfig { tools, folder, at_moment: self.at_moment, ..EngineConfig::default() };
        let ids = Arc::new(IdGenerator::system());
        let engine = Engine::new(&bus, Arc::new(SystemClock), ids, config).expect("an engine");
        if engine.recover().await.expect("a log that can be gone on with").resumed == 0 {
            start(&engine, document, inputs).await;
        }
        while let Ok(Some(item)) = stream.next().await {
            let Item::Event(event) = item else { continue };
            meanwhile(&bus, &event).await;
            if event.event.event_type().is_terminal() && event.parent_plan_id.is_none() {
                break;
            }
        }
        engine.shutdown("the test ends").await;
        bus.shutdown().await;
    }
}

async fn start(engine: &Engine, document: &str, inputs: Object) {
    let request = StartRequest {
        document: DocumentSource::Inline { text: document.into(), name: "plan.yaml".into(), folder: None },
        inputs,
        origin: Origin { protocol: "test".into(), principal: "tester".into(), message: None },
        context_id: None,
    };
    engine.start(request).await.unwrap_or_else(|error| panic!("{error}"));
}

/// As `planwire serve` starts programs: below a supervisor, in a sandbox that hides the log.
fn launcher(data: &Path) -> Launcher {
    let mut sandbox = Sandbox::new(None);
    sandbox.hidden.insert(data.into());
    Launcher::new(LauncherConfig {
        executable: env!("CARGO_BIN_EXE_planwire").into(),
        sandbox: Some(sandbox),
        ..LauncherConfig::default()
    })
}

fn killing(event_type: EventType, stage: Stage, number: usize) -> AtMoment {
    let reached = AtomicUsize::new(0);
    AtMoment::new(move |moment| {
        let is_meant = moment.stage == stage && moment.event_type == event_type;
        if is_meant && reached.fetch_add(1, Ordering::SeqCst) + 1 == number {
            kill_process(getpid(), Signal::KILL).expect("a process may end itself");
            // The signal comes before the effect, whichever thread it reaches first.
            loop {
                std::thread::park();
            }
        }
    })
}
