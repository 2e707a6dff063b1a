//! Where plans from the network work: each tree in a folder of its own, for as long as it is open.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::faults::chance::skip;
use crate::harness::{Place, Server, eventually};

/// Programs, and files of one's own folder.
const POLICY: &str = "[[network.allow]]\ntool = 'exec'\n[[network.allow]]\ntool = 'file.*'\nfolder = '.'\n";

/// Writes a note, waits for an answer, and reads its note again.
const NOTING: &str = r#"
plan: noting
goal: Keep a note
inputs: { text: { type: string } }
steps:
  write: { tool: file.write, with: { root: ".", path: note.txt, text: "${inputs.text}" } }
  wait: { ask: Go on?, after: [write] }
  read: { tool: exec, with: { argv: [cat, note.txt] }, after: [wait] }
  below:
    after: [read]
    plan:
      plan: below
      goal: Read it below
      steps: { read: { tool: file.read, with: { root: ".", path: note.txt } } }
      outputs: { text: "${steps.read.output.text}" }
outputs: { note: "${steps.read.output.stdout}", below: "${steps.below.outputs.text}" }
"#;

fn serve(place: &Place) -> Server {
    let policy = place.file("policy.toml", POLICY);
    place.serve(&["--allow-inline-documents", "--policy", policy.to_str().expect("UTF-8")])
}

fn start(server: &Server, text: &str, inputs: &Value) -> String {
    let body = json!({"text": text, "name": "document.yaml", "inputs": inputs});
    let started = server.http.post("/v1/plans", &body).json(201);
    started["plan_id"].as_str().expect("an id").to_owned()
}

fn events(server: &Server, plan: &str, event_type: &str) -> Vec<Value> {
    let page = server.http.get(&format!("/v1/plans/{plan}/events?event_type={event_type}")).json(200);
    page["events"].as_array().expect("events").clone()
}

/// The payload of the one event of a type that comes, of a plan itself.
fn told(server: &Server, plan: &str, event_type: &str) -> Value {
    let payload = |event: Value| (event["plan_id"] == plan).then(|| event["payload"].clone());
    eventually(event_type, || events(server, plan, event_type).into_iter().find_map(payload))
}

/// The working folder of a plan, as its start says it.
fn folder_of(server: &Server, plan: &str) -> PathBuf {
    told(server, plan, "PlanStarted")["folder"].as_str().expect("a folder").into()
}

fn gone(folder: &Path) {
    eventually("the end of a folder", || (!folder.exists()).then_some(()));
}

/// Starts [`NOTING`] and waits until it asks; gives its id and its folder.
fn noting(server: &Server, text: &str) -> (String, PathBuf) {
    let plan = start(server, NOTING, &json!({"text": text}));
    told(server, &plan, "InputRequested");
    let folder = folder_of(server, &plan);
    assert_eq!(std::fs::read_to_string(folder.join("note.txt")).expect("a note"), text);
    (plan, folder)
}

/// Answers the question of [`NOTING`]; gives what it has read then.
fn finished(place: &Place, server: &Server, plan: &str) -> Value {
    place.run(&["answer", plan, "yes"]).text(0);
    told(server, plan, "PlanCompleted")["outputs"].clone()
}

#[test]
fn plans_from_the_network_write_the_same_name_and_find_their_own_file() {
    let place = Place::new();
    let server = serve(&place);
    let (first, folder) = noting(&server, "first");
    let (second, other) = noting(&server, "second");
    assert_ne!(folder, other);
    for folder in [&folder, &other] {
        assert!(folder.starts_with(place.data()), "{}", folder.display());
        assert_eq!(std::fs::metadata(folder).expect("a folder").permissions().mode() & 0o777, 0o700);
    }
    assert_eq!(finished(&place, &server, &first), json!({"note": "first", "below": "first"}));
    gone(&folder);
    // What is cancelled leaves nothing either.
    server.http.post(&format!("/v1/plans/{second}/cancel"), &json!({}));
    told(&server, &second, "PlanFailed");
    gone(&other);
    server.stop();
}

#[test]
fn what_the_operator_has_works_where_the_operator_says() {
    let mut place = Place::new();
    let work = place.folder("work").canonicalize().expect("a folder");
    let plans = place.folder("plans");
    place.file(
        "plans/own.yaml",
        "plan: own\ngoal: g\nsteps: { go: { tool: exec, with: { argv: [touch, own] } } }\n",
    );
    place.set_variable("PLANWIRE_ENGINE_FOLDER", &work);
    let server = place.serve(&["--plans", plans.to_str().expect("UTF-8")]);
    let started = server.http.post("/v1/plans", &json!({"document": "own"})).json(201);
    let plan = started["plan_id"].as_str().expect("an id");
    told(&server, plan, "PlanCompleted");
    assert_eq!(folder_of(&server, plan), work);
    assert!(work.join("own").exists());
    server.stop();
}

#[test]
fn plan_from_the_network_reads_nothing_of_the_folder_of_another() {
    let place = Place::new();
    let server = serve(&place);
    let (noting, folder) = noting(&server, "mine");
    let at = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let call = |tool: &str, with: Value| {
        let document = json!({"plan": "look", "goal": "g", "steps": {"look": {"tool": tool, "with": with}}});
        let plan = start(&server, &document.to_string(), &json!({}));
        told(&server, &plan, "ToolCompleted")
    };
    for with in [
        json!({"root": at(""), "path": "note.txt"}),
        json!({"root": ".", "path": format!("../{}", folder.file_name().expect("a name").to_string_lossy())}),
        json!({"root": "..", "recursive": true}),
    ] {
        for tool in ["file.read", "file.list", "file.digest"] {
            let ended = call(tool, with.clone());
            assert_eq!(ended["error"]["code"], "denied", "{tool} {with}: {ended}");
        }
    }
    let facts = server.http.get("/readyz").json(200)["facts"].clone();
    if facts["sandbox"].as_str().is_some_and(|sandbox| sandbox.starts_with("landlock")) {
        for with in [
            json!({"argv": ["cat", at("note.txt")]}),
            json!({"argv": ["cat", "note.txt"], "cwd": at("")}),
            json!({"argv": ["touch", at("new")]}),
            json!({"argv": ["rm", "-rf", at("")]}),
        ] {
            let ended = call("exec", with.clone());
            let message = ended["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains("Permission denied"), "{with}: {ended}");
        }
    } else {
        skip("plan_from_the_network_reads_nothing_of_the_folder_of_another", "the kernel has no Landlock");
    }
    assert_eq!(finished(&place, &server, &noting), json!({"note": "mine", "below": "mine"}));
    server.stop();
}

#[test]
fn plan_goes_on_in_its_folder_after_a_kill_and_the_folder_ends_with_it() {
    let place = Place::new();
    let server = serve(&place);
    let (kept, folder) = noting(&server, "kept");
    let (lost, missing) = noting(&server, "lost");
    server.kill();
    std::fs::remove_dir_all(&missing).expect("a folder");
    let server = serve(&place);
    assert_eq!(finished(&place, &server, &kept), json!({"note": "kept", "below": "kept"}));
    gone(&folder);
    // A folder that is missing is made again; what was in it is not.
    eventually("the folder", || missing.exists().then_some(()));
    place.run(&["answer", &lost, "yes"]).text(0);
    assert_eq!(told(&server, &lost, "PlanFailed")["error"]["code"], "exit_status");
    gone(&missing);
    server.stop();
}

#[test]
fn plan_of_a_restored_log_goes_on_in_a_folder_of_that_log() {
    let place = Place::new();
    let server = serve(&place);
    let (plan, folder) = noting(&server, "first");
    let backup = place.folder("backups").join("log.db");
    let backup = backup.to_str().expect("UTF-8");
    place.run(&["backup", backup]).text(0);
    let other = Place::new();
    other.run(&["restore", backup]).text(0);
    let restored = serve(&other);
    let made = other.data().join("work").join(folder.file_name().expect("a name"));
    eventually("a folder there", || made.exists().then_some(()));
    other.run(&["answer", &plan, "yes"]).text(0);
    assert_eq!(told(&restored, &plan, "PlanFailed")["error"]["code"], "exit_status", "no note is there");
    gone(&made);
    assert_eq!(finished(&place, &server, &plan), json!({"note": "first", "below": "first"}));
    gone(&folder);
    restored.stop();
    server.stop();
}

#[test]
fn folder_that_cannot_be_made_fails_the_calls_that_need_it_and_no_other_plan() {
    let place = Place::new();
    let server = serve(&place);
    let work = place.data().join("work");
    std::fs::write(&work, "in the way").expect("a file");
    let plan = start(&server, NOTING, &json!({"text": "nowhere"}));
    assert_eq!(told(&server, &plan, "ToolCompleted")["error"]["code"], "not_a_folder");
    told(&server, &plan, "PlanFailed");
    std::fs::remove_file(&work).expect("a file");
    let (plan, folder) = noting(&server, "there");
    assert_eq!(finished(&place, &server, &plan), json!({"note": "there", "below": "there"}));
    gone(&folder);
    server.stop();
}

#[test]
fn what_a_kill_left_of_plans_that_have_ended_goes_at_the_next_start() {
    let place = Place::new();
    let server = serve(&place);
    let (ended, left) = noting(&server, "ended");
    finished(&place, &server, &ended);
    gone(&left);
    let (open, kept) = noting(&server, "open");
    server.kill();
    // As a kill between the end of a plan and that of its folder leaves it, also where its tools lock it.
    std::fs::create_dir_all(left.join("locked")).expect("a folder");
    std::fs::write(left.join("locked/file"), "").expect("a file");
    std::fs::set_permissions(left.join("locked"), std::fs::Permissions::from_mode(0o500)).expect("a mode");
    // Processes of other logs may have the same data folder.
    let name = format!("0OTHER00.{ended}");
    let others = [left.with_file_name(&name), left.with_file_name("no-plan")];
    others.iter().for_each(|folder| std::fs::create_dir(folder).expect("a folder"));
    let server = serve(&place);
    assert!(!left.exists() && kept.exists());
    assert!(others.iter().all(|folder| folder.exists()));
    assert_eq!(finished(&place, &server, &open), json!({"note": "open", "below": "open"}));
    server.stop();
}
