//! The fold over a tree.

use planwire_event::TreeState;
use planwire_event::state::{Detail, TREE_PLANS_MAX, TREE_SUMMARIES_MAX, TreeTotals};
use planwire_event::vocabulary::UsageSum;
use serde_json::json;

use crate::fixture::{Log, plan};

fn spawn(log: &mut Log, parent: &str, child: &str) {
    log.put(parent, "SubplanSpawned", json!({"child_plan_id": child, "name": child, "step": "s"}));
    log.put(child, "PlanStarted", json!({"name": child, "parent_plan_id": parent}));
}

fn tree(log: &Log) -> TreeState {
    let mut tree = TreeState::new();
    log.events.iter().for_each(|event| tree.apply(event));
    tree
}

/// root -> (a -> (a1, a2), b), of which b has failed and a1 has completed.
fn family() -> Log {
    let mut log = Log::default();
    log.put("root", "PlanStarted", json!({"name": "root"}));
    spawn(&mut log, "root", "a");
    spawn(&mut log, "root", "b");
    spawn(&mut log, "a", "a1");
    spawn(&mut log, "a", "a2");
    log.put("a1", "ToolCalled", json!({"call_id": "c", "tool": "t"}));
    log.put("a1", "PlanCompleted", json!({}));
    log.put("b", "PlanFailed", json!({"reason": "error", "error": {"code": "c", "message": "m"}}));
    log
}

fn names<'a>(plans: impl IntoIterator<Item = &'a planwire_event::PlanState>) -> Vec<&'a str> {
    plans.into_iter().map(|plan| plan.name.as_str()).collect()
}

#[test]
fn plans_stand_below_their_parents() {
    let tree = tree(&family());
    assert_eq!(names(tree.plans()), ["root", "a", "b", "a1", "a2"]);
    assert_eq!(names(tree.depth_first()), ["root", "a", "a1", "a2", "b"]);
    assert_eq!(names(tree.roots()), ["root"]);
    assert_eq!(names(tree.children(&plan("a"))), ["a1", "a2"]);
    assert_eq!(tree.children(&plan("a1")).len(), 0);
    assert_eq!(names(tree.open_leaves()), ["a2"]);
    assert_eq!(tree.plan(&plan("a2")).unwrap().depth, 2);
    assert_eq!(tree.plan(&plan("zz")), None);
}

#[test]
fn totals_are_of_all_plans() {
    let mut log = family();
    let expected = TreeTotals {
        plans: 5,
        open: 3,
        completed: 1,
        failed: 1,
        tool_calls: 1,
        decisions: 0,
        artifacts: 0,
        events: log.events.len() as u64,
        usage: UsageSum::of_call(),
    };
    assert_eq!(*tree(&log).totals(), expected);
    assert!(!tree(&log).is_ended());
    assert!(!TreeState::new().is_ended());
    log.put(
        "root",
        "DecisionMade",
        json!({"decision_id": "d", "decision_type": "choice", "question": "?", "options": [], "chosen": "x",
            "decided_by": "person"}),
    );
    let part = json!({"text": "t"});
    log.put(
        "root",
        "ArtifactProduced",
        json!({"artifact_id": "a", "name": "n", "media_type": "m", "part": part}),
    );
    for plan in ["a2", "a", "root"] {
        log.put(plan, "PlanCompleted", json!({}));
    }
    let tree = tree(&log);
    assert!(tree.is_ended() && tree.open_leaves().is_empty());
    assert_eq!((tree.totals().decisions, tree.totals().artifacts, tree.totals().open), (1, 1, 0));
}

#[test]
fn events_that_were_seen_change_nothing() {
    let log = family();
    let mut twice = tree(&log);
    log.events.iter().rev().for_each(|event| twice.apply(event));
    assert_eq!(twice, tree(&log));
    assert_eq!(twice.last_cursor(), Some(log.events.last().unwrap().cursor()));
}

#[test]
fn a_subtree_has_its_own_root() {
    let log = family();
    let mut subtree = TreeState::new();
    log.events
        .iter()
        .filter(|event| event.plan_id().as_str().starts_with('a'))
        .for_each(|event| subtree.apply(event));
    assert_eq!(names(subtree.roots()), ["a"]);
    let later = log.events.last().unwrap();
    subtree.apply(later);
    assert_eq!(subtree.plan(later.plan_id()), None, "a plan whose start was not seen is in the totals only");
    assert_eq!(subtree.totals().failed, 1);
}

#[test]
fn plans_beyond_the_limit_are_counted() {
    let mut log = Log::default();
    for at in 0..=TREE_PLANS_MAX {
        log.put(&format!("p{at}"), "PlanStarted", json!({"name": "n"}));
    }
    let tree = tree(&log);
    assert_eq!((tree.plans().len(), tree.totals().plans), (TREE_PLANS_MAX, TREE_PLANS_MAX as u64 + 1));
}

#[test]
fn plans_that_run_keep_their_lists_before_plans_that_have_ended() {
    let mut log = Log::default();
    let call = json!({"call_id": "c", "tool": "t", "step": "s"});
    let mut run = |name: &str, end: bool| {
        log.put(name, "PlanStarted", json!({"name": name}));
        log.put(name, "ToolCalled", call.clone());
        if end {
            log.put(name, "PlanCompleted", json!({}));
        }
    };
    (0..TREE_SUMMARIES_MAX).for_each(|at| run(&format!("ended{at}"), true));
    (0..TREE_SUMMARIES_MAX).for_each(|at| run(&format!("open{at}"), false));
    let tree = tree(&log);
    let kept = |prefix: &str| {
        let plans = tree.plans().filter(|plan| plan.name.starts_with(prefix));
        plans.filter(|plan| plan.detail() == Detail::Summary && plan.steps.len() == 1).count()
    };
    assert_eq!((kept("ended"), kept("open")), (TREE_SUMMARIES_MAX / 2, TREE_SUMMARIES_MAX / 2));
    let header = tree.plan(&plan("ended999")).unwrap();
    assert_eq!((header.steps.len(), header.counts.tool_calls), (0, 1));
    assert_eq!(tree.plan(&plan("open999")).unwrap().omitted.step_events, 1);
}

#[test]
fn json_form_lists_parents_before_children() {
    let json = serde_json::to_value(tree(&family())).unwrap();
    assert_eq!(json["totals"]["plans"], 5);
    let plans: Vec<_> = json["plans"].as_array().unwrap().iter().map(|plan| &plan["plan_id"]).collect();
    assert_eq!(plans, ["root", "a", "a1", "a2", "b"]);
    assert!(json["last_cursor"].is_string());
}
