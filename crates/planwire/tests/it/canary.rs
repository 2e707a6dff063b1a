//! Secrets of the configuration: whatever echoes them, no file and nothing that is printed holds them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Place, Ran, finish};

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
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/echo", listener.local_addr().expect("an address"));
    let answers = std::thread::spawn(move || {
        let mut with_key = 0;
        for _ in 0..count {
            let (mut stream, _) = listener.accept().expect("a request");
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.ends_with(b"}") {
                let read = stream.read(&mut buffer).expect("a request");
                assert!(read > 0, "half a request");
                request.extend_from_slice(&buffer[..read]);
            }
            let request = String::from_utf8(request).expect("UTF-8");
            with_key += usize::from(request.contains(KEY));
            let head =
                format!("HTTP/1.1 401 No\r\nlink: <{KEY}>\r\ncontent-length: {}\r\n\r\n", request.len());
            stream.write_all((head + &request).as_bytes()).expect("an answer");
        }
        with_key
    });
    (url, answers)
}

fn forms() -> [&'static str; 7] {
    [
        CANARY,
        KEY,
        "canary+8c1f/=3 \\\"q\\\"",
        "canary%2B8c1f%2F%3D3%20%22q%22",
        // Of its Base64, what does not depend on what follows.
        "Y2FuYXJ5KzhjMWYvPTMgInEi",
        "a2V5LTViMGU3N2Q5NG",
        "8c1f/=3 ",
    ]
}

fn check(bytes: &[u8], what: &str) {
    for form in forms() {
        let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
        assert!(!found, "{form} is in {what}: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(4000)]));
    }
}

fn check_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .map(|path| {
            if path.is_dir() {
                return check_files(&path);
            }
            let bytes = std::fs::read(&path).expect("a file");
            check(&bytes, &path.to_string_lossy());
            1
        })
        .sum()
}

/// The lines of an export with proofs say which of their members hold markers.
fn check_redacted(export: &Path) {
    let lines = std::fs::read_to_string(export).expect("an export");
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let redacted = |line: &Value| {
        let meta: Value = serde_json::from_str(line["meta"].as_str()?).expect("JSON");
        let redacted = meta["redacted"].as_array()?;
        Some((
            line["payload"].clone(),
            redacted.iter().filter_map(|at| Some(at.as_str()?.to_owned())).collect(),
        ))
    };
    let named: Vec<(Value, Vec<String>)> = lines.filter_map(|line| redacted(&line)).collect();
    assert!(named.iter().any(|(_, named)| named.contains(&"/arguments/headers/authorization".to_owned())));
    for (payload, pointer) in
        named.iter().flat_map(|(payload, named)| named.iter().map(move |at| (payload, at)))
    {
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
    check(ran.stdout.as_bytes(), "standard output");
    check(ran.stderr.as_bytes(), "standard error");
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
    assert!(check_files(&place.data()) >= 1);
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
    let mut ids = Vec::new();
    for code in ["0", "3"] {
        let start = json!({"document": "canary", "inputs": {"url": url, "code": code}});
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
        "messageId": "m1", "role": "ROLE_USER", "parts": [{"data": {"url": url}}],
    }});
    let headers = [("Content-Type", "application/json"), ("A2A-Version", "1.0")];
    let frames = server.http.send("POST", "/a2a/message:stream", &headers, &message.to_string());
    assert!(frames.status == 200 && frames.body.contains("***"), "{frames:?}");
    told.push(frames.body);
    // What is wrong with a request is said with the request in it, but not with a secret in that.
    let wrong = json!({"document": "canary", "inputs": {"url": CANARY, KEY: 1}});
    told.push(server.http.post("/v1/plans", &wrong).body);
    for id in &ids {
        for path in [format!("/v1/plans/{id}"), format!("/v1/plans/{id}/events"), format!("/a2a/tasks/{id}")]
        {
            told.push(server.http.get(&path).body);
        }
    }
    told.push(server.http.get("/v1/plans").body);
    assert!(told.iter().any(|text| text.contains("***CANARY***")));
    told.iter().for_each(|text| check(text.as_bytes(), "an answer of the server"));
    assert_eq!(answers.join().expect("all were answered"), 3, "the server got the key");

    let out = place.folder("out");
    for (name, more) in
        [("a.jsonl", &[][..]), ("b.jsonl", &["--format", "cloudevents"]), ("c.jsonl", &["--proofs"])]
    {
        let file = out.join(name).to_string_lossy().into_owned();
        place.run(&[&["export", "--out", &file], more].concat()).text(0);
    }
    place.run(&["backup", &out.join("copy.db").to_string_lossy()]).text(0);
    assert!(check_files(&out) >= 4);
    check_redacted(&out.join("c.jsonl"));
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
    assert!(check_files(&place.data()) >= 1);
}
