//! Secrets that nobody named: whatever a server gives back, no file, no stream and nothing that is printed holds them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::Place;

/// Stands under a key name.
const NAMED: &str = "canary-of-a-key-name";
/// Is in the environment of the server.
const VARIABLE: &str = "canary-of-the-environment-7";

/// Is given for the secret input, of which a program also tells the length: 20.
const INPUT: &str = "canary-of-an-input-8";
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
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/login", listener.local_addr().expect("an address"));
    let body =
        json!({"access_token": NAMED, "text": [token(), VARIABLE], "next_page_token": "p2"}).to_string();
    let answers = std::thread::spawn(move || {
        let mut with_key = 0;
        for _ in 0..count {
            let (mut stream, _) = listener.accept().expect("a request");
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.ends_with(b"\r\n\r\n") {
                let read = stream.read(&mut buffer).expect("a request");
                assert!(read > 0, "half a request");
                request.extend_from_slice(&buffer[..read]);
            }
            with_key += usize::from(String::from_utf8_lossy(&request).contains(NAMED));
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
            let head = format!("{head}content-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).expect("an answer");
        }
        with_key
    });
    (url, answers)
}

fn check(bytes: &[u8], what: &str) {
    for canary in [NAMED, VARIABLE, INPUT, "0cAnA0cAnA"] {
        let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(
            !found,
            "{canary} is in {what}: {}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(4000)])
        );
    }
}

/// Looks through all files of a folder and says their names.
fn check_files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files = entries.filter(|path| path.is_file());
    let name = |path: std::path::PathBuf| {
        let name = path.to_string_lossy().into_owned();
        check(&std::fs::read(&path).expect("a file"), &name);
        name
    };
    files.map(name).collect()
}

fn redacted_of(export: &Path, event_type: &str, step: &str) -> Vec<String> {
    let lines = std::fs::read_to_string(export).expect("an export");
    let mut lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let line = lines.find(|line| line["event_type"] == event_type && line["payload"]["step"] == step);
    let line = line.expect("an event");
    let meta: Value = serde_json::from_str(line["meta"].as_str().expect("a text")).expect("JSON");
    serde_json::from_value(meta["redacted"].clone()).unwrap_or_default()
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
    let (mut told, mut ids) = (Vec::new(), Vec::new());
    for code in ["0", "3"] {
        let inputs = json!({"url": url, "code": code, "token": INPUT, "note": format!("a {} note", token())});
        let start = json!({"document": "canaries", "inputs": inputs});
        let id =
            server.http.post("/v1/plans", &start).json(201)["plan_id"].as_str().expect("an id").to_owned();
        let mut stream = server.http.stream(&format!("/v1/plans/{id}/events"), None);
        while let Some(frame) = stream.frame() {
            told.push(frame.data.clone());
            if frame.event == "end" {
                break;
            }
        }
        ids.push(id);
    }
    let message = json!({"message": {
        "messageId": "m1", "role": "ROLE_USER", "parts": [{"data": {"url": url, "note": token(), "token": INPUT}}],
    }});
    let headers = [("Content-Type", "application/json"), ("A2A-Version", "1.0")];
    told.push(server.http.send("POST", "/a2a/message:stream", &headers, &message.to_string()).body);
    for id in &ids {
        for path in [format!("/v1/plans/{id}"), format!("/v1/plans/{id}/events"), format!("/a2a/tasks/{id}")]
        {
            told.push(server.http.get(&path).body);
        }
    }
    assert_eq!(answers.join().expect("all were answered"), 3, "the server got the key");
    for marker in MARKERS {
        assert!(told.iter().any(|text| text.contains(marker)), "{marker}");
    }
    assert!(told.iter().any(|text| text.contains("\"p2\"")), "the token of a page is none");
    told.iter().for_each(|text| check(text.as_bytes(), "an answer of the server"));

    // Before the end of the server empties it.
    let files = check_files(&place.data());
    assert!(files.iter().any(|name| name.ends_with("-wal")), "{files:?}");
    let export = place.folder("out").join("events.jsonl");
    place.run(&["export", "--proofs", "--out", &export.to_string_lossy()]).text(0);
    check_files(&place.folder("out"));
    assert_eq!(redacted_of(&export, "ToolCalled", "ask"), ["/arguments/headers/x-api-key"]);
    let of_answer = redacted_of(&export, "ToolCompleted", "ask");
    let of_answer: Vec<_> = of_answer.iter().filter(|path| path.starts_with("/output/json")).collect();
    assert_eq!(of_answer, ["/output/json/access_token", "/output/json/text/0", "/output/json/text/1"]);
    for id in &ids {
        for arguments in [&["show", id][..], &["--json", "show", id], &["events", "--plan", id]] {
            let ran = place.run(arguments);
            check(ran.stdout.as_bytes(), "standard output");
            check(ran.stderr.as_bytes(), "standard error");
        }
    }
    server.running.signal(rustix::process::Signal::TERM);
    let (_, diagnostics) = server.running.end();
    check(diagnostics.as_bytes(), "diagnostics of the server");
    check_files(&place.data());
}
