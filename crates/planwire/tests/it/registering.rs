//! What `serve` is given to run: folders of documents, routes that start them, and secrets that they name.

use serde_json::{Value, json};

use crate::harness::{Place, Ran, Server, finish};

/// A document that says something.
fn document(name: &str, said: &str) -> String {
    format!(
        "plan: {name}\ngoal: Say something\nsteps:\n  say: {{ tool: exec, with: {{ argv: [echo, '{said}'] }} }}\n\
         outputs: {{ said: \"${{steps.say.output.stdout}}\" }}\n"
    )
}

/// Starts a registered plan and waits for what it gives.
fn outputs(server: &Server, name: &str) -> Value {
    let started = server.http.post("/v1/plans", &json!({ "document": name })).json(201);
    let plan = started["plan_id"].as_str().expect("a plan id").to_owned();
    let mut stream = server.http.stream(&format!("/v1/plans/{plan}/events?tree=true"), None);
    let events: Vec<Value> = std::iter::from_fn(|| stream.event()).collect();
    let last = events.last().expect("events");
    assert_eq!(last["event_type"], "PlanCompleted", "{last}");
    last["payload"]["outputs"].clone()
}

/// Runs `config --check` and `serve` with a file, which both must refuse alike.
fn refused(place: &Place, text: &str) -> Ran {
    let file = place.file("conf/planwire.toml", text);
    let run = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.arg("--config").arg(&file).env_remove("SECRET_OF_TEST");
        finish(command, "")
    };
    // The check first: a server that is not refused would not end.
    let checked = run(&["config", "--check"]);
    assert_eq!((checked.code, checked.stdout.as_str()), (Some(2), ""), "{checked:?}");
    let ran = run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!((ran.code, &ran.stdout, &ran.stderr), (Some(2), &checked.stdout, &checked.stderr));
    assert!(!place.data().exists(), "nothing is made before all is checked");
    ran
}

#[test]
fn documents_of_a_folder_are_started_by_their_own_names() {
    let place = Place::new();
    place.file("plans/a.yaml", &document("one", "1"));
    place.file("plans/b.yml", &document("two", "2"));
    let json = json!({"plan": "three", "goal": "Say something",
        "steps": {"say": {"tool": "exec", "with": {"argv": ["echo", "3"]}}},
        "outputs": {"said": "${steps.say.output.stdout}"}});
    place.file("plans/c.json", &json.to_string());
    for ignored in ["plans/.draft.yaml", "plans/notes.md", "plans/below/d.yaml"] {
        place.file(ignored, "not a plan");
    }
    let server = place.serve(&["--plans", place.folder("plans").to_str().expect("UTF-8")]);
    for (name, said) in [("one", "1\n"), ("two", "2\n"), ("three", "3\n")] {
        assert_eq!(outputs(&server, name), json!({ "said": said }));
    }
    // The folder says all there is: those that come with planwire are not among it.
    assert_eq!(server.http.post("/v1/plans", &json!({"document": "repo-report"})).status, 422);
    assert!(server.stop().success());
}

#[test]
fn folder_of_documents_is_seen_from_the_file_that_names_it() {
    let place = Place::new();
    place.file("conf/plans/a.yaml", &document("one", "1"));
    let file = place.file("conf/planwire.toml", "[engine]\nplans = 'plans'\n");
    let server = place.serve(&["--config", file.to_str().expect("UTF-8")]);
    assert_eq!(outputs(&server, "one"), json!({"said": "1\n"}));
    let checked = place.run(&["--json", "config", "--check", "--config", file.to_str().expect("UTF-8")]);
    assert_eq!(checked.json(0), [json!({"documents": 1, "routes": 0, "secrets": 0})]);
    assert!(server.stop().success());
}

#[test]
fn broken_and_doubled_documents_are_all_told_with_their_places() {
    let place = Place::new();
    place.file("conf/plans/a.yaml", &document("one", "1"));
    place.file("conf/plans/b.yaml", &format!("# The same again.\n{}", document("one", "2")));
    place.file("conf/plans/c.json", "{\n  \"plan\": \"one\", \"goal\": \"g\", \"steps\": {\"s\": {\"tool\": \"exec\", \"with\": {\"argv\": [\"a\"]}}}}");
    place.file("conf/plans/d.yaml", "plan: four\ngoal: g\nsteps: { a: { tool: exc } }\n");
    let ran = refused(&place, "[engine]\nplans = 'plans'\n");
    for expected in [
        "b.yaml:2:1: error: there is another plan 'one' in ",
        "c.json:2:3: error: there is another plan 'one' in ",
        "d.yaml:3:",
        "plans/a.yaml",
        "hint: give one of them another name",
    ] {
        assert!(ran.stderr.contains(expected), "lacks {expected}: {}", ran.stderr);
    }
}

#[test]
fn folder_that_is_not_there_is_told() {
    let ran = refused(&Place::new(), "[engine]\nplans = 'plans'\n");
    assert!(ran.stderr.contains("failed to read the folder of plan documents"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
}

#[test]
fn route_to_what_is_not_there_is_told_by_line_and_column() {
    let place = Place::new();
    place.file(
        "conf/plans/a.yaml",
        &document("one", "1")
            .replace("steps:", "inputs: { name: { type: string }, x: { type: int, default: 1 } }\nsteps:"),
    );
    let plans = "[engine]\nplans = 'plans'\n[[a2a.routes]]\n";
    let ran = refused(&place, &format!("{plans}plan = 'ono'\n"));
    assert!(ran.stderr.contains(":4:8: error: no plan document 'ono' is registered"), "{}", ran.stderr);
    assert!(ran.stderr.contains("did you mean 'one'?"), "{}", ran.stderr);
    let ran = refused(&place, &format!("{plans}plan = 'one'\ninputs = {{ nam = \"'a'\" }}\n"));
    assert!(ran.stderr.contains(":5:12: error: plan 'one' has no input 'nam'"), "{}", ran.stderr);
    assert!(ran.stderr.contains(":4:8: error: plan 'one' needs the input 'name'"), "{}", ran.stderr);
}

#[test]
fn secret_that_is_not_there_is_told_by_variable_or_file() {
    let place = Place::new();
    let text = "[engine.secrets]\nTOKEN = { env = 'SECRET_OF_TEST' }\nKEY = { file = 'key' }\n";
    let ran = refused(&place, text);
    for expected in [
        "planwire.toml:2:1: error: secret TOKEN is not there: environment variable SECRET_OF_TEST is not set",
        "planwire.toml:3:1: error: secret KEY is not there: file ",
        "conf/key cannot be read",
    ] {
        assert!(ran.stderr.contains(expected), "lacks {expected}: {}", ran.stderr);
    }
    place.file("conf/key", "short");
    let ran = refused(&place, "[engine.secrets]\nKEY = { file = 'key' }\n");
    assert!(ran.stderr.contains("KEY") && !ran.stderr.contains("short\""), "{}", ran.stderr);
}

#[test]
fn secret_reaches_the_tool_and_nobody_else() {
    const VALUE: &str = "correct-horse-battery";
    let place = Place::new();
    place.file("conf/key", &format!("{VALUE}\n"));
    let text = "[engine.secrets]\nTOKEN = { env = 'SECRET_OF_TEST' }\nKEY = { file = 'key' }\n";
    let file = place.file("conf/planwire.toml", text);
    let plan = place.file(
        "plan.yaml",
        "plan: p\ngoal: g\nsteps:\n  say: { tool: exec, with: { argv: [sh, -c, 'test \"$0\" = \"$1\" && echo \"$0\"', \
         \"${secret('TOKEN')}\", \"${secret('KEY')}\"] } }\noutputs: { said: \"${steps.say.output.stdout}\" }\n",
    );
    let command = |arguments: &[&std::ffi::OsStr]| {
        let mut command = place.command(arguments);
        command.env("SECRET_OF_TEST", VALUE).env("PLANWIRE_CONFIG", &file);
        finish(command, "")
    };
    let ran = command(&["run".as_ref(), plan.as_os_str()]);
    assert!(ran.text(0).contains("***"), "{ran:?}");
    let shown = command(&["config".as_ref()]);
    assert!(shown.text(0).contains("TOKEN = { env = \"SECRET_OF_TEST\" }"), "{shown:?}");
    let events = command(&["--json".as_ref(), "events".as_ref()]);
    assert!(events.json(0).len() > 3);
    for ran in [&ran, &shown, &events] {
        assert!(!format!("{ran:?}").contains(VALUE), "{ran:?}");
    }
    let mut missing = place.command(&["run"]);
    missing.arg(&plan).env("PLANWIRE_CONFIG", &file).env_remove("SECRET_OF_TEST");
    let ran = finish(missing, "");
    assert!(ran.code == Some(2) && ran.stderr.contains("SECRET_OF_TEST is not set"), "{ran:?}");
}

#[test]
fn route_of_the_file_answers_a_message_or_starts_its_plan() {
    let place = Place::new();
    let plan =
        document("one", "${inputs.text}").replace("steps:", "inputs: { text: { type: string } }\nsteps:");
    place.file("conf/plans/a.yaml", &plan);
    let text = "[engine]\nplans = 'plans'\n[a2a]\nname = 'Desk'\nurl = 'https://agent.example'\n\
                provider = { organization = 'Us', url = 'https://us.example' }\n\
                [[a2a.routes]]\nwhen = \"message.text == 'ping'\"\nanswer = \"'pong'\"\n\
                [[a2a.routes]]\nplan = 'one'\ninputs = { text = \"'you said ' + message.text\" }\n";
    let file = place.file("conf/planwire.toml", text);
    let server = place.serve(&["--config", file.to_str().expect("UTF-8")]);
    let card = server.http.get("/.well-known/agent-card.json").json(200);
    assert_eq!((&card["name"], &card["provider"]["organization"]), (&json!("Desk"), &json!("Us")));
    assert!(card.to_string().contains("https://agent.example/a2a"), "{card}");
    let send = |text: &str| {
        let message = json!({"messageId": text, "role": "ROLE_USER", "parts": [{"text": text}]});
        let request =
            json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}});
        let headers = [("Content-Type", "application/json"), ("A2A-Version", "1.0")];
        server.http.send("POST", "/a2a", &headers, &request.to_string()).json(200)["result"].clone()
    };
    assert_eq!(send("ping")["message"]["parts"][0]["text"], "pong");
    let task = send("hello");
    assert_eq!(task["task"]["status"]["state"], "TASK_STATE_COMPLETED", "{task}");
    let events = place.run(&["--json", "events", "--type", "PlanCompleted"]).json(0);
    assert_eq!(events[0]["payload"]["outputs"], json!({"said": "you said hello\n"}));
    assert!(server.stop().success());
}
