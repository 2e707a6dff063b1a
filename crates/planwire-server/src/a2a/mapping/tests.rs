//! Each type of event in both forms, and what does not fit.

use std::sync::Arc;

use planwire_event::{
    Draft, IdGenerator, LogId, ManualClock, Meta, Position, Producer, Seq, StoredEvent, Timestamp,
};
use serde_json::{Value, json};

use super::*;
use crate::a2a::fold::Turn;
use crate::a2a::fold::{About, Standing};

fn about() -> About {
    About {
        plan: "p".parse().unwrap(),
        context_id: "c".into(),
        name: "report".into(),
        root: "p".parse().unwrap(),
        parent: None,
        depth: 0,
        before: Position::ZERO,
    }
}

fn stored(event_type: &str, payload: &Value) -> StoredEvent {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros_clamped(1_500_000)));
    let draft = json!({ "event_type": event_type, "plan_id": "p", "payload": payload }).to_string();
    let ids = IdGenerator::new(Arc::clone(&clock) as _, || 7);
    StoredEvent {
        event: Draft::parse(&draft).unwrap().complete(&ids, &*clock).unwrap(),
        log_id: "7Q4M2K9A".parse::<LogId>().unwrap(),
        position: Position::new(1234),
        seq: Seq::new(2),
        root_plan_id: "p".parse().unwrap(),
        parent_plan_id: None,
        depth: 0,
        recorded_at: Timestamp::from_micros_clamped(2_000_900),
        meta: Meta { producer: Producer::new("http:anonymous"), traceparent: None, redacted: vec![] },
    }
}

fn text_of(stored: &StoredEvent, extended: bool, blob: Option<&[u8]>) -> String {
    let (about, links) = (about(), Links::below("http://127.0.0.1:7420/"));
    let mut standing = Standing::default();
    standing.apply(&Turn::of(stored));
    let scene = Scene { about: &about, state: standing.counts().state(), links, blob };
    let frame = frame(stored, &stored.to_json().into(), scene, extended);
    String::from_utf8(frame.to_vec()).unwrap()
}

/// The frame with its data in lines, for people.
fn shown(event_type: &str, payload: &Value, extended: bool) -> String {
    let text = text_of(&stored(event_type, payload), extended, None);
    let (head, data) = text.split_once("data: ").unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    format!("{head}data: {data:#}")
}

fn read(text: &str) -> Value {
    serde_json::from_str(text.split_once("data: ").unwrap().1).unwrap()
}

fn events() -> Vec<(&'static str, Value)> {
    let error = json!({ "code": "exit_status", "message": "it ended with 1" });
    vec![
        ("PlanStarted", json!({ "name": "report", "goal": "say what is there" })),
        (
            "DecisionMade",
            json!({
                "decision_id": "d", "decision_type": "choice", "step": "s", "question": "Which\nbranch?",
                "options": [{ "name": "main" }], "chosen": "main", "rationale": "it is green", "decided_by": "rule",
            }),
        ),
        ("ToolCalled", json!({ "call_id": "1", "step": "s", "tool": "file.list", "arguments": { "a": 1 } })),
        (
            "ToolCompleted",
            json!({ "call_id": "1", "step": "s", "tool": "file.list", "ok": true, "output": [] }),
        ),
        ("SubplanSpawned", json!({ "child_plan_id": "q", "name": "child", "step": "s" })),
        ("SubplanCompleted", json!({ "child_plan_id": "q", "ok": true })),
        ("SubplanCompleted", json!({ "child_plan_id": "q", "ok": false, "error": error })),
        (
            "ArtifactProduced",
            json!({
                "artifact_id": "a", "name": "report.md", "media_type": "text/markdown",
                "part": { "text": "# Report" }, "append": true, "last_chunk": true,
            }),
        ),
        (
            "ArtifactProduced",
            json!({ "artifact_id": "a", "name": "", "media_type": "", "part": { "data": { "a": 1 } } }),
        ),
        (
            "ArtifactProduced",
            json!({ "artifact_id": "a", "name": "o", "media_type": "x/y", "part": { "url": "https://a.example" } }),
        ),
        (
            "ArtifactProduced",
            json!({
                "artifact_id": "a", "name": "o.bin", "media_type": "x/y",
                "part": { "blob": { "digest": "ab".repeat(32), "size_bytes": 40_000 } },
            }),
        ),
        (
            "InputRequested",
            json!({
                "request_id": "r", "step": "s", "kind": "input", "question": "Which branch?",
                "schema": { "type": "string" }, "expires_at": "2026-11-22T14:20:01Z",
            }),
        ),
        (
            "InputRequested",
            json!({
                "request_id": "r", "for_plan_id": "q", "kind": "approval", "question": "",
                "arguments": { "tool": "http", "arguments": {} }, "arguments_digest": "ab".repeat(32),
            }),
        ),
        ("InputRequested", json!({ "request_id": "r", "kind": "auth", "question": "Log in" })),
        ("InputReceived", json!({ "request_id": "r", "value": "main", "answered_by": "me", "via": "cli" })),
        ("InputReceived", json!({ "request_id": "r", "outcome": "expired", "answered_by": "e" })),
        ("InputReceived", json!({ "request_id": "r", "outcome": "withdrawn", "answered_by": "e" })),
        ("CancelRequested", json!({ "requested_by": "me" })),
        ("PauseRequested", json!({ "requested_by": "me", "reason": "the disk\nis full" })),
        ("ResumeRequested", json!({ "requested_by": "me" })),
        ("acme.note", json!({ "n": 1 })),
        ("PlanCompleted", json!({})),
        ("PlanCompleted", json!({ "outputs": { "message": "all\nis well", "count": 3 } })),
        ("PlanFailed", json!({ "reason": "error", "error": error })),
        ("PlanFailed", json!({ "reason": "cancelled", "error": { "code": "cancelled", "message": "" } })),
        ("PlanFailed", json!({ "reason": "rejected", "error": { "code": "", "message": "" } })),
        ("PlanFailed", json!({ "reason": "timed_out", "error": error })),
    ]
}

#[test]
fn each_event_is_one_update_in_plain_form() {
    let all: Vec<_> = events().iter().map(|(name, payload)| shown(name, payload, false)).collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn each_event_is_one_update_in_extended_form() {
    let all: Vec<_> = events().iter().map(|(name, payload)| shown(name, payload, true)).collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn the_extended_form_has_the_native_event_as_it_is_stored() {
    for (name, payload) in events() {
        let stored = stored(name, &payload);
        let text = text_of(&stored, true, None);
        assert!(text.contains(&format!("\"event\":{}", stored.to_json())), "{text}");
    }
}

#[test]
fn small_blobs_are_sent_along() {
    let digest = "ab".repeat(32);
    let of = |size_bytes: u64| {
        let part = json!({ "blob": { "digest": digest, "size_bytes": size_bytes } });
        stored(
            "ArtifactProduced",
            &json!({ "artifact_id": "a", "name": "o", "media_type": "x/y", "part": part }),
        )
    };
    assert_eq!(small_blob(&of(32 * 1024)).unwrap().to_string(), digest);
    assert_eq!(small_blob(&of(32 * 1024 + 1)), None);
    assert_eq!(small_blob(&stored("acme.note", &json!({}))), None);
    let parts = &read(&text_of(&of(3), false, Some(b"foo")))["artifactUpdate"]["artifact"]["parts"];
    assert_eq!(*parts, json!([{ "raw": "Zm9v", "filename": "o", "mediaType": "x/y" }]));
}

#[test]
fn what_does_not_fit_is_given_by_its_address() {
    let long = "long text ".repeat(7_000);
    let check = |event_type: &str, payload: Value, extended: bool| {
        let text = text_of(&stored(event_type, &payload), extended, None);
        assert!(text.len() < 64 * 1024, "{event_type} {}", text.len());
        read(&text)
    };
    let address = "http://127.0.0.1:7420/v1/events/00000001EW0000000000000007";
    let truncated = json!({
        "cursor": "7Q4M2K9A-00000000000004d2", "seq": 2,
        "eventId": "00000001EW0000000000000007", "truncated": true,
    });
    for extended in [false, true] {
        let part = json!({ "text": long });
        let payload = json!({ "artifact_id": long, "name": long, "media_type": "text/plain", "part": part });
        let artifact = &check("ArtifactProduced", payload, extended)["artifactUpdate"];
        assert_eq!(
            artifact["artifact"]["parts"],
            json!([{ "url": address, "mediaType": "application/json" }])
        );
        assert_eq!(artifact["artifact"]["artifactId"].as_str().unwrap().len(), 256);
        assert_eq!(artifact["metadata"][crate::a2a::wire::EXTENSION], truncated);

        let question = json!({ "request_id": "r", "kind": "input", "question": long });
        let status = &check("InputRequested", question, extended)["statusUpdate"];
        assert_eq!(status["status"]["state"], "TASK_STATE_INPUT_REQUIRED");
        let asked = &status["status"]["message"];
        assert_eq!(asked["parts"][1]["url"], address);
        let note = json!({ "requestId": "r", "kind": "input" });
        assert_eq!(asked["metadata"], json!({ crate::a2a::wire::EXTENSION: note }));
        assert_eq!(asked["extensions"], json!([crate::a2a::wire::EXTENSION]));
        assert_eq!(status["metadata"][crate::a2a::wire::EXTENSION], truncated);
    }
    // Nothing that a plain client is shown was left out, only the native event.
    let called = check("acme.note", json!({ "text": long }), true);
    assert_eq!(called["statusUpdate"]["metadata"][crate::a2a::wire::EXTENSION], truncated);
    let plain = check("acme.note", json!({ "text": long }), false);
    assert!(plain["statusUpdate"]["metadata"][crate::a2a::wire::EXTENSION]["truncated"].is_null());
    for extended in [false, true] {
        let completed =
            &check("PlanCompleted", json!({ "outputs": { "a": long } }), extended)["statusUpdate"];
        assert_eq!(completed["status"]["message"]["parts"][1]["url"], address);
        assert_eq!(completed["metadata"][crate::a2a::wire::EXTENSION], truncated);
        let fits = json!({ "outputs": { "a": &long[..50_000] } });
        let completed = &check("PlanCompleted", fits.clone(), extended)["statusUpdate"];
        assert_eq!(completed["status"]["message"]["parts"][1]["data"], fits["outputs"]);
    }
}

#[test]
fn of_a_message_that_is_shortened_stays_what_our_extension_says() {
    use crate::a2a::wire::{EXTENSION, Part};

    let stored = stored("acme.note", &json!({}));
    let check = |metadata: Value, expected: Value, expected_extensions: &[&str]| {
        let message = serde_json::from_value(json!({
            "parts": [{ "data": 1 }, { "text": "a  b" }], "metadata": metadata, "extensions": ["urn:x", EXTENSION],
        }));
        let short = shortened(message.unwrap(), &stored, Links::below(""));
        assert_eq!(short.parts[0], Part::text("a b"));
        assert_eq!(json!(short.metadata), expected);
        assert_eq!(short.extensions, expected_extensions);
    };
    let note = json!({ EXTENSION: { "requestId": "r" } });
    check(json!({ EXTENSION: { "requestId": "r" }, "urn:x": "y".repeat(9) }), note, &[EXTENSION]);
    check(json!({ EXTENSION: { "requestId": "r".repeat(3_000) } }), Value::Null, &[]);
    check(json!({ "urn:x": 1 }), Value::Null, &[]);
}

#[test]
fn line_ends_of_unicode_do_not_end_the_line() {
    let part = json!({ "text": "1\u{85}2\u{2028}3\u{2029}4é" });
    let payload = json!({ "artifact_id": "a", "name": "a", "media_type": "", "part": part });
    for extended in [false, true] {
        let text = text_of(&stored("ArtifactProduced", &payload), extended, None);
        assert!(!text.contains(['\u{85}', '\u{2028}', '\u{2029}']), "{text}");
        let parts = &read(&text)["artifactUpdate"]["artifact"]["parts"];
        assert_eq!(parts[0]["text"], "1\u{85}2\u{2028}3\u{2029}4é");
    }
}

#[test]
fn pieces_of_a_frame_are_found() {
    let stored = stored("acme.note", &json!({}));
    let text = text_of(&stored, false, None);
    let frame = Frame::of(text.as_bytes(), stored.event.event_type());
    let text = |piece: &[u8]| String::from_utf8(piece.to_vec()).unwrap();
    assert_eq!(text(frame.id_line), "id: 7Q4M2K9A-00000000000004d2\n");
    assert_eq!(text(frame.event_line), "event: acme.note\n");
    assert!(serde_json::from_slice::<Value>(frame.body).is_ok());
}

#[test]
fn history_is_what_both_sides_said() {
    let of = |event_type: &str, payload: Value| {
        let message = of_history(&stored(event_type, &payload), &about());
        message.map(|message| serde_json::to_value(message).unwrap())
    };
    let started = |message: Value| {
        let origin = json!({ "protocol": "a2a", "principal": "me", "message": message });
        of("PlanStarted", json!({ "name": "n", "origin": origin })).unwrap()
    };
    let sent = started(json!({ "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": "go" }] }));
    let expected = json!({
        "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": "go" }], "taskId": "p", "contextId": "c",
    });
    assert_eq!(sent, expected);
    let other = started(json!({ "a": 1 }));
    assert_eq!(other["parts"], json!([{ "data": { "a": 1 } }]));
    assert_eq!(
        (other["role"].as_str(), other["messageId"].as_str().map(str::len)),
        (Some("ROLE_USER"), Some(26))
    );
    let answer = json!({ "request_id": "r", "value": "main", "answered_by": "me", "via": "cli" });
    let said = of("InputReceived", answer).unwrap();
    assert_eq!((said["role"].as_str(), &said["parts"]), (Some("ROLE_USER"), &json!([{ "text": "main" }])));
    let message = json!({ "messageId": "m2", "role": "ROLE_USER", "parts": [{ "text": "main, please" }] });
    let answer = json!({ "request_id": "r", "value": "main", "answered_by": "me", "message": message });
    assert_eq!(of("InputReceived", answer).unwrap()["messageId"], "m2");
    let asked =
        of("InputRequested", json!({ "request_id": "r", "kind": "input", "question": "Which?" })).unwrap();
    assert_eq!(asked["role"], "ROLE_AGENT");
    assert_eq!(of("PlanStarted", json!({ "name": "n" })), None);
    assert_eq!(of("acme.note", json!({})), None);
}
