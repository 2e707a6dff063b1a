//! Plans below plans, and the ends that go up and down a tree.

use std::sync::{Arc, Mutex};

use planwire_engine::document::{Document, Folder};
use planwire_engine::{AtMoment, EngineConfig, Stage};
use planwire_event::vocabulary::{
    ArtifactPart, ArtifactProduced, DecisionMade, PlanFailed, PlanStarted, SubplanCompleted, SubplanSpawned,
    ToolCompleted,
};
use planwire_event::{Digest, EventType, LogId, PlanId};
use planwire_store::MemoryStore;
use serde_json::{Value, json};

use crate::house::{Events, House};

/// A chain of inline documents; the innermost calls `tool`.
fn nested(levels: usize, tool: &str) -> String {
    let mut document = json!({"plan": format!("level{levels}"), "goal": "g", "steps": {"call": {"tool": tool, "with": {"value": 1}}},
        "outputs": {"depth": "${steps.call.output}"}});
    for level in (0..levels).rev() {
        document = json!({"plan": format!("level{level}"), "goal": "g", "steps": {"below": {"plan": document}},
            "outputs": {"depth": "${steps.below.outputs.depth + 1}"}});
    }
    document.to_string()
}

#[tokio::test]
async fn subplans_run_to_four_levels_with_complete_lineage() {
    let events = House::open().run(&nested(4, "test.echo")).await;
    assert_eq!(events.outputs(), json!({"depth": 5}));
    let started: Vec<_> =
        events.0.iter().filter(|event| event.event.read::<PlanStarted>().is_some()).collect();
    assert_eq!(started.iter().map(|event| event.depth).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    for (above, below) in started.iter().zip(&started[1..]) {
        assert_eq!(below.parent_plan_id.as_ref(), Some(above.plan_id()));
        assert_eq!(below.root_plan_id, *events.root());
    }
    let names: Vec<_> = events.all::<SubplanSpawned>().into_iter().map(|spawned| spawned.name).collect();
    assert_eq!(names, ["level1", "level2", "level3", "level4"]);
}

#[tokio::test]
async fn plans_below_the_depth_limit_are_not_started() {
    let house = House::open();
    let limited = nested(3, "test.echo").replacen("\"goal\"", "\"limits\":{\"depth\":2},\"goal\"", 1);
    for document in [limited, nested(17, "test.echo")] {
        let refused = house.try_start(&document, json!({})).await.unwrap_err();
        assert!(refused.to_string().contains("deep") || refused.to_string().contains("levels"), "{refused}");
    }
    assert_eq!(house.run(&nested(16, "test.echo")).await.outputs(), json!({"depth": 17}));
}

const EACH: &str = r#"
plan: each
goal: g
inputs: { count: { type: int, default: 3 } }
limits: { parallel: 4 }
steps:
  items: { tool: test.echo, with: { value: [a, b, c, d, e, f] } }
  each:
    for_each: "steps.items.output"
    parallel: 3
    plan:
      plan: one
      goal: g
      inputs: { name: { type: string }, at: { type: int } }
      steps: { call: { tool: TOOL, with: { value: "${inputs.name}", fail: "${FAIL}" } } }
      outputs: { name: "${steps.call.output}", at: "${inputs.at}" }
    with: { name: "${item}", at: "${index}" }
outputs: { names: "${steps.each.outputs.map(o, o.name)}", ats: "${steps.each.outputs.map(o, o.at)}" }
"#;

#[tokio::test]
async fn one_subplan_runs_for_each_item_within_the_bound_and_outputs_keep_their_order() {
    let house = House::open();
    let document = EACH.replace("TOOL", "test.gate").replace("${FAIL}", "");
    let root = house.start(&document).await;
    for _ in 0..4 {
        house.probe.until_running(3).await;
        house.probe.gate.add_permits(1);
        tokio::task::yield_now().await;
    }
    house.probe.gate.add_permits(2);
    let events = house.tree(&root).await;
    assert_eq!(events.outputs(), json!({"names": ["a", "b", "c", "d", "e", "f"], "ats": [0, 1, 2, 3, 4, 5]}));
    assert_eq!(house.probe.peak(), 3);
}

#[tokio::test]
async fn empty_list_has_no_subplans() {
    let document =
        EACH.replace("[a, b, c, d, e, f]", "[]").replace("TOOL", "test.echo").replace("${FAIL}", "x");
    let events = House::open().run(&document).await;
    assert_eq!(events.outputs(), json!({"names": [], "ats": []}));
    assert_eq!(events.count("SubplanSpawned"), 0);
}

#[tokio::test]
async fn failing_subplan_fails_its_step_and_the_others_are_ended() {
    let document = EACH.replace("TOOL", "test.echo").replace("${FAIL}", "broken");
    let events = House::open().run(&document).await;
    let failed = events.failed();
    assert_eq!((failed.error.code.as_str(), failed.error.step.as_deref()), ("broken", Some("each")));
    assert!(events.all::<SubplanCompleted>().iter().all(|completed| !completed.ok));
}

#[tokio::test]
async fn decision_recovers_from_each_failing_subplan() {
    let document = EACH.replace("TOOL", "test.echo").replace("${FAIL}", "broken").replace(
        "    with: { name",
        "    on_error:\n      decide: What now?\n      options: { none: { description: d, output: { name: none, at: 0 } }, stop: { description: d, fail: true } }\n      choose: \"error.code == 'broken' ? 'none' : 'stop'\"\n    with: { name",
    );
    let events = House::open().run(&document).await;
    assert_eq!(events.outputs()["names"], json!(["none", "none", "none", "none", "none", "none"]));
    assert_eq!(events.count("DecisionMade"), 6);
    let items: Vec<_> = events.all::<SubplanSpawned>().into_iter().map(|spawned| spawned.item).collect();
    assert_eq!(items, [0, 1, 2, 3, 4, 5].map(Some));
    assert!(
        events.all::<DecisionMade>().iter().all(|made| made.output == Some(json!({"name": "none", "at": 0})))
    );
}

#[tokio::test]
async fn subplans_come_from_files_beside_the_document() {
    let house = House::open();
    house.write(
        "below.yaml",
        "plan: below\ngoal: g\ninputs: { folder: { type: path } }\nsteps: { list: { tool: file.list, with: { root: \"${inputs.folder}\" } } }\noutputs: { files: \"${steps.list.output.totals.files}\" }",
    );
    let events = house
        .run("plan: above\ngoal: g\nsteps: { below: { plan: ./below.yaml, with: { folder: \".\" } } }\noutputs: { files: \"${steps.below.outputs.files}\" }")
        .await;
    assert_eq!(events.outputs(), json!({"files": 1}));
    for started in events.all::<PlanStarted>() {
        let digest: Digest = started.document_digest.unwrap().parse().unwrap();
        assert!(house.bus.repository().document(digest).await.unwrap().is_some());
    }
    let bad = house
        .run("plan: above\ngoal: g\nsteps: { below: { plan: ./below.yaml, with: { folder: \"${1 + 4}\" } } }")
        .await;
    assert_eq!(bad.failed().error.code, "bad_input");
}

fn reasons(events: &Events) -> Vec<&'static str> {
    events.all::<PlanFailed>().into_iter().map(|failed| failed.reason.as_str()).collect()
}

#[tokio::test]
async fn cancelling_ends_the_tree_leaves_first_with_its_tools() {
    let house = House::open();
    let root = house.start(&nested(3, "test.gate")).await;
    house.probe.until_running(1).await;
    house.cancel(&root, "not needed").await;
    let events = house.tree(&root).await;
    assert_eq!(house.probe.running(), 0);
    assert_eq!(reasons(&events), ["cancelled"; 4]);
    assert_eq!(events.failed().error.message, "cancelled by tester: not needed");
    let depths: Vec<_> = events
        .0
        .iter()
        .filter(|event| event.event.event_type().is_terminal())
        .map(|event| event.depth)
        .collect();
    assert_eq!(depths, [3, 2, 1, 0]);
    assert_eq!(events.all::<ToolCompleted>()[0].error.as_ref().unwrap().code, "cancelled");
}

#[tokio::test]
async fn cancelling_a_subplan_fails_its_step_only() {
    let house = House::open();
    let root = house.start(&nested(2, "test.gate")).await;
    house.probe.until_running(1).await;
    let page = house.bus.repository().plans(&Default::default()).await.unwrap();
    let leaf: &PlanId = &page.plans.iter().find(|plan| plan.depth == 2).unwrap().plan_id;
    house.cancel(leaf, "").await;
    let events = house.tree(&root).await;
    assert_eq!(reasons(&events), ["cancelled", "error", "error"]);
}

#[tokio::test]
async fn cancelling_kills_the_processes_of_exec() {
    let house = House::open();
    let root = house
        .start("plan: p\ngoal: g\nsteps: { run: { tool: exec, with: { argv: [sh, -c, 'echo $$ > pid; exec sleep 1000'] } } }")
        .await;
    let file = house.folder.path().join("pid");
    let pid = loop {
        match std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u32>().ok()) {
            Some(pid) => break pid,
            None => tokio::task::yield_now().await,
        }
    };
    house.cancel(&root, "").await;
    house.tree(&root).await;
    // The call has ended only when its processes have.
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn shutdown_interrupts_open_plans_leaves_first_and_refuses_new_ones() {
    let house = House::open();
    let root = house.start(&nested(2, "test.gate")).await;
    house.probe.until_running(1).await;
    assert_eq!(house.engine.open_trees(), 1);
    house.engine.shutdown("SIGTERM").await;
    let events = house.tree(&root).await;
    assert_eq!(reasons(&events), ["interrupted"; 3]);
    assert_eq!(events.all::<ToolCompleted>()[0].error.as_ref().unwrap().code, "interrupted");
    assert_eq!(house.engine.open_trees(), 0);
    let refused = house.try_start(&nested(0, "test.echo"), json!({})).await.unwrap_err();
    assert!(matches!(refused, planwire_bus::StartError::Closed));
}

#[tokio::test]
async fn next_start_goes_on_with_what_a_killed_process_left_open() {
    let store = MemoryStore::new(LogId::from_random(9));
    let first = House::with(store.clone(), |config| config);
    let root = first.start(&nested(2, "test.gate")).await;
    first.probe.until_running(1).await;
    // As after kill -9: nothing is published any more, and another process opens the log.
    first.bus.shutdown().await;

    let second = House::with(store, |config| config);
    let running = second.start(&nested(0, "test.gate")).await;
    assert_eq!(second.engine.recover().await.unwrap().resumed, 1);
    let events = second.tree(&root).await;
    assert_eq!(reasons(&events), ["error"; 3]);
    assert_eq!(events.all::<ToolCompleted>()[0].error.as_ref().unwrap().code, "interrupted");
    assert!(events.all::<SubplanCompleted>().iter().all(|completed| !completed.ok));
    // Its own plans go on.
    second.probe.gate.add_permits(1);
    second.tree(&running).await.outputs();
    assert_eq!(second.engine.recover().await.unwrap(), Default::default());
}

#[tokio::test]
async fn children_that_had_ended_are_reported_by_the_next_start() {
    let store = MemoryStore::new(LogId::from_random(9));
    let first = House::with(store.clone(), |config| config);
    let document = r#"
plan: above
goal: g
steps:
  done: { plan: { plan: quick, goal: g, steps: { a: { tool: test.echo, with: { value: 7 } } }, outputs: { a: "${steps.a.output}" } } }
  held: { after: [done], tool: test.gate }
"#;
    let root = first.start(document).await;
    first.probe.until_running(1).await;
    first.bus.shutdown().await;
    let second = House::with(store, |config| config);
    assert_eq!(second.engine.recover().await.unwrap().resumed, 1);
    let events = second.tree(&root).await;
    assert_eq!(events.all::<SubplanCompleted>()[0].outputs.as_ref().unwrap()["a"], 7);
}

#[tokio::test]
async fn artifacts_come_before_the_end_and_large_ones_are_kept_beside_the_log() {
    let house = House::open();
    let document = r##"
plan: report
goal: g
steps: { make: { tool: test.echo, with: { value: WORDS } } }
artifacts:
  small: { name: "small-${plan.name}.md", media_type: text/markdown, text: "# ${plan.name}" }
  data: { name: data.json, media_type: application/json, data: { list: [1, 2] } }
  large: { name: large.txt, media_type: text/plain, text: "${steps.make.output}" }
"##
    .replace("WORDS", &"words ".repeat(15_000));
    let events = house.run(&document).await;
    events.outputs();
    let types = events.types();
    assert_eq!(
        types[types.len() - 4..],
        ["ArtifactProduced", "ArtifactProduced", "ArtifactProduced", "PlanCompleted"]
    );
    let artifacts = events.all::<ArtifactProduced>();
    assert_eq!(artifacts[0].name, "small-report.md");
    assert_eq!(artifacts[0].part, ArtifactPart::Text("# report".into()));
    assert_eq!(artifacts[1].part, ArtifactPart::Data(json!({"list": [1, 2]})));
    let ArtifactPart::Blob { digest, size_bytes } = &artifacts[2].part else { panic!("{:?}", artifacts[2]) };
    assert_eq!(*size_bytes, 89_999);
    let blob = house.bus.repository().blob(digest.parse().unwrap(), 0).await.unwrap().unwrap();
    assert_eq!(Digest::of(&blob).to_string(), *digest);
}

#[tokio::test]
async fn artifacts_that_one_request_cannot_take_go_out_in_several() {
    let house = House::open();
    // Two of 5 MB each: the log takes 8 MiB beside the events of one request.
    let text = format!("{}${{steps.make.output}}", "${steps.make.output}".repeat(49));
    let document = format!(
        "plan: p\ngoal: g\nsteps: {{ make: {{ tool: test.echo, with: {{ value: {} }} }} }}\nartifacts:\n  a: {{ name: a, media_type: text/plain, text: \"a{text}\" }}\n  b: {{ name: b, media_type: text/plain, text: \"b{text}\" }}",
        "x".repeat(100_000)
    );
    let events = house.run(&document).await;
    events.outputs();
    for artifact in events.all::<ArtifactProduced>() {
        let ArtifactPart::Blob { digest, size_bytes } = artifact.part else { panic!("{artifact:?}") };
        assert_eq!(size_bytes, 5_000_001);
        assert!(house.bus.repository().blob(digest.parse().unwrap(), 0).await.unwrap().is_some());
    }
    let many: String = (0..14)
        .map(|at| format!("  a{at}: {{ name: a, media_type: text/plain, text: \"{at}{text}\" }}\n"))
        .collect();
    let document = format!("{}\nartifacts:\n{many}", document.split("\nartifacts:").next().unwrap());
    let failed = house.run(&document).await.failed();
    assert_eq!(failed.error.message, "the artifacts exceed 67108864 bytes");
}

#[tokio::test]
async fn outputs_beyond_their_limit_fail_the_plan() {
    let document = "plan: p\ngoal: g\nsteps: { a: { tool: test.echo, with: { value: WORDS } } }\noutputs: { a: \"${steps.a.output}\", b: \"${steps.a.output}\" }"
        .replace("WORDS", &"words ".repeat(15_000));
    let failed = House::open().run(&document).await.failed();
    assert_eq!(failed.reason.as_str(), "limit_exceeded");
}

#[tokio::test]
async fn registered_documents_are_listed_and_started_by_name() {
    use planwire_bus::{DocumentSource, PlanStarter as _, StartError, StartRequest};
    let text = "plan: hello\ngoal: Say hello\ninputs: { who: { type: string, description: whom }, times: { type: int, default: 1 } }\nsteps: { say: { tool: exec, with: { argv: [echo, \"${inputs.who}\"] } } }";
    let resolved = Document::parse(text, "hello.yaml", Folder::None).unwrap();
    let house = House::with(MemoryStore::new(LogId::from_random(3)), |config| EngineConfig {
        documents: [("hello".to_owned(), resolved)].into(),
        plans_max: 1,
        ..config
    });
    let catalog = house.engine.catalog();
    assert_eq!(catalog[0].goal, "Say hello");
    assert_eq!(catalog[0].inputs["required"], json!(["who"]));
    assert_eq!(catalog[0].inputs["properties"]["times"], json!({"type": "integer", "default": 1}));
    let request = |who: &str| StartRequest {
        document: DocumentSource::Registered("hello".into()),
        inputs: [("who".to_owned(), Value::String(who.into()))].into_iter().collect(),
        origin: planwire_event::vocabulary::Origin {
            protocol: "http".into(),
            principal: "t".into(),
            message: Some(json!("hi")),
        },
        context_id: Some("group".into()),
    };
    let held = house.start("plan: held\ngoal: g\nsteps: { a: { tool: test.gate } }").await;
    assert!(matches!(house.engine.start(request("x")).await, Err(StartError::TooMany { max: 1 })));
    house.probe.gate.add_permits(1);
    house.tree(&held).await;
    while house.engine.open_trees() > 0 {
        tokio::task::yield_now().await;
    }
    let started = house.engine.start(request("world")).await.unwrap();
    assert_eq!(started.cursor.position.get(), 5);
    let events = house.tree(&started.plan_id).await;
    assert_eq!(events.all::<ToolCompleted>()[0].output.as_ref().unwrap()["stdout"], "world\n");
    assert_eq!(events.all::<PlanStarted>()[0].context_id.as_deref(), Some("group"));
}

#[tokio::test]
async fn nothing_begins_before_the_event_that_announces_it_is_durable() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let store = MemoryStore::new(LogId::from_random(3));
    let hook = {
        let (seen, repository) = (Arc::clone(&seen), store.repository());
        AtMoment::new(move |moment| {
            if moment.stage == Stage::Before {
                return;
            }
            // What the hook is told is in the store already.
            let known = futures_util::FutureExt::now_or_never(repository.plans(&Default::default()));
            let open = known.unwrap().unwrap().plans.len();
            seen.lock().unwrap().push((moment.event_type.clone(), open));
        })
    };
    let house = House::with(store, |config| EngineConfig { at_moment: Some(hook), ..config });
    let document = r#"
plan: above
goal: g
steps:
  choice: { decide: q, options: { a: x, b: y }, choose: "'a'" }
  below: { when: "steps.choice.chosen == 'a'", plan: { plan: below, goal: g, steps: { a: { tool: test.echo } } } }
"#;
    house.run(document).await.outputs();
    while house.engine.open_trees() > 0 {
        tokio::task::yield_now().await;
    }
    let seen: Vec<_> = seen.lock().unwrap().clone();
    let expected = [
        ("PlanStarted", 1),
        ("DecisionMade", 1),
        ("SubplanSpawned", 1),
        ("PlanStarted", 2),
        ("ToolCalled", 2),
        ("ToolCompleted", 2),
        ("PlanCompleted", 2),
        ("SubplanCompleted", 2),
        ("PlanCompleted", 2),
    ];
    let expected = expected.map(|(event_type, plans)| (event_type.parse::<EventType>().unwrap(), plans));
    assert_eq!(seen, expected);
}
