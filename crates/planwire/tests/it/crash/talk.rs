//! A process that is killed before or after any event by which a plan talks to people: a question, on its own plan and
//! above, an end of it that nobody but the executor says, a warning, progress. The next process goes on to the same end, and
//! each question is closed once wherever it was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use planwire_bus::EventBus;
use planwire_engine::tool::{Argument, Parameters, ToolContext, ToolError, ToolOutput};
use planwire_engine::{Tool, ToolSet};
use planwire_event::vocabulary::{AnswerOutcome, InputReceived, InputRequested, Object, ToolProgress};
use planwire_event::{Event, IdGenerator, StoredEvent, SystemClock};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::doomed::{Doomed, Kill, STAGES, is_killed};
use super::survivor::check_ends;
use crate::harness::Place;

const TEST: &str = "crash::talk::killed_before_or_after_any_event_to_people_the_plan_goes_on_to_the_same_end";

const TYPES: [&str; 4] = ["InputRequested", "InputReceived", "LimitWarned", "ToolProgress"];

/// One question lapses, two are answered, one is withdrawn; the fourth call of five is warned of.
const DOCUMENT: &str = r#"
plan: talk
goal: Ask, warn and tell
limits: { tool_calls: 5 }
steps:
  one: { tool: test.tell, idempotent: true, with: { what: one } }
  two: { tool: test.tell, idempotent: true, with: { what: two } }
  three: { tool: test.tell, idempotent: true, with: { what: three } }
  four: { tool: test.tell, idempotent: true, with: { what: four } }
  asks:
    plan:
      plan: asks
      goal: Ask
      steps:
        lapses:
          ask: Anybody?
          expires: 50ms
          on_error:
            decide: Was nobody there?
            options: { nobody: { description: nobody was, output: nobody }, stop: { description: another failure, fail: true } }
            choose: "error.code == 'expired' ? 'nobody' : 'stop'"
        answered: { ask: "Here?" }
      outputs: { lapsed: "${steps.lapses.output}", answered: "${steps.answered.output}" }
  leaves:
    plan:
      plan: leaves
      goal: Leave a question open
      steps:
        open: { ask: "Ever?" }
        now: { ask: "Now?" }
        no: { after: [now], fail: "as it should" }
    on_error:
      decide: Does it matter?
      options: { on: { description: it does not, output: {} }, stop: { description: it does, fail: true } }
      choose: "'on'"
outputs:
  asked: "${steps.asks.outputs}"
  left: "${steps.leaves.error.message}"
"#;

/// Questions that are answered.
const ANSWERED: [&str; 2] = ["Here?", "Now?"];

#[test]
fn killed_before_or_after_any_event_to_people_the_plan_goes_on_to_the_same_end() {
    if let Some(doomed) = Doomed::of_environment() {
        return live(doomed);
    }
    let mut kills = 0;
    for event_type in TYPES {
        let [before, durable] = STAGES.map(|(stage, _)| {
            (1..).take_while(|number| check(Kill { event_type, stage, number: *number })).count()
        });
        // A call may end as soon as its progress can be read, before who published it is told: then nobody is there.
        assert!(before > 0 && (durable > 0 || event_type == "ToolProgress"), "there is no {event_type}");
        kills += before + durable;
    }
    println!(
        "{kills} kills before and after events of {} types: the same outputs, questions open or closed twice: 0",
        TYPES.len()
    );
}

/// Kills a run at the moment and lets another process go on; false if it has no such moment.
fn check(kill: Kill) -> bool {
    let place = Place::new();
    let folder = place.folder("work");
    if !is_killed(TEST, &place, &folder, Some(kill)) {
        return false;
    }
    assert!(!is_killed(TEST, &place, &folder, None));
    let events = place.run(&["events", "--json"]).json(0);
    check_ends(&events);
    let of_type = |name: &'static str| events.iter().filter(move |event| event["event_type"] == name);
    let root = of_type("PlanCompleted").next_back().expect("the root's end");
    let asked = json!({"lapsed": "nobody", "answered": "yes"});
    assert_eq!(root["payload"]["outputs"], json!({"asked": asked, "left": "as it should"}), "{kill:?}");
    let counts = ["LimitWarned", "ToolCalled", "PlanAdopted"].map(|name| of_type(name).count());
    assert_eq!(counts, [1, 4, 1], "{kill:?}");
    assert!(of_type("ToolProgress").count() >= 4, "{kill:?}");
    check_questions(&events, kill);
    true
}

/// Each question is asked on its plan and on the root, and has one end, the same on both.
fn check_questions(events: &[Value], kill: Kill) {
    let mut ends: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for event in events {
        let payload = &event["payload"];
        let key =
            || (payload["request_id"].as_str().expect("an id"), event["plan_id"].as_str().expect("an id"));
        match event["event_type"].as_str() {
            Some("InputRequested") => assert!(ends.insert(key(), Vec::new()).is_none(), "{kill:?} {event}"),
            Some("InputReceived") => {
                let end = payload["outcome"].as_str().expect("an outcome");
                ends.get_mut(&key()).expect("a question").push(end);
            }
            _ => {}
        }
    }
    let mut outcomes: Vec<Vec<&str>> = ends.into_values().collect();
    outcomes.sort_unstable();
    let twice = |outcome| [vec![outcome], vec![outcome]];
    let wanted = ["answered", "answered", "expired", "withdrawn"].map(twice).concat();
    assert_eq!(outcomes, wanted, "{kill:?}");
}

/// The process that dies, and the one that goes on.
fn live(doomed: Doomed) {
    let (told, heard) = watch::channel(BTreeSet::new());
    let tools = ToolSet::standard().with(Arc::new(Tell { heard }));
    doomed.live(tools, DOCUMENT, Object::new(), async |bus, event| {
        if let Some(progress) = event.event.read::<ToolProgress>() {
            told.send_modify(|told: &mut BTreeSet<String>| {
                told.insert(progress.text);
            });
        }
        answer(bus, event).await;
    });
}

/// Answers a question where it is asked; one that has an end already stays as it is.
async fn answer(bus: &EventBus, event: &StoredEvent) {
    let Some(asked) = event.event.read::<InputRequested>() else { return };
    if asked.for_plan_id.is_some() || !ANSWERED.contains(&asked.question.as_str()) {
        return;
    }
    let answer = InputReceived {
        request_id: asked.request_id,
        outcome: AnswerOutcome::Answered,
        value: json!("yes"),
        answered_by: "ann".into(),
        via: "cli".into(),
        arguments_digest: None,
        message: None,
    };
    let answer = Event::of(&IdGenerator::system(), &SystemClock, event.plan_id().clone(), &answer);
    let _ = bus.publish(answer.expect("an answer")).await;
}

/// Says what it is asked to, and ends once that is in the log.
struct Tell {
    heard: watch::Receiver<BTreeSet<String>>,
}

impl Tool for Tell {
    fn name(&self) -> &str {
        "test.tell"
    }

    fn purpose(&self) -> &str {
        "tells how far it is"
    }

    fn arguments(&self) -> Parameters {
        Parameters::listed(const { &[Argument::required("what", "text", "what it tells")] })
    }

    fn call(&self, arguments: Object, context: ToolContext) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let what = arguments["what"].as_str().ok_or_else(|| ToolError::argument("what is no text"))?;
            context.progress.say(what);
            let mut heard = self.heard.clone();
            heard.wait_for(|told| told.contains(what)).await.map_err(|_| ToolError::stopped())?;
            Ok(json!({}).into())
        })
    }
}
