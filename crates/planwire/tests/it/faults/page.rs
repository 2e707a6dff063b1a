//! The page in a real browser: while its server is killed and started again, and when it asks.

use planwire_event::IdGenerator;
use serde_json::{Value, json};

use super::browser::Browser;
use crate::harness::{Place, Server, free_address};

const TEST: &str = "page_shows_every_event_once_after_its_server_was_killed_and_started_again";
const PLAN: &str = "seen";
const KILLS: u64 = 3;
/// Events before each kill and after each start.
const EVENTS: u64 = 10;

#[test]
fn page_shows_every_event_once_after_its_server_was_killed_and_started_again() {
    let Some(mut browser) = Browser::start(TEST) else { return };
    let place = Place::new();
    let address = free_address();
    let mut server = place.serve_at(&address, &[]);
    let payload = json!({"goal": "be seen", "inputs": {}, "name": PLAN});
    let started = json!({"event_type": "PlanStarted", "plan_id": PLAN, "payload": payload});
    server.http.post("/v1/events", &started).json(200);
    browser.tell(&format!("open {}/#{PLAN}", server.url));
    let ids = IdGenerator::system();
    let mut published = 0;
    for _ in 0..KILLS {
        browser.check(published);
        publish(&server, &ids, &mut published);
        server.kill();
        server = place.serve_at(&address, &[]);
        browser.check(published);
        publish(&server, &ids, &mut published);
    }
    browser.check(published);
    println!(
        "{KILLS} kills: the page shows {published} events once each, in order, and was never loaded again"
    );
    assert_eq!(server.stop().code(), Some(0));
}

const ASK: &str = "page_asks_what_a_plan_asks_until_somebody_answers";

#[test]
fn page_asks_what_a_plan_asks_until_somebody_answers() {
    let Some(mut browser) = Browser::start(ASK) else { return };
    let place = Place::new();
    let server = place.serve(&[]);
    let document = r#"
plan: ask
goal: Ask on the page
steps:
  below:
    plan:
      plan: below
      goal: Ask
      steps:
        count: { ask: How many?, answer: { type: int } }
        size: { after: [count], ask: How large?, answer: { enum: [small, large] } }
        go:
          after: [size]
          tool: exec
          with: { argv: [echo, "<b>${steps.count.output}</b>", "${steps.size.output}"] }
          approve: Go on?
        last: { after: [go], ask: Last? }
      outputs: { said: "${steps.go.output.stdout}${steps.last.output}" }
outputs: { said: "${steps.below.outputs.said}" }
"#;
    let file = place.file("ask.yaml", document);
    let mut running = place.start(&["--json", "run", file.to_str().expect("UTF-8")]);
    let first: Value = serde_json::from_str(&running.line_with("PlanStarted")).expect("JSON");
    let plan = first["plan_id"].as_str().expect("an id").to_owned();
    browser.tell(&format!("open {}/#{plan}", server.url));
    let ask = |browser: &mut Browser, command: &str, texts: &[&str]| {
        browser.tell(command);
        let seen = browser.answer();
        assert_eq!(seen["problems"], json!([]));
        let shown = seen["asks"][0].as_str().unwrap_or_default().to_owned();
        assert!(texts.iter().all(|text| shown.contains(text)), "{texts:?} in {seen}");
    };
    ask(&mut browser, "asks 1", &["How many?", "below · count"]);
    browser.tell("type many");
    ask(&mut browser, "wrong", &[r#"the value is not of type "integer""#]);
    browser.tell("type 3");
    browser.tell("press large");
    // What was written into the document is shown as it is, and is no part of the page.
    browser.tell("press Approve");
    while !running.line().expect("a question").contains("Last?") {}
    ask(&mut browser, "asks 1", &["Last?"]);
    // Answered elsewhere, the question goes.
    place.run(&["answer", &plan, "done", "--by", "ann"]).text(0);
    ask(&mut browser, "asks 0", &[]);
    let (status, rest) = running.end();
    assert!(status.success() && rest.contains(r"<b>3</b> large\ndone"), "{rest}");
    let approved = place.run(&["--json", "events", "--type", "InputReceived"]).json(0);
    let approved =
        approved.iter().find(|event| event["payload"]["value"] == json!(true)).expect("the approval");
    assert_eq!(approved["payload"]["via"], "page");
    assert_eq!(approved["payload"]["arguments_digest"].as_str().map(str::len), Some(64));
}

const USED: &str = "page_shows_progress_of_calls_and_usage_beside_its_limits";

#[test]
fn page_shows_progress_of_calls_and_usage_beside_its_limits() {
    let Some(mut browser) = Browser::start(USED) else { return };
    let place = Place::new();
    let server = place.serve(&[]);
    let tell = |plan: &str, event_type: &str, payload: Value| {
        let event = json!({"event_type": event_type, "plan_id": plan, "payload": payload});
        server.http.post("/v1/events", &event).json(200);
    };
    let below = |browser: &mut Browser, word: &str, step: &str| {
        let rows = browser.rows(word);
        let is_of = |row: &&Value| row["text"].as_str().is_some_and(|text| text.starts_with(step));
        let found: Vec<_> = rows.as_array().expect("rows").iter().filter(is_of).cloned().collect();
        assert_eq!(found.len(), 1, "{step} in {rows}");
        found[0].clone()
    };
    tell("top", "PlanStarted", json!({"name": "top", "goal": "Use much"}));
    tell("top", "SubplanSpawned", json!({"child_plan_id": "low", "name": "low", "step": "s"}));
    tell("low", "PlanStarted", json!({"name": "low", "parent_plan_id": "top"}));
    tell("low", "ToolCalled", json!({"call_id": "c", "step": "fetch", "tool": "http"}));
    tell("low", "ToolProgress", json!({"call_id": "c", "text": "1/9"}));
    browser.tell(&format!("open {}/#top", server.url));
    assert_eq!(below(&mut browser, "1/9", "fetch")["side"], "1/9");
    // What a tool says is text and nothing else, is cut, and takes the place of what it said before.
    let said = format!("2/9 \u{1b}[31m<b>\u{202e} {}", "x".repeat(300));
    tell("low", "ToolProgress", json!({"call_id": "c", "text": said}));
    let row = below(&mut browser, "2/9", "fetch");
    let side = row["side"].as_str().expect("a text");
    assert!(side.starts_with("2/9 \\u001b[31m<b>\\u202e xxx") && side.ends_with("x…"), "{row}");
    assert!(side.chars().count() < 100 && !row["text"].as_str().is_some_and(|text| text.contains("1/9")));
    assert!(!browser.head("calls").to_string().contains("tokens"), "nothing was used so far");

    let usage = json!({"input_tokens": 41000, "output_tokens": 2400, "cost": 0.19112, "currency": "USD"});
    tell("low", "ToolCompleted", json!({"call_id": "c", "step": "fetch", "ok": true, "usage": usage}));
    tell("low", "LimitWarned", json!({"limit": "tokens", "used": 43400, "max": 50000}));
    let row = below(&mut browser, "nearly", "low");
    assert_eq!((&row["side"], &row["level"]), (&json!("43.4K of 50K tokens · 0.191 USD"), &json!("near")));
    let row = below(&mut browser, "nearly", "fetch");
    assert_eq!(row["side"], "43.4K tokens · 0.191 USD", "progress goes with its call");
    let head = browser.head("USD").to_string();
    assert!(head.contains(r#"["43,400 tokens",""]"#) && head.contains(r#"["0.191 USD",""]"#), "{head}");
    tell("low", "ToolCalled", json!({"call_id": "d", "step": "again", "tool": "http"}));
    tell("low", "ToolCompleted", json!({"call_id": "d", "step": "again", "ok": true, "usage": usage}));
    assert_eq!(below(&mut browser, "86.8K", "low")["level"], "over");

    tell("low", "ToolCalled", json!({"call_id": "e", "step": "left", "tool": "http"}));
    tell("low", "PauseRequested", json!({"requested_by": "ann", "reason": "dear"}));
    let failed =
        json!({"reason": "limit_exceeded", "error": {"code": "limit_exceeded", "message": "enough"}});
    tell("low", "PlanFailed", failed);
    let row = below(&mut browser, "enough", "left");
    assert_eq!(row["state"], "failed", "no call runs longer than its plan");
}

#[test]
fn page_shows_the_limits_of_a_document_from_the_beginning() {
    let Some(mut browser) = Browser::start("page_shows_the_limits_of_a_document_from_the_beginning") else {
        return;
    };
    let place = Place::new();
    let server = place.serve(&[]);
    let document = "plan: few\ngoal: Call little\nlimits: { tool_calls: 40 }\nsteps: { list: { tool: file.list, with: { root: . } } }\n";
    let file = place.file("few.yaml", document);
    let events = place.run(&["--json", "run", file.to_str().expect("UTF-8")]).json(0);
    let plan = events[0]["plan_id"].as_str().expect("an id");
    browser.tell(&format!("open {}/#{plan}", server.url));
    let head = browser.head("40").to_string();
    assert!(head.contains(r#"["1 of 1 calls, limit 40",""]"#), "{head}");
}

fn publish(server: &Server, ids: &IdGenerator, published: &mut u64) {
    for _ in 0..EVENTS {
        *published += 1;
        let payload = json!({ "number": *published });
        let event = json!({"event_id": ids.next_id(), "event_type": "acme.note", "plan_id": PLAN, "payload": payload});
        server.http.post("/v1/events", &event).json(200);
    }
}
