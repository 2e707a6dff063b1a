//! Plans that a former process left open go on, wherever their events end.

use std::collections::BTreeMap;
use std::sync::Arc;

use planwire_bus::{Attachments, Config, EventBus, Handler, Log};
use planwire_engine::{EngineConfig, Recovered};
use planwire_event::vocabulary::{
    AnswerOutcome, DecisionMade, FailureReason, InputReceived, InputRequested, PlanAdopted, PlanFailed,
    PlanStarted, QuestionKind, SubplanSpawned, ToolCalled, ToolCompleted,
};
use planwire_event::{
    Event, EventType, Filter, IdGenerator, LogId, ManualClock, PlanId, Position, Producer, StoredEvent,
    SystemClock,
};
use planwire_store::{Document, MemoryStore, PageLimits};
use serde_json::{Value, json};

use crate::house::{Events, House};
use crate::http::peer::Peer;
use crate::models;

/// Steps of every kind that needs nobody: retries, recoveries of steps and of items, what is skipped and what has
/// nothing to repeat, subplans in two levels, artifacts in the middle and at the end.
pub(crate) const DOCUMENT: &str = r#"
plan: whole
goal: Use everything
limits: { parallel: 3 }
steps:
  first: { tool: test.echo, with: { value: [1, 2, 3] }, idempotent: true }
  flaky:
    tool: test.echo
    idempotent: true
    with: { value: "${attempt}", fail: "${attempt < 3 ? 'again' : ''}" }
    retry: { attempts: 3, backoff: 1ms }
  broken:
    tool: test.echo
    idempotent: true
    with: { fail: gone }
    on_error:
      decide: Does it matter?
      options: { go_on: { description: without it, output: { lost: "${error.code}" } }, stop: { description: not without it, fail: true } }
      choose: "error.code == 'gone' ? 'go_on' : 'stop'"
  way:
    decide: Which way?
    options: { left: the short one, right: the long one }
    choose: "steps.flaky.output == 3 ? 'right' : 'left'"
  never: { when: "steps.way.chosen == 'left'", tool: test.echo, with: { value: 1 } }
  nothing: { for_each: "steps.first.output.filter(n, n > 9)", plan: { plan: none, goal: g, steps: { a: { tool: test.echo, with: { value: 1 } } } } }
  note: { after: [way], artifact: { name: notes.txt, media_type: text/plain, chunks: "${['a', 'b', steps.way.chosen]}" } }
  each:
    for_each: "steps.first.output"
    parallel: 2
    after: [nothing, never]
    with: { n: "${item}" }
    plan:
      plan: one
      goal: Double
      inputs: { n: { type: int } }
      steps:
        double: { tool: test.echo, idempotent: true, with: { value: "${inputs.n * 2}", fail: "${inputs.n == 2 ? 'two' : ''}" } }
        deeper:
          with: { n: "${steps.double.output}" }
          plan: { plan: deep, goal: Add, inputs: { n: { type: int } }, steps: { add: { tool: test.echo, idempotent: true, with: { value: "${inputs.n + 1}" } } }, outputs: { n: "${steps.add.output}" } }
      outputs: { n: "${steps.deeper.outputs.n}" }
    on_error:
      decide: Without it?
      options: { without: { description: one less, output: { n: -1 } }, stop: { description: not without it, fail: true } }
      choose: "'without'"
  unfit:
    for_each: "[1, 'none']"
    after: [each]
    with: { n: "${item}" }
    plan: { plan: fits, goal: g, inputs: { n: { type: int } }, steps: { a: { tool: test.echo, idempotent: true, with: { value: "${inputs.n}" } } }, outputs: { n: "${steps.a.output}" } }
    on_error:
      decide: Without it?
      options: { without: { description: one less, output: { n: 0 } }, stop: { description: not without it, fail: true } }
      choose: "error.code == 'bad_input' ? 'without' : 'stop'"
outputs:
  unfit: "${steps.unfit.outputs.map(o, o.n)}"
  numbers: "${steps.each.outputs.map(o, o.n)}"
  flaky: "${steps.flaky.output}"
  broken: "${steps.broken.output.lost + ' ' + steps.broken.error.code}"
  way: "${steps.way.chosen}"
  skipped: "${steps.never.skipped}"
  nothing: "${steps.nothing.outputs}"
  why: "${steps.each.error.code}"
artifacts:
  report: { name: report.txt, media_type: text/plain, text: "${steps.way.chosen}" }
"#;

/// A question to somebody two levels above, and one that wants leave.
pub(crate) const ASKING: &str = r#"
plan: asking
goal: Ask
steps:
  below:
    plan:
      plan: middle
      goal: Ask below
      steps:
        below:
          plan:
            plan: asks
            goal: Ask
            steps:
              ask: { ask: "Which branch?", schema: { type: object, required: [name], properties: { name: { type: string } } } }
            outputs: { name: "${steps.ask.output.name}", by: "${steps.ask.answer.by}" }
      outputs: { said: "${steps.below.outputs}" }
  leave:
    after: [below]
    tool: test.echo
    idempotent: true
    with: { value: "${steps.below.outputs.said.name}" }
    approve: "May it be said?"
outputs: { said: "${steps.leave.output}", by: "${steps.below.outputs.said.by}" }
"#;

/// Plans that are made as it goes, two of them by one that was made.
pub(crate) const MAKING: &str = r#"
plan: making
goal: Make plans
limits: { parallel: 2 }
steps:
  planner:
    tool: test.echo
    idempotent: true
    with:
      value:
        - { n: 1, plan: "plan: one\ngoal: g\ninputs: { n: { type: int } }\nsteps: { a: { tool: test.echo, idempotent: true, with: { value: '$${inputs.n}' } } }\noutputs: { n: '$${steps.a.output}' }" }
        - { n: 2, plan: no plan }
        - n: 3
          plan: |
            plan: again
            goal: Make one more
            inputs: { n: { type: int } }
            steps:
              a:
                tool: test.echo
                idempotent: true
                with: { value: { plan: inner, goal: g, steps: { a: { tool: test.echo, idempotent: true, with: { value: 30 } } }, outputs: { n: "$$${steps.a.output}" } } }
              b: { plan: "$${steps.a.output}" }
            outputs: { n: "$${steps.b.outputs.n + inputs.n}" }
  parts:
    for_each: "steps.planner.output"
    plan: "${item.plan}"
    with: { n: "${item.n}" }
    on_error:
      decide: Without it?
      options: { without: { description: one less, output: { n: 0 } }, stop: { description: not without it, fail: true } }
      choose: "error.code == 'bad_document' ? 'without' : 'stop'"
outputs: { parts: "${steps.parts.outputs.map(o, o.n)}" }
"#;

/// Plans that use all that they may, and say what that was.
pub(crate) const METERED: &str = r#"
plan: metered
goal: Stay within limits
limits: { parallel: 2, tool_calls: 3 }
steps:
  first:
    tool: test.echo
    idempotent: true
    with: { value: 1 }
    usage: { input_tokens: 30, cost: 0.3, currency: USD }
  each:
    for_each: "[1, 2]"
    parallel: 1
    after: [first]
    with: { n: "${item}" }
    plan:
      plan: spends
      goal: Spend
      limits: { tool_calls: 2 }
      inputs: { n: { type: int } }
      steps:
        spend:
          tool: test.echo
          idempotent: true
          with: { value: "${inputs.n}" }
          usage: { output_tokens: 25, cost: 0.2, currency: USD }
      outputs: { n: "${steps.spend.output}" }
outputs: { numbers: "${steps.each.outputs.map(o, o.n)}" }
"#;

/// A log that was written once: what was said, by whom, and the documents of its plans.
pub(crate) struct Written {
    pub(crate) events: Vec<(Producer, Event)>,
    pub(crate) documents: BTreeMap<String, Arc<str>>,
}

impl Written {
    pub(crate) async fn of(house: &House, events: &Events) -> Self {
        let mut documents = BTreeMap::new();
        for digest in events.all::<PlanStarted>().into_iter().filter_map(|started| started.document_digest) {
            let body = house.bus.repository().document(digest.parse().unwrap()).await.unwrap().unwrap();
            documents.insert(digest, body);
        }
        let events = events.0.iter().map(|stored| (stored.meta.producer.clone(), stored.event.clone()));
        Self { events: events.collect(), documents }
    }

    /// The log of a process that is gone after the first `length` events.
    pub(crate) async fn cut(&self, length: usize) -> MemoryStore {
        let store = MemoryStore::new(LogId::from_random(11));
        let log = Log::open(store.writer(), store.repository(), Arc::new(SystemClock)).unwrap();
        let bus = EventBus::open(log, Config::default()).unwrap();
        for (producer, event) in &self.events[..length] {
            let digest = match event.read::<PlanStarted>() {
                Some(started) => started.document_digest,
                None => event.read::<SubplanSpawned>().and_then(|spawned| spawned.document_digest),
            };
            let document = |digest: String| Document {
                body: Arc::clone(&self.documents[&digest]),
                digest: digest.parse().unwrap(),
            };
            let documents = digest.map(document).into_iter().collect();
            let attachments = Attachments { documents, ..Attachments::default() };
            let publisher = bus.publisher(producer.clone());
            publisher.publish_with(vec![event.clone()], attachments).await.unwrap();
        }
        bus.shutdown().await;
        store
    }
}

/// Answers whatever is asked.
pub(crate) fn answering(house: &House) {
    let bus = house.bus.clone();
    let answer = Handler::future(move |event| {
        let bus = bus.clone();
        async move {
            answer(&bus, &event.event).await;
            Ok(())
        }
    });
    house.bus.subscribe(answer, Filter::all().with_types([EventType::InputRequested])).unwrap();
}

async fn answer(bus: &EventBus, event: &Event) {
    let asked: InputRequested = event.read().unwrap();
    if asked.for_plan_id.is_some() {
        return;
    }
    let value = match asked.kind {
        QuestionKind::Approval => json!({"approved": true}),
        _ => json!({"name": "main"}),
    };
    let received = InputReceived {
        request_id: asked.request_id,
        outcome: AnswerOutcome::Answered,
        value,
        answered_by: "ann".into(),
        via: "test".into(),
        arguments_digest: asked.arguments_digest,
        message: None,
    };
    let answer = Event::of(&IdGenerator::system(), &SystemClock, event.plan_id().clone(), &received).unwrap();
    // The former process may have stored an answer before it was gone.
    let _ = bus.publish(answer).await;
}

/// Goes on from each place at which a run can be cut off, and wants the same end.
async fn check_every_cut(document: &str) -> usize {
    check_every_cut_with(document, |config| config).await
}

/// The same for engines that are told more.
async fn check_every_cut_with(document: &str, change: impl Fn(EngineConfig) -> EngineConfig) -> usize {
    let run = House::open_with(&change);
    answering(&run);
    let whole = run.run(document).await;
    let written = Written::of(&run, &whole).await;
    check_cuts_with(&written, change).await;
    whole.0.len()
}

/// The same of a log that was written before.
pub(crate) async fn check_cuts(written: &Written) {
    check_cuts_with(written, |config| config).await;
}

async fn check_cuts_with(written: &Written, change: impl Fn(EngineConfig) -> EngineConfig) {
    let whole = House::with(written.cut(written.events.len()).await, |config| config);
    let whole = whole.tree(written.events[0].1.plan_id()).await;
    // Whenever it was written: its questions have not expired, and its time is not over.
    let last = &written.events[written.events.len() - 1].1;
    // A warning is stored with the call that it warns of.
    let is_place = |length: &usize| written.events[*length].1.event_type() != &EventType::LimitWarned;
    for length in (1..written.events.len()).filter(is_place) {
        let store = written.cut(length).await;
        let log = Log::open(store.writer(), store.repository(), Arc::new(SystemClock)).unwrap();
        let next = House::at(Arc::new(ManualClock::at(last.timestamp())), log, &change);
        // What was asked before nobody answered.
        let before = &written.events[..length];
        for (_, event) in before.iter().filter(|(_, event)| is_open_question(event, before)) {
            answer(&next.bus, event).await;
        }
        answering(&next);
        assert_eq!(next.engine.recover().await.unwrap(), recovered(1, 0), "after {length} events");
        let events = next.tree(whole.root()).await;
        assert_eq!(events.outputs(), whole.outputs(), "after {length} events");
        check_once(&events, length, &whole, &next);
        next.engine.shutdown("the test ends").await;
        next.bus.shutdown().await;
    }
}

fn is_open_question(event: &Event, before: &[(Producer, Event)]) -> bool {
    let Some(asked) = event.read::<InputRequested>() else { return false };
    let mut answers = before.iter().filter_map(|(_, event)| event.read::<InputReceived>());
    asked.for_plan_id.is_none() && !answers.any(|answer| answer.request_id == asked.request_id)
}

fn recovered(resumed: usize, ended: usize) -> Recovered {
    let mut recovered = Recovered::default();
    (recovered.resumed, recovered.ended) = (resumed, ended);
    recovered
}

/// What happens as often as it would undisturbed.
const ONCE: [&str; 9] = [
    "PlanStarted",
    "ToolCalled",
    "ToolCompleted",
    "DecisionMade",
    "SubplanSpawned",
    "SubplanCompleted",
    "ArtifactProduced",
    "LimitWarned",
    "PlanCompleted",
];

/// What happened is there once, and what had happened before was not done again.
fn check_once(events: &Events, cut_at: usize, whole: &Events, next: &House) {
    let adopted = |stored: &&StoredEvent| stored.event.event_type() == &EventType::PlanAdopted;
    let before = events.0[..cut_at].iter().filter(adopted).count();
    let adopted = events.all::<PlanAdopted>();
    assert_eq!(adopted.len(), before + 1, "after {cut_at} events");
    assert_eq!(adopted[before].executor_id, next.engine.executor_id());
    for event_type in ONCE {
        assert_eq!(events.count(event_type), whole.count(event_type), "{event_type} after {cut_at} events");
    }
    let questions = |events: &Events| {
        events.all::<InputRequested>().into_iter().filter(|asked| asked.for_plan_id.is_none()).count()
    };
    assert_eq!(questions(events), questions(whole), "after {cut_at} events");
    assert_eq!(events.count("InputRequested"), events.count("InputReceived"), "after {cut_at} events");
    let (before, after) = events.0.split_at(cut_at);
    let called = |events: &[StoredEvent]| {
        let of_house = |called: ToolCalled| called.tool.starts_with("test.");
        events.iter().filter(|stored| stored.event.read().is_some_and(of_house)).count()
    };
    let ended = |events: &[StoredEvent]| {
        let of_house = |ended: ToolCompleted| ended.tool.starts_with("test.");
        events.iter().filter(|stored| stored.event.read().is_some_and(of_house)).count()
    };
    let in_flight = called(before) - ended(before);
    assert_eq!(next.probe.calls().len(), called(after) + in_flight, "after {cut_at} events");
    let counts = |events: &Events| {
        let last = events.0.iter().rev().find(|stored| stored.plan_id() == events.root()).unwrap();
        last.event.payload().to_value()["counts"].clone()
    };
    assert_eq!(counts(events), counts(whole), "after {cut_at} events");
}

#[tokio::test]
async fn plan_goes_on_from_every_place_at_which_its_process_can_be_gone() {
    let events = check_every_cut(DOCUMENT).await;
    assert!(events > 45, "{events}");
}

#[tokio::test]
async fn questions_go_on_from_every_place_at_which_their_process_can_be_gone() {
    let events = check_every_cut(ASKING).await;
    assert!(events > 15, "{events}");
}

#[tokio::test]
async fn made_plans_go_on_from_every_place_at_which_their_process_can_be_gone() {
    let events = check_every_cut(MAKING).await;
    assert!(events > 20, "{events}");
    let outputs = House::open().run(MAKING).await.outputs();
    assert_eq!(outputs, json!({"parts": [1, 0, 33]}));
}

#[tokio::test]
async fn plans_within_limits_go_on_from_every_place_at_which_their_process_can_be_gone() {
    let events = check_every_cut(METERED).await;
    assert!(events > 15, "{events}");
    assert_eq!(House::open().run(METERED).await.count("LimitWarned"), 1);
}

#[tokio::test]
async fn decision_of_a_model_goes_on_from_every_place_at_which_its_process_can_be_gone() {
    let peer = Peer::plain(|_| models::completion(r#"{"chosen": "store", "rationale": "r"}"#)).await;
    let events = check_every_cut_with(models::DOCUMENT, |config| models::with_model(&peer, config)).await;
    assert_eq!(events, 9);
    // What was chosen is not asked for again: only the cuts before the answer was stored.
    assert_eq!(peer.requests().len(), 1 + 4);
}

#[tokio::test]
async fn tree_whose_made_plan_is_not_in_the_log_ends_as_interrupted() {
    let run = House::open();
    let whole = run.run(MAKING).await;
    let mut written = Written::of(&run, &whole).await;
    let made = written.events.iter().position(|(_, event)| event.read::<SubplanSpawned>().is_some()).unwrap();
    let spawned: SubplanSpawned = written.events[made].1.read().unwrap();
    let unread = Arc::from(r#"{"plan":"of another kind"}"#);
    written.documents.insert(spawned.document_digest.unwrap(), unread);
    let started = written.events[made..].iter().position(|(_, event)| event.read::<PlanStarted>().is_some());
    let next = House::with(written.cut(made + started.unwrap() + 1).await, |config| config);
    assert_eq!(next.engine.recover().await.unwrap(), recovered(0, 1));
    let page = next.bus.repository().plans(&Default::default()).await.unwrap();
    assert!(page.plans.len() > 1 && page.plans.iter().all(|plan| !plan.status.is_open()), "{:?}", page.plans);
    let of_root = Filter::plan(whole.root().clone());
    let page = next.bus.repository().read_after(Position::default(), &of_root, PageLimits::default()).await;
    let last: PlanFailed = page.unwrap().events.last().unwrap().event.read().unwrap();
    assert_eq!(last.reason, FailureReason::Interrupted);
}

/// The log of a process that is gone while a call of `document` runs.
async fn gone_while_calling(document: &str) -> (MemoryStore, PlanId) {
    let store = MemoryStore::new(LogId::from_random(9));
    let former = House::with(store.clone(), |config| config);
    let root = former.start(document).await;
    former.probe.until_running(1).await;
    former.bus.shutdown().await;
    (store, root)
}

#[tokio::test]
async fn call_in_flight_that_is_not_idempotent_ends_as_interrupted_and_the_document_decides() {
    let document = r#"
plan: decides
goal: g
steps:
  once:
    tool: test.gate
    retry: { attempts: 3 }
    on_error:
      decide: Is it known what came of it?
      options: { unknown: { description: nobody knows, output: "${error.code}" }, stop: { description: not without it, fail: true } }
      choose: "error.code == 'interrupted' ? 'unknown' : 'stop'"
outputs: { once: "${steps.once.output}", why: "${steps.once.error.message}" }
"#;
    let (store, root) = gone_while_calling(document).await;
    let house = House::with(store, |config| config);
    assert_eq!(house.engine.recover().await.unwrap(), recovered(1, 0));
    let events = house.tree(&root).await;
    assert_eq!(events.outputs()["once"], "interrupted");
    assert_eq!(house.probe.calls(), [] as [Value; 0], "it is not called again");
    assert_eq!(events.all::<ToolCompleted>().len(), 1);
    let error = events.all::<DecisionMade>()[0].error.clone().unwrap();
    assert_eq!((error.code.as_str(), error.step.as_deref()), ("interrupted", Some("once")));
    assert_eq!(events.outputs()["why"], json!(error.message));
}

#[tokio::test]
async fn call_in_flight_is_tried_again_where_the_document_says_so() {
    let retried = |rule: &str| {
        format!(
            "{{ plan: again, goal: g, steps: {{ a: {{ tool: test.gate, with: {{ value: 1 }}, \
             retry: {{ attempts: 2, backoff: 1ms{rule} }} }} }}, outputs: {{ a: \"${{steps.a.output}}\" }} }}"
        )
    };
    let (store, root) = gone_while_calling(&retried(", when: \"error.code == 'interrupted'\"")).await;
    let house = House::with(store, |config| config);
    house.probe.gate.add_permits(1);
    house.engine.recover().await.unwrap();
    assert_eq!(house.tree(&root).await.outputs(), json!({"a": 1}));

    let (store, root) = gone_while_calling(&retried("")).await;
    let house = House::with(store, |config| config);
    house.engine.recover().await.unwrap();
    assert_eq!(house.tree(&root).await.failed().error.code, "interrupted");
}

#[tokio::test]
async fn plan_that_was_asked_to_end_ends_although_its_process_is_gone() {
    let document = "{ plan: held, goal: g, steps: { a: { tool: test.gate, idempotent: true } } }";
    let (store, root) = gone_while_calling(document).await;
    let between = House::with(store.clone(), |config| config);
    between.cancel(&root, "too late").await;
    between.bus.shutdown().await;
    let house = House::with(store, |config| config);
    house.engine.recover().await.unwrap();
    let failed = house.tree(&root).await.failed();
    assert_eq!(
        (failed.reason.as_str(), failed.error.message.as_str()),
        ("cancelled", "cancelled by tester: too late")
    );
}

#[tokio::test]
async fn only_the_executor_that_adopted_a_tree_may_publish_on_it() {
    let document = "{ plan: held, goal: g, steps: { a: { tool: test.gate, idempotent: true } } }";
    let store = MemoryStore::new(LogId::from_random(9));
    let former = House::with(store.clone(), |config| config);
    let root = former.start(document).await;
    former.probe.until_running(1).await;

    let house = House::over(
        Log::open(store.writer(), store.repository(), Arc::new(SystemClock)).unwrap(),
        |config| config,
    );
    house.engine.recover().await.unwrap();
    // The former executor was only slow: its call ends now, and nobody takes its word.
    former.probe.gate.add_permits(1);
    while former.engine.open_trees() > 0 {
        tokio::task::yield_now().await;
    }
    house.probe.until_running(1).await;
    house.probe.gate.add_permits(1);
    let events = house.tree(&root).await;
    events.outputs();
    assert_eq!(events.all::<ToolCompleted>().len(), 1);
    let producers: BTreeMap<&str, usize> = events.0.iter().fold(BTreeMap::new(), |mut counted, stored| {
        *counted.entry(stored.meta.producer.as_str()).or_default() += 1;
        counted
    });
    assert_eq!(producers[house.engine.executor_id()], 3, "adopted, completed, ended");
}

#[tokio::test]
async fn one_plan_is_resumed_and_others_wait() {
    let document = "{ plan: held, goal: g, steps: { a: { tool: test.gate, idempotent: true } } }";
    let store = MemoryStore::new(LogId::from_random(9));
    let former = House::with(store.clone(), |config| config);
    let (one, other) = (former.start(document).await, former.start(document).await);
    former.probe.until_running(2).await;
    former.bus.shutdown().await;
    let house = House::with(store, |config| config);
    assert_eq!(house.engine.resume(&one).await.unwrap(), one);
    house.probe.gate.add_permits(1);
    house.tree(&one).await.outputs();
    let refused = house.engine.resume(&one).await.unwrap_err().to_string();
    assert_eq!(refused, format!("plan {one} has ended; only open plans can be resumed"));
    assert!(house.engine.resume(&"nobody".parse().unwrap()).await.is_err());
    let open = house.bus.repository().plans(&Default::default()).await.unwrap().plans;
    assert!(open.iter().any(|row| row.plan_id == other && row.status.is_open()));
}

#[tokio::test]
async fn engine_that_is_suspended_leaves_its_plans_to_the_next_one() {
    let store = MemoryStore::new(LogId::from_random(9));
    let first = House::with(store.clone(), |config| config);
    let root =
        first.start("{ plan: held, goal: g, steps: { a: { tool: test.gate, idempotent: true } } }").await;
    first.probe.until_running(1).await;
    first.engine.suspend().await;
    assert_eq!((first.probe.running(), first.engine.open_trees()), (0, 0));
    first.bus.shutdown().await;
    let second = House::with(store, |config| config);
    assert_eq!(second.engine.recover().await.unwrap(), recovered(1, 0));
    second.probe.gate.add_permits(1);
    second.tree(&root).await.outputs();
}
