//! A process that is killed between an event and its effect: the event is there, the effect is not.
//!
//! The test runs itself again as a process of its own, with an engine over a real log whose hook kills the process at
//! the n-th effect point of one module. Afterwards the real program opens the log.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use planwire_bus::{Config, DocumentSource, EventBus, Log, PlanStarter as _, StartRequest};
use planwire_engine::{BeforeEffect, Engine, EngineConfig, Module};
use planwire_event::vocabulary::{Object, Origin};
use planwire_event::{IdGenerator, SystemClock};
use planwire_store::{OpenOptions, SqliteStore};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::Value;

use super::orphans::check_ended;
use crate::harness::Place;

const TEST: &str = "crash::effect::killed_between_an_event_and_its_effect_the_effect_does_not_happen";
const MODULE_VARIABLE: &str = "PLANWIRE_TEST_KILL_AT";
const NUMBER_VARIABLE: &str = "PLANWIRE_TEST_KILL_NUMBER";
const FOLDER_VARIABLE: &str = "PLANWIRE_TEST_FOLDER";
/// More effect points of one module than the document has.
const POINTS_MAX: usize = 20;

const MODULES: [(&str, Module, &str); 4] = [
    ("executor", Module::Executor, "PlanStarted"),
    ("decision", Module::DecisionEngine, "DecisionMade"),
    ("tool", Module::ToolRunner, "ToolCalled"),
    ("spawner", Module::SubplanSpawner, "SubplanSpawned"),
];

/// One thing after the other, so that the event at which the process dies is the last one of the log. Each tool call
/// leaves a file.
const DOCUMENT: &str = r#"
plan: effects
goal: Leave a trace of every effect
steps:
  first: { tool: exec, with: { argv: [touch, first] } }
  way:
    decide: Which file comes next?
    options: { left: the left one, right: the right one }
    choose: "steps.first.ok ? 'left' : 'right'"
  second: { tool: exec, with: { argv: [touch, "${steps.way.chosen}"] } }
  below:
    after: [second]
    plan:
      plan: child
      goal: Leave a trace too
      steps:
        third: { tool: exec, with: { argv: [touch, third] } }
        depth:
          after: [third]
          plan:
            plan: grandchild
            goal: And this one
            steps:
              fourth: { tool: exec, with: { argv: [touch, fourth] } }
  missing:
    after: [below]
    tool: exec
    with: { argv: ["false"] }
    on_error:
      decide: What if it fails?
      options: { on: { description: go on, output: {} }, stop: { description: give up, fail: true } }
      choose: "'on'"
  last: { after: [missing], tool: exec, with: { argv: [touch, last] } }
"#;

#[test]
fn killed_between_an_event_and_its_effect_the_effect_does_not_happen() {
    if let Ok(module) = std::env::var(MODULE_VARIABLE) {
        run_until_killed(&module);
        return;
    }
    for (name, _, event_type) in MODULES {
        let points = (1..POINTS_MAX).take_while(|number| check(name, event_type, *number)).count();
        println!("{name}: killed at each of its {points} effects; effects that happened all the same: 0");
        let expected = match name {
            "executor" => 3,
            "tool" => 6,
            _ => 2,
        };
        assert_eq!(points, expected, "{name}");
    }
}

/// Kills a run at the `number`-th effect point of a module and looks at what is left; false if it has no such point.
fn check(module: &str, event_type: &str, number: usize) -> bool {
    let place = Place::new();
    std::fs::create_dir_all(place.data()).expect("a folder");
    let traces = place.folder("traces");
    let executable = std::env::current_exe().expect("this program");
    let output = Command::new(executable)
        .args(["--exact", TEST, "--nocapture"])
        .env(MODULE_VARIABLE, module)
        .env(NUMBER_VARIABLE, number.to_string())
        .env(FOLDER_VARIABLE, place.data())
        .current_dir(&traces)
        .output()
        .expect("a process");
    if output.status.success() {
        return false;
    }
    assert_eq!(output.status.signal(), Some(Signal::KILL.as_raw()), "{output:?}");
    let before = place.run(&["events", "--json"]).json(0);
    let announced: Vec<usize> =
        (0..before.len()).filter(|index| before[*index]["event_type"] == event_type).collect();
    assert_eq!(announced.len(), number, "the event is stored");
    check_nothing_followed(&before[announced[number - 1] + 1..]);
    let begun = files(&traces);
    assert_eq!(begun, files_of_completed_calls(&before), "no other call has run");
    // The next process ends what was open, and nothing happens late.
    let server = place.serve(&[]);
    let after = server.http.get("/v1/events?limit=1000").json(200);
    assert_eq!(server.stop().code(), Some(0));
    check_ended(after["events"].as_array().expect("events"), before.len());
    assert_eq!(files(&traces), begun);
    true
}

/// What follows from a decision is announced in the same commit; nothing else comes after the event.
fn check_nothing_followed(later: &[Value]) {
    let announcements = ["DecisionMade", "ToolCalled", "SubplanSpawned"];
    let is_announcement = |event: &Value| announcements.iter().any(|name| event["event_type"] == *name);
    assert!(later.iter().all(is_announcement), "{later:?}");
}

fn files_of_completed_calls(events: &[Value]) -> Vec<String> {
    let of_type = |name: &'static str| events.iter().filter(move |event| event["event_type"] == name);
    let completed = |call: &Value| {
        of_type("ToolCompleted").any(|event| {
            event["payload"]["call_id"] == call["payload"]["call_id"] && event["plan_id"] == call["plan_id"]
        })
    };
    let argv = |call: &Value| call["payload"]["arguments"]["argv"].clone();
    let calls = of_type("ToolCalled").filter(|call| completed(call)).map(argv);
    let mut files: Vec<String> = calls
        .filter(|argv| argv[0] == "touch")
        .filter_map(|argv| argv[1].as_str().map(str::to_owned))
        .collect();
    files.sort();
    files
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The process that dies: an engine over the log in the folder that its environment names.
fn run_until_killed(module: &str) {
    let number: usize = std::env::var(NUMBER_VARIABLE).expect("a number").parse().expect("a number");
    let folder = PathBuf::from(std::env::var_os(FOLDER_VARIABLE).expect("a folder"));
    let module = MODULES.iter().find(|(name, _, _)| *name == module).expect("a module").1;
    let reached = AtomicUsize::new(0);
    let before_effect = BeforeEffect::new(move |point| {
        if point.module == module && reached.fetch_add(1, Ordering::SeqCst) + 1 == number {
            kill_process(getpid(), Signal::KILL).expect("a process may end itself");
            // The signal comes before the effect, whichever thread it reaches first.
            loop {
                std::thread::park();
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(&folder, before_effect));
}

async fn run(folder: &Path, before_effect: BeforeEffect) {
    let (writer, repository) =
        SqliteStore::open(&folder.join("default.db"), &OpenOptions::default()).expect("a log");
    let log = Log::open(Box::new(writer), repository, Arc::new(SystemClock)).expect("a log");
    let bus = EventBus::open(log, Config::default()).expect("a bus");
    let config = EngineConfig {
        folder: std::env::current_dir().expect("a folder"),
        before_effect: Some(before_effect),
        ..EngineConfig::default()
    };
    let ids = Arc::new(IdGenerator::system());
    let engine = Engine::new(&bus, Arc::new(SystemClock), ids, config).expect("an engine");
    let request = StartRequest {
        document: DocumentSource::Inline { text: DOCUMENT.into(), name: "effects.yaml".into(), folder: None },
        inputs: Object::new(),
        origin: Origin { protocol: "test".into(), principal: "tester".into(), message: None },
        context_id: None,
    };
    let started = engine.start(request).await.unwrap_or_else(|error| panic!("{error}"));
    let filter = planwire_event::Filter::tree(started.plan_id);
    let mut stream = bus.stream(filter, planwire_bus::StartAt::Start).await.expect("a stream");
    while let Ok(Some(planwire_bus::Item::Event(_))) = stream.next().await {}
    engine.shutdown("the test ends").await;
    bus.shutdown().await;
}
