//! Questions of plans on the command line: shown, answered, and what is said of answers that do not fit.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Place, Ran, Running, finish};

const NESTED: &str = r#"
plan: above
goal: Ask from below
steps:
  below:
    plan:
      plan: below
      goal: Ask
      steps:
        branch: { ask: "Which branch?", answer: { type: string, enum: [main, next] } }
        go:
          after: [branch]
          approve: Go on?
          arguments: { branch: "${steps.branch.output}" }
      outputs: { branch: "${steps.branch.output}", by: "${steps.go.output.answered_by}" }
outputs: { below: "${steps.below.outputs}" }
"#;

/// A plan that runs, and its id.
fn started(place: &Place, document: &str) -> (Running, String) {
    let file = place.file("ask.yaml", document);
    let mut running = place.start(&["--json", "run", file.to_str().expect("UTF-8")]);
    let first: Value = serde_json::from_str(&running.line_with("PlanStarted")).expect("JSON");
    let plan = first["plan_id"].as_str().expect("an id").to_owned();
    (running, plan)
}

/// Waits for the next question of the plan itself, and gives its event.
fn asked(running: &mut Running, plan: &str) -> Value {
    loop {
        let event: Value = serde_json::from_str(&running.line_with("InputRequested")).expect("JSON");
        if event["plan_id"] == plan {
            return event["payload"].clone();
        }
    }
}

fn refused(ran: &Ran, code: i32, message: &str) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert!(ran.stderr.contains(message), "{ran:?}");
}

#[test]
fn question_of_a_subplan_is_shown_and_answered_at_the_root() {
    let place = Place::new();
    let (mut running, plan) = started(&place, NESTED);
    let question = asked(&mut running, &plan);
    let below = question["for_plan_id"].as_str().expect("the plan that asks").to_owned();

    let shown = place.run(&["answer", &plan]);
    let text = shown.text(0);
    assert!(text.contains("? branch: Which branch?\n"), "{text}");
    assert!(text.contains("one of main, next, until 2"), "{text}");
    assert!(text.contains(&format!("planwire answer {plan} VALUE")), "{text}");
    let listed = place.run(&["--json", "answer", &below]).json(0);
    assert_eq!((listed.len(), &listed[0]["request_id"]), (1, &question["request_id"]));

    refused(&place.run(&["answer", &plan, "old"]), 2, "one of main, next is asked for");
    refused(&place.run(&["answer", &plan, "{", "--as-json"]), 2, "the answer is not JSON");
    refused(&place.run(&["answer", &plan, "3", "--as-json"]), 2, "the answer does not fit");
    let answered = place.run(&["--json", "answer", &plan, "Next", "--by", "ann"]).json(0);
    assert_eq!((&answered[0]["plan_id"], &answered[0]["duplicate"]), (&json!(below), &json!(false)));

    asked(&mut running, &plan);
    let text = place.run(&["answer", &plan]).text(0).to_owned();
    assert!(text.contains("approve or deny") && text.contains("\"branch\": \"next\""), "{text}");
    assert!(place.run(&["show", &plan]).text(0).contains("Go on?"));
    place.run(&["answer", &below, r#"{"approved": true}"#, "--as-json", "--by", "ben"]).text(0);
    let (status, rest) = running.end();
    assert!(status.success(), "{rest}");
    let last: Value = serde_json::from_str(rest.lines().last().expect("events")).expect("JSON");
    assert_eq!(last["payload"]["outputs"], json!({"below": {"branch": "next", "by": "ben"}}));

    refused(&place.run(&["answer", &plan, "main"]), 1, "has ended and asks nothing any more");
    refused(&place.run(&["answer", "nobody", "main"]), 1, "plan nobody is unknown");
}

#[test]
fn several_questions_are_told_apart_by_their_id() {
    let place = Place::new();
    let document = "plan: two\ngoal: Ask twice\nsteps: { a: { ask: First? }, b: { ask: Second? } }\n\
                    outputs: { a: \"${steps.a.output}\", b: \"${steps.b.output}\" }\n";
    let (mut running, plan) = started(&place, document);
    let questions = [asked(&mut running, &plan), asked(&mut running, &plan)];
    refused(&place.run(&["answer", &plan, "x"]), 2, "asks 2 questions");
    let shown = place.run(&["answer", &plan]);
    for question in &questions {
        let id = question["request_id"].as_str().expect("an id");
        assert!(shown.text(0).contains(&format!("VALUE --request {id}")), "{shown:?}");
        let step = question["step"].as_str().expect("a step");
        place.run(&["answer", &plan, step, "--request", id]).text(0);
        refused(&place.run(&["answer", &plan, step, "--request", id]), 1, "");
    }
    let (status, rest) = running.end();
    assert!(status.success() && rest.contains(r#""outputs":{"a":"a","b":"b"}"#), "{rest}");
}

#[test]
fn run_says_how_to_answer() {
    let place = Place::new();
    let file = place.file("ask.yaml", "plan: ask\ngoal: Ask\nsteps: { a: { ask: Which?, expires: 1ms } }\n");
    let ran = place.run(&["run", file.to_str().expect("UTF-8")]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("? [ask] a asks: Which?"), "{ran:?}");
    assert!(ran.stdout.contains("nobody answered in time"), "{ran:?}");
    assert!(ran.stderr.contains("a text is asked for: planwire answer 01"), "{ran:?}");
}

#[test]
fn question_of_a_plan_that_nobody_runs_here_is_answered_in_the_file() {
    let place = Place::new();
    let events = concat!(
        r#"{"event_type":"PlanStarted","plan_id":"p","payload":{"name":"n"}}"#,
        "\n",
        r#"{"event_type":"InputRequested","plan_id":"p","payload":{"request_id":"q","kind":"approval","question":"Go?"}}"#,
        "\n"
    );
    place.run(&["answer", "p"]);
    place.run_with(&["publish", "-"], events).text(0);
    refused(&place.run(&["answer", "p", "perhaps"]), 2, "approve or deny is asked for");
    let text = place.run(&["answer", "p", "approve"]).text(0).to_owned();
    assert!(text.contains("answered: Go?, but nobody runs the plan here"), "{text}");
    let stored = place.run(&["--json", "events", "--type", "InputReceived"]).json(0);
    assert_eq!((&stored[0]["payload"]["value"], &stored[0]["payload"]["via"]), (&json!(true), &json!("cli")));
    refused(&place.run(&["answer", "p", "approve"]), 1, "plan p asks nothing");
    assert!(place.run(&["answer", "p"]).text(0).contains("asks nothing at the moment"));
}

#[test]
fn on_a_terminal_the_question_is_asked_until_an_answer_fits() {
    if Command::new("script").arg("--version").output().is_err() {
        if let Some(path) = std::env::var_os("PLANWIRE_SKIPPED_FILE") {
            use std::io::Write as _;
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            writeln!(file.expect("the list"), "answer on a terminal: there is no script").expect("the list");
        }
        return;
    }
    let place = Place::new();
    let document = "plan: ask\ngoal: Ask\nsteps: { a: { ask: How many?, answer: { type: int } } }\n\
                    outputs: { a: \"${steps.a.output}\" }\n";
    let (mut running, plan) = started(&place, document);
    asked(&mut running, &plan);
    let mut script = Command::new("script");
    let line = format!("'{}' answer {plan}", env!("CARGO_BIN_EXE_planwire"));
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.env("TERM", "xterm-256color").env("PLANWIRE_DATA", place.data());
    script.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let ran = finish(script, "many\n7\n");
    let shown = ran.text(0);
    assert!(shown.contains("How many?") && shown.contains("a whole number is asked for"), "{shown}");
    assert!(shown.contains("answered: How many?"), "{shown}");
    let (status, rest) = running.end();
    assert!(status.success() && rest.contains(r#""outputs":{"a":7}"#), "{rest}");
}
