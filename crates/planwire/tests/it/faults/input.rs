//! What no client should send, at the door of the real program: each gets its typed answer, and stores nothing.

use serde_json::{Value, json};

use super::crowd::{head, log_of};
use super::row::Row;
use crate::harness::{Place, Server};

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn bad_input_gets_its_typed_answer_and_stores_nothing() {
    let place = Place::new();
    let server = place.serve_documents();
    prepare(&server);
    let before = head(&server);
    let cases =
        bodies(&server) + cursors(&server) + filters(&server) + json_rpc(&server) + documents(&server);
    assert_eq!(head(&server), before);
    let files = plan_files(&place);
    assert_eq!(server.http.get("/readyz").status, 200);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(log_of(&place).len() as u64, before);
    Row::new("bad input", format!("{cases} requests, {files} documents"))
        .figure("each with its typed answer, stored 0")
        .check();
}

/// Plans `p`, which is open, and `ended`, and an event whose id is taken.
fn prepare(server: &Server) {
    let counts = json!({"decisions": 0, "events": 0, "retries": 0, "subplans": 0, "tool_calls": 0});
    let completed = json!({"counts": counts, "duration_ms": 1, "outputs": {}});
    for event in [
        json!({"event_type": "PlanStarted", "plan_id": "p", "payload": {"name": "p"}}),
        json!({"event_type": "PlanStarted", "plan_id": "ended", "payload": {"name": "ended"}}),
        json!({"event_type": "PlanCompleted", "plan_id": "ended", "payload": completed}),
        taken(1),
    ] {
        server.http.post("/v1/events", &event).json(200);
    }
    let again = server.http.post("/v1/events", &taken(1)).json(200);
    assert_eq!(again["events"][0]["duplicate"], true, "the same event again is answered with its place");
}

fn taken(number: u64) -> Value {
    json!({
        "event_id": "01KAW9E3R5Y6Z7M8N9P0Q1R2S3", "event_type": "acme.note", "plan_id": "p",
        "timestamp": "2026-11-22T12:00:00Z", "payload": {"number": number},
    })
}

fn expect(server: &Server, method: &str, path: &str, body: &str, status: u16, problem: &str) {
    let answer = server.http.send(method, path, &[JSON], body);
    let excerpt: String = body.chars().take(80).collect();
    assert_eq!(answer.status, status, "{method} {path} {excerpt}: {answer:?}");
    let kind = answer.json(status)["type"].as_str().expect("a problem").to_owned();
    assert!(kind.ends_with(problem), "{method} {path} {excerpt}: {kind}");
}

fn bodies(server: &Server) -> usize {
    let note = |payload: &str| format!(r#"{{"event_type":"acme.note","plan_id":"p","payload":{payload}}}"#);
    let plan = |plan: &str| json!({"event_type": "acme.note", "plan_id": plan}).to_string();
    let event = |event_type: &str, plan: &str, payload: Value| {
        json!({"event_type": event_type, "plan_id": plan, "payload": payload}).to_string()
    };
    let completed = json!({"call_id": "none", "tool": "exec", "ok": true, "duration_ms": 1});
    let deep = format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65));
    let text = |bytes: usize| note(&format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8)));
    let cases = [
        (plan("a\nb"), 400, "event-invalid"),
        (plan("a\0"), 400, "event-invalid"),
        (plan("."), 400, "event-invalid"),
        (plan("*"), 400, "event-invalid"),
        (plan(">"), 400, "event-invalid"),
        (plan("%"), 400, "event-invalid"),
        (plan("'"), 400, "event-invalid"),
        (plan("ｐ"), 400, "event-invalid"),
        (plan(&"p".repeat(1_000_000)), 400, "event-invalid"),
        (event("Nonsense", "p", json!({})), 400, "event-invalid"),
        (note("[]"), 400, "event-invalid"),
        (note(&deep), 400, "event-invalid"),
        (note(r#"{"a":"\u0000"}"#), 400, "event-invalid"),
        (note(r#"{"a":"\ud800"}"#), 400, "event-invalid"),
        (note(r#"{"a":1,"a":2}"#), 400, "event-invalid"),
        (note(r#"{"a":1e400}"#), 400, "event-invalid"),
        (note(r#"{"a":99999999999999999999}"#), 400, "event-invalid"),
        (text(256 * 1024 + 1), 413, "payload-too-large"),
        (text(1024 * 1024), 413, "body-too-large"),
        (taken(2).to_string(), 409, "event-conflict"),
        (event("ToolCompleted", "p", completed), 409, "event-refused"),
        (event("acme.note", "ended", json!({})), 409, "event-refused"),
        (event("acme.note", "nobody", json!({})), 409, "event-refused"),
        ("{".to_owned(), 400, "body-malformed"),
    ];
    for (body, status, problem) in &cases {
        expect(server, "POST", "/v1/events", body, *status, problem);
    }
    cases.len()
}

fn cursors(server: &Server) -> usize {
    let ready = server.http.get("/readyz").json(200);
    let log =
        ready["head"].as_str().and_then(|cursor| cursor.split('-').next()).expect("a cursor").to_owned();
    let long = "9".repeat(10_000);
    let (negative, beyond) = (format!("{log}--000000000000001"), format!("{log}-00000000000003e8"));
    let cases = [
        ("", 400, "cursor-malformed"),
        ("-1", 400, "cursor-malformed"),
        ("9223372036854775808", 400, "cursor-malformed"),
        (&negative, 400, "cursor-malformed"),
        ("7Q4M2K9A-000000000000000é", 400, "cursor-malformed"),
        (&long, 400, "cursor-malformed"),
        (&beyond, 409, "cursor-beyond-head"),
        ("ZZZZZZZZ-0000000000000001", 409, "cursor-other-log"),
    ];
    for (cursor, status, problem) in cases {
        for accept in ["text/event-stream", "application/json"] {
            let headers = [("Accept", accept), ("Last-Event-ID", cursor)];
            let answer = server.http.send("GET", "/v1/events", &headers, "");
            assert!(answer.status == status && answer.body.contains(problem), "{cursor}: {answer:?}");
        }
    }
    2 * cases.len()
}

fn filters(server: &Server) -> usize {
    let cases = [
        "/v1/events?event_type=Nonsense",
        "/v1/events?limit=0",
        "/v1/events?limit=1&limit=2",
        "/v1/events?plan_id=p&plan_id=q",
        "/v1/events?tree=true",
        "/v1/events?plan_id=a%0Ab",
        "/v1/events?plan_id=%00",
        "/v1/plans/p/events?plan_id=q",
        "/v1/events?since=x",
    ];
    for path in cases {
        expect(server, "GET", path, "", 400, "parameter-invalid");
    }
    cases.len()
}

fn json_rpc(server: &Server) -> usize {
    let call = |method: &str, id: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
    };
    let cases = [
        (format!("[{}]", call("GetTask", "1", "{}")), -32_600),
        (r#"{"jsonrpc":"2.0","method":"GetTask","params":{}}"#.to_owned(), -32_600),
        (call("Nonsense", "1", "{}"), -32_601),
        (call("GetTask", "1", "[]"), -32_602),
        (call("GetTask", "1", "{}"), -32_602),
        ("{".to_owned(), -32_700),
    ];
    for (body, code) in &cases {
        let answer = server.http.send("POST", "/a2a", &[JSON, ("A2A-Version", "1.0")], body);
        let error: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(error["error"]["code"], *code, "{body}: {answer:?}");
    }
    cases.len()
}

fn documents(server: &Server) -> usize {
    let bomb = "a: &a [x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nplan: p\ngoal: g\nsteps: {}\n";
    let steps = |one: &str, two: &str| format!("plan: p\ngoal: g\nsteps:\n  one: {one}\n  two: {two}\n");
    let cases = [
        bomb.to_owned(),
        steps("{ after: [two], fail: x }", "{ after: [one], fail: x }"),
        "plan: p\ngoal: g\nsteps: {}\nunknown: 1\n".to_owned(),
        "plan: p\n".to_owned(),
    ];
    for text in &cases {
        let body = json!({ "text": text }).to_string();
        expect(server, "POST", "/v1/plans", &body, 422, "document-invalid");
    }
    expect(
        server,
        "POST",
        "/v1/plans",
        &json!({"document": "nobody"}).to_string(),
        422,
        "document-unregistered",
    );
    cases.len() + 1
}

/// Files for `planwire check`: a line end of another system and a mark of the byte order are none of its business, ten
/// megabytes are.
fn plan_files(place: &Place) -> usize {
    let good = "plan: p\ngoal: g\nsteps:\n  one: { fail: x }\n";
    let cases = [
        (good.to_owned(), 0),
        (good.replace('\n', "\r\n"), 0),
        (format!("\u{feff}{good}"), 0),
        (format!("{good}# {}\n", "x".repeat(10 << 20)), 2),
        ("\0".to_owned(), 2),
    ];
    for (number, (text, code)) in cases.iter().enumerate() {
        let file = place.file(&format!("plan-{number}.yaml"), text);
        let ran = place.run(&["check".as_ref(), file.as_os_str()]);
        assert_eq!(ran.code, Some(*code), "{number}: {ran:?}");
    }
    cases.len()
}
