//! What the policy denies does not happen, what it wants approved is asked once, and both hold after a restart.

use std::sync::Arc;

use planwire_bus::{DocumentSource, PlanStarter as _, StartRequest};
use planwire_engine::policy::{HostPattern, Pattern, Policy, Rule};
use planwire_engine::{EngineConfig, Recovered};
use planwire_event::vocabulary::{
    InputRequested, Object, Origin, PlanStarted, QuestionKind, ToolCalled, ToolCompleted,
};
use planwire_event::{LogId, PlanId};
use planwire_store::MemoryStore;
use serde_json::{Value, json};

use crate::asking::{Asked, answer, run_with};
use crate::house::{Events, House};
use crate::http::peer::{Peer, local, response};

/// A call that a rule can be about, with everything that could make it happen twice.
const CALLS: &str = r#"
plan: calls
goal: g
steps:
  call:
    tool: test.echo
    with: { value: "${attempt}" }
    retry: { attempts: 3, backoff: 1ms, when: "true" }
    on_error:
      decide: Was it denied?
      options: { denied: { description: it was, output: "${error.message}" }, other: { description: d, fail: true } }
      choose: "error.code == 'denied' ? 'denied' : 'other'"
outputs: { call: "${steps.call.output}" }
"#;

fn about(name: &str, tool: &str) -> Rule {
    Rule { tools: vec![Pattern::text(tool).unwrap()], ..Rule::named(name) }
}

fn with(policy: Policy) -> impl FnOnce(EngineConfig) -> EngineConfig {
    |config| EngineConfig { policy, ..config }
}

fn denying(tool: &str) -> Policy {
    Policy { deny: vec![about("never", tool)], ..Policy::default() }
}

fn asking(tool: &str) -> Policy {
    Policy { approve: vec![about("look at it", tool)], ..Policy::default() }
}

/// Starts a document as if it had come over the network.
async fn receive(house: &House, text: &str) -> PlanId {
    let request = StartRequest {
        document: DocumentSource::Received { text: text.into(), name: "message".into() },
        inputs: Object::new(),
        origin: Origin { protocol: "a2a".into(), principal: "somebody".into(), message: None },
        context_id: None,
    };
    house.engine.start(request).await.unwrap().plan_id
}

fn denied(events: &Events) -> Vec<String> {
    let ends = events.all::<ToolCompleted>();
    ends.into_iter().filter_map(|end| end.error.filter(|_| !end.ok)).map(|error| error.code).collect()
}

#[tokio::test]
async fn denied_call_is_in_the_log_and_nowhere_else() {
    let house = House::open_with(with(denying("test.*")));
    let events = house.run(CALLS).await;
    assert_eq!(
        events.types(),
        ["PlanStarted", "ToolCalled", "ToolCompleted", "DecisionMade", "PlanCompleted"],
        "a denied call is not tried again"
    );
    assert_eq!(events.outputs(), json!({"call": "the policy denies it: rule 'never'"}));
    assert_eq!(denied(&events), ["denied"]);
    assert!(house.probe.calls().is_empty());
}

#[tokio::test]
async fn without_a_policy_a_document_from_the_network_can_call_nothing_nor_can_what_is_below_it() {
    let house = House::open();
    assert_eq!(house.run(CALLS).await.outputs(), json!({"call": 1}));
    let parent = format!(
        "{{ plan: above, goal: g, steps: {{ below: {{ plan: {} }} }}, outputs: {{ o: '${{steps.below.outputs}}' }} }}",
        json!({"plan": "below", "goal": "g", "steps": {"a": {"tool": "test.echo", "with": {"value": 1}}}})
    );
    for document in [CALLS, &parent] {
        let root = receive(&house, document).await;
        let events = house.tree(&root).await;
        assert_eq!(denied(&events), ["denied"]);
        assert!(events.all::<PlanStarted>()[0].document_received);
    }
    assert_eq!(house.probe.calls().len(), 1);
}

#[tokio::test]
async fn document_from_the_network_may_call_what_a_rule_allows() {
    let mut policy = Policy::default();
    policy.received.allow = vec![about("echo", "test.echo")];
    let house = House::open_with(with(policy));
    let root = receive(&house, CALLS).await;
    assert_eq!(house.tree(&root).await.outputs(), json!({"call": 1}));
    let root =
        receive(&house, &CALLS.replace("test.echo", "exec").replace("value: \"${attempt}\"", "argv: [ls]"))
            .await;
    assert_eq!(denied(&house.tree(&root).await), ["denied"]);
}

#[tokio::test]
async fn call_that_the_policy_wants_approved_is_shown_asked_for_once_and_then_made() {
    let house = House::open_with(with(asking("test.echo")));
    let document = CALLS
        .replace("value: \"${attempt}\"", "value: 7, fail: \"broken\"")
        .replace("when: \"true\"", "when: \"error.code == 'broken'\"");
    let root = house.start(&document.replace("'denied' ? 'denied'", "'broken' ? 'denied'")).await;
    let (_, question) = Asked::of(&house, &root).await.next().await;
    assert_eq!(question.kind, QuestionKind::Approval);
    assert_eq!(question.question, "Rule 'look at it' of the policy wants approval: may test.echo be called?");
    let shown = json!({"tool": "test.echo", "arguments": {"value": 7, "fail": "broken"}});
    assert_eq!(question.arguments.clone().map(Value::Object), Some(shown.clone()));
    assert!(house.probe.calls().is_empty());
    answer(&house, &root, &question, json!(true)).await;
    let events = house.tree(&root).await;
    let called: Vec<ToolCalled> = events.all();
    assert_eq!((events.count("InputRequested"), called.len()), (1, 3));
    assert!(called.iter().all(|call| Value::Object(call.arguments.clone()) == shown["arguments"]));
}

#[tokio::test]
async fn call_that_nobody_approves_is_denied_and_not_made() {
    let house = House::open_with(with(asking("test.echo")));
    let events = run_with(&house, CALLS, [json!({"approved": false, "comment": "no"})]).await;
    assert_eq!(events.outputs(), json!({"call": "ann denied it: no"}));
    assert_eq!((events.count("ToolCalled"), house.probe.calls().len()), (0, 0));
}

#[tokio::test]
async fn document_and_policy_ask_one_question_together_and_none_about_what_is_denied() {
    let asks = CALLS.replace("    retry:", "    approve: \"Go?\"\n    retry:");
    let house = House::open_with(with(asking("test.echo")));
    let events = run_with(&house, &asks, [json!(true)]).await;
    let questions: Vec<InputRequested> = events.all();
    assert_eq!(questions.len(), 1);
    assert_eq!(questions[0].question, "Go? (the policy wants approval too: rule 'look at it')");
    assert_eq!(events.outputs(), json!({"call": 1}));

    let house = House::open_with(with(denying("test.echo")));
    let events = house.run(&asks).await;
    assert_eq!((events.count("InputRequested"), denied(&events).len()), (0, 1));
}

#[tokio::test]
async fn retry_that_would_need_another_approval_is_denied() {
    let rule =
        Rule { with: vec![("value".into(), vec![Pattern::text("2").unwrap()])], ..about("two", "test.echo") };
    let house = House::open_with(with(Policy { approve: vec![rule], ..Policy::default() }));
    let document = CALLS.replace("value: \"${attempt}\"", "value: \"${attempt}\", fail: again");
    let events = house.run(&document).await;
    assert_eq!((events.count("InputRequested"), house.probe.calls().len()), (0, 1));
    let codes: Vec<String> = events
        .all::<ToolCompleted>()
        .into_iter()
        .filter_map(|end| end.error)
        .map(|error| error.code)
        .collect();
    assert_eq!(codes, ["again", "denied"]);
}

#[tokio::test]
async fn question_of_the_policy_is_still_the_same_one_after_a_restart() {
    let store = MemoryStore::new(LogId::from_random(11));
    let first = House::with(store.clone(), with(asking("test.echo")));
    let root = first.start(CALLS).await;
    let (_, question) = Asked::of(&first, &root).await.next().await;
    first.engine.suspend().await;
    first.bus.shutdown().await;
    let second = House::with(store, with(asking("test.echo")));
    assert_eq!(second.engine.recover().await.unwrap().resumed, 1);
    answer(&second, &root, &question, json!(true)).await;
    let events = second.tree(&root).await;
    assert_eq!(events.outputs(), json!({"call": 1}));
    assert_eq!((events.count("InputRequested"), events.count("ToolCalled")), (1, 1));
}

#[tokio::test]
async fn document_from_the_network_is_one_after_a_restart_too() {
    let mut policy = Policy::default();
    policy.received.allow = vec![about("gate", "test.gate")];
    let store = MemoryStore::new(LogId::from_random(12));
    let first = House::with(store.clone(), with(policy.clone()));
    let held = r#"{ plan: held, goal: g, steps: {
        a: { tool: test.gate, idempotent: true },
        b: { after: [a], plan: { plan: below, goal: g, steps: { c: { tool: test.echo, with: { value: 1 } } } } } } }"#;
    let root = receive(&first, held).await;
    first.probe.until_running(1).await;
    first.engine.suspend().await;
    first.bus.shutdown().await;
    let second = House::with(store, with(policy));
    let recovered: Recovered = second.engine.recover().await.unwrap();
    assert_eq!(recovered.resumed, 1);
    second.probe.gate.add_permits(1);
    let events = second.tree(&root).await;
    assert_eq!(denied(&events), ["denied"]);
    assert_eq!(events.failed().error.code, "denied");
    assert!(second.probe.calls().iter().all(|call| call.get("value").is_none()));
}

#[tokio::test]
async fn redirect_to_a_denied_host_is_not_followed() {
    let inner = Peer::plain(|_| response("200 OK", &[], "secret")).await;
    let port = inner.address.port();
    let outer = Peer::plain(move |_| {
        response("302 Found", &[&format!("location: http://127.0.0.1:{port}/admin")], "")
    })
    .await;
    let host = |address: &str| vec![HostPattern::parse(address).unwrap()];
    let call = format!(
        "{{ plan: p, goal: g, steps: {{ a: {{ tool: http, with: {{ url: 'http://{}/', follow_redirects: 3 }} }} }} }}",
        outer.address
    );
    let deny = Policy {
        deny: vec![Rule { hosts: host(&format!("127.0.0.1:{port}")), ..Rule::named("inside") }],
        ..Policy::default()
    };
    let mut allow = Policy::default();
    allow.own.otherwise = planwire_engine::policy::Otherwise::Deny;
    allow.own.allow = vec![Rule { hosts: host(&outer.address.to_string()), ..Rule::named("outside") }];
    for policy in [deny, allow] {
        let house = House::open_with(|config| EngineConfig {
            tools: config.tools.with(Arc::new(local())),
            policy,
            ..config
        });
        assert_eq!(denied(&house.run(&call).await), ["denied"]);
    }
    assert_eq!((outer.requests().len(), inner.requests().len()), (2, 0));
    let house =
        House::open_with(|config| EngineConfig { tools: config.tools.with(Arc::new(local())), ..config });
    house.run(&call).await.outputs();
    assert_eq!(inner.requests().len(), 1);
}
