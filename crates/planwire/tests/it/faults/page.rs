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

fn publish(server: &Server, ids: &IdGenerator, published: &mut u64) {
    for _ in 0..EVENTS {
        *published += 1;
        let payload = json!({ "number": *published });
        let event = json!({"event_id": ids.next_id(), "event_type": "acme.note", "plan_id": PLAN, "payload": payload});
        server.http.post("/v1/events", &event).json(200);
    }
}
