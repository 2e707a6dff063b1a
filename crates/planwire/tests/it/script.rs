//! Events of made-up plans, written by hand as a file that can be imported.

use serde_json::Value;

use crate::awkward;
use crate::random::Random;

/// Events of one plan and its subplan.
const PLAN_EVENTS: usize = 20;

/// The first `count` events of a script: plans with subplans, tool calls and payloads of all kinds, one event in each
/// line, each with an id.
pub(crate) fn script(count: usize) -> String {
    let mut script = Script { lines: String::new(), events: 0, random: Random(7) };
    for plan in 0..count.div_ceil(PLAN_EVENTS) {
        script.plan(plan);
    }
    let lines: Vec<&str> = script.lines.lines().take(count).collect();
    lines.join("\n") + "\n"
}

struct Script {
    lines: String,
    events: u64,
    random: Random,
}

impl Script {
    fn plan(&mut self, number: usize) {
        let (plan, child) = (format!("plan-{number}"), format!("child-{number}"));
        self.put(&plan, "PlanStarted", r#"{"name":"made up","executor_id":"somebody"}"#);
        self.put(&plan, "SubplanSpawned", &format!(r#"{{"child_plan_id":"{child}"}}"#));
        self.put(&child, "PlanStarted", &format!(r#"{{"name":"below","parent_plan_id":"{plan}"}}"#));
        for call in 0..3 {
            self.put(&child, "ToolCalled", &format!(r#"{{"call_id":"c{call}","tool":"file.list"}}"#));
            self.put(
                &child,
                "ToolCompleted",
                &format!(r#"{{"call_id":"c{call}","tool":"file.list","ok":true}}"#),
            );
        }
        for _ in 0..8 {
            let payload = awkward::payload(&mut self.random);
            self.put(&plan, "acme.odd", &payload);
        }
        self.put(&child, "PlanCompleted", "{}");
        self.put(&plan, "SubplanCompleted", &format!(r#"{{"child_plan_id":"{child}","ok":true}}"#));
        self.put(&plan, "PlanCompleted", r#"{"outputs":{"n":1.0}}"#);
    }

    fn put(&mut self, plan: &str, kind: &str, payload: &str) {
        self.events += 1;
        let (id, micros) = (self.events, self.events % 1_000_000);
        self.lines.push_str(&format!(
            "{{\"event_id\":\"{id:026}\",\"event_type\":\"{kind}\",\"plan_id\":\"{plan}\",\
             \"timestamp\":\"2026-11-22T14:20:01.{micros:06}Z\",\"payload\":{payload}}}\n"
        ));
    }
}

/// The five members of the events of an export, in either form.
pub(crate) fn members(export: &str) -> Vec<[Value; 5]> {
    let member = |event: &Value, names: [&str; 2]| names.iter().find_map(|name| event.get(*name)).cloned();
    let names = [
        ["event_id", "id"],
        ["event_type", "type"],
        ["plan_id", "subject"],
        ["timestamp", "time"],
        ["payload", "data"],
    ];
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("a line is JSON");
        let mut members = names.map(|names| member(&event, names).unwrap_or_default());
        if let Some(kind) = members[1].as_str().and_then(|kind| kind.strip_prefix("planwire.")) {
            members[1] = kind.into();
        }
        members
    };
    export.lines().map(event).collect()
}
