//! Trees that want more than they may use, whose process is killed again and again: no restart gives a budget twice.
//!
//! Each run of a tool leaves a line, so what was spent is known without the log.

use std::path::Path;

use serde_json::{Value, json};

use super::recovery::kill_within;
use super::survivor::{check_ends, events_to_the_end};
use crate::faults::chance::{Chance, count};
use crate::faults::row::Row;
use crate::harness::Place;

/// Ten subplans that want 30 calls together, of 30 tokens and 0.03 each. The first call of each may be repeated.
const DOCUMENT: &str = r#"
plan: spend
goal: Spend too much
inputs: { folder: { type: path } }
limits: { parallel: 16, LIMIT }
steps:
  each:
    for_each: "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
    parallel: 10
    with: { folder: "${inputs.folder}" }
    plan:
      plan: child
      goal: Spend
      inputs: { folder: { type: path } }
      steps:
        first: { CALL, idempotent: true, RECOVERED }
        second: { after: [first], CALL, RECOVERED }
        third: { after: [second], CALL, RECOVERED }
    on_error:
      decide: Without it?
      options: { without: { description: one less, output: {} }, stop: { description: not without it, fail: true } }
      choose: "'without'"
"#;

const CALL: &str = r#"tool: exec, with: { argv: [sh, -c, "echo >> spent"], cwd: "${inputs.folder}" }, reserve: { tokens: 40, cost: 0.04 }, usage: { input_tokens: 30, cost: 0.03, currency: USD }"#;

/// What a process that is gone has begun counts, and the plan goes on.
const RECOVERED: &str = r#"on_error: { decide: Is it known whether it ran?, options: { unknown: { description: it counts all the same, output: {} }, stop: { description: another failure, fail: true } }, choose: "error.code == 'interrupted' ? 'unknown' : 'stop'" }"#;

/// Latest instant of a kill after the start of the server, in microseconds: a tree that nobody disturbs takes as long.
const KILL_US_MAX: u64 = 600_000;

/// A limit of a tree.
struct Limit {
    /// Of the document, and of what its end says it used.
    name: &'static str,
    written: &'static str,
    /// Per unit of the limit, so that all are whole numbers.
    scale: f64,
    /// What one run of the tool spends.
    of_a_run: u64,
    max: u64,
}

const LIMITS: [Limit; 3] = [
    Limit { name: "tool_calls", written: "tool_calls: 20", scale: 1.0, of_a_run: 1, max: 20 },
    Limit { name: "tokens", written: "tokens: 600", scale: 1.0, of_a_run: 30, max: 600 },
    Limit { name: "cost", written: "cost: 0.6", scale: 1_000.0, of_a_run: 30, max: 600 },
];

impl Limit {
    fn document(&self) -> String {
        DOCUMENT.replace("LIMIT", self.written).replace("CALL", CALL).replace("RECOVERED", RECOVERED)
    }

    /// What the runs of the tool have spent.
    fn spent(&self, folder: &Path) -> u64 {
        let runs = std::fs::read_to_string(folder.join("spent")).unwrap_or_default().lines().count();
        let spent = runs as u64 * self.of_a_run;
        assert!(spent <= self.max, "{spent} of {} {} spent", self.max, self.name);
        spent
    }

    /// The tree ended for the limit, each plan once, and counted no less than was spent.
    fn check(&self, events: &[Value], folder: &Path) -> u64 {
        check_ends(events);
        let ends: Vec<_> = events
            .iter()
            .filter(|event| event["parent_plan_id"].is_null() && event["event_type"] == "PlanFailed")
            .map(|event| &event["payload"])
            .collect();
        let [end] = ends[..] else { panic!("one end of the root: {ends:?}") };
        assert_eq!((&end["reason"], &end["limit"]["limit"]), (&json!("limit_exceeded"), &json!(self.name)));
        let used = end["usage"][self.name].as_f64().expect("a number") * self.scale;
        let (spent, max) = (self.spent(folder), self.max);
        assert!(
            used.round() <= max as f64 && used.round() >= spent as f64,
            "{spent} spent, {used} of {max} used"
        );
        spent
    }
}

#[test]
fn soak_killed_again_and_again_a_tree_never_spends_more_than_it_may() {
    let kills = count(12, 200);
    let mut chance = Chance::of(47);
    let (mut done, mut trees, mut least) = (0, 0, u64::MAX);
    for limit in LIMITS.iter().cycle() {
        if done >= kills && trees >= LIMITS.len() {
            break;
        }
        let (killed, spent) = kill_until_it_ends(limit, &mut chance, kills / LIMITS.len() as u64);
        (done, trees, least) = (done + killed, trees + 1, least.min(100 * spent / limit.max));
    }
    Row::new("`kill -9` of a tree with a budget", format!("{done} kills of {trees} trees"))
        .figure(format!(
            "spent beyond a limit 0, ends more than once 0; spent at least {least} % of what was allowed"
        ))
        .check();
}

/// Runs one tree through at most `kills` servers that are killed; says how many were, and what was spent.
fn kill_until_it_ends(limit: &Limit, chance: &mut Chance, kills: u64) -> (u64, u64) {
    let place = Place::new();
    let folder = place.folder("traces");
    let server = place.serve_documents();
    let body = json!({"text": limit.document(), "name": "spend.yaml", "inputs": {"folder": folder}});
    let started = server.http.post("/v1/plans", &body);
    assert!(started.status < 300, "{started:?}");
    let mut server = Some(server);
    let mut killed = 0;
    while killed < kills {
        kill_within(KILL_US_MAX, &place, server.take(), chance);
        killed += 1;
        limit.spent(&folder);
        let events = place.run(&["events", "--json"]).json(0);
        if events.iter().any(|event| event["parent_plan_id"].is_null() && event["event_type"] == "PlanFailed")
        {
            break;
        }
    }
    let last = place.serve(&[]);
    let events = events_to_the_end(&last);
    assert_eq!(last.stop().code(), Some(0));
    (killed, limit.check(&events, &folder))
}
