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
    ━━━━╌╌╌╌╌╌ 2 of 5 plans  1 tool calls  1 decisions  13 events  2.5 s
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
