//! Secrets of the configuration: whatever echoes them, no file and nothing that is printed holds them.

use std::path::Path;

use serde_json::json;

use crate::harness::{Place, Ran, finish};
use crate::sought::{Sought, answering, redacted_of, send_message, start_and_follow, told_of};

const CANARY: &str = "canary+8c1f/=3 \"q\"";
/// Of the file that a line break ends.
const KEY: &str = "key-5b0e77d94a";

const PLAN: &str = r#"
plan: canary
goal: Use secrets and have them echoed
inputs: { url: { type: string }, code: { type: string, default: "0" } }
steps:
  ask:
    tool: http
    with:
      url: "${inputs.url}"
      headers: { authorization: "Bearer ${secret('KEY')}" }
      query: { token: "${secret('CANARY')}" }
      method: POST
      json: { token: "${secret('CANARY')}" }
      ok_statuses: ['2xx', '4xx']
  say:
    tool: exec
    after: [ask]
    with:
      argv: [sh, -c, 'printf "%s|%s\n" "$T" "$1"; printf %s "$T" | base64; echo "$T: no" >&2; exit "$2"', sh, "${secret('KEY')}", "${inputs.code}"]
      env: { T: "${secret('CANARY')}" }
outputs: { asked: "${steps.ask.output}", said: "${steps.say.output}" }
artifacts:
  note: { media_type: text/plain, text: "${steps.say.output.stdout} ${steps.ask.output.text}" }
"#;

/// Answers `count` requests with all that they say.
fn echo(count: usize) -> (String, std::thread::JoinHandle<usize>) {
    answering("/echo", count, b"}", KEY, |request| {
        let head = format!("HTTP/1.1 401 No\r\nlink: <{KEY}>\r\ncontent-length: {}\r\n\r\n", request.len());
        head + request
    })
}

const SOUGHT: Sought = Sought(&[
    CANARY,
    KEY,
    "canary+8c1f/=3 \\\"q\\\"",
    "canary%2B8c1f%2F%3D3%20%22q%22",
    // Of its Base64, what does not depend on what follows.
    "Y2FuYXJ5KzhjMWYvPTMgInEi",
    "a2V5LTViMGU3N2Q5NG",
    "8c1f/=3 ",
]);

/// The lines of an export with proofs say which of their members hold markers.
fn check_redacted(export: &Path) {
    let named = redacted_of(export);
    assert!(named.iter().any(|(_, named)| named.contains(&"/arguments/headers/authorization".to_owned())));
    let pointers = named.iter().flat_map(|(line, named)| named.iter().map(|at| (&line["payload"], at)));
    for (payload, pointer) in pointers {
        let there =
            payload.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not in {payload}")).to_string();
        assert!(
            there.contains("***") || there.contains("$secret") || pointer == "/part",
            "{pointer}: {payload}"
        );
    }
}

fn run(place: &Place, arguments: &[&str]) -> Ran {
    let mut command = place.command(arguments);
    command
        .current_dir(place.folder("work"))
        .env("PLANWIRE_CONFIG", place.folder("work").join("planwire.toml"))
        .env("PLANWIRE_LOG", "trace")
        .env("CANARY_OF_TEST", CANARY);
    let ran = finish(command, "");
    SOUGHT.check(ran.stdout.as_bytes(), "standard output");
    SOUGHT.check(ran.stderr.as_bytes(), "standard error");
    ran
}

#[test]
fn no_secret_is_printed_or_stored_whatever_echoes_it() {
    let place = Place::new();
    place.file("work/plan.yaml", PLAN);
    place.file("work/key", &format!("{KEY}\n"));
    place.file(
        "work/planwire.toml",
        "[engine.http]\nallow_private = ['127.0.0.1']\n\
         [engine.secrets]\nCANARY = { env = 'CANARY_OF_TEST' }\nKEY = { file = 'key' }\n",
    );
    let (url, answers) = echo(3);
    let url = format!("url={url}");
    let ran = run(&place, &["run", "plan.yaml", "--input", &url]);
    assert!(ran.text(0).contains("***CANARY***"), "{ran:?}");
    let ran = run(&place, &["--json", "run", "plan.yaml", "--input", &url]);
    assert!(ran.text(0).contains("***KEY***"), "{ran:?}");
    let ran = run(&place, &["run", "plan.yaml", "--input", &url, "--input", "code=3"]);
    assert!(ran.code.is_some_and(|code| code != 0), "{ran:?}");
    assert_eq!(answers.join().expect("all were answered"), 3, "the server got the key");

    assert!(run(&place, &["--json", "events"]).text(0).contains("***CANARY***"));
    for arguments in [&["events"][..], &["plans"], &["--json", "plans"], &["config"], &["check", "plan.yaml"]]
    {
        run(&place, arguments).text(0);
    }
    assert!(!SOUGHT.check_files(&place.data()).is_empty());
}

#[test]
fn no_secret_is_streamed_exported_or_told_over_http_and_a2a() {
    let mut place = Place::new();
    place.file("plans/plan.yaml", PLAN);
    place.file("work/key", &format!("{KEY}\n"));
    let plans = place.folder("plans").to_string_lossy().into_owned();
    let config = format!(
        "[engine]\nplans = '{plans}'\n[engine.http]\nallow_private = ['127.0.0.1']\n\
         [engine.secrets]\nCANARY = {{ env = 'CANARY_OF_TEST' }}\nKEY = {{ file = 'key' }}\n\
         [[a2a.routes]]\nplan = 'canary'\n"
    );
    let config = place.file("work/planwire.toml", &config);
    place.set_variable("PLANWIRE_CONFIG", config);
    place.set_variable("PLANWIRE_LOG", "trace");
    place.set_variable("CANARY_OF_TEST", CANARY);
    let (url, answers) = echo(3);
    let server = place.serve(&[]);
    let mut told = Vec::new();
    let ids = ["0", "3"].map(|code| {
        let start = json!({"document": "canary", "inputs": {"url": url, "code": code}});
        start_and_follow(&server, &start, &mut told)
    });
    let frames = send_message(&server, &json!({"url": url}));
    assert!(frames.status == 200 && frames.body.contains("***"), "{frames:?}");
    told.push(frames.body);
    // What is wrong with a request is said with the request in it, but not with a secret in that.
    let wrong = json!({"document": "canary", "inputs": {"url": CANARY, KEY: 1}});
    told.push(server.http.post("/v1/plans", &wrong).body);
    told.extend(told_of(&server, &ids));
    told.push(server.http.get("/v1/plans").body);
    assert!(told.iter().any(|text| text.contains("***CANARY***")));
    told.iter().for_each(|text| SOUGHT.check(text.as_bytes(), "an answer of the server"));
    assert_eq!(answers.join().expect("all were answered"), 3, "the server got the key");

    let out = place.folder("out");
    for (name, more) in
        [("a.jsonl", &[][..]), ("b.jsonl", &["--format", "cloudevents"]), ("c.jsonl", &["--proofs"])]
    {
        let file = out.join(name).to_string_lossy().into_owned();
        place.run(&[&["export", "--out", &file], more].concat()).text(0);
    }
    place.run(&["backup", &out.join("copy.db").to_string_lossy()]).text(0);
    assert!(SOUGHT.check_files(&out).len() >= 4);
    check_redacted(&out.join("c.jsonl"));
    SOUGHT.check_shown(&place, &ids);
    SOUGHT.check_end(server);
    assert!(!SOUGHT.check_files(&place.data()).is_empty());
}
