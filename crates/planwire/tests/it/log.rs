//! Publish, events, plans, show, end: with the file alone and beside a server.

use serde_json::{Value, json};

use crate::harness::{Place, Server};

/// A tree of two plans whose publisher died in the middle of a tool call.
const LEFT_OPEN: &str = r#"
{"event_type":"PlanStarted","plan_id":"root","payload":{"name":"nightly","goal":"Back up"}}
{"event_type":"SubplanSpawned","plan_id":"root","payload":{"child_plan_id":"child","step":"copy"}}
{"event_type":"PlanStarted","plan_id":"child","payload":{"name":"copy","parent_plan_id":"root"}}
{"event_type":"ToolCalled","plan_id":"child","payload":{"call_id":"1","step":"s","tool":"rsync"}}
{"event_type":"acme.progress","plan_id":"child","payload":{"percent":40.0}}
"#;

/// Runs a check without a server, then the same beside one.
fn both(check: impl Fn(&Place)) {
    check(&Place::new());
    let place = Place::new();
    let server: Server = place.serve(&[]);
    check(&place);
    assert!(server.stop().success());
}

fn members<'a>(values: &'a [Value], name: &str) -> Vec<&'a Value> {
    values.iter().map(|value| &value[name]).collect()
}

#[test]
fn published_events_are_read_back_as_they_were_sent() {
    both(|place| {
        let answers = place.run_with(&["--json", "publish", "-"], LEFT_OPEN).json(0);
        assert_eq!(members(&answers, "position"), [1, 2, 3, 4, 5]);
        assert_eq!(members(&answers, "seq"), [1, 2, 1, 2, 3]);
        assert!(answers.iter().all(|answer| answer["duplicate"] == false));
        let events = place.run(&["--json", "events"]).json(0);
        assert_eq!(members(&events, "event_id"), members(&answers, "event_id"));
        assert_eq!(events[4]["payload"], json!({"percent": 40}));
        assert_eq!(events[4]["parent_plan_id"], "root");
        let exported = place.run(&["--json", "events"]).stdout;
        let again = place.run_with(&["--json", "publish", "-"], &exported).json(0);
        assert!(again.iter().all(|answer| answer["duplicate"] == true), "{again:?}");
        assert_eq!(place.run(&["--json", "events"]).stdout, exported);
    });
}

#[test]
fn events_are_filtered_by_plan_tree_type_and_cursor() {
    let place = Place::new();
    place.run_with(&["publish", "-"], LEFT_OPEN).text(0);
    let positions = |more: &[&str]| {
        let arguments: Vec<&str> = ["--json", "events"].iter().chain(more).copied().collect();
        let events = place.run(&arguments).json(0);
        events.iter().map(|event| event["position"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    assert_eq!(positions(&["--plan", "root"]), [1, 2]);
    assert_eq!(positions(&["--plan", "root", "--tree"]), [1, 2, 3, 4, 5]);
    assert_eq!(positions(&["--plan", "child", "--tree"]), [3, 4, 5]);
    assert_eq!(positions(&["--type", "ToolCalled", "--type", "acme.progress"]), [4, 5]);
    assert_eq!(positions(&["--after", "now"]), [0; 0]);
    let cursor = place.run(&["--json", "events"]).json(0)[2]["cursor"].as_str().expect("a cursor").to_owned();
    assert_eq!(positions(&["--after", &cursor]), [4, 5]);
    let beyond = format!("{}-00000000000000ff", &cursor[..8]);
    assert_eq!(place.run(&["events", "--after", &beyond]).code, Some(2));
    assert_eq!(place.run(&["events", "--after", "ZZZZZZZZ-0000000000000001"]).code, Some(2));
    assert_eq!(place.run(&["events", "--plan", "nobody"]).code, Some(1));
}

#[test]
fn events_that_may_not_follow_are_refused_with_the_reason() {
    both(|place| {
        place.run_with(&["publish", "-"], LEFT_OPEN).text(0);
        let before = place.run(&["--json", "events"]).stdout;
        let twice = r#"{"event_type":"acme.a","plan_id":"root"} {"event_type":"PlanStarted","plan_id":"root","payload":{"name":"n"}}"#;
        let ran = place.run_with(&["publish", "-"], twice);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("already started"), "{ran:?}");
        let malformed = place.run_with(&["publish", "-"], r#"{"event_type":"nodot","plan_id":"root"}"#);
        assert_eq!(malformed.code, Some(2), "{malformed:?}");
        assert!(malformed.stderr.contains("'nodot' is unknown"), "{malformed:?}");
        assert_eq!(place.run_with(&["publish", "-"], "").code, Some(2));
        assert_eq!(place.run_with(&["publish", "-"], "{").code, Some(2));
        assert_eq!(place.run(&["publish", "no-such-file"]).code, Some(2));
        let many = r#"{"event_type":"acme.a","plan_id":"root"}"#.repeat(1_001);
        assert_eq!(place.run_with(&["publish", "-"], &many).code, Some(2));
        assert_eq!(place.run(&["--json", "events"]).stdout, before, "nothing of a refused batch is stored");
    });
}

#[test]
fn plan_whose_publisher_is_gone_is_ended_leaves_first() {
    both(|place| {
        place.run_with(&["publish", "-"], LEFT_OPEN).text(0);
        assert_eq!(place.run(&["--json", "plans", "--open", "--all"]).json(0).len(), 2);
        let ended = place.run(&["--json", "end", "root", "--reason", "interrupted"]).json(0);
        assert_eq!((&ended[0]["plan_id"], &ended[0]["ended"]), (&json!("root"), &json!(2)));
        let events = place.run(&["--json", "events", "--after", "start"]).json(0);
        let tail: Vec<_> =
            events[5..].iter().map(|event| (&event["event_type"], &event["plan_id"])).collect();
        let expected = [
            ("ToolCompleted", "child"),
            ("PlanFailed", "child"),
            ("SubplanCompleted", "root"),
            ("PlanFailed", "root"),
        ];
        assert_eq!(
            tail,
            expected.map(|(kind, plan)| (json!(kind), json!(plan))).each_ref().map(|(a, b)| (a, b))
        );
        assert_eq!(events[8]["payload"]["reason"], "interrupted");
        assert_eq!(place.run(&["end", "root", "--reason", "interrupted"]).code, Some(1));
        let other = r#"{"event_type":"PlanStarted","plan_id":"other","payload":{"name":"n"}}"#;
        assert!(place.run_with(&["publish", "-"], other).text(0).contains(" stored at position "));
        let told = place.run(&["end", "other", "--reason", "timed_out", "--message", "it hung"]);
        assert_eq!(told.text(0), "plan other ended as timed_out; plans ended: 1\n");
        let cancelled = place.run(&["--json", "cancel", "other"]);
        assert_eq!(cancelled.code, Some(1), "it has ended: {cancelled:?}");
        assert_eq!(place.run(&["end", "nobody", "--reason", "interrupted"]).code, Some(1));
    });
}

#[test]
fn plans_are_listed_and_shown() {
    let place = Place::new();
    assert_eq!(place.run(&["--json", "plans"]).json(0).len(), 0);
    place.run_with(&["publish", "-"], LEFT_OPEN).text(0);
    let roots = place.run(&["--json", "plans"]).json(0);
    assert_eq!(members(&roots, "plan_id"), ["root"]);
    assert_eq!((&roots[0]["state"], &roots[0]["name"]), (&json!("open"), &json!("nightly")));
    let all = place.run(&["--json", "plans", "--all"]).json(0);
    assert_eq!(members(&all, "plan_id"), ["child", "root"], "newest first");
    assert_eq!(members(&all, "parent_plan_id"), [&json!("root"), &Value::Null]);
    assert_eq!(place.run(&["--json", "plans", "--all", "--limit", "1"]).json(0).len(), 1);

    let shown = place.run(&["--json", "show", "root"]).json(0);
    assert_eq!(members(&shown, "plan_id"), ["root", "child"]);
    assert_eq!(shown[1]["open_calls"][0]["tool"], "rsync");
    let text = place.run(&["show", "root"]);
    assert!(text.text(0).contains("└─") && text.stdout.contains("Back up"), "{text:?}");
    assert!(place.run(&["plans"]).text(0).contains("nightly"));
    assert_eq!(place.run(&["show", "nobody"]).code, Some(1));

    place.run(&["end", "root", "--reason", "cancelled"]).text(0);
    assert!(place.run(&["plans", "--open"]).stderr.contains("no open plans in"));
}

#[test]
fn cancelling_a_plan_that_nobody_runs_is_noted_and_said() {
    both(|place| {
        place.run_with(&["publish", "-"], LEFT_OPEN).text(0);
        assert!(place.run(&["cancel", "root", "--reason", "enough"]).text(0).contains("asked to end"));
        let events = place.run(&["--json", "events", "--type", "CancelRequested"]).json(0);
        assert_eq!(events[0]["payload"]["reason"], "enough");
        assert_eq!(place.run(&["cancel", "nobody"]).code, Some(1));
    });
}

#[test]
fn reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    let many: String = (0..900)
        .map(|n| format!("{{\"event_type\":\"acme.n\",\"plan_id\":\"root\",\"payload\":{{\"n\":{n}}}}}\n"))
        .collect();
    place.run_with(&["publish", "-"], LEFT_OPEN).text(0);
    place.run_with(&["publish", "-"], &many).text(0);
    let mut running = place.start(&["--json", "events"]);
    running.line().expect("a line");
    let status = running.close_and_wait();
    assert!(status.success(), "{status:?}");
}

#[test]
fn many_commands_that_write_at_once_wait_for_each_other() {
    let place = Place::new();
    place.run_with(&["publish", "-"], LEFT_OPEN).text(0);
    let event = place.file("event.json", r#"{"event_type":"acme.n","plan_id":"root","payload":{}}"#);
    let arguments = ["publish".as_ref(), event.as_os_str()];
    let writers: Vec<_> = (0..12).map(|_| place.start(&arguments)).collect();
    assert!(writers.into_iter().all(|writer| writer.end().0.success()));
    assert_eq!(place.run(&["--json", "events"]).json(0).len(), 5 + 12);
}
