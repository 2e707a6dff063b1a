//! Secrets that nobody named: whatever a server gives back, no file, no stream and nothing that is printed holds them.

use serde_json::json;

use crate::harness::Place;
use crate::sought::{Sought, answering, redacted_of, send_message, start_and_follow, told_of};

/// Stands under a key name.
const NAMED: &str = "canary-of-a-key-name";
/// Is in the environment of the server.
const VARIABLE: &str = "canary-of-the-environment-7";

/// Is given for the secret input, of which a program also tells the length: 20.
const INPUT: &str = "canary-of-an-input-8";
const SOUGHT: Sought = Sought(&[NAMED, VARIABLE, INPUT, "0cAnA0cAnA"]);
/// What takes the place of them.
const MARKERS: [&str; 5] = [
    "***access_token***",
    "***github_token***",
    "***DEPLOY_TOKEN***",
    "***x_api_key***",
    "***inputs.token***|20",
];

/// A token of the form of GitHub's, put together.
fn token() -> String {
    format!("ghp_{}", "0cAnA".repeat(8))
}

const PLAN: &str = r#"
plan: canaries
goal: Get secrets that nobody named
inputs: { url: { type: string }, code: { type: string, default: "0" }, note: { type: string, default: none }, token: { type: string, secret: true } }
steps:
  ask: { tool: http, with: { url: "${inputs.url}", headers: { x-api-key: "${['canary', 'of', 'a', 'key', 'name'].join('-')}" } } }
  echo: { tool: exec, with: { argv: [sh, -c, 'printf "%s|%d" "$TOKEN" $(printf %s "$TOKEN" | wc -c); printf %s "$TOKEN" >&2'], env: { TOKEN: "${inputs.token}" } } }
  say:
    tool: exec
    with:
      argv: [sh, -c, 'key() { printf ghp_; for at in 1 2 3 4 5 6 7 8; do printf 0cAnA; done; }; key; printf "|%s\n" "$1"; key >&2; exit "$2"', sh, "${inputs.note}", "${inputs.code}"]
outputs: { asked: "${steps.ask.output}", said: "${steps.say.output}", echoed: "${steps.echo.output}" }
artifacts: { note: { media_type: text/plain, text: "${steps.say.output.stdout} ${steps.ask.output.json.access_token}" } }
"#;

/// Answers `count` requests; how many had the key.
fn answers(count: usize) -> (String, std::thread::JoinHandle<usize>) {
    let body =
        json!({"access_token": NAMED, "text": [token(), VARIABLE], "next_page_token": "p2"}).to_string();
    answering("/login", count, b"\r\n\r\n", NAMED, move |_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        format!("{head}content-length: {}\r\n\r\n{body}", body.len())
    })
}

#[test]
fn nothing_that_looks_like_a_secret_is_stored_streamed_exported_or_told() {
    let mut place = Place::new();
    place.file("plans/plan.yaml", PLAN);
    let plans = place.folder("plans").to_string_lossy().into_owned();
    let config = format!(
        "[engine]\nplans = '{plans}'\n[engine.http]\nallow_private = ['127.0.0.1']\n[[a2a.routes]]\nplan = 'canaries'\n"
    );
    let config = place.file("work/planwire.toml", &config);
    place.set_variable("PLANWIRE_CONFIG", config);
    place.set_variable("PLANWIRE_LOG", "trace");
    place.set_variable("DEPLOY_TOKEN", VARIABLE);
    let (url, answers) = answers(3);
    let server = place.serve(&[]);
    let mut told = Vec::new();
    let ids = ["0", "3"].map(|code| {
        let inputs = json!({"url": url, "code": code, "token": INPUT, "note": format!("a {} note", token())});
        start_and_follow(&server, &json!({"document": "canaries", "inputs": inputs}), &mut told)
    });
    told.push(send_message(&server, &json!({"url": url, "note": token(), "token": INPUT})).body);
    told.extend(told_of(&server, &ids));
    assert_eq!(answers.join().expect("all were answered"), 3, "the server got the key");
    for marker in MARKERS {
        assert!(told.iter().any(|text| text.contains(marker)), "{marker}");
    }
    assert!(told.iter().any(|text| text.contains("\"p2\"")), "the token of a page is none");
    told.iter().for_each(|text| SOUGHT.check(text.as_bytes(), "an answer of the server"));

    // Before the end of the server empties it.
    let files = SOUGHT.check_files(&place.data());
    assert!(files.iter().any(|name| name.ends_with("-wal")), "{files:?}");
    let export = place.folder("out").join("events.jsonl");
    place.run(&["export", "--proofs", "--out", &export.to_string_lossy()]).text(0);
    SOUGHT.check_files(&place.folder("out"));
    let lines = redacted_of(&export);
    let of_ask = |event_type: &str| {
        let is_it =
            |line: &serde_json::Value| line["event_type"] == event_type && line["payload"]["step"] == "ask";
        let (_, redacted) = lines.iter().find(|(line, _)| is_it(line)).expect("an event");
        redacted.clone()
    };
    assert_eq!(of_ask("ToolCalled"), ["/arguments/headers/x-api-key"]);
    let mut of_answer = of_ask("ToolCompleted");
    of_answer.retain(|path| path.starts_with("/output/json"));
    assert_eq!(of_answer, ["/output/json/access_token", "/output/json/text/0", "/output/json/text/1"]);
    SOUGHT.check_shown(&place, &ids);
    SOUGHT.check_end(server);
    SOUGHT.check_files(&place.data());
}
