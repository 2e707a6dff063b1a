//! Plans that run: steps, values, retries, decisions.

use planwire_event::vocabulary::{DecisionMade, PlanCompleted, PlanStarted, ToolCalled, ToolCompleted};
use serde_json::json;

use crate::house::House;

#[tokio::test]
async fn steps_run_in_the_order_of_their_references() {
    let house = House::open();
    let events = house
        .run(
            r#"
plan: sequence
goal: Hand a value on
inputs: { start: { type: int, default: 20 } }
steps:
  second: { tool: test.echo, with: { value: "${steps.first.output + 1}" } }
  first: { tool: test.echo, with: { value: "${inputs.start * 2}" } }
outputs: { result: "${steps.second.output}", text: "got ${steps.first.output} in ${plan.name}" }
"#,
        )
        .await;
    assert_eq!(events.outputs(), json!({"result": 41, "text": "got 40 in sequence"}));
    assert_eq!(
        events.types(),
        ["PlanStarted", "ToolCalled", "ToolCompleted", "ToolCalled", "ToolCompleted", "PlanCompleted"]
    );
    let started = &events.all::<PlanStarted>()[0];
    assert_eq!(started.executor_id.as_deref(), Some(house.engine.executor_id()));
    assert_eq!(started.inputs["start"], 20);
    let digest = started.document_digest.as_ref().unwrap().parse().unwrap();
    assert!(house.bus.repository().document(digest).await.unwrap().unwrap().contains("Hand a value on"));
    assert_eq!(events.all::<PlanCompleted>()[0].counts.tool_calls, 2);
}

#[tokio::test]
async fn end_of_a_call_and_the_calls_that_it_makes_ready_share_a_commit() {
    let house = House::open();
    let document = r#"
plan: fan
goal: One step makes three ready
steps:
  first: { tool: test.echo, with: { value: 1 } }
  a: { tool: test.gate, with: { value: "${steps.first.output}" } }
  b: { tool: test.gate, with: { value: "${steps.first.output}" } }
  c: { tool: test.gate, with: { value: "${steps.first.output}" } }
"#;
    let root = house.start(document).await;
    house.probe.until_running(3).await;
    let commits = house.bus.counters().commits;
    // PlanStarted; ToolCalled; ToolCompleted with three ToolCalled.
    assert_eq!((commits, house.bus.tail().position.get()), (3, 6));
    house.probe.gate.add_permits(3);
    house.tree(&root).await.outputs();
}

#[tokio::test]
async fn steps_in_parallel_never_exceed_the_limit_and_reach_it() {
    let house = House::open();
    let steps: String = (0..10).map(|at| format!("  s{at}: {{ tool: test.gate }}\n")).collect();
    let document = format!("plan: many\ngoal: g\nlimits: {{ parallel: 3 }}\nsteps:\n{steps}");
    let root = house.start(&document).await;
    for _ in 0..7 {
        house.probe.until_running(3).await;
        house.probe.gate.add_permits(1);
        tokio::task::yield_now().await;
    }
    house.probe.gate.add_permits(3);
    let events = house.tree(&root).await;
    assert_eq!(events.count("ToolCalled"), 10);
    assert_eq!(house.probe.peak(), 3);
}

#[tokio::test(start_paused = true)]
async fn retry_meets_its_second_attempt_with_other_arguments() {
    let house = House::open();
    let events = house
        .run(
            r#"
plan: again
goal: g
steps:
  list:
    tool: test.echo
    with: { fail: "${attempt == 1 ? 'limit_exceeded' : ''}", value: "${attempt}" }
    retry: { attempts: 3, backoff: 10s }
outputs: { attempt: "${steps.list.output}" }
"#,
        )
        .await;
    assert_eq!(events.outputs(), json!({"attempt": 2}));
    assert_eq!(house.probe.calls()[0]["fail"], "limit_exceeded");
    let called: Vec<_> =
        events.all::<ToolCalled>().into_iter().map(|called| (called.call_id, called.attempt)).collect();
    assert_eq!(called, [("list-1".to_owned(), 1), ("list-2".to_owned(), 2)]);
    let completed: Vec<_> = events
        .all::<ToolCompleted>()
        .into_iter()
        .map(|completed| (completed.call_id, completed.ok))
        .collect();
    assert_eq!(completed, [("list-1".to_owned(), false), ("list-2".to_owned(), true)]);
}

#[tokio::test(start_paused = true)]
async fn retry_that_succeeds_goes_on_and_one_that_is_not_wanted_is_not_made() {
    let house = House::open();
    house.write("many/a", "");
    house.write("many/b", "");
    let document = r#"
plan: again
goal: g
steps:
  list:
    tool: file.list
    with: { root: many, max_entries: "${attempt == 1 ? 1 : 10}" }
    retry: { attempts: 2, when: "error.code == 'CODE'" }
outputs: { files: "${steps.list.output.totals.files}" }
"#;
    let events = house.run(&document.replace("CODE", "limit_exceeded")).await;
    assert_eq!(events.outputs(), json!({"files": 2}));
    assert_eq!(events.count("ToolCalled"), 2);
    let events = house.run(&document.replace("CODE", "not_found")).await;
    assert_eq!(events.count("ToolCalled"), 1);
    let failed = events.failed();
    assert_eq!((failed.reason.as_str(), failed.error.code.as_str()), ("error", "limit_exceeded"));
}

const RECOVERS: &str = r#"
plan: recovers
goal: g
steps:
  read:
    tool: test.echo
    with: { fail: not_found }
    on_error:
      decide: What if it is not there?
      options:
        empty: { description: go on with nothing, output: { text: "", size: "${1 + 1}" } }
        stop: { description: no sense without it, fail: true }
      choose: "error.code == 'CODE' ? 'empty' : 'stop'"
      rationale: "it said ${error.message}"
outputs: { size: "${steps.read.output.size}", recovered: "${steps.read.recovered}", code: "${steps.read.error.code}" }
"#;

#[tokio::test]
async fn decision_recovers_from_a_failed_step() {
    let events = House::open().run(&RECOVERS.replace("CODE", "not_found")).await;
    assert_eq!(events.outputs(), json!({"size": 2, "recovered": true, "code": "not_found"}));
    let decision = &events.all::<DecisionMade>()[0];
    assert_eq!((decision.decision_type.as_str(), decision.chosen.as_str()), ("recovery", "empty"));
    assert_eq!(decision.rationale, "it said as asked");
    // The event alone says what later steps see.
    let event = events.0.iter().find(|event| event.event.read::<DecisionMade>().is_some()).unwrap();
    assert_eq!(event.event.payload().to_value()["output"], json!({"text": "", "size": 2}));
}

#[tokio::test]
async fn decision_may_let_a_failed_step_fail_the_plan() {
    let events = House::open().run(&RECOVERS.replace("CODE", "other")).await;
    assert_eq!(events.all::<DecisionMade>()[0].chosen, "stop");
    assert_eq!(events.failed().error.code, "not_found");
}

const DECIDES: &str = r#"
plan: decides
goal: g
inputs: { git: { type: bool } }
steps:
  history:
    decide: Can the history be read?
    options: { git: there is a repository, none: { description: files only } }
    choose: "inputs.git ? 'git' : 'none'"
  log: { when: "steps.history.chosen == 'git'", tool: test.echo, with: { value: read } }
  report: { tool: test.echo, with: { value: "${steps.log.skipped ? 'files' : steps.log.output}" } }
outputs: { report: "${steps.report.output}", log: "${steps.log.output}" }
"#;

#[tokio::test]
async fn decision_says_why_and_chooses_what_runs() {
    let house = House::open();
    let root = house.try_start(DECIDES, json!({"git": true})).await.unwrap();
    let events = house.tree(&root).await;
    assert_eq!(events.outputs(), json!({"report": "read", "log": "read"}));
    let root = house.try_start(DECIDES, json!({"git": false})).await.unwrap();
    let events = house.tree(&root).await;
    assert_eq!(events.outputs(), json!({"report": "files", "log": null}));
    assert_eq!(events.count("ToolCalled"), 1);
    let decision = &events.all::<DecisionMade>()[0];
    assert_eq!(decision.question, "Can the history be read?");
    assert_eq!((decision.decision_type.as_str(), decision.chosen.as_str()), ("choice", "none"));
    assert_eq!(decision.rationale, "`inputs.git ? 'git' : 'none'` gives 'none'");
    assert_eq!(decision.options.len(), 2);
    assert_eq!(decision.alternatives[0].name, "git");
    assert!(decision.alternatives[0].reason.contains("not 'git'"), "{decision:?}");
}

#[tokio::test]
async fn rule_that_names_no_option_fails_the_plan() {
    let document = DECIDES.replace("'none'\"", "'no' + 'thing'\"");
    let house = House::open();
    let root = house.try_start(&document, json!({"git": false})).await.unwrap();
    let failed = house.tree(&root).await.failed();
    assert_eq!(failed.error.code, "bad_choice");
    assert!(failed.error.message.contains("none of the options git, none"), "{failed:?}");
}

#[tokio::test]
async fn failing_step_ends_the_others_and_its_plan() {
    let house = House::open();
    let document = r#"
plan: fails
goal: g
steps:
  held: { tool: test.gate }
  also: { tool: test.echo }
  bad: { after: [also], tool: test.echo, with: { fail: broken } }
  never: { after: [bad], tool: test.echo }
"#;
    let root = house.start(document).await;
    let events = house.tree(&root).await;
    let failed = events.failed();
    assert_eq!(failed.error.code, "broken");
    assert_eq!(failed.error.step.as_deref(), Some("bad"));
    assert_eq!(events.count("ToolCalled"), 3);
    let cancelled = events.all::<ToolCompleted>().pop().unwrap();
    assert_eq!(cancelled.error.unwrap().code, "cancelled");
}

#[tokio::test]
async fn expressions_that_have_no_value_fail_their_step() {
    let house = House::open();
    for step in [
        "{ tool: test.echo, with: { value: \"${inputs.missing}\" } }",
        "{ when: \"1 / inputs.zero == 1\", tool: test.echo }",
        "{ when: \"inputs.zero\", tool: test.echo }",
        "{ tool: test.echo, with: { value: \"${1 / inputs.zero}\" } }",
        "{ for_each: \"inputs.zero\", plan: { plan: p, goal: g, steps: { a: { tool: test.echo } } } }",
    ] {
        let inputs = "{ zero: { type: int, default: 0 }, missing: { type: object, default: {} } }";
        let document = format!("plan: bad\ngoal: g\ninputs: {inputs}\nsteps:\n  bad: {step}\n")
            .replace("inputs.missing", "inputs.missing.member");
        let failed = house.run(&document).await.failed();
        assert_eq!(failed.error.code, "expression", "{failed:?}");
        assert_eq!(failed.error.step.as_deref(), Some("bad"));
    }
}

#[tokio::test]
async fn tool_that_panics_fails_its_call_and_nothing_else() {
    let events = House::open().run("plan: p\ngoal: g\nsteps: { a: { tool: test.panic } }").await;
    assert_eq!(events.failed().error.code, "failed");
}

#[tokio::test(start_paused = true)]
async fn call_that_takes_too_long_times_out_also_where_it_does_not_listen() {
    let events = House::open().run("plan: p\ngoal: g\nsteps: { a: { tool: test.deaf, timeout: 5s } }").await;
    assert_eq!(events.failed().error.code, "timed_out");
    assert_eq!(events.failed().reason.as_str(), "error");
}

#[tokio::test(start_paused = true)]
async fn plan_that_takes_too_long_ends_with_all_below_it() {
    let house = House::open();
    let document = r#"
plan: slow
goal: g
limits: { timeout: 10s }
steps:
  below: { plan: { plan: below, goal: g, steps: { wait: { tool: test.gate } } } }
"#;
    let events = house.run(document).await;
    assert_eq!(events.failed().reason.as_str(), "timed_out");
    let reasons: Vec<_> = events
        .all::<planwire_event::vocabulary::PlanFailed>()
        .into_iter()
        .map(|failed| failed.reason.as_str())
        .collect();
    assert_eq!(reasons, ["cancelled", "timed_out"]);
}

#[tokio::test]
async fn outputs_are_cut_at_their_limit_and_later_steps_see_the_cut() {
    let house = House::open();
    house.write("big.txt", &"é".repeat(50_000));
    let events = house
        .run(
            r#"
plan: big
goal: g
steps:
  make: { tool: test.echo, with: { value: "${'0123456789'.repeat}" } }
outputs: {}
"#
            .replace("\"${'0123456789'.repeat}\"", &format!("\"{}\"", "0123456789".repeat(20_000)))
            .as_str(),
        )
        .await;
    let completed = &events.all::<ToolCompleted>()[0];
    assert!(completed.truncated);
    let kept = completed.output.as_ref().unwrap().as_str().unwrap().len();
    assert!((100_000..=planwire_engine::output::TOOL_OUTPUT_BYTES_MAX).contains(&kept), "{kept}");
}

#[tokio::test]
async fn arguments_that_no_event_can_hold_fail_the_step() {
    let house = House::open();
    let document = format!(
        "plan: big\ngoal: g\nsteps:\n  make: {{ tool: test.echo, with: {{ value: \"{}\" }} }}\n",
        "0123456789".repeat(30_000)
    );
    let failed = house.run(&document).await.failed();
    assert_eq!(failed.error.code, "bad_value");
    assert!(house.probe.calls().is_empty());
}

#[tokio::test]
async fn inputs_and_documents_are_refused_with_a_reason() {
    use planwire_bus::{DocumentSource, PlanStarter as _, StartError, StartRequest};
    let house = House::open();
    let refused = house.try_start(DECIDES, json!({})).await.unwrap_err();
    assert!(matches!(&refused, StartError::Inputs { message } if message.contains("git")), "{refused}");
    let refused = house.try_start("plan: x", json!({})).await.unwrap_err();
    assert!(matches!(refused, StartError::Invalid { .. }));
    let request = StartRequest {
        document: DocumentSource::Registered("missing".into()),
        inputs: Default::default(),
        origin: planwire_event::vocabulary::Origin {
            protocol: "cli".into(),
            principal: "t".into(),
            message: None,
        },
        context_id: None,
    };
    let refused = house.engine.start(request).await.unwrap_err();
    assert_eq!(refused.to_string(), "no plan document named 'missing' is registered");
    assert_eq!(house.bus.tail().position.get(), 0);
}

#[tokio::test]
async fn timeout_of_a_program_kills_its_processes() {
    let house = House::open();
    let document = r#"
plan: p
goal: g
steps:
  run: { tool: exec, timeout: 500ms, with: { argv: [sh, -c, "sh -c 'echo $$ > pid; exec sleep 1000' & wait"] } }
"#;
    let events = house.run(document).await;
    assert_eq!(events.failed().error.code, "timed_out");
    // A machine that is too slow to begin within the timeout has nothing to kill.
    if let Ok(pid) = std::fs::read_to_string(house.folder.path().join("pid")) {
        let stat = format!("/proc/{}/stat", pid.trim());
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn plans_on_disk_are_complete_after_a_restart() {
    use std::sync::Arc;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let open = || {
        let (writer, repository) =
            planwire_store::SqliteStore::open(&path, &planwire_store::OpenOptions::default()).unwrap();
        let clock = Arc::new(planwire_event::SystemClock);
        House::over(planwire_bus::Log::open(Box::new(writer), repository, clock).unwrap(), |config| config)
    };
    let document = r#"
plan: disk
goal: g
limits: { parallel: 12 }
steps:
  items: { tool: test.echo, with: { value: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16] } }
  each:
    for_each: "steps.items.output"
    parallel: 12
    plan: { plan: one, goal: g, inputs: { n: { type: int } }, steps: { a: { tool: test.TOOL, with: { value: "${inputs.n * 2}" } } }, outputs: { n: "${steps.a.output}" } }
    with: { n: "${item}" }
outputs: { numbers: "${steps.each.outputs.map(o, o.n)}" }
"#;
    let first = open();
    let done = first.start(&document.replace("TOOL", "echo")).await;
    let numbers = first.tree(&done).await.outputs()["numbers"].clone();
    assert_eq!(numbers, json!([2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32]));
    let held = first.start(&document.replace("TOOL", "gate")).await;
    first.probe.until_running(12).await;
    first.bus.shutdown().await;
    drop(first);

    let second = open();
    assert_eq!(second.engine.recover().await.unwrap().resumed, 1);
    let events = second.tree(&held).await;
    // Its calls may have run in part, and nothing says that they may run again.
    assert_eq!(events.failed().error.code, "interrupted");
    assert_eq!(events.count("PlanFailed"), 13);
    assert_eq!(second.tree(&done).await.outputs()["numbers"], numbers);
    second.bus.shutdown().await;
}

#[tokio::test]
async fn results_larger_than_one_request_go_out_in_several() {
    let house = House::open();
    let document = format!(
        r#"
plan: large
goal: g
limits: {{ parallel: 40 }}
steps:
  text: {{ tool: test.echo, with: {{ value: "{}" }} }}
  items: {{ tool: test.echo, with: {{ value: [{}0] }} }}
  each:
    for_each: "steps.items.output"
    parallel: 40
    plan: {{ plan: one, goal: g, inputs: {{ text: {{ type: string }} }}, steps: {{ a: {{ decide: q, options: {{ a: x, b: y }}, choose: "'a'" }} }} }}
    with: {{ text: "${{steps.text.output}}" }}
"#,
        "x".repeat(100_000),
        "1, ".repeat(39)
    );
    let events = house.run(&document).await;
    events.outputs();
    assert_eq!(events.count("SubplanSpawned"), 40);
}
