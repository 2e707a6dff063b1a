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
    let tell = |plan: &str, event_type: &str, payload: Value| tell(&server, plan, event_type, payload);
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

#[test]
fn page_names_a_currency_until_costs_name_two() {
    let Some(mut browser) = Browser::start("page_names_a_currency_until_costs_name_two") else { return };
    let place = Place::new();
    let server = place.serve(&[]);
    tell(&server, "dear", "PlanStarted", json!({"name": "dear"}));
    let spend = |call: &str, usage: Value| {
        tell(&server, "dear", "ToolCalled", json!({"call_id": call, "step": call, "tool": "http"}));
        let payload = json!({"call_id": call, "step": call, "ok": true, "usage": usage});
        tell(&server, "dear", "ToolCompleted", payload);
    };
    browser.tell(&format!("open {}/#dear", server.url));
    spend("a", json!({"cost": 1, "currency": "Guilders of Holland"}));
    spend("b", json!({"cost": 1}));
    spend("c", json!({"cost": 1, "currency": "Guilders of Holland"}));
    browser.head("3 Guilders…");
    spend("d", json!({"cost": 1, "currency": "Guilders of Utrecht"}));
    browser.head("4 cost");
}

#[test]
fn page_shows_a_question_whatever_its_schema() {
    let Some(mut browser) = Browser::start("page_shows_a_question_whatever_its_schema") else { return };
    let place = Place::new();
    let server = place.serve(&[]);
    tell(&server, "odd", "PlanStarted", json!({"name": "odd"}));
    for (at, schema) in [json!(true), json!({"type": "string"})].into_iter().enumerate() {
        let payload = json!({"request_id": format!("r{at}"), "step": "s", "question": "What?", "kind": "input", "schema": schema});
        tell(&server, "odd", "InputRequested", payload);
    }
    browser.tell(&format!("open {}/#odd", server.url));
    browser.tell("asks 2");
    assert_eq!(browser.answer()["problems"], json!([]));
}

#[test]
fn page_does_not_call_a_call_failed_whose_end_was_removed() {
    let Some(mut browser) = Browser::start("page_does_not_call_a_call_failed_whose_end_was_removed") else {
        return;
    };
    let place = Place::new();
    let server = place.serve(&[]);
    for plan in ["well", "ill"] {
        tell(&server, plan, "PlanStarted", json!({"name": plan}));
        tell(&server, plan, "ToolCalled", json!({"call_id": "c", "step": "fetch", "tool": "http"}));
        let removed = tell(
            &server,
            plan,
            "ToolCompleted",
            json!({"call_id": "c", "step": "fetch", "ok": true, "output": "a key"}),
        );
        let error = json!({"reason": "error", "error": {"code": "failed", "message": "enough"}});
        match plan {
            "well" => tell(&server, plan, "PlanCompleted", json!({})),
            _ => tell(&server, plan, "PlanFailed", error),
        };
        place.run(&["redact", &removed, "--reason", "it holds a key"]).text(0);
        browser.tell(&format!("open {}/?{plan}#{plan}", server.url));
        let rows = browser.rows("its end is not known");
        assert_eq!(rows[1]["state"], "unknown", "{rows}");
        let head = browser.head("not known").to_string();
        assert!(head.contains("0 of 1 calls, 1 not known"), "{head}");
    }
}

#[test]
fn pane_of_a_plan_holds_its_newest_events_and_is_not_built_again_for_each() {
    let test = "pane_of_a_plan_holds_its_newest_events_and_is_not_built_again_for_each";
    let Some(mut browser) = Browser::start(test) else { return };
    let place = Place::new();
    let server = place.serve(&[]);
    tell(&server, "wide", "PlanStarted", json!({"name": "wide"}));
    let spawn = |child: &str| {
        let payload = json!({"child_plan_id": child, "name": "low", "step": "s"});
        tell(&server, "wide", "SubplanSpawned", payload)
    };
    (1..=205).for_each(|at| drop(spawn(&format!("low-{at}"))));
    browser.tell(&format!("open {}/#wide", server.url));
    browser.head("206 events");
    browser.tell("detail wide");
    let pane = browser.pane("low-205");
    assert_eq!(pane["events"], 200);
    let note = pane["note"].as_str().unwrap_or_default();
    assert!(
        note.starts_with("6 events before these") && note.ends_with("planwire events --plan wide"),
        "{pane}"
    );
    spawn("latest");
    let pane = browser.pane("latest");
    assert_eq!((&pane["events"], &pane["stood"]), (&json!(200), &json!(199)));

    // A payload that is too large to be kept for each row is fetched when somebody wants to see it.
    let text = format!("{} and its end", "x".repeat(5_000));
    tell(&server, "wide", "acme.long", json!({ "text": text }));
    // The first click has folded it.
    browser.tell("detail wide");
    browser.rows("acme.long");
    browser.tell("detail acme.long");
    browser.pane("Show its payload");
    browser.tell("whole");
    assert_eq!(browser.pane("and its end")["stood"], 1);
}

#[test]
fn rows_beyond_those_that_a_plan_shows_count_all_the_same() {
    let Some(mut browser) = Browser::start("rows_beyond_those_that_a_plan_shows_count_all_the_same") else {
        return;
    };
    let place = Place::new();
    let server = place.serve(&[]);
    tell(&server, "long", "PlanStarted", json!({"name": "long"}));
    let note = json!({"event_type": "acme.note", "plan_id": "long", "payload": {}});
    server.http.post("/v1/events", &json!({"events": vec![note; 401]})).json(200);
    let usage = json!({"total_tokens": 70});
    tell(&server, "long", "ToolCalled", json!({"call_id": "c", "step": "fetch", "tool": "http"}));
    tell(&server, "long", "ToolProgress", json!({"call_id": "c", "text": "1/9"}));
    tell(
        &server,
        "long",
        "ToolCompleted",
        json!({"call_id": "c", "step": "fetch", "ok": true, "usage": usage}),
    );
    let asked = json!({"request_id": "r", "step": "s", "question": "What?", "kind": "input"});
    tell(&server, "long", "InputRequested", asked);
    browser.tell(&format!("open {}/#long", server.url));
    browser.tell("asks 1");
    assert_eq!(browser.answer()["problems"], json!([]));
    assert_eq!(browser.rows("3 more, not shown here").as_array().map(Vec::len), Some(401));
    let head = browser.head("70 tokens").to_string();
    assert!(head.contains("1 of 1 calls"), "{head}");
    tell(&server, "long", "PlanCompleted", json!({}));
    browser.tell("asks 0");
    assert_eq!(browser.answer()["problems"], json!([]));
}

#[test]
fn page_leaves_no_stream_behind_when_the_log_becomes_another() {
    let test = "page_leaves_no_stream_behind_when_the_log_becomes_another";
    let Some(mut browser) = Browser::start(test) else { return };
    let address = free_address();
    let places = [Place::new(), Place::new(), Place::new()];
    let mut last: Option<Server> = None;
    for (at, place) in places.iter().enumerate() {
        if let Some(server) = last.take() {
            server.kill();
        }
        let server = place.serve_at(&address, &[]);
        tell(&server, "own", "PlanStarted", json!({"name": format!("log-{at}")}));
        if at == 0 {
            browser.tell(&format!("open {}/", server.url));
        }
        browser.rows(&format!("log-{at}"));
        last = Some(server);
    }
    let server = last.expect("a server runs");
    tell(&server, "next", "PlanStarted", json!({"name": "shown-live"}));
    browser.rows("shown-live");
    browser.tell("streams");
    assert_eq!(browser.answer()["streams"], 2, "of the list and of the tree");
}

/// Publishes an event and gives its id.
fn tell(server: &Server, plan: &str, event_type: &str, payload: Value) -> String {
    let event = json!({"event_type": event_type, "plan_id": plan, "payload": payload});
    let said = server.http.post("/v1/events", &event).json(200);
    said["events"][0]["event_id"].as_str().expect("an id").to_owned()
}

fn publish(server: &Server, ids: &IdGenerator, published: &mut u64) {
    for _ in 0..EVENTS {
        *published += 1;
        let payload = json!({ "number": *published });
        let event = json!({"event_id": ids.next_id(), "event_type": "acme.note", "plan_id": PLAN, "payload": payload});
        server.http.post("/v1/events", &event).json(200);
    }
}
