//! A process that is killed right before an event is stored, or between the event and its effect: what was not stored
//! has not happened, and the next server goes on to the same end.
//!
//! The test runs itself again as a process of its own, with an engine over a real log whose hook kills the process at
//! the n-th moment of one kind. Afterwards the real program opens the log.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use planwire_bus::{Config, DocumentSource, EventBus, Item, Log, PlanStarter as _, StartAt, StartRequest};
use planwire_engine::{AtMoment, Engine, EngineConfig, Stage};
use planwire_event::vocabulary::{Object, Origin};
use planwire_event::{Filter, IdGenerator, SystemClock};
use planwire_store::{OpenOptions, SqliteStore};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::{Value, json};

use super::survivor::{self, Traces};
use crate::harness::Place;

const TEST: &str = "crash::effect::killed_before_or_after_any_event_the_plan_goes_on_to_the_same_end";
const TYPE_VARIABLE: &str = "PLANWIRE_TEST_KILL_AT";
const STAGE_VARIABLE: &str = "PLANWIRE_TEST_KILL_STAGE";
const NUMBER_VARIABLE: &str = "PLANWIRE_TEST_KILL_NUMBER";
const FOLDER_VARIABLE: &str = "PLANWIRE_TEST_FOLDER";

/// All types of events that a plan without questions has, and that its process publishes.
const TYPES: [&str; 9] = [
    "PlanStarted",
    "DecisionMade",
    "ToolCalled",
    "ToolCompleted",
    "SubplanSpawned",
    "SubplanCompleted",
    "ArtifactProduced",
    "PlanFailed",
    "PlanCompleted",
];
const STAGES: [(&str, Stage); 2] = [("before", Stage::Before), ("durable", Stage::Durable)];
/// The first event of a type, and a later one. A type that has no later one is left out there.
const NUMBERS: [usize; 2] = [1, 5];

#[test]
fn killed_before_or_after_any_event_the_plan_goes_on_to_the_same_end() {
    if let Ok(event_type) = std::env::var(TYPE_VARIABLE) {
        run_until_killed(&event_type);
        return;
    }
    let mut kills = 0;
    for event_type in TYPES {
        for (stage, _) in STAGES {
            let killed = NUMBERS.iter().filter(|number| check(event_type, stage, **number)).count();
            assert!(killed > 0, "there is no {event_type}");
            kills += killed;
        }
    }
    println!(
        "{kills} kills before and after events of {} types: the same outputs, calls repeated without leave: 0",
        TYPES.len()
    );
}

/// Kills a run at the `number`-th moment of a kind and lets a server go on; false if it has no such moment.
fn check(event_type: &str, stage: &str, number: usize) -> bool {
    let place = Place::new();
    std::fs::create_dir_all(place.data()).expect("a folder");
    let traces = Traces::in_folder(&place);
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", TEST, "--nocapture"])
        .env(TYPE_VARIABLE, event_type)
        .env(STAGE_VARIABLE, stage)
        .env(NUMBER_VARIABLE, number.to_string())
        .env(FOLDER_VARIABLE, place.data())
        .current_dir(traces.folder())
        .output()
        .expect("a process");
    if output.status.success() {
        return false;
    }
    assert_eq!(output.status.signal(), Some(Signal::KILL.as_raw()), "{output:?}");
    let before = place.run(&["events", "--json"]).json(0);
    check_stored(&before, event_type, stage, number);
    if before.is_empty() {
        // Its start was not stored: the plan has never been.
        return true;
    }
    let server = place.serve(&[]);
    let events = survivor::events_to_the_end(&server);
    assert_eq!(server.stop().code(), Some(0));
    survivor::check(&events, &traces, 1);
    true
}

/// The event is stored if the process was gone after that, and only then.
fn check_stored(stored: &[Value], event_type: &str, stage: &str, number: usize) {
    let of_type = stored.iter().filter(|event| event["event_type"] == event_type).count();
    match (stage, number) {
        ("before", 1) => assert_eq!(of_type, 0, "{event_type}"),
        // Others of its type may be on their way in other plans.
        ("before", _) => {}
        _ => assert!(of_type >= number, "{event_type} {number}: {of_type}"),
    }
}

/// The process that dies: an engine over the log in the folder that its environment names.
fn run_until_killed(event_type: &str) {
    let number: usize = std::env::var(NUMBER_VARIABLE).expect("a number").parse().expect("a number");
    let folder = PathBuf::from(std::env::var_os(FOLDER_VARIABLE).expect("a folder"));
    let stage = std::env::var(STAGE_VARIABLE).expect("a stage");
    let stage = STAGES.iter().find(|(name, _)| *name == stage).expect("a stage").1;
    let event_type: planwire_event::EventType = event_type.parse().expect("a type");
    let reached = AtomicUsize::new(0);
    let at_moment = AtMoment::new(move |moment| {
        let is_meant = moment.stage == stage && moment.event_type == event_type;
        if is_meant && reached.fetch_add(1, Ordering::SeqCst) + 1 == number {
            kill_process(getpid(), Signal::KILL).expect("a process may end itself");
            // The signal comes before the effect, whichever thread it reaches first.
            loop {
                std::thread::park();
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(&folder, at_moment));
}

async fn run(folder: &Path, at_moment: AtMoment) {
    let (writer, repository) =
        SqliteStore::open(&folder.join("default.db"), &OpenOptions::default()).expect("a log");
    let log = Log::open(Box::new(writer), repository, Arc::new(SystemClock)).expect("a log");
    let bus = EventBus::open(log, Config::default()).expect("a bus");
    let folder = std::env::current_dir().expect("a folder");
    let config =
        EngineConfig { folder: folder.clone(), at_moment: Some(at_moment), ..EngineConfig::default() };
    let ids = Arc::new(IdGenerator::system());
    let engine = Engine::new(&bus, Arc::new(SystemClock), ids, config).expect("an engine");
    let inputs: Object = [("folder".to_owned(), json!(folder))].into_iter().collect();
    let request = StartRequest {
        document: DocumentSource::Inline {
            text: survivor::DOCUMENT.into(),
            name: "deep.yaml".into(),
            folder: None,
        },
        inputs,
        origin: Origin { protocol: "test".into(), principal: "tester".into(), message: None },
        context_id: None,
    };
    let started = engine.start(request).await.unwrap_or_else(|error| panic!("{error}"));
    let mut stream = bus.stream(Filter::tree(started.plan_id), StartAt::Start).await.expect("a stream");
    while let Ok(Some(Item::Event(_))) = stream.next().await {}
    engine.shutdown("the test ends").await;
    bus.shutdown().await;
}
