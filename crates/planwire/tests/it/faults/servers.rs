//! MCP servers whose processes want to go on: after the end of their plan, their own, and that of `planwire`.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::row::Row;
use super::tools::{CONTAINMENTS, has, started, states};
use crate::harness::{Place, Server, eventually};

/// The server that starts them.
const FAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../planwire-mcp/tests/it/fake.py");

/// What it starts: one in a session of its own, one whose parent has ended, one that is stopped.
const FAMILY: usize = 3;

/// Serves with a server `fake` that works in the folder which is given too; none where the containment cannot be had.
/// It ignores the request to end.
fn serve(place: &mut Place, containment: &str, test: &str) -> Option<(Server, PathBuf)> {
    if !has(place, containment, test) {
        return None;
    }
    let folder = place.folder("work").canonicalize().expect("the folder");
    let config = place.file("planwire.toml", &configured(&folder, "stubborn"));
    place.set_variable("PLANWIRE_CONFIG", config);
    Some((place.serve_documents(), folder))
}

fn configured(folder: &Path, mode: &str) -> String {
    let python = std::env::var("PLANWIRE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    format!(
        "[mcp.servers.fake]\ncommand = {}\nargs = [{}, {}]\nfolder = {}\n",
        json!(python),
        json!(FAKE),
        json!(mode),
        json!(folder)
    )
}

fn start(server: &Server, steps: &str) -> String {
    let text = format!("plan: family\ngoal: Go on\nsteps:\n{steps}");
    started(server, &json!({"text": text, "name": "family.yaml"}))
}

/// Waits until the whole family is there, the stopped one stopped.
fn all_there(folder: &Path, families: usize) {
    eventually("the whole family", || {
        let there = std::fs::read_to_string(folder.join("there")).unwrap_or_default().lines().count();
        let states = states(folder);
        (there == families * FAMILY && states.len() == FAMILY + 1 && states.contains(&'T')).then_some(())
    });
}

fn all_gone(folder: &Path) {
    eventually("the end of the family", || states(folder).is_empty().then_some(()));
}

/// The events of a type that a plan has so far, and whether it has ended.
fn events(server: &Server, plan: &str, event_type: &str) -> (Vec<Value>, bool) {
    let ended = server.http.get(&format!("/v1/plans/{plan}/events")).json(200)["ended"] == true;
    let page = server.http.get(&format!("/v1/plans/{plan}/events?event_type={event_type}")).json(200);
    (page["events"].as_array().expect("a list").clone(), ended)
}

fn until_ended(server: &Server, plan: &str) {
    eventually("the end of the plan", || events(server, plan, "PlanStarted").1.then_some(()));
}

/// The server itself among those that work in a folder.
fn server_in(folder: &Path) -> Pid {
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    let found = entries.filter(|entry| {
        let path = entry.path();
        std::fs::read_link(path.join("cwd")).is_ok_and(|working| working == folder)
            && std::fs::read_to_string(path.join("cmdline")).is_ok_and(|line| line.contains(FAKE))
    });
    let pids: Vec<i32> = found.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let [pid] = pids.as_slice() else { panic!("one server: {pids:?}") };
    Pid::from_raw(*pid).expect("a process")
}

#[test]
fn nothing_that_an_mcp_server_started_is_left_when_its_plan_has_ended() {
    for containment in CONTAINMENTS {
        let mut place = Place::new();
        let Some((server, folder)) = serve(&mut place, containment, "nothing_of_an_mcp_server_is_left")
        else {
            continue;
        };
        let plan = start(&server, "  a: { tool: \"mcp:fake/family\" }\n");
        until_ended(&server, &plan);
        let late = states(&folder).len();
        all_gone(&folder);
        let there = std::fs::read_to_string(folder.join("there")).expect("what was there").lines().count();
        assert_eq!(there, FAMILY, "{containment}");
        Row::new("MCP servers that will not end", format!("1 with {FAMILY} processes, {containment}"))
            .figure(format!("left 0; {late} while the end of the plan was told"))
            .check();
        assert_eq!(server.stop().code(), Some(0));
    }
}

#[test]
fn nothing_that_an_mcp_server_started_is_left_when_it_is_killed_in_a_call() {
    for containment in CONTAINMENTS {
        let mut place = Place::new();
        let Some((server, folder)) = serve(&mut place, containment, "nothing_of_a_killed_mcp_server") else {
            continue;
        };
        let plan = start(
            &server,
            "  a:\n    tool: \"mcp:fake/family\"\n    with: { hang: true }\n    on_error:\n      decide: What now?\n      \
             options: { on: { description: go on, output: {} }, stop: { description: stop, fail: true } }\n      choose: \"'on'\"\n  \
             b: { after: [a], tool: \"mcp:fake/family\", with: { hang: true } }\n",
        );
        all_there(&folder, 1);
        kill_process(server_in(&folder), Signal::KILL).expect("it is there");
        // Of the old one nothing is left beside the new one.
        all_there(&folder, 2);
        let (completed, _) = events(&server, &plan, "ToolCompleted");
        assert_eq!(completed[0]["payload"]["error"]["code"], "mcp_unavailable", "{containment}");
        assert!(server.http.post(&format!("/v1/plans/{plan}/cancel"), &json!({})).status < 300);
        until_ended(&server, &plan);
        all_gone(&folder);
        assert_eq!(server.stop().code(), Some(0));
    }
}

#[test]
fn nothing_that_an_mcp_server_started_outlives_planwire() {
    for containment in CONTAINMENTS {
        for killed in [true, false] {
            let mut place = Place::new();
            let Some((server, folder)) = serve(&mut place, containment, "nothing_outlives_planwire") else {
                continue;
            };
            start(&server, "  a: { tool: \"mcp:fake/family\", with: { hang: true } }\n");
            all_there(&folder, 1);
            if killed {
                server.kill();
            } else {
                assert_eq!(server.stop().code(), Some(0));
            }
            all_gone(&folder);
        }
    }
}

/// Runs a plan of one step; its last event.
fn run(place: &Place, config: &str, tool: &str, with: &Value) -> Value {
    let config = place.file("planwire.toml", config);
    let plan = json!({
        "plan": "one", "goal": "g",
        "steps": {"a": {"tool": format!("mcp:fake/{tool}"), "with": with}},
        "outputs": {"text": "${steps.a.output.text}"},
    });
    let plan = place.file("one.json", &plan.to_string());
    let command =
        ["--config", config.to_str().expect("UTF-8"), "--json", "run", plan.to_str().expect("UTF-8")];
    let ran = place.run(&command);
    let last = ran.stdout.lines().last().unwrap_or_else(|| panic!("events: {ran:?}"));
    serde_json::from_str(last).expect("an event")
}

#[test]
fn mcp_server_that_takes_more_memory_than_it_may_is_ended_and_the_call_says_so() {
    let place = Place::new();
    let config = configured(&place.folder("work"), "well") + "memory_mib = 64\n";
    let ended = run(&place, &config, "hoard", &json!({"mib": 90}));
    let error = &ended["payload"]["error"];
    assert_eq!(error["code"], "mcp_unavailable", "{ended}");
    let said = error["message"].as_str().is_some_and(|message| {
        message.contains("it ended before it answered; ")
            && message.contains(" was ended: it had more than 67108864 bytes of memory")
    });
    assert!(said, "{error}");
}

#[test]
fn mcp_server_writes_where_its_table_and_its_folder_say_and_nowhere_else() {
    let place = Place::new();
    if !place.serve(&[]).http.get("/readyz").json(200)["facts"]["sandbox"]
        .as_str()
        .is_some_and(|sandbox| sandbox.starts_with("landlock"))
    {
        return super::chance::skip("mcp_server_writes_where_its_table_says", "the kernel has no Landlock");
    }
    let (work, more, other) = (place.folder("work"), place.folder("more"), place.folder("other"));
    let bounded = configured(&work, "well") + &format!("write = [{}]\n", json!(more));
    let free = bounded.clone() + "sandbox = \"off\"\n";
    for (config, folder, may) in
        [(&bounded, &work, true), (&bounded, &more, true), (&bounded, &other, false), (&free, &other, true)]
    {
        let path = folder.join("touched");
        let ended = run(&place, config, "touch", &json!({"path": path}));
        assert_eq!(path.exists(), may, "{ended}");
        let message = ended["payload"]["error"]["message"].as_str().unwrap_or_default();
        assert!(may || message.ends_with("Permission denied"), "{ended}");
    }
}
