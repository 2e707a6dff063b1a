//! Whatever is published in whatever order: what the lifecycle accepts keeps the promises of the log.

use std::collections::{HashMap, HashSet};

use planwire_event::state::{PlanState, StepState, TreeState};
use planwire_event::{PlanId, StoredEvent};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixture::Log;

/// Few plans, calls and producers, so that random events meet each other.
fn any_event() -> impl Strategy<Value = (&'static str, String, &'static str, Value)> {
    let producer = prop_oneof![9 => Just("exec1"), 1 => Just("http:me")];
    let plan = prop_oneof![1 => Just(0u8), 2 => 0..9u8].prop_map(|number| format!("p{number}"));
    let call = (0..3u8).prop_map(|number| format!("c{number}"));
    let (child, asker) = (plan.clone(), plan.clone());
    let request = (0..3u8).prop_map(|number| format!("q{number}"));
    let failed = json!({"reason": "error", "error": {"code": "c", "message": "m"}});
    let body = prop_oneof![
        1 => any::<bool>().prop_map(|owned| {
            ("PlanStarted", json!({"name": "n", "executor_id": owned.then_some("exec1")}))
        }),
        2 => child.clone().prop_map(|parent| ("PlanStarted", json!({"name": "n", "parent_plan_id": parent}))),
        1 => Just(("PlanCompleted", json!({}))),
        1 => Just(("PlanFailed", failed)),
        3 => (call.clone(), 0..3u32, 0..2u8).prop_map(|(call, attempt, step)| {
            ("ToolCalled", json!({"call_id": call, "tool": "t", "attempt": attempt, "step": format!("s{step}")}))
        }),
        3 => (call, any::<bool>()).prop_map(|(call, ok)| ("ToolCompleted", json!({"call_id": call, "ok": ok}))),
        9 => child.clone().prop_map(|child| ("SubplanSpawned", json!({"child_plan_id": child, "step": "s9"}))),
        3 => (child, any::<bool>())
            .prop_map(|(child, ok)| ("SubplanCompleted", json!({"child_plan_id": child, "ok": ok}))),
        3 => (request.clone(), proptest::option::weighted(0.3, asker), 0..2u8).prop_map(|(request, asks, step)| {
            let kind = if step == 0 { "auth" } else { "input" };
            let step = format!("q{step}");
            ("InputRequested", json!({"request_id": request, "kind": kind, "question": "?", "for_plan_id": asks, "step": step}))
        }),
        3 => (request, prop_oneof![4 => Just("answered"), 1 => Just("expired")]).prop_map(|(request, outcome)| {
            ("InputReceived", json!({"request_id": request, "outcome": outcome, "answered_by": "me"}))
        }),
        1 => Just(("acme.hit", json!({}))),
    ];
    (producer, plan, body)
        .prop_map(|(producer, plan, (event_type, payload))| (producer, plan, event_type, payload))
}

/// What a child's life needs next: its start, its end, the report of it. Chance alone rarely gets there.
fn next_of_a_child(log: &Log, pick: usize) -> Option<(String, &'static str, Value)> {
    let mut parents: Vec<_> = log.plans.values().filter(|plan| plan.status().is_open()).collect();
    parents.sort_by_key(|plan| plan.plan_id().clone());
    let announced = parents.iter().flat_map(|parent| {
        let mut children: Vec<_> = parent.announced_children().map(|child| (*parent, child)).collect();
        children.sort_by_key(|(_, child)| (*child).clone());
        children
    });
    let announced: Vec<_> = announced.collect();
    let (parent, child) = announced.get(pick.checked_rem(announced.len())?)?;
    let (parent, child) = (parent.plan_id().to_string(), child.to_string());
    Some(match log.plans.get(&child.parse().unwrap()).map(|plan| plan.status().is_open()) {
        None => (child, "PlanStarted", json!({"name": "n", "parent_plan_id": parent})),
        Some(true) if pick & 192 == 0 => {
            let grandchild = format!("q{}", log.events.len());
            (child, "SubplanSpawned", json!({"child_plan_id": grandchild, "step": "s8"}))
        }
        Some(true) => (child, "PlanCompleted", json!({})),
        Some(false) => (parent, "SubplanCompleted", json!({"child_plan_id": child, "ok": true})),
    })
}

/// What an auditor knows of a plan who has only read the events.
#[derive(Default)]
struct Audited {
    events: u64,
    ended: bool,
    calls: HashSet<String>,
    children: HashSet<String>,
    questions: HashSet<String>,
}

fn text(event: &StoredEvent, member: &str) -> String {
    event.event.payload().to_value()[member].as_str().unwrap_or_default().to_owned()
}

fn audit(events: &[StoredEvent]) {
    let mut plans: HashMap<PlanId, Audited> = HashMap::new();
    for event in events {
        let kind = event.event.event_type().as_str();
        if let Some(parent) = event.parent_plan_id.as_ref().filter(|_| kind == "PlanStarted") {
            let parent = &plans[parent];
            assert!(!parent.ended && parent.children.contains(event.plan_id().as_str()));
        }
        if kind == "SubplanCompleted" {
            let child: PlanId = text(event, "child_plan_id").parse().unwrap();
            assert!(plans[&child].ended, "a child's end is reported only after it");
        }
        let plan = plans.entry(event.plan_id().clone()).or_default();
        assert_eq!(plan.events == 0, kind == "PlanStarted", "one start, and it comes first");
        assert!(!plan.ended, "nothing follows the terminal event");
        plan.events += 1;
        assert_eq!(event.seq.get(), plan.events, "seq has no gap");
        match kind {
            "PlanCompleted" | "PlanFailed" => plan.ended = true,
            "ToolCalled" => assert!(plan.calls.insert(text(event, "call_id"))),
            "ToolCompleted" => assert!(plan.calls.remove(&text(event, "call_id"))),
            "InputRequested" => assert!(plan.questions.insert(text(event, "request_id"))),
            "InputReceived" => assert!(plan.questions.remove(&text(event, "request_id"))),
            "SubplanSpawned" => assert!(plan.children.insert(text(event, "child_plan_id"))),
            "SubplanCompleted" => assert!(plan.children.remove(&text(event, "child_plan_id"))),
            _ => {}
        }
    }
}

/// The folds take whatever was accepted, and agree with each other and with the lifecycle.
fn fold(log: &Log) {
    let mut tree = TreeState::new();
    log.events.iter().for_each(|event| tree.apply(event));
    assert_eq!(tree.totals().events, log.events.len() as u64);
    assert_eq!(tree.plans().len(), log.plans.len());
    assert_eq!(tree.depth_first().len(), log.plans.len(), "each plan is below one root");
    for (plan_id, lifecycle) in &log.plans {
        let state = PlanState::fold(log.of(plan_id.as_str())).expect("each plan begins with its start");
        assert_eq!(state.status, lifecycle.status());
        assert_eq!(state.last_seq, lifecycle.seq());
        assert_eq!(state.counts.events, lifecycle.seq().get());
        let summary = tree.plan(plan_id).expect("each plan is in the tree");
        assert_eq!((summary.status, summary.counts), (state.status, state.counts));
        assert_eq!(summary.steps, state.steps);
        for step in &state.steps {
            let running = step.items.open > 0 && !state.is_ended();
            assert_eq!(step.state == StepState::Running, running, "{step:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn accepted_sequences_keep_the_promises_of_the_log(
        events in proptest::collection::vec((any_event(), proptest::option::of(any::<usize>())), 1..200),
    ) {
        let mut log = Log::default();
        let mut refused = 0;
        for ((producer, plan, event_type, payload), pick) in events {
            let next = pick.and_then(|pick| next_of_a_child(&log, pick));
            let (plan, event_type, payload) = next.unwrap_or((plan, event_type, payload));
            refused += u64::from(log.publish(producer, &plan, event_type, payload).is_err());
        }
        prop_assert!(refused + log.events.len() as u64 > 0);
        audit(&log.events);
        fold(&log);
    }
}
