//! What a server may do wrong, and what its tree gets of it.

use std::time::Duration;

use planwire_event::EventType;
use planwire_event::vocabulary::{ToolCompleted, ToolProgress};
use planwire_mcp::{Reach, ServerConfig};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use crate::house::{House, SECRET, lives, one};

fn heard(method: &str) -> Value {
    json!({"heard": method})
}

#[tokio::test]
async fn plans_of_a_tree_share_one_server_that_ends_with_it() {
    let house = House::fake("well");
    let document = r#"
plan: shared
goal: g
steps:
  a: { tool: "mcp:fake/pid" }
  b: { tool: "mcp:fake/pid" }
  c: { plan: { plan: below, goal: g, steps: { d: { tool: "mcp:fake/pid" } }, outputs: { pid: "${steps.d.output.text}" } } }
outputs: { all: ["${steps.a.output.text}", "${steps.b.output.text}", "${steps.c.outputs.pid}"] }
"#;
    let all = house.run(document).await.output();
    let pids = house.pids("started");
    assert_eq!(pids.len(), 1);
    assert_eq!(all, json!(vec![pids[0].to_string(); 3]));
    assert!(!lives(pids[0]), "it was told of the end of the tree before");
    assert!(house.noted().contains(&json!("input closed")), "it could end by itself");
    house.run(document).await.output();
    assert_eq!(house.pids("started").len(), 2, "each tree has its own");
}

#[tokio::test]
async fn server_gets_a_clean_environment_and_runs_in_the_working_folder() {
    let house = House::fake("well");
    let output = house.call("environment", json!({})).await.output();
    let names: Vec<&str> =
        output["structured"]["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let may_be = ["FAKE_LOG", "FAKE_SECRET", "HOME", "LANG", "LC_CTYPE", "PATH", "TMPDIR"];
    assert!(names.iter().all(|name| may_be.contains(name)), "{names:?}");
    assert!(names.contains(&"PATH") && names.contains(&"FAKE_SECRET"));
    assert_eq!(output["structured"]["folder"], json!(house.folder.path().canonicalize().unwrap()));
}

#[tokio::test]
async fn arguments_that_do_not_fit_never_reach_the_server() {
    let house = House::fake("well");
    for (with, message) in [
        (json!({}), r#""text" is a required property"#),
        (json!({"text": 1}), r#"/text: the value is not of type "string""#),
        (json!({"text": "x".repeat(21)}), "/text: the value is longer than 20 characters"),
        (json!({"text": "a", "times": 0}), "/times: the value is less than the minimum of 1"),
    ] {
        assert_eq!(house.call("echo", with).await.failure(), ("bad_argument".into(), message.into()));
    }
    assert_eq!(house.times_noted(&heard("tools/call")), 0);
    assert_eq!(house.call("echo", json!({"text": "a", "times": 2})).await.output(), json!({"text": "a a"}));
    let (code, message) = house.call("ecko", json!({})).await.failure();
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("unknown_tool", "MCP server fake has no tool ecko; did you mean 'echo'?")
    );
}

#[tokio::test]
async fn tools_that_a_server_gets_later_are_found_and_checked() {
    let house = House::fake("well");
    let document = r#"
plan: grows
goal: g
steps:
  a: { tool: "mcp:fake/grow" }
  b: { after: [a], tool: "mcp:fake/grown" }
"#;
    assert_eq!(
        house.run(document).await.failure(),
        ("bad_argument".into(), r#""a" is a required property"#.into())
    );
}

#[tokio::test]
async fn server_that_dies_in_a_call_fails_it_once_and_the_next_call_has_a_new_one() {
    let house = House::fake("well");
    let document = r#"
plan: dies
goal: g
steps:
  a:
    tool: "mcp:fake/die"
    on_error:
      decide: What if it dies?
      options: { on: { description: go on without, output: { text: none } }, stop: { description: any other failure, fail: true } }
      choose: "error.code == 'mcp_unavailable' ? 'on' : 'stop'"
  b: { after: [a], tool: "mcp:fake/pid" }
outputs: { all: "${steps.b.output.text}" }
"#;
    let events = house.run(document).await;
    let pids = house.pids("started");
    assert_eq!((events.output(), pids.len()), (json!(pids[1].to_string()), 2));
    let failure = events.all::<ToolCompleted>()[0].error.clone().unwrap();
    let said = "MCP server fake: it ended before it answered; it said: I am dying";
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("mcp_unavailable", said));
    assert_eq!(house.times_noted(&heard("tools/call")), 2, "the call that failed was not made again");
    assert!(!pids.into_iter().any(lives));
}

#[tokio::test]
async fn killed_server_is_called_again_where_the_document_says_so() {
    let house = House::fake("well");
    let document = r#"
plan: again
goal: g
steps: { a: { tool: "mcp:fake/die_first", retry: { attempts: 2, when: "error.code == 'mcp_unavailable'" } } }
outputs: { all: "${steps.a.output.text}" }
"#;
    let events = house.run(document).await;
    assert_eq!((events.output(), events.count(&EventType::ToolCalled)), (json!("alive"), 2));
    assert_eq!(house.pids("started").len(), 2);
}

#[tokio::test]
async fn nothing_that_a_server_started_outlives_it() {
    let house = House::fake("well");
    house.call("orphan", json!({})).await.output();
    assert_eq!(house.call("orphan", json!({"die": true})).await.failure().0, "mcp_unavailable");
    let orphans = house.pids("orphan");
    assert_eq!(orphans.len(), 2);
    until_gone(&orphans).await;
    let stubborn = House::fake("stubborn");
    stubborn.call("pid", json!({})).await.output();
    until_gone(&stubborn.pids("started")).await;
}

/// Waits until processes have ended.
async fn until_gone(pids: &[u64]) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).unwrap())) {
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let ended = move || poll(&mut [PollFd::new(&process, PollFlags::IN)], None);
        assert_eq!(tokio::task::spawn_blocking(ended).await.unwrap(), Ok(1));
    }
}

#[tokio::test]
async fn cancelled_call_is_told_to_the_server_and_ends() {
    for tool in ["wait", "deaf"] {
        let house = House::fake("well");
        let plan = house.start(&one(tool, &json!({})), json!({})).await;
        house.until_noted(&json!("waiting")).await;
        house.cancel(&plan).await;
        let events = house.tree(&plan).await;
        assert_eq!(events.all::<ToolCompleted>()[0].error.as_ref().unwrap().code, "cancelled");
        house.until_noted(&heard("notifications/cancelled")).await;
        assert!(!house.pids("started").into_iter().any(lives));
    }
}

#[tokio::test]
async fn call_that_takes_too_long_is_given_up_and_the_server_stays() {
    let house = House::fake_with("well", |config| ServerConfig {
        call_timeout: Some(Duration::from_millis(100)),
        ..config
    });
    let document = r#"
plan: late
goal: g
steps:
  a: { tool: "mcp:fake/wait", on_error: { decide: late?, options: { on: { description: d, output: { text: none } }, stop: { description: d, fail: true } }, choose: "error.code == 'timed_out' ? 'on' : 'stop'" } }
  b: { after: [a], tool: "mcp:fake/pid" }
outputs: { all: "${steps.b.output.text}" }
"#;
    house.run(document).await.output();
    assert_eq!(house.pids("started").len(), 1);
    assert_eq!(house.times_noted(&heard("notifications/cancelled")), 1);
}

#[tokio::test]
async fn progress_is_told_without_secrets_and_trace_and_token_are_sent() {
    let house = House::fake("well");
    let plan = house.start(&one("progress", &json!({})), json!({})).await;
    house.until_noted(&json!("progressed")).await;
    let mut stream = {
        let filter = planwire_event::Filter::plan(plan.clone()).with_types([EventType::ToolProgress]);
        house.bus.stream(filter, planwire_bus::StartAt::Start).await.unwrap()
    };
    let told = loop {
        let Some(planwire_bus::Item::Event(event)) = stream.next().await.unwrap() else { panic!("it ended") };
        let told = event.event.read::<ToolProgress>().unwrap();
        if told.text.starts_with('3') {
            break told;
        }
    };
    assert_eq!((told.call_id.as_str(), told.text.as_str()), ("a-1", "3 of 3: ***TOKEN***"));
    std::fs::write(house.folder.path().join("log.go"), "").unwrap();
    let events = house.tree(&plan).await;
    assert_eq!(events.output(), json!({"text": "done"}));
    assert!(!events.text().contains(SECRET));

    let meta = house.call("meta", json!({})).await.output()["structured"].clone();
    assert!(meta["progressToken"].is_number(), "{meta}");
    let traceparent = meta["traceparent"].as_str().unwrap();
    assert_eq!((traceparent.len(), &traceparent[..3], &traceparent[52..]), (55, "00-", "-01"));
}

#[tokio::test]
async fn failures_of_tools_have_codes_of_their_own() {
    let house = House::fake("well");
    for (tool, code, message) in [
        ("error", "tool_error", "error of MCP server fake: as asked"),
        ("refuse", "mcp_error", "MCP server fake refused with -32000: not today"),
        ("ask", "mcp_input_required", "ask of MCP server fake asks somebody; nobody answers here"),
    ] {
        assert_eq!(house.call(tool, json!({})).await.failure(), (code.into(), message.into()));
    }
}

#[tokio::test]
async fn long_results_are_cut_and_endless_messages_end_the_server() {
    let house = House::fake("well");
    let events = house.call("big", json!({"bytes": 1_000_000})).await;
    assert!(events.all::<ToolCompleted>()[0].truncated);
    let bytes = events.output()["text"].as_str().unwrap().len();
    assert!((100_000..planwire_engine::output::TOOL_OUTPUT_BYTES_MAX).contains(&bytes), "{bytes}");
    assert_eq!(house.call("long", json!({})).await.failure().0, "mcp_unavailable");
    assert!(!house.pids("started").into_iter().any(lives));
}

#[tokio::test]
async fn server_that_does_not_start_says_why() {
    let ends = House::fake("ends");
    let (code, message) = ends.call("pid", json!({})).await.failure();
    assert_eq!(code, "mcp_unavailable");
    assert_eq!(message, "MCP server fake: it ended at its start; it said: no licence");
    assert_eq!(ends.pids("started").len(), 3, "it was tried three times");

    let quick = |config| ServerConfig { start_timeout: Duration::from_millis(500), ..config };
    let silent = House::fake_with("silent", quick);
    let (_, message) = silent.call("pid", json!({})).await.failure();
    assert_eq!(message, "MCP server fake: it did not answer within 500ms; it said: ready with ***TOKEN***");
    assert!(!silent.pids("started").into_iter().any(lives));

    let missing = House::fake_with("well", |config| ServerConfig {
        reach: Reach::Program {
            command: "no-such-program".into(),
            args: vec![],
            env: Default::default(),
            folder: None,
            launcher: None,
        },
        ..config
    });
    let (_, message) = missing.call("pid", json!({})).await.failure();
    assert_eq!(message, "MCP server fake: program no-such-program is not there");
}

#[tokio::test]
async fn what_is_no_message_is_passed_over() {
    let house = House::fake("nonsense");
    assert_eq!(house.call("echo", json!({"text": "a"})).await.output(), json!({"text": "a"}));
}
