//! What the plans of a tree may use together.

use std::collections::HashMap;

use planwire_event::vocabulary::{
    LimitWarned, PlanCompleted, PlanFailed, SubplanCompleted, ToolCalled, ToolCompleted, UsageSum,
};
use planwire_event::{PlanId, StoredEvent};
use serde_json::json;

use crate::house::{Events, House};

/// Ten children, each of which tries to make ten calls of a root that allows for 25 in all.
const TEN_CHILDREN: &str = r#"
plan: parent
goal: Ask for too much
limits: { parallel: 16, tool_calls: 25 }
steps:
  each:
    for_each: "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
    parallel: 10
    plan:
      plan: child
      goal: Spend it all
      steps:
        a: { tool: test.echo, with: { value: 1 } }
        b: { tool: test.echo, with: { value: "${steps.a.output}" } }
        c: { tool: test.echo, with: { value: "${steps.b.output}" } }
        d: { tool: test.echo, with: { value: "${steps.c.output}" } }
    on_error:
      decide: Without it?
      options: { without: { description: one less, output: {} }, stop: { description: not without it, fail: true } }
      choose: "'without'"
"#;

/// What a plan and all below it has used and set aside after each event, worked out of the events alone.
pub(crate) fn most_at_once(events: &[StoredEvent], plan: &PlanId) -> (u64, u64, u64) {
    let mut parents: HashMap<&PlanId, Option<&PlanId>> = HashMap::new();
    let (mut calls, mut tokens, mut billionths) = (0, 0, 0);
    let mut open: HashMap<(&PlanId, String), (u64, u64)> = HashMap::new();
    let mut most = (0, 0, 0);
    for event in events {
        let own = event.plan_id();
        parents.entry(own).or_insert(event.parent_plan_id.as_ref());
        let mut above = Some(own);
        while let Some(next) = above.filter(|next| *next != plan) {
            above = parents.get(next).copied().flatten();
        }
        if above.is_none() {
            continue;
        }
        if let Some(called) = event.event.read::<ToolCalled>() {
            let reserved = called.reserved.unwrap_or_default();
            let cost = reserved.cost.unwrap_or_default().billionths();
            open.insert((own, called.call_id), (reserved.tokens.unwrap_or(0), cost));
            calls += 1;
        } else if let Some(ended) = event.event.read::<ToolCompleted>() {
            open.remove(&(own, ended.call_id));
            let sum = ended.usage.as_ref().map(UsageSum::from).unwrap_or_default();
            tokens += sum.tokens;
            billionths += sum.cost.billionths();
        }
        let set_aside = open.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        most = (most.0.max(calls), most.1.max(tokens + set_aside.0), most.2.max(billionths + set_aside.1));
    }
    most
}

fn warned(events: &Events) -> Vec<LimitWarned> {
    events.all()
}

fn failed_of(events: &Events, name: &str) -> Vec<PlanFailed> {
    let of = |event: &&StoredEvent| event.event.event_type().as_str() == name;
    events.0.iter().filter(of).filter_map(|event| event.event.read()).collect()
}

#[tokio::test]
async fn ten_children_never_make_more_calls_than_their_tree_may() {
    let house = House::open();
    let events = house.run(TEN_CHILDREN).await;
    assert_eq!(events.count("ToolCalled"), 25);
    assert!(house.probe.calls().len() <= 25, "what was refused never ran");
    let failed = events.failed();
    assert_eq!(
        (failed.reason.as_str(), failed.error.code.as_str(), failed.error.step.as_deref()),
        ("limit_exceeded", "limit_exceeded", Some("each"))
    );
    let limit = failed.limit.unwrap();
    assert_eq!((&limit.plan_id, limit.limit.as_str()), (events.root(), "tool_calls"));
    assert_eq!((limit.used, limit.max), (25.into(), 25.into()));
    assert!(failed.error.message.contains("25 of 25 used"), "{}", failed.error.message);
    assert_eq!(events.count("DecisionMade"), 0, "nothing recovers from a limit of its own plan");
    assert_eq!(failed_of(&events, "PlanFailed").last().unwrap().usage.as_ref().unwrap().tool_calls, 25);
}

#[tokio::test]
async fn limit_is_warned_of_once_when_most_of_it_is_used() {
    let house = House::open();
    let events = house.run(TEN_CHILDREN).await;
    let warning = LimitWarned { limit: "tool_calls".into(), used: 20.into(), max: 25.into() };
    assert_eq!(warned(&events), [warning]);
    let on = events.0.iter().find(|event| event.event.event_type().as_str() == "LimitWarned").unwrap();
    assert_eq!(on.plan_id(), events.root(), "on the plan whose limit it is");
}

#[tokio::test]
async fn limit_of_a_subplan_is_a_failure_like_others_for_its_parent() {
    let house = House::open();
    let events = house
        .run(
            r#"
plan: parent
goal: Go on without the child
steps:
  child:
    plan: { plan: child, goal: g, limits: { tool_calls: 1 }, steps: { a: { tool: test.echo }, b: { tool: test.echo, after: [a] } } }
    on_error:
      decide: Without it?
      options: { without: { description: one less, output: { code: "${error.code}" } }, stop: { description: not without it, fail: true } }
      choose: "'without'"
  last: { tool: test.echo, after: [child], with: { value: "${steps.child.outputs.code}" } }
outputs: { said: "${steps.last.output}" }
"#,
        )
        .await;
    assert_eq!(events.outputs(), json!({"said": "limit_exceeded"}));
    let child: &SubplanCompleted = &events.all()[0];
    assert_eq!(child.limit.as_ref().unwrap().plan_id, child.child_plan_id);
    assert_eq!(child.usage.as_ref().unwrap().tool_calls, 1);
    let completed: &PlanCompleted = &events.all()[0];
    assert_eq!(completed.usage.as_ref().unwrap().tool_calls, 2);
}

#[tokio::test]
async fn retries_count_as_calls() {
    let house = House::open();
    let document = r#"
plan: stubborn
goal: Try too often
limits: { tool_calls: 2 }
steps: { a: { tool: test.echo, with: { fail: again }, retry: { attempts: 5, backoff: 1ms } } }
"#;
    let events = house.run(document).await;
    assert_eq!(events.count("ToolCalled"), 2);
    assert_eq!(events.failed().limit.unwrap().limit, "tool_calls");
}
