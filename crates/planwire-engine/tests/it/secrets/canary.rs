//! A secret is used and echoed in every way; then nothing on disk and no event holds it.

use std::path::Path;
use std::sync::Arc;

use planwire_bus::Log;
use planwire_engine::{EngineConfig, Secrets};
use planwire_event::vocabulary::{ArtifactPart, ArtifactProduced, PlanStarted, ToolCompleted};
use planwire_event::{IdGenerator, SystemClock};
use planwire_store::{OpenOptions, SqliteStore};
use serde_json::json;

use crate::house::{Events, House};
use crate::http::peer::{Answer, Peer, local, response};

const CANARY: &str = "c4n4ry/+~ \"q\\u00e9\" é%&=\tend";
const DIGITS: &str = "80085135";

const PLAN: &str = r#"
plan: canary
goal: Use a secret and have it echoed
inputs: { url: { type: string }, echo: { type: string }, list: { type: list } }
steps:
  ask:
    tool: http
    with:
      url: "${inputs.url}/ok"
      method: POST
      headers: { x-token: "Bearer ${secret('DIGITS')}" }
      query: { token: "${secret('CANARY')}" }
      json: { deep: ["${secret('CANARY')}", { more: "a${secret('CANARY')}b" }] }
  text:
    tool: http
    with: { url: "${inputs.url}/text", method: POST, text: "${secret('CANARY')}", max_response_bytes: 90000 }
  cut: { tool: http, with: { url: "${inputs.url}/cut", method: POST, text: "${secret('CANARY')}" } }
  bytes: { tool: http, with: { url: "${inputs.url}/bytes", method: POST, text: "${secret('CANARY')}" } }
  refused:
    tool: http
    with: { url: "${inputs.url}/refused/${secret('DIGITS')}", method: POST, text: "${secret('CANARY')}" }
    on_error:
      decide: What if it is refused?
      options: { on: { description: go on, output: { said: "${error.message}" } }, stop: { description: stop, fail: true } }
      choose: "'on'"
      rationale: "because ${error.message}"
  not_there:
    tool: exec
    with: { argv: ["/nowhere/${secret('DIGITS')}", "${secret('CANARY')}"] }
    on_error:
      decide: What if it is not there?
      options: { on: { description: go on, output: null }, stop: { description: stop, fail: true } }
      choose: "'on'"
  shell:
    tool: exec
    with:
      argv: [sh, -c, 'printf %s "$T"; printf %s "$T" | base64; printf "xy%s" "$T" | base64 -w 20; printf %s "$T" | od -An -tx1 | tr -d " \n"; cat; printf "no: %s\n" "$1" >&2', sh, "${secret('CANARY')}"]
      env: { T: "${secret('CANARY')}" }
      stdin: "${secret('DIGITS')}"
  loud:
    tool: exec
    with: { argv: [sh, -c, 'yes "$1" | head -c 60000; exit 3', sh, "${secret('CANARY')}"], ok_exit_codes: [3] }
  failing:
    tool: exec
    with: { argv: [sh, -c, 'yes "$1" | head -n 100 >&2; exit 3', sh, "${secret('CANARY')}"] }
    on_error:
      decide: What if it fails?
      options: { on: { description: go on, output: "${error.message}" }, stop: { description: stop, fail: true } }
      choose: "'on'"
  halves:
    tool: exec
    with: { argv: [sh, -c, 'printf %.10s "$T"; printf %s "$${T#??????????}" >&2'], env: { T: "${secret('CANARY')}" } }
  joined: { tool: test.echo, with: { value: "<${steps.halves.output.stdout}${steps.halves.output.stderr}>" } }
  write: { tool: file.write, with: { root: ., path: note.txt, text: "a${secret('CANARY')}b\n${secret('DIGITS')}" } }
  read: { tool: file.read, after: [write], with: { root: ., path: note.txt } }
  lines: { tool: file.read, after: [write], with: { root: ., path: note.txt, contains: "a" } }
  child:
    with: { given: "${inputs.echo}", body: "${steps.shell.output.stdout}" }
    plan:
      plan: child
      goal: Be given what a tool said
      inputs: { given: { type: string }, body: { type: string } }
      steps: { again: { tool: exec, with: { argv: [printf, "%s%s", "${inputs.body}", "${secret('CANARY')}"] } } }
      outputs: { again: "${steps.again.output.stdout}" }
outputs: { all: "${[steps.ask.output, steps.shell.output, steps.read.output]}", child: "${steps.child.outputs}" }
artifacts:
  small: { text: "${steps.read.output.text}" }
  data: { data: "${steps.ask.output}" }
  large: { text: "${steps.loud.output.stdout}${steps.loud.output.stdout}${steps.loud.output.stdout}${steps.loud.output.stdout}${steps.loud.output.stdout}${steps.loud.output.stdout}" }
  halves: { text: "${steps.halves.output.stdout}${steps.halves.output.stderr}" }
  blob: { text: "${steps.loud.output.stdout}${steps.loud.output.stdout}${steps.loud.output.stdout}${steps.loud.output.stdout}${steps.loud.output.stdout}${steps.loud.output.stdout}${steps.halves.output.stdout}${steps.halves.output.stderr}" }
"#;

/// What a server could do with what it is sent.
fn echo(request: &str) -> Answer {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let line = head.lines().next().unwrap();
    let token = head.lines().find_map(|line| line.strip_prefix("x-token: ")).unwrap_or_default();
    match line.split([' ', '?', '/']).nth(2).unwrap() {
        "ok" => {
            let body = json!({"you": serde_json::from_str::<serde_json::Value>(body).unwrap(), "raw": body, "line": line,
                CANARY: token, "number": DIGITS.parse::<u64>().unwrap()});
            response(
                "200 OK",
                &["content-type: application/json", &format!("etag: {token}")],
                body.to_string(),
            )
        }
        "text" => {
            response("200 OK", &[], format!("{body}\n{line}\n{}", json!({"twice": json!(body).to_string()})))
        }
        "cut" => response("200 OK", &[], format!("{}{}", "x".repeat(64 * 1024 - 12), body.repeat(9))),
        "bytes" => response("200 OK", &[], [b"\xff\xfe", body.as_bytes(), b"\xff"].concat()),
        _ => response("403 Forbidden", &[], format!("{}{body} is refused, {line}", "x".repeat(385))),
    }
}

/// All forms in which somebody might find it.
fn forms(secret: &str) -> Vec<String> {
    let json = json!(secret).to_string();
    let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let component: String = secret
        .bytes()
        .map(|byte| match char::from(byte) {
            char if char.is_ascii_alphanumeric() || "-._~".contains(char) => char.to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let quoted = json[1..json.len() - 1].to_owned();
    let twice = json!(quoted).to_string();
    let mut forms =
        vec![secret.to_owned(), quoted, twice[1..twice.len() - 1].to_owned(), percent, component, hex];
    for before in ["", "x", "xy"] {
        let encoded = base64(&[before.as_bytes(), secret.as_bytes()].concat());
        forms.push(encoded[4..encoded.len() - 4].to_owned());
    }
    forms
}

pub(super) fn base64(bytes: &[u8]) -> String {
    let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let groups = bits.as_bytes().chunks(6).map(|group| format!("{:0<6}", String::from_utf8_lossy(group)));
    groups.map(|group| alphabet[usize::from_str_radix(&group, 2).unwrap()]).collect()
}

fn occurrences(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for form in forms(CANARY).into_iter().chain(forms(DIGITS)) {
        if bytes.windows(form.len()).any(|window| window == form.as_bytes()) {
            found.push(form);
        }
    }
    found
}

fn check_folder(folder: &Path) -> usize {
    let mut bytes_seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(occurrences(&bytes), Vec::<String>::new(), "{}", path.display());
        bytes_seen += bytes.len();
    }
    bytes_seen
}

async fn run(folder: &Path) -> (Events, House) {
    let (writer, repository) = SqliteStore::open(&folder.join("log.db"), &OpenOptions::default()).unwrap();
    let log = Log::open(Box::new(writer), repository, Arc::new(SystemClock)).unwrap();
    let given = [("CANARY".to_owned(), CANARY.to_owned()), ("DIGITS".to_owned(), DIGITS.to_owned())];
    let secrets = Secrets::new(given).unwrap();
    let house = House::over(log, |config| EngineConfig {
        tools: config.tools.with(Arc::new(local())),
        secrets,
        ..config
    });
    let peer = Peer::plain(echo).await;
    let inputs =
        json!({"url": peer.url(""), "echo": format!("given {CANARY}"), "list": [80_085_135, DIGITS]});
    let root = house.try_start(PLAN, inputs).await.unwrap_or_else(|error| panic!("{error}"));
    let events = house.tree(&root).await;
    assert!(peer.requests().iter().all(|request| request.contains(DIGITS) || request.contains("c4n4ry")));
    (events, house)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_of_a_secret_is_stored_whatever_echoes_it() {
    assert!(
        forms(CANARY).len() == 9 && occurrences(CANARY.as_bytes()).len() == 1,
        "the check finds what it looks for"
    );
    assert!(IdGenerator::system().next_id().to_string().len() > DIGITS.len());
    let folder = tempfile::tempdir().unwrap();
    let (events, house) = run(folder.path()).await;
    let outputs = events.outputs();
    for event in &events.0 {
        assert_eq!(occurrences(event.event.payload().as_str().as_bytes()), Vec::<String>::new(), "{event:?}");
    }
    let seen = check_folder(folder.path());
    assert!(seen > 100_000, "the database and its write-ahead log were read: {seen} bytes");
    let note = std::fs::read_to_string(house.folder.path().join("note.txt")).unwrap();
    assert_eq!(note, format!("a{CANARY}b\n{DIGITS}"), "the tool got the values");
    house.engine.shutdown("the test ends").await;
    house.bus.shutdown().await;
    check_folder(folder.path());

    // What the events say instead.
    let completed = events.all::<ToolCompleted>();
    let of = |step: &str| completed.iter().find(|completed| completed.step == step).unwrap();
    let ask = of("ask").output.as_ref().unwrap();
    assert_eq!(ask["headers"]["etag"], "Bearer ***DIGITS***");
    assert_eq!(ask["json"]["***CANARY***"], "Bearer ***DIGITS***");
    assert_eq!(ask["json"]["number"], "***DIGITS***");
    assert_eq!(ask["json"]["you"]["deep"], json!(["***CANARY***", {"more": "a***CANARY***b"}]));
    assert!(ask["url"].as_str().unwrap().ends_with("/ok?token=***CANARY***"), "{ask}");
    let cut = of("cut").output.as_ref().unwrap()["text"].as_str().unwrap().to_owned();
    assert!(cut.ends_with("xxx***CANARY***"), "the beginning at the cut is no leak");
    let refused = &of("refused").error.as_ref().unwrap().message;
    assert!(refused.contains("/refused/***DIGITS*** gives 403 Forbidden: xxx"), "{refused}");
    assert!(of("not_there").error.as_ref().unwrap().message.contains("/nowhere/***DIGITS***"));
    assert_eq!(of("read").output.as_ref().unwrap()["text"], "a***CANARY***b\n***DIGITS***");
    assert_eq!(outputs["all"][2]["text"], "a***CANARY***b\n***DIGITS***");
    let started = &events.all::<PlanStarted>()[0];
    assert_eq!(started.inputs["list"], json!(["***DIGITS***", "***DIGITS***"]));
    assert_eq!(started.inputs["echo"], "given ***CANARY***");
    let failing = &of("failing").error.as_ref().unwrap().message;
    assert!(failing.contains(": ...") && !failing.contains("%&="), "no cut goes through a value: {failing}");
    assert_eq!(of("halves").output.as_ref().unwrap()["stdout"], CANARY[..10]);
    assert_eq!(of("joined").output, Some(json!("<***CANARY***>")), "the event of its call held it first");
    assert_eq!(house.probe.calls(), [json!({"value": "<***CANARY***>"})]);
    let artifacts = events.all::<ArtifactProduced>();
    let blobs =
        artifacts.iter().filter(|artifact| matches!(artifact.part, ArtifactPart::Blob { .. })).count();
    assert_eq!((artifacts.len(), blobs), (5, 2));
}
