//! A plan that must survive its processes, and what is wanted of it: the outputs of a run that nobody disturbed, one
//! end of each plan, no call that ran twice without leave, and no process that outlives them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::faults::tools::states;
use crate::harness::{Place, Server, eventually};

/// Depth 5, 12 subplans at a time at two levels. `once` may not run twice, `often` may; both leave a line each time, and
/// `once` a process in a session of its own, which would stay for long if nobody ended it.
pub(super) const DOCUMENT: &str = r#"
plan: deep
goal: Survive
inputs: { folder: { type: path } }
limits: { parallel: 14 }
steps:
  wide:
    for_each: "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]"
    parallel: 12
    with: { n: "${item}", folder: "${inputs.folder}" }
    plan:
      plan: wide
      goal: Count
      inputs: { n: { type: int }, folder: { type: path } }
      steps:
        once:
          tool: exec
          with: { argv: [sh, -c, 'echo "$0" >> once; setsid sleep 600 > /dev/null 2>&1 & printf %s "$1"', "${plan.id} once-1", "${string(inputs.n)}"], cwd: "${inputs.folder}" }
          on_error:
            decide: Is it known whether it ran?
            options: { unknown: { description: it counts all the same, output: { stdout: "${string(inputs.n)}" } }, stop: { description: another failure, fail: true } }
            choose: "error.code == 'interrupted' ? 'unknown' : 'stop'"
        odd:
          decide: Is it odd?
          options: { yes: it is, no: it is not }
          choose: "inputs.n % 2 == 1 ? 'yes' : 'no'"
        note: { when: "steps.odd.chosen == 'yes' && inputs.n < 4", artifact: { name: "odd.txt", media_type: text/plain, text: "${string(inputs.n)}" } }
      outputs: { n: "${int(steps.once.output.stdout)}" }
  fails:
    plan: { plan: fails, goal: Fail, steps: { no: { fail: "as it should" } } }
    on_error:
      decide: Does it matter?
      options: { on: { description: it does not, output: {} }, stop: { description: it does, fail: true } }
      choose: "'on'"
  one:
    with: { folder: "${inputs.folder}" }
    plan:
      plan: one
      goal: Go down
      inputs: { folder: { type: path } }
      steps:
        two:
          with: { folder: "${inputs.folder}" }
          plan:
            plan: two
            goal: Go down
            inputs: { folder: { type: path } }
            steps:
              three:
                with: { folder: "${inputs.folder}" }
                plan:
                  plan: three
                  goal: Spread
                  inputs: { folder: { type: path } }
                  limits: { parallel: 12 }
                  steps:
                    four:
                      for_each: "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]"
                      parallel: 12
                      with: { n: "${item}", folder: "${inputs.folder}" }
                      plan:
                        plan: four
                        goal: Go down
                        inputs: { n: { type: int }, folder: { type: path } }
                        steps:
                          five:
                            with: { n: "${inputs.n}", folder: "${inputs.folder}" }
                            plan:
                              plan: five
                              goal: Count
                              inputs: { n: { type: int }, folder: { type: path } }
                              steps:
                                often: { tool: exec, idempotent: true, with: { argv: [sh, -c, 'echo "$0" >> often; printf %s "$1"', "${plan.id} often-1", "${string(inputs.n * 10)}"], cwd: "${inputs.folder}" } }
                              outputs: { n: "${int(steps.often.output.stdout)}" }
                        outputs: { n: "${steps.five.outputs.n}" }
                  outputs: { all: "${steps.four.outputs.map(o, o.n)}" }
            outputs: { all: "${steps.three.outputs.all}" }
      outputs: { all: "${steps.two.outputs.all}" }
outputs:
  wide: "${steps.wide.outputs.map(o, o.n)}"
  deep: "${steps.one.outputs.all}"
  failed: "${steps.fails.error.message}"
artifacts:
  sum: { name: sum.json, media_type: application/json, data: "${steps.one.outputs.all}" }
"#;

/// Plans of it.
const PLANS: usize = 1 + 12 + 1 + 3 + 12 + 12;

/// Where its calls leave their traces.
pub(super) struct Traces(PathBuf);

impl Traces {
    pub(super) fn in_folder(place: &Place) -> Self {
        Self(place.folder("traces"))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// How often each call ran.
    fn runs(&self, file: &str) -> HashMap<String, usize> {
        let text = std::fs::read_to_string(self.0.join(file)).unwrap_or_default();
        text.lines().fold(HashMap::new(), |mut runs, line| {
            *runs.entry(line.to_owned()).or_default() += 1;
            runs
        })
    }
}

/// Starts it at a server.
pub(super) fn start(server: &Server, traces: &Traces) {
    let body = json!({"text": DOCUMENT, "name": "deep.yaml", "inputs": {"folder": traces.folder()}});
    let started = server.http.post("/v1/plans", &body);
    assert!(started.status < 300, "{started:?}");
}

/// All events of the log, once its one tree has ended.
pub(super) fn events_to_the_end(server: &Server) -> Vec<Value> {
    eventually("the end of the tree", || {
        let open = server.http.get("/v1/plans?state=open").json(200);
        (open["plans"] == json!([])).then_some(())
    });
    let page = server.http.get("/v1/events?limit=1000").json(200);
    assert_eq!(page["at_head"], true);
    page["events"].as_array().expect("events").clone()
}

/// The tree ended as one that nobody disturbed, though it had `processes_gone`.
pub(super) fn check(events: &[Value], traces: &Traces, processes_gone: usize) {
    let of_type = |name: &'static str| events.iter().filter(move |event| event["event_type"] == name);
    check_ends(events);
    let root = of_type("PlanCompleted").next_back().expect("the root's end");
    let deep: Vec<_> = (1..=12).map(|n| n * 10).collect();
    let wide: Vec<_> = (1..=12).collect();
    assert_eq!(root["payload"]["outputs"], json!({"wide": wide, "deep": deep, "failed": "as it should"}));
    assert_eq!(of_type("PlanStarted").count(), PLANS);
    assert_eq!(of_type("PlanFailed").count(), 1);
    assert_eq!(of_type("ArtifactProduced").count(), 3);
    assert_eq!(of_type("ToolCalled").count(), 24, "no call is announced twice");
    assert_eq!(of_type("ToolCompleted").count(), 24);
    assert_eq!(of_type("PlanAdopted").count(), processes_gone);
    for (call, runs) in traces.runs("once") {
        assert_eq!(runs, 1, "{call} may not run twice");
    }
    check_left(traces.folder());
    // What is in its event ran; what may be repeated ran at most once for each process.
    let often = traces.runs("often");
    assert_eq!(often.len(), 12);
    assert!(often.values().all(|runs| *runs <= processes_gone + 1), "{often:?}");
}

/// Nothing that tools started in a folder is left.
pub(super) fn check_left(folder: &Path) {
    eventually("the end of all that tools started", || states(folder).is_empty().then_some(()));
}

/// Every plan has one terminal event, subplans before the plans that spawned them.
pub(super) fn check_ends(events: &[Value]) {
    let mut open: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for event in events {
        let plan = event["plan_id"].as_str().expect("a plan");
        match event["event_type"].as_str().expect("a type") {
            "PlanStarted" => {
                open.insert(plan, event["parent_plan_id"].as_str());
            }
            "PlanCompleted" | "PlanFailed" => {
                assert!(open.remove(plan).is_some(), "{plan} ends once");
                assert!(
                    open.values().all(|parent| *parent != Some(plan)),
                    "{plan} ends after those below it"
                );
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
