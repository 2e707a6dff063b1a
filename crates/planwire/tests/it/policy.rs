//! A policy and the program itself: what is denied is not done, however it is called.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Place, Ran, Server, eventually, finish};

/// A folder with a program that leaves a trace, reachable under many names, and files inside and outside of `open`.
struct Field {
    place: Place,
    work: PathBuf,
}

impl Field {
    fn new() -> Self {
        let mut place = Place::new();
        let work = place.folder("work").canonicalize().expect("a folder");
        let program =
            place.file("work/bin/mark", &format!("#!/bin/sh\necho ran >> {}/trace\n", work.display()));
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        place.file("work/open/file.txt", "inside");
        place.file("work/closed/file.txt", "outside");
        for (to, from) in
            [("bin/mark", "harmless"), ("bin", "tools"), ("closed", "open/out"), ("open", "way")]
        {
            symlink(work.join(to), work.join(from)).expect("a link");
        }
        // Where programs that a server starts may write, also those of documents from the network.
        place.set_variable("PLANWIRE_ENGINE_FOLDER", &work);
        place.set_variable("PLANWIRE_ENGINE_TOOLS_WRITE", &work);
        Self { place, work }
    }

    fn policy(&self, text: &str) -> String {
        let text = text.replace("WORK", &self.work.to_string_lossy());
        self.place.file("policy.toml", &text).to_string_lossy().into_owned()
    }

    /// Runs one call as a document of one's own; gives its `ToolCompleted` and the events.
    fn call(&self, policy: &str, step: &Value) -> (Value, Vec<Value>) {
        let document = json!({"plan": "p", "goal": "g", "steps": {"call": step}});
        self.place.file("work/plan.json", &document.to_string());
        let ran = self.run(&["--json", "run", "plan.json", "--policy", policy]);
        let events: Vec<Value> =
            ran.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        (ended(&events), events)
    }

    /// What `check` says of calls, in their order.
    fn forecast(&self, policy: &str, calls: &[Value]) -> Vec<Value> {
        let steps: serde_json::Map<String, Value> =
            calls.iter().enumerate().map(|(at, call)| (format!("s{at:02}"), call.clone())).collect();
        let document = json!({"plan": "p", "goal": "g", "steps": steps});
        self.place.file("work/plan.json", &document.to_string());
        let said = self.run(&["--json", "check", "plan.json", "--policy", policy]).json(0);
        let verdicts = said[0]["policy"].as_array().expect("verdicts").clone();
        assert_eq!(verdicts.len(), calls.len());
        verdicts
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.place.command(arguments);
        command.current_dir(&self.work);
        finish(command, "")
    }

    /// How often the program ran.
    fn runs(&self) -> usize {
        std::fs::read_to_string(self.work.join("trace")).unwrap_or_default().lines().count()
    }
}

fn ended(events: &[Value]) -> Value {
    let end = events.iter().find(|event| event["event_type"] == "ToolCompleted");
    end.map(|end| end["payload"].clone()).unwrap_or_default()
}

fn code(end: &Value) -> &str {
    if end["ok"] == true { "ok" } else { end["error"]["code"].as_str().unwrap_or_default() }
}

#[test]
fn denied_program_does_not_run_under_any_name() {
    let field = Field::new();
    let at = |name: &str| field.work.join(name).to_string_lossy().into_owned();
    let calls = [
        json!({"argv": ["mark"], "env": {"PATH": at("bin")}}),
        json!({"argv": ["mark"], "env": {"PATH": format!("/nowhere:{}", at("tools"))}}),
        json!({"argv": ["mark"], "env": {"PATH": ""}, "cwd": "bin"}),
        json!({"argv": [at("bin/mark")]}),
        json!({"argv": [at("tools/mark")]}),
        json!({"argv": [at("harmless")]}),
        json!({"argv": [at("open/../bin/mark")]}),
        json!({"argv": ["./bin/mark"]}),
        json!({"argv": ["../harmless"], "cwd": "closed"}),
    ];
    let denying = field.policy("[[deny]]\nname = 'no marks'\nprogram = 'WORK/bin/mark'\n");
    for call in &calls {
        let (end, events) = field.call(&denying, &json!({"tool": "exec", "with": call}));
        assert_eq!((code(&end), field.runs()), ("denied", 0), "{call}");
        assert_eq!(end["error"]["message"], "the policy denies it: rule 'no marks'");
        let types: Vec<&str> = events.iter().filter_map(|event| event["event_type"].as_str()).collect();
        assert_eq!(types, ["PlanStarted", "ToolCalled", "ToolCompleted", "PlanFailed"]);
    }
    // The same calls run where another program is meant.
    let other = field.policy("[[deny]]\nprogram = '/bin/no-such-program'\n");
    for (at, call) in calls.iter().enumerate() {
        let (end, _) = field.call(&other, &json!({"tool": "exec", "with": call}));
        assert_eq!((code(&end), field.runs()), ("ok", at + 1), "{call}: {end}");
    }
}

#[test]
fn arguments_of_a_program_decide_where_a_rule_names_them() {
    let field = Field::new();
    let policy = field.policy(
        "[own]\ndefault = 'deny'\n[[own.allow]]\nprogram = 'WORK/bin/*'\nargv = [['log', 'diff'], '**']\n\
         [[deny]]\nargv = ['**', '--force', '**']\n",
    );
    let run = |argv: &[&str]| {
        let argv: Vec<&str> = ["./bin/mark"].iter().chain(argv).copied().collect();
        code(&field.call(&policy, &json!({"tool": "exec", "with": {"argv": argv}})).0).to_owned()
    };
    assert_eq!([run(&["log"]), run(&["diff", "-p"])], ["ok", "ok"]);
    assert_eq!([run(&[]), run(&["push"]), run(&["log", "--force"])], ["denied", "denied", "denied"]);
    assert_eq!(field.runs(), 2);
}

#[test]
fn files_outside_of_an_allowed_folder_are_not_touched() {
    let field = Field::new();
    let policy =
        field.policy("[own]\ndefault = 'deny'\n[[own.allow]]\ntool = 'file.*'\nfolder = 'WORK/open'\n");
    let read = |root: &str, path: &str| {
        let step = json!({"tool": "file.read", "with": {"root": root, "path": path}});
        code(&field.call(&policy, &step).0).to_owned()
    };
    assert_eq!(
        [read("open", "file.txt"), read("way", "file.txt"), read(".", "open/file.txt")],
        ["ok", "ok", "ok"]
    );
    for (root, path) in [
        ("closed", "file.txt"),
        ("open/../closed", "file.txt"),
        ("open/out", "file.txt"),
        ("open", "out/file.txt"),
        (".", "open/../closed/file.txt"),
    ] {
        assert_eq!(read(root, path), "denied", "{root} {path}");
    }
    let step =
        json!({"tool": "file.write", "with": {"root": ".", "path": "open/../closed/new.txt", "text": "x"}});
    assert_eq!(code(&field.call(&policy, &step).0), "denied");
    assert!(!field.work.join("closed/new.txt").exists());
}

#[test]
fn allowed_program_runs_with_the_environment_and_input_that_the_rule_names() {
    let field = Field::new();
    let policy = |more: &str| {
        field.policy(&format!("[own]\ndefault = 'deny'\n[[own.allow]]\nprogram = 'WORK/bin/mark'\n{more}"))
    };
    let run = |policy: &str, more: Value| {
        let mut with = json!({"argv": ["./bin/mark"]});
        with.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        code(&field.call(policy, &json!({"tool": "exec", "with": with})).0).to_owned()
    };
    let narrow = policy("");
    for steered in [
        json!({"env": {"LD_PRELOAD": "evil.so"}}),
        json!({"env": {"LANG": "C"}}),
        json!({"stdin": "x"}),
        json!({"cwd": field.work}),
    ] {
        assert_eq!(run(&narrow, steered.clone()), "denied", "{steered}");
    }
    assert_eq!((run(&narrow, json!({})).as_str(), field.runs()), ("ok", 1));
    let wide = policy("env = ['LANG', 'LC_*']\nwith = { stdin = '*' }\nfolder = 'WORK'\n");
    let given = json!({"env": {"LANG": "C", "LC_ALL": "C"}, "stdin": "x", "cwd": field.work});
    assert_eq!((run(&wide, given).as_str(), field.runs()), ("ok", 2));
    let denying = field.policy("[[deny]]\nenv = 'LD_*'\n");
    assert_eq!(run(&denying, json!({"env": {"LANG": "C", "LD_PRELOAD": "evil.so"}})), "denied");
    assert_eq!((run(&denying, json!({"env": {"LANG": "C"}})).as_str(), field.runs()), ("ok", 3));
}

const MANUAL: &str = include_str!("../../../../docs/policy.md");

#[test]
fn example_of_the_manual_gives_git_to_the_network_and_lets_nothing_in_that_steers_it() {
    let field = Field::new();
    let example = MANUAL.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("it");
    let policy = field.place.file("policy.toml", example).to_string_lossy().into_owned();
    let call = |argv: &[&str], more: Value| {
        let argv: Vec<&str> = ["/usr/bin/git"].iter().chain(argv).copied().collect();
        let mut with = json!({"argv": argv, "cwd": "/srv/public"});
        with.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"tool": "exec", "with": with})
    };
    let usual = ["log", "--oneline", "--end-of-options", "HEAD"];
    let given = [
        call(&usual, json!({})),
        call(&["show", "--patch", "--end-of-options", "HEAD", "--", "--output=x"], json!({})),
        call(&usual, json!({"env": {"LANG": "C", "TZ": "UTC"}, "cwd": "/srv/public/below"})),
    ];
    let attacks = [
        call(&["log", "--output=/srv/public/x"], json!({})),
        call(&["log", "--oneline", "--output=/srv/public/x"], json!({})),
        call(&["log", "--oneline", "--output=x", "--end-of-options", "HEAD"], json!({})),
        call(&["show", "--ext-diff", "--end-of-options", "HEAD"], json!({})),
        call(&["--upload-pack=evil", "log", "--oneline", "--end-of-options", "HEAD"], json!({})),
        call(&["fetch", "--upload-pack=evil", "--end-of-options", "x"], json!({})),
        call(&["-c", "core.pager=evil", "log", "--oneline", "--end-of-options", "HEAD"], json!({})),
        call(&["-p", "log", "--oneline", "--end-of-options", "HEAD"], json!({})),
        call(&["diff", "--patch", "--end-of-options", "/etc/passwd", "/etc/group"], json!({})),
        call(&usual, json!({"env": {"GIT_EXTERNAL_DIFF": "evil"}})),
        call(&usual, json!({"env": {"LANG": "C", "LD_PRELOAD": "evil.so"}})),
        call(&usual, json!({"env": {"PATH": "/srv/public"}})),
        call(&usual, json!({"stdin": "x"})),
        call(&usual, json!({"cwd": "/srv/public/../other"})),
        call(&["push", "origin"], json!({})),
    ];
    for (calls, expected) in [(&given[..], "allow"), (&attacks[..], "deny")] {
        for (step, verdicts) in calls.iter().zip(field.forecast(&policy, calls)) {
            assert_eq!(verdicts["network"]["verdict"], expected, "{step}");
        }
    }
    // What the operator's own documents push is looked at, wherever the word stands.
    let pushes = [call(&["push"], json!({})), call(&["-c", "a=b", "push", "--force"], json!({}))];
    for verdicts in field.forecast(&policy, &pushes) {
        assert_eq!(verdicts["own"]["verdict"], "approve", "{verdicts}");
    }
}

/// A document that calls the program of the field by its absolute path.
fn marking(field: &Field, name: &str) -> Value {
    let argv = [field.work.join("bin/mark")];
    json!({"plan": name, "goal": "g", "steps": {"call": {"tool": "exec", "with": {"argv": argv}}}})
}

/// Starts a document by HTTP; gives the `ToolCompleted` of its call.
fn start(server: &Server, document: &Value) -> Value {
    let started = server.http.post("/v1/plans", &json!({ "document": document })).json(201);
    let path = format!("/v1/events?plan_id={}", started["plan_id"].as_str().expect("an id"));
    eventually("the call's end", || {
        let events = server.http.get(&path).json(200)["events"].as_array().expect("events").clone();
        Some(ended(&events)).filter(|end| !end.is_null())
    })
}

#[test]
fn document_from_the_network_can_call_nothing_by_itself_and_a_registered_one_everything() {
    let field = Field::new();
    field.place.file("plans/own.json", &marking(&field, "own").to_string());
    let plans = field.place.folder("plans").to_string_lossy().into_owned();
    let flags = ["--plans", &plans, "--allow-inline-documents"];
    let server = field.place.serve(&flags);
    let end = start(&server, &marking(&field, "foreign"));
    assert_eq!((code(&end), field.runs()), ("denied", 0), "{end}");
    assert!(end["error"]["message"].as_str().is_some_and(|why| why.contains("over the network")), "{end}");
    assert_eq!((code(&start(&server, &json!("own"))), field.runs()), ("ok", 1));
    // The user of this machine sends documents along too.
    field.place.file("work/mine.json", &marking(&field, "mine").to_string());
    assert_eq!((field.run(&["run", "mine.json"]).code, field.runs()), (Some(0), 2));
    let refused = field.run(&["run", "mine.json", "--policy", "any"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    server.stop();

    let policy = field.policy("[[network.allow]]\ntool = 'exec'\nprogram = 'WORK/bin/mark'\n");
    let server = field.place.serve(&[&flags[..], &["--policy", &policy]].concat());
    assert_eq!((code(&start(&server, &marking(&field, "foreign"))), field.runs()), ("ok", 3));
    server.stop();
}

#[test]
fn approval_that_the_policy_wants_outlives_the_process_and_is_asked_once() {
    let field = Field::new();
    field.place.file("plans/own.json", &marking(&field, "own").to_string());
    let plans = field.place.folder("plans").to_string_lossy().into_owned();
    let policy = field.policy("[[approve]]\nname = 'marks'\nprogram = 'WORK/bin/mark'\n");
    let flags = ["--plans", plans.as_str(), "--policy", policy.as_str()];
    for (answer, runs) in [("approve", 1), ("reject", 1)] {
        let server = field.place.serve(&flags);
        let started = server.http.post("/v1/plans", &json!({"document": "own"})).json(201);
        let id = started["plan_id"].as_str().expect("an id").to_owned();
        let questions = || -> Vec<Value> {
            let asked = field.place.run(&["--json", "events", "--plan", &id, "--type", "InputRequested"]);
            asked.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        };
        let asked = eventually("the question", || questions().pop());
        assert_eq!(asked["payload"]["arguments"]["tool"], "exec");
        assert!(
            asked["payload"]["arguments"]["arguments"]["argv"][0]
                .as_str()
                .is_some_and(|at| at.ends_with("mark"))
        );
        server.kill();
        let server = field.place.serve(&flags);
        field.place.run(&["answer", &id, answer]).text(0);
        let failed = || field.place.run(&["--json", "events", "--plan", &id, "--type", "PlanFailed"]).stdout;
        eventually("the end", || {
            let completed = field.place.run(&["--json", "events", "--plan", &id, "--type", "PlanCompleted"]);
            (!completed.stdout.is_empty() || !failed().is_empty()).then_some(())
        });
        assert_eq!((questions().len(), field.runs()), (1, runs), "{answer}");
        assert_eq!(failed().contains(r#""code":"denied""#), answer == "reject");
        server.stop();
    }
}

#[test]
fn host_is_denied_where_a_call_begins_and_where_it_is_led_to() {
    let field = Field::new();
    let servers = [redirecting(), redirecting()];
    let [outer, inner] = &servers;
    inner.1.lock().expect("a lock").clone_from(&"/".to_owned());
    *outer.1.lock().expect("a lock") = format!("http://{}/in", inner.0);
    let mut place = field;
    place.place.set_variable("PLANWIRE_ENGINE_HTTP_ALLOW_PRIVATE", "127.0.0.1");
    let policy = place.policy(&format!("[[deny]]\nname = 'inside'\nhost = '{}'\n", inner.0));
    let call = |url: String| json!({"tool": "http", "with": {"url": url, "follow_redirects": 2}});
    for url in [format!("http://{}/", inner.0), format!("http://{}/", outer.0)] {
        let (end, _) = place.call(&policy, &call(url.clone()));
        assert_eq!(code(&end), "denied", "{url}: {end}");
    }
    let asked = |server: &Redirecting| server.2.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!((asked(outer), asked(inner)), (1, 0));
}

type Redirecting = (
    std::net::SocketAddr,
    std::sync::Arc<std::sync::Mutex<String>>,
    std::sync::Arc<std::sync::atomic::AtomicUsize>,
);

/// A server that sends everybody elsewhere, and counts who asked.
fn redirecting() -> Redirecting {
    use std::io::{Read as _, Write as _};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (location, count) = (Arc::new(Mutex::new(String::new())), Arc::new(AtomicUsize::new(0)));
    let (to, asked) = (Arc::clone(&location), Arc::clone(&count));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            asked.fetch_add(1, Ordering::SeqCst);
            let to = to.lock().map(|to| to.clone()).unwrap_or_default();
            let _ = write!(stream, "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        }
    });
    (address, location, count)
}

#[test]
fn check_says_what_a_policy_makes_of_calls_that_are_written_out() {
    let field = Field::new();
    let policy = field.policy(
        "[[deny]]\nname = 'no marks'\nprogram = 'WORK/bin/mark'\n[[network.allow]]\ntool = 'file.*'\n",
    );
    let document = json!({
        "plan": "p", "goal": "g", "inputs": {"to": {"type": "string"}},
        "steps": {
            "mark": {"tool": "exec", "with": {"argv": ["./bin/mark"]}},
            "list": {"tool": "exec", "with": {"argv": ["ls"]}},
            "below": {"plan": {"plan": "q", "goal": "g", "steps": {"read": {"tool": "file.read", "with": {"root": "open", "path": "file.txt"}}}}},
            "later": {"tool": "exec", "with": {"argv": ["ls", "${inputs.to}"]}},
        },
    });
    field.place.file("work/plan.json", &document.to_string());
    let said = field.run(&["check", "plan.json", "--policy", &policy]).text(0).to_owned();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("step ")).map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "step below/read, file.read: allowed",
            "step list, exec: allowed; from the network: denied (no rule allows it)",
            "step mark, exec: denied (rule 'no marks')",
        ]
    );
    let said = &field.run(&["--json", "check", "plan.json", "--policy", &policy]).json(0)[0];
    assert_eq!(said["policy"][2]["own"], json!({"verdict": "deny", "rule": "no marks"}));
    assert_eq!(said["policy"].as_array().map(Vec::len), Some(3));
}

fn check_refused(text: &str, place: &str, expected: &str) {
    let field = Place::new();
    let file = field.file("policy.toml", text);
    let ran = field.run(&["config".as_ref(), "--check".as_ref(), "--policy".as_ref(), file.as_os_str()]);
    let at = format!("{}:{place}: error: ", Path::display(&file));
    assert_eq!(ran.code, Some(2), "{text}: {ran:?}");
    assert!(
        ran.stderr.contains(&at) && ran.stderr.contains(expected),
        "{text}: {at}{expected}\n{}",
        ran.stderr
    );
}

#[test]
fn policy_that_is_not_understood_is_refused_with_its_place() {
    check_refused("[[deny]]\ntools = 'exec'\n", "2:1", "a rule has no key 'tools'");
    check_refused("[[deny]]\n  tool = 7\n", "2:10", "'tool' must be text or a list of texts, not 7");
    check_refused("[[allow]]\n", "1:3", "what is allowed is said for whom");
    check_refused("[netwerk]\n", "1:2", "the top of the file has no key 'netwerk'");
    check_refused("[network]\ndefault = 'allow'\n", "2:1", "always denied");
    check_refused("[own]\ndefault = 'ask'\n", "2:11", "'default' must be 'allow' or 'deny', not 'ask'");
    check_refused("[[deny]]\nprogram = ['/bin/a', 'rm']\n", "2:22", "the path is not absolute");
    check_refused("[[deny]]\nhost = 'http://a'\n", "2:8", "it is no host");
    check_refused("[[deny]]\nfolder = 'data'\n", "2:10", "write the whole path");
    check_refused("[[deny]]\nargv = 'x'\n", "2:8", "one element for each argument");
    check_refused("[[deny]]\nenv = { LANG = 'C' }\n", "2:7", "'env' must be text or a list of texts");
    check_refused("[[deny]]\nargv = [[]]\n", "2:9", "text or a list of texts");
    check_refused("[[deny]]\nwith = 'x'\n", "2:8", "a table of arguments");
    check_refused("[[deny]]\nwith = { url = '' }\n", "2:16", "it is empty");
    check_refused("[[deny]]\nname = \"a\\nb\"\n", "2:8", "text on one line");
    check_refused("deny = 1\n", "1:8", "a list of tables");
    check_refused("[[deny]\n", "1:8", "not TOML");
    let place = Place::new();
    let ran = place.run(&["config", "--check", "--policy", "nowhere.toml"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("failed to read the policy") && ran.stderr.contains("nowhere.toml"),
        "{ran:?}"
    );
}
