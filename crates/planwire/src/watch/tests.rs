//! Pictures of trees, and how their end is told.

use planwire_event::{IdGenerator, StoredEvent};

use super::*;
use crate::output::{Style, Unread};

/// A log that is written by hand.
struct Log(u64, View);

impl Log {
    fn add(
        &mut self,
        plan: &str,
        parent: Option<&str>,
        depth: u32,
        event_type: &str,
        payload: &str,
    ) -> StoredEvent {
        self.0 += 1;
        let parent = parent.map_or("null".to_owned(), |parent| format!("\"{parent}\""));
        let line = format!(
            r#"{{"event_id":"01JD00000000000000000{at:05}","event_type":"{event_type}","plan_id":"{plan}","timestamp":"2026-11-22T14:20:01.000000Z","payload":{payload},"cursor":"7Q4M2K9A-{at:016x}","seq":{at},"root_plan_id":"root","parent_plan_id":{parent},"depth":{depth},"recorded_at":"2026-11-22T14:20:01.000000Z"}}"#,
            at = self.0
        );
        let stored = crate::client::wire::read_event(&line, &IdGenerator::system()).unwrap();
        self.1.apply(&stored);
        stored
    }

    fn picture(&self, columns: usize, rows: usize) -> Vec<String> {
        let now = "2026-11-22T14:20:03.500000Z".parse().unwrap();
        self.1.picture(&Frame { now, tick: 0, columns, rows, style: Style::default() })
    }
}

/// A root with a survey, of whose `groups` subplans the first `ended` have ended.
fn tree(groups: usize, ended: usize) -> Log {
    let mut log = Log(0, View::default());
    log.add("root", None, 0, "PlanStarted", r#"{"name":"repo-report"}"#);
    let decision = r#"{"decision_id":"d","decision_type":"choice","step":"history","question":"?","options":[],"chosen":"git","decided_by":"rule"}"#;
    log.add("root", None, 0, "DecisionMade", decision);
    log.add("root", None, 0, "SubplanSpawned", r#"{"child_plan_id":"survey","step":"survey"}"#);
    log.add("survey", Some("root"), 1, "PlanStarted", r#"{"name":"survey"}"#);
    for group in 0..groups {
        let id = format!("g{group}");
        let spawned = format!(r#"{{"child_plan_id":"{id}","step":"groups"}}"#);
        log.add("survey", Some("root"), 1, "SubplanSpawned", &spawned);
        let started = format!(r#"{{"name":"group","inputs":{{"label":"n{group}"}}}}"#);
        log.add(&id, Some("survey"), 2, "PlanStarted", &started);
        if group < ended {
            log.add(&id, Some("survey"), 2, "PlanCompleted", r#"{"duration_ms":40}"#);
        } else {
            log.add(
                &id,
                Some("survey"),
                2,
                "ToolCalled",
                r#"{"call_id":"1","step":"list","tool":"file.list"}"#,
            );
        }
    }
    log
}

#[test]
fn whole_tree_is_shown_where_there_is_room() {
    insta::assert_snapshot!(tree(3, 2).picture(80, 20).join("\n"), @r"
    ⠋ repo-report  2.5 s  history: git
    └─ ⠙ survey  2.5 s
       ├─ ✔ group n0  40 ms
       ├─ ✔ group n1  40 ms
       └─ ⠹ group n2  2.5 s  list → file.list
    ━━━━╌╌╌╌╌╌ 2 of 5 plans  1 tool call  1 decision  13 events  2.5 s
    ");
}

#[test]
fn completed_subplans_are_one_line_where_there_is_little_room() {
    insta::assert_snapshot!(tree(9, 7).picture(40, 7).join("\n"), @r"
    ⠋ repo-report  2.5 s  history: git
    └─ ⠙ survey  2.5 s
       ├─ ⠹ group n7  2.5 s  list → file.li…
       ├─ ⠹ group n8  2.5 s  list → file.li…
       └─ ✔ 7 subplans completed
    ━━━━━━╌╌╌╌ 7 of 11 plans  2 tool calls …
    ");
}

#[test]
fn picture_never_exceeds_the_terminal() {
    for rows in 1..30 {
        for columns in [1, 10, 40, 200] {
            let picture = tree(20, 5).picture(columns, rows);
            assert!(picture.len() <= rows.max(2), "{} lines of {rows}", picture.len());
            assert!(picture.iter().all(|line| line.chars().count() <= columns));
        }
    }
}

#[test]
fn payload_cannot_move_the_cursor() {
    let mut log = Log(0, View::default());
    log.add("root", None, 0, "PlanStarted", r#"{"name":"a\u001b[2Jb","inputs":{"label":"x\ny"}}"#);
    log.add(
        "root",
        None,
        0,
        "PlanFailed",
        r#"{"reason":"error","error":{"code":"c\u0007","message":"m\r"}}"#,
    );
    let picture = log.picture(80, 5);
    assert!(picture.iter().all(|line| !line.contains(char::is_control)), "{picture:?}");
    assert!(picture[0].starts_with("✘ a\\u{1b}[2Jb x\\ny"), "{picture:?}");
}

#[test]
fn end_of_a_plan_is_told_with_its_reason() {
    let output = Output { json: false, style: Style::default(), live: false, unread: Unread::End };
    let place = Place::find(Some("/data".into())).unwrap();
    let mut watch = Watch::new("root".parse().unwrap(), place, output).unwrap();
    let mut log = tree(0, 0);
    assert_eq!(watch.outcome.exit(), Exit::Cancelled);
    assert_eq!(verdict(&watch.outcome, output), "! plan root was left before it ended");
    let failed = r#"{"reason":"cancelled","error":{"code":"c","message":"m","step":"s"},"duration_ms":7}"#;
    watch.note(&log.add("root", None, 0, "PlanFailed", failed));
    assert_eq!(watch.outcome.exit(), Exit::Cancelled);
    assert_eq!(verdict(&watch.outcome, output), "✘ plan root failed (cancelled) at step s after 7 ms: c: m");
    watch.note(&log.add("root", None, 0, "PlanCompleted", r#"{"duration_ms":8,"outputs":{"x":1}}"#));
    assert_eq!(watch.outcome.exit(), Exit::Completed);
    assert_eq!(verdict(&watch.outcome, output), "✔ plan root completed in 8 ms");
    assert_eq!(watch.outcome.outputs["x"], 1);
}

#[test]
fn request_to_end_is_shown_until_the_end() {
    let mut log = tree(0, 0);
    log.add("root", None, 0, "CancelRequested", r#"{"requested_by":"me"}"#);
    let picture = log.picture(80, 5);
    assert!(picture[0].contains("asked to end") && !picture[0].contains("Ctrl-C"), "{picture:?}");
    log.add("root", None, 0, "CancelRequested", r#"{"requested_by":"me","reason":"Ctrl-C"}"#);
    let failed = r#"{"reason":"cancelled","error":{"code":"cancelled","message":"by me"}}"#;
    log.add("root", None, 0, "PlanFailed", failed);
    assert!(!log.picture(80, 5)[0].contains("asked to end"));
}

#[test]
fn open_questions_stand_below_the_plan_that_asks() {
    let mut log = tree(1, 0);
    let asked = r#"{"request_id":"q","step":"s","kind":"input","question":"Which branch?"}"#;
    log.add("g0", Some("survey"), 2, "InputRequested", asked);
    let repeated = asked.replacen('{', r#"{"for_plan_id":"g0","#, 1);
    log.add("survey", Some("root"), 1, "InputRequested", &repeated);
    let picture = log.picture(100, 9);
    let asks: Vec<_> = picture.iter().filter(|line| line.contains("Which branch?")).collect();
    assert_eq!(asks, ["         ? Which branch?  planwire answer g0"]);
    assert_eq!(picture.iter().filter(|line| line.contains("waits for an answer")).count(), 2);
    let answered = r#"{"request_id":"q","value":"main","answered_by":"ann"}"#;
    log.add("g0", Some("survey"), 2, "InputReceived", answered);
    log.add("survey", Some("root"), 1, "InputReceived", answered);
    assert!(!log.picture(100, 9).iter().any(|line| line.contains('?') || line.contains("answer")));
}

const USAGE: &str = r#"{"call_id":"m","ok":true,"usage":{"input_tokens":41000,"output_tokens":2400,"cost":0.19112,"currency":"USD"}}"#;

/// A tree whose first group called a model, was warned of a limit, and runs two calls that tell their progress.
fn busy() -> Log {
    let mut log = tree(2, 1);
    let call = |id: &str, tool: &str| format!(r#"{{"call_id":"{id}","step":"{id}","tool":"{tool}"}}"#);
    log.add("g1", Some("survey"), 2, "ToolCalled", &call("m", "model"));
    log.add("g1", Some("survey"), 2, "ToolCompleted", USAGE);
    log.add("g1", Some("survey"), 2, "LimitWarned", r#"{"limit":"tokens","used":43400,"max":50000}"#);
    log.add("root", None, 0, "LimitWarned", r#"{"limit":"tool_calls","used":8,"max":10}"#);
    log.add("g1", Some("survey"), 2, "ToolCalled", &call("n", "mcp:files/read"));
    log.add("g1", Some("survey"), 2, "ToolCalled", &call("o", "exec"));
    log
}

#[test]
fn usage_stands_beside_the_plan_and_in_the_totals() {
    insta::assert_snapshot!(busy().picture(140, 20).join("\n"), @r"
    ⠋ repo-report  2.5 s  4 of 10 tool calls  history: git
    └─ ⠙ survey  2.5 s  43.4K tokens  0.191 USD
       ├─ ✔ group n0  40 ms
       └─ ⠹ group n1  2.5 s  43.4K of 50K tokens  0.191 USD  list → file.list  n → mcp:files/read  and 1 more
    ━━╌╌╌╌╌╌╌╌ 1 of 4 plans  4 tool calls  1 decision  16 events  43,400 tokens  0.19112 USD  2.5 s
    ");
}

#[test]
fn progress_stands_beside_its_call_until_the_call_ends() {
    let mut log = busy();
    let said = |call: &str, text: &str| serde_json::json!({"call_id": call, "text": text}).to_string();
    let line = |log: &Log| log.picture(400, 20).into_iter().find(|line| line.contains("group n1")).unwrap();
    log.add("g1", Some("survey"), 2, "ToolProgress", &said("1", "1 of 9"));
    log.add(
        "g1",
        Some("survey"),
        2,
        "ToolProgress",
        &said("1", &format!("2 of 9 \u{1b}[31m{}", "x".repeat(99))),
    );
    let shown = line(&log);
    let expected =
        format!("list → file.list: 2 of 9 \\u{{1b}}[31m{}…  n → mcp:files/read  and 1 more", "x".repeat(42));
    assert!(shown.ends_with(&expected) && !shown.contains("1 of 9"), "{shown}");
    log.add("g1", Some("survey"), 2, "ToolCompleted", r#"{"call_id":"1","ok":true}"#);
    assert!(!line(&log).contains("of 9"), "{}", line(&log));
}

#[test]
fn what_is_nearly_used_up_has_the_colour_of_warnings_and_what_is_used_up_that_of_failures() {
    let now = "2026-11-22T14:20:03.500000Z".parse().unwrap();
    let style = Style { colored: true };
    let shown = |log: &Log| log.1.picture(&Frame { now, tick: 0, columns: 200, rows: 20, style }).join("\n");
    let mut log = busy();
    assert!(
        shown(&log).contains("\x1b[33m  43.4K of 50K tokens\x1b[0m\x1b[2m  0.191 USD\x1b[0m"),
        "{}",
        shown(&log)
    );
    log.add("g1", Some("survey"), 2, "ToolCompleted", USAGE);
    assert!(shown(&log).contains("\x1b[31m  86.8K of 50K tokens\x1b[0m"), "{}", shown(&log));
}

#[test]
fn lines_tell_progress_now_and_then_and_all_else() {
    let (mut log, mut pace) = (busy(), Pace::default());
    let mut lets = |plan: &str, event_type: &str, call: &str, second: u32| {
        let payload = format!(r#"{{"call_id":"{call}","ok":true,"text":"t"}}"#);
        let mut stored = log.add(plan, Some("survey"), 2, event_type, &payload);
        let line = stored.to_json().replacen("14:20:01", &format!("14:20:{second:02}"), 1);
        stored = crate::client::wire::read_event(&line, &IdGenerator::system()).unwrap();
        pace.lets(&stored)
    };
    assert!(lets("g1", "ToolProgress", "n", 1));
    assert!(!lets("g1", "ToolProgress", "n", 5));
    assert!(lets("g1", "ToolProgress", "o", 5), "each call has its own time");
    assert!(lets("g1", "ToolProgress", "n", 6));
    assert!(lets("g1", "ToolCompleted", "n", 6));
    assert!(lets("g1", "PlanCompleted", "", 7));
    assert_eq!(pace.0.len(), 0);
}
