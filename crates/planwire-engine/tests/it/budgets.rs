//! What the plans of a tree may use together.

use std::collections::HashMap;

use planwire_event::vocabulary::{
    LimitWarned, PlanCompleted, PlanFailed, SubplanCompleted, ToolCalled, ToolCompleted, UsageSum,
};
use planwire_event::{PlanId, StoredEvent};
use serde_json::json;

use crate::house::{Events, House};
use crate::recovery::Written;

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

/// Ten children, each of which wants to use all tokens of the tree in each of its calls, with or without a reservation.
fn spenders(reserve: &str, limits: &str) -> String {
    format!(
        r#"
plan: parent
goal: Spend too much
limits: {{ parallel: 16, {limits} }}
steps:
  each:
    for_each: "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
    parallel: 10
    with: {{ n: "${{item}}" }}
    plan:
      plan: child
      goal: Spend
      inputs: {{ n: {{ type: int }} }}
      steps:
        a: {{ tool: test.echo, idempotent: true, with: {{ value: 30 }}, {reserve} usage: {{ input_tokens: "${{output}}", cost: "${{double(output) / 1000.0}}" }} }}
        b: {{ tool: test.echo, with: {{ value: "${{steps.a.output}}" }}, {reserve} usage: {{ input_tokens: "${{output - 10}}", output_tokens: 10, cost: 0.03, currency: USD }} }}
outputs: {{ n: "${{steps.each.outputs.size()}}" }}
"#
    )
}

fn billionths(cost: &str) -> u64 {
    cost.parse::<planwire_event::Cost>().unwrap().billionths()
}

#[tokio::test]
async fn ten_children_never_use_more_tokens_and_money_than_their_tree_may() {
    for (reserve, limits, warnings) in [
        ("reserve: { tokens: 40, cost: 0.04 },", "tokens: 200", 1),
        ("reserve: { tokens: 40 },", "tokens: 10000, cost: 0.21", 1),
        ("", "tokens: 210", 1),
        ("", "cost: '0.21'", 1),
        ("reserve: { tokens: 200, cost: 0.2 },", "tokens: 200, cost: 0.2, parallel_calls: 3", 0),
    ] {
        let house = House::open();
        let events = house.run(&spenders(reserve, limits)).await;
        let (_, tokens, cost) = most_at_once(&events.0, events.root());
        let is_over = |limit: &str, used: u64, max: u64| limits.contains(limit) && used > max;
        assert!(!is_over("tokens: 2", tokens, 210), "{tokens} with {limits}");
        assert!(!is_over("cost", cost, billionths("0.21")), "{cost} with {limits}");
        assert!(tokens > 100, "{tokens} with {limits}");
        let failed = events.failed();
        assert_eq!(failed.reason.as_str(), "limit_exceeded", "{limits}");
        let limit = failed.limit.unwrap();
        assert_eq!(limit.plan_id, *events.root());
        assert!(limits.contains(limit.limit.as_str()), "{limit:?}");
        assert_eq!(warned(&events).len(), warnings, "{limits}");
    }
}

#[tokio::test]
async fn budget_that_suffices_is_used_to_the_last_token() {
    let house = House::open();
    let events = house.run(&spenders("reserve: { tokens: 30 },", "tokens: 600, cost: 0.6")).await;
    assert_eq!(events.outputs(), json!({"n": 10}));
    let completed = events.all::<PlanCompleted>().pop().unwrap();
    let usage = completed.usage.unwrap();
    assert_eq!(
        (usage.tool_calls, usage.tokens, usage.input_tokens, usage.output_tokens),
        (20, 600, 500, 100)
    );
    assert_eq!((usage.cost.to_string().as_str(), usage.currency.as_deref()), ("0.6", None));
    let (calls, tokens, cost) = most_at_once(&events.0, events.root());
    assert!(calls == 20 && tokens <= 600 && cost <= billionths("0.6"), "{calls} {tokens} {cost}");
    assert_eq!(usage, most_used(&events), "as the fold over the tree has it");
}

/// What the fold over the tree says that the root and all below it used.
fn most_used(events: &Events) -> UsageSum {
    let mut tree = planwire_event::TreeState::new();
    events.0.iter().for_each(|event| tree.apply(event));
    let total = tree.plan(events.root()).unwrap().usage.total.clone();
    let root = events.0.iter().filter(|event| event.plan_id() == events.root());
    let alone = planwire_event::PlanState::fold(root).unwrap().usage.total;
    assert_eq!(total, alone, "whether the subplans are read or only heard of");
    assert_eq!(total, tree.totals().usage);
    total
}

#[tokio::test]
async fn calls_of_a_tree_and_subplans_run_as_far_side_by_side_as_they_may() {
    let house = House::open();
    let document = r#"
plan: parent
goal: Not all at once
limits: { parallel: 16, parallel_calls: 3, parallel_plans: 4 }
steps:
  each:
    for_each: "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
    parallel: 10
    plan:
      plan: child
      goal: Nest
      steps:
        below: { plan: { plan: leaf, goal: g, steps: { a: { tool: test.echo }, b: { tool: test.echo } } } }
        again: { after: [below], plan: { plan: leaf, goal: g, steps: { a: { tool: test.echo }, b: { tool: test.echo } } } }
"#;
    let events = house.run(document).await;
    events.outputs();
    let (mut calls, mut most_calls, mut most_leaves) = (0_usize, 0, 0);
    let mut open: HashMap<&PlanId, Option<&PlanId>> = HashMap::new();
    for event in &events.0 {
        match event.event.event_type().as_str() {
            "ToolCalled" => calls += 1,
            "ToolCompleted" => calls -= 1,
            "PlanStarted" => drop(open.insert(event.plan_id(), event.parent_plan_id.as_ref())),
            "PlanCompleted" => drop(open.remove(event.plan_id())),
            _ => {}
        }
        let parents: Vec<_> = open.values().flatten().collect();
        let leaves = open.keys().filter(|plan| !parents.contains(plan) && **plan != events.root()).count();
        (most_calls, most_leaves) = (most_calls.max(calls), most_leaves.max(leaves));
    }
    assert_eq!(most_calls, 3);
    assert_eq!(most_leaves, 4);
}

#[tokio::test]
async fn what_nobody_knows_counts_as_what_was_reserved() {
    let house = House::open();
    let document = r#"
plan: unknown
goal: Not say what was used
limits: { tokens: 100 }
steps:
  untold: { tool: test.echo, reserve: { tokens: 10 } }
  unreadable: { after: [untold], tool: test.echo, with: { value: text }, reserve: { tokens: 20 }, usage: { input_tokens: "${output}" } }
  late:
    after: [unreadable]
    tool: test.deaf
    timeout: 10ms
    reserve: { tokens: "${10 + 20 * attempt}" }
    on_error: { decide: "?", options: { on: { description: d, output: 1 }, off: { description: d, fail: true } }, choose: "'on'" }
  failed:
    after: [late]
    tool: test.echo
    with: { fail: again }
    reserve: { tokens: 40 }
    on_error: { decide: "?", options: { on: { description: d, output: 1 }, off: { description: d, fail: true } }, choose: "'on'" }
  last: { after: [failed], tool: test.echo, with: { value: 40 }, usage: { total_tokens: "${output}" } }
"#;
    let events = house.run(document).await;
    events.outputs();
    let ended: Vec<ToolCompleted> = events.all();
    let said = |ended: &ToolCompleted| ended.usage.as_ref().map(|usage| (usage.tokens(), usage.estimated));
    let expected = [Some((10, true)), Some((20, true)), Some((30, true)), None, Some((40, false))];
    assert_eq!(ended.iter().map(said).collect::<Vec<_>>(), expected);
    let problem = &ended[1].usage.as_ref().unwrap().more["problem"];
    assert!(problem.as_str().unwrap().contains("input_tokens: \"text\" is no whole number"), "{problem}");
    let reserved: Vec<_> =
        events.all::<ToolCalled>().iter().map(|call| call.reserved.unwrap().tokens).collect();
    assert_eq!(reserved, [10, 20, 30, 40, 40].map(Some), "what reserves nothing takes what is left");
}

#[tokio::test]
async fn call_that_uses_more_than_it_reserved_counts_as_it_is_and_nothing_more_begins() {
    let house = House::open();
    let document = r#"
plan: liar
goal: Use more than it says
limits: { tokens: 100 }
steps:
  a: { tool: test.echo, with: { value: 150 }, reserve: { tokens: 10 }, usage: { total_tokens: "${output}" } }
  free: { after: [a], tool: test.echo }
  b: { after: [free], tool: test.echo, reserve: { tokens: 1 } }
"#;
    let events = house.run(document).await;
    let failed = events.failed();
    assert_eq!(failed.error.step.as_deref(), Some("b"), "a call that uses none may still begin");
    let limit = failed.limit.unwrap();
    assert_eq!((limit.used, limit.max), (150.into(), 100.into()));
    assert_eq!(events.count("ToolCalled"), 2);
    assert_eq!(warned(&events).len(), 1);
}

/// Goes on from each place at which a run of ten spenders can be cut off.
#[tokio::test]
async fn plans_that_go_on_after_a_crash_never_get_a_budget_twice() {
    let run = House::open();
    let whole = run.run(&spenders("reserve: { tokens: 40 },", "tokens: 200, cost: 0.5")).await;
    let written = Written::of(&run, &whole).await;
    let mut refused = 0;
    for length in 1..written.events.len() {
        let next = House::with(written.cut(length).await, |config| config);
        next.engine.recover().await.unwrap();
        let events = next.tree(whole.root()).await;
        let (_, tokens, cost) = most_at_once(&events.0, events.root());
        assert!(tokens <= 200, "{tokens} after {length} events");
        assert!(cost <= billionths("0.5"), "{cost} after {length} events");
        let of_root = |event: &&StoredEvent| event.plan_id() == events.root();
        let warnings =
            events.0.iter().filter(of_root).filter(|event| event.event.read::<LimitWarned>().is_some());
        assert!(warnings.count() <= 2, "after {length} events");
        let failed = events.failed();
        // A call that was in flight and may not run twice fails its plan; whatever else happens, it is for the limit.
        assert!(["limit_exceeded", "interrupted"].contains(&failed.error.code.as_str()), "{failed:?}");
        refused += usize::from(failed.limit.is_some());
        assert_eq!(failed.limit.is_some(), failed.reason.as_str() == "limit_exceeded");
        assert_eq!(failed.usage.unwrap(), most_used(&events), "after {length} events");
    }
    assert!(refused > 10, "{refused}");
}

#[tokio::test]
async fn refusal_that_reached_only_the_subplans_ends_the_plan_whose_limit_it_is() {
    let run = House::open();
    let whole = run.run(TEN_CHILDREN).await;
    let written = Written::of(&run, &whole).await;
    let says = |event: &StoredEvent| event.event.read::<PlanFailed>().is_some_and(|end| end.limit.is_some());
    let first = whole.0.iter().position(says).unwrap();
    assert_ne!(whole.0[first].plan_id(), whole.root());
    for length in first + 1..whole.0.len() {
        let next = House::with(written.cut(length).await, |config| config);
        next.engine.recover().await.unwrap();
        let events = next.tree(whole.root()).await;
        assert_eq!(events.failed().limit.unwrap().limit, "tool_calls", "after {length} events");
        assert_eq!(events.count("LimitWarned"), 1, "after {length} events");
        assert_eq!(events.count("ToolCalled"), 25, "after {length} events");
    }
}

#[tokio::test]
async fn idempotent_call_that_was_in_flight_runs_again_on_a_reservation_of_its_own() {
    let document = |tokens: u32| {
        format!(
            r#"
plan: again
goal: Ask once more
limits: {{ tokens: {tokens} }}
steps:
  a: {{ tool: test.echo, idempotent: true, with: {{ value: 5 }}, reserve: {{ tokens: 60 }}, usage: {{ total_tokens: "${{output}}" }} }}
outputs: {{ said: "${{steps.a.output}}" }}
"#
        )
    };
    for (tokens, is_enough) in [(120, true), (100, false)] {
        let run = House::open();
        let whole = run.run(&document(tokens)).await;
        let written = Written::of(&run, &whole).await;
        let called = whole.types().iter().position(|name| *name == "ToolCalled").unwrap();
        let next = House::with(written.cut(called + 1).await, |config| config);
        next.engine.recover().await.unwrap();
        let events = next.tree(whole.root()).await;
        assert_eq!(events.end().is_ok(), is_enough, "{:?}", events.end());
        let ended: Vec<ToolCompleted> = events.all();
        let first = &ended[0];
        assert_eq!(first.error.as_ref().unwrap().code, "interrupted");
        assert_eq!(first.usage.as_ref().map(|usage| (usage.tokens(), usage.estimated)), Some((60, true)));
        assert_eq!((ended.len(), next.probe.calls().len()), if is_enough { (2, 1) } else { (1, 0) });
    }
}

#[tokio::test]
async fn tool_may_say_what_it_used_also_when_it_failed() {
    let house = House::open();
    let document = r#"
plan: told
goal: Hear from the tool
limits: { tokens: 100 }
steps:
  ok: { tool: test.meter, with: { value: 30 } }
  failed:
    after: [ok]
    tool: test.meter
    with: { value: 25, fail: busy }
    on_error: { decide: "?", options: { on: { description: d, output: 1 }, off: { description: d, fail: true } }, choose: "'on'" }
"#;
    let events = house.run(document).await;
    events.outputs();
    assert_eq!(most_used(&events).tokens, 55);
    let reserved: Vec<_> =
        events.all::<ToolCalled>().iter().map(|call| call.reserved.unwrap().tokens).collect();
    assert_eq!(reserved, [Some(100), Some(70)]);
}
