//! Tools whose processes want to go on: after a cancel, after a time limit, and after their server was killed.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::chance::{count, skip};
use super::row::Row;
use crate::harness::{Place, Server, eventually};

/// Four processes: one ignores the request to end, one has a session of its own and ignores it too, one was started by
/// a process that has ended, one is stopped. Each says that it is there.
const DOCUMENT: &str = r#"
plan: tree
goal: Go on
inputs: { folder: { type: path } }
steps:
  run:
    tool: exec
    timeout: TIMEOUT
    with:
      cwd: "${inputs.folder}"
      argv:
        - sh
        - -c
        - |
          trap '' TERM
          echo >> there
          setsid sh -c 'echo >> there; exec sleep 1000' &
          (setsid sh -c 'trap - TERM; echo >> there; exec sleep 1000' &)
          sh -c 'echo >> there; kill -STOP $$; sleep 1000' &
          exec sleep 1000
"#;

/// Processes of [`DOCUMENT`].
const PROCESSES: usize = 4;

/// The ways to end what descends from a tool, by their names in the configuration.
const CONTAINMENTS: [&str; 3] = ["cgroup", "pid-namespace", "subreaper"];

/// Serves with this containment; none, and a line among the skips, where it cannot be had.
fn serve(place: &mut Place, containment: &str, test: &str) -> Option<Server> {
    place.set_variable("PLANWIRE_ENGINE_TOOLS_CONTAINMENT", containment);
    // Only loopback addresses are served, so this ends in any case.
    let asked = place.run(&["serve", "--listen", "192.0.2.1:1"]);
    if asked.stderr.contains("engine.tools") {
        skip(test, &asked.stderr);
        return None;
    }
    let server = place.serve(&["--allow-inline-documents"]);
    let facts = &server.http.get("/readyz").json(200)["facts"];
    assert!(containment == "auto" || facts["containment"] == containment, "{facts}");
    Some(server)
}

/// The processes that work in a folder, by their states as proc(5) has them.
fn states(folder: &Path) -> Vec<char> {
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    let inside = entries
        .filter(|entry| std::fs::read_link(entry.path().join("cwd")).is_ok_and(|working| working == folder));
    let stats = inside.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next()).collect()
}

/// Starts a plan with the tree and waits until all of it is there, the stopped one stopped.
fn start(server: &Server, folder: &Path, timeout: &str) -> String {
    let text = DOCUMENT.replace("TIMEOUT", timeout);
    let body = json!({"text": text, "name": "tree.yaml", "inputs": {"folder": folder}});
    let started = server.http.post("/v1/plans", &body);
    assert!(started.status < 300, "{started:?}");
    let started: Value = serde_json::from_str(&started.body).expect("JSON");
    eventually("the whole tree", || {
        let there = std::fs::read_to_string(folder.join("there")).unwrap_or_default().lines().count();
        let states = states(folder);
        (there == PROCESSES && states.len() == PROCESSES && states.contains(&'T')).then_some(())
    });
    started["plan_id"].as_str().expect("a plan").to_owned()
}

/// The codes of all calls of a plan that has ended.
fn codes(server: &Server, plan: &str) -> Vec<String> {
    let path = format!("/v1/plans/{plan}/events?event_type=ToolCompleted");
    eventually("the end of the call", || {
        let page = server.http.get(&path).json(200);
        let events = page["events"].as_array().expect("a list");
        let code = |event: &Value| event["payload"]["error"]["code"].as_str().unwrap_or("ok").to_owned();
        (!events.is_empty()).then(|| events.iter().map(code).collect())
    })
}

#[test]
fn soak_cancelled_and_timed_out_tools_leave_no_process_and_end_once() {
    let test = "cancelled_and_timed_out_tools_leave_no_process";
    let times = count(4, 100);
    for containment in CONTAINMENTS {
        let mut place = Place::new();
        let Some(server) = serve(&mut place, containment, test) else { continue };
        let mut ends = Vec::new();
        for (number, code) in (0..times).zip(["cancelled", "timed_out"].into_iter().cycle()) {
            let folder = place.folder(format!("trees/{number}"));
            let timeout = if code == "cancelled" { "60s" } else { "3s" };
            let plan = start(&server, &folder, timeout);
            if code == "cancelled" {
                assert!(server.http.post(&format!("/v1/plans/{plan}/cancel"), &json!({})).status < 300);
            }
            let begun = Instant::now();
            assert_eq!(codes(&server, &plan), [code], "{containment}");
            if code == "cancelled" {
                ends.push(begun.elapsed());
            }
            assert_eq!(states(&folder), [], "{containment}: {code}");
        }
        Row::new("tools that will not end", format!("{times} of 4 processes, {containment}"))
            .figure("left 0")
            .times("from cancel to end", &mut ends)
            .check();
        assert_eq!(server.stop().code(), Some(0));
    }
}

#[test]
fn soak_processes_of_tools_end_with_a_server_that_is_killed() {
    let test = "processes_of_tools_end_with_a_server_that_is_killed";
    let times = count(4, 50);
    for containment in CONTAINMENTS {
        let mut place = Place::new();
        let mut ends: Vec<Duration> = Vec::new();
        for number in 0..times {
            let Some(server) = serve(&mut place, containment, test) else { break };
            let folder = place.folder(format!("trees/{number}"));
            start(&server, &folder, "60s");
            let begun = Instant::now();
            server.kill();
            eventually("the end of the tree", || states(&folder).is_empty().then_some(()));
            ends.push(begun.elapsed());
        }
        if !ends.is_empty() {
            let done = format!("{times} servers with 4 processes, {containment}");
            Row::new("server killed while a tool runs", done)
                .figure("left 0")
                .times("all gone", &mut ends)
                .check();
        }
    }
}

#[test]
fn tools_of_the_server_cannot_read_its_log_its_lock_and_its_environment() {
    let mut place = Place::new();
    let Some(server) = serve(&mut place, "auto", "tools_of_the_server_cannot_read") else { return };
    let facts = server.http.get("/readyz").json(200)["facts"].clone();
    if !facts["sandbox"].as_str().is_some_and(|sandbox| sandbox.starts_with("landlock")) {
        skip("tools_of_the_server_cannot_read", "the kernel has no Landlock");
        return;
    }
    let pid = server.running.pid();
    let data = place.data();
    for target in [
        data.join("default.db"),
        data.join("default.db.lock"),
        data.join("default.db-wal"),
        format!("/proc/{pid}/environ").into(),
    ] {
        assert!(target.exists(), "{}", target.display());
        let text = format!(
            "plan: look\ngoal: Look\nsteps:\n  run: {{ tool: exec, with: {{ argv: [cat, {}] }} }}\n",
            target.display()
        );
        let started = server.http.post("/v1/plans", &json!({"text": text, "name": "look.yaml"}));
        let started: Value = serde_json::from_str(&started.body).expect("JSON");
        let plan = started["plan_id"].as_str().expect("a plan");
        assert_eq!(codes(&server, plan), ["exit_status"], "{}", target.display());
    }
    assert_eq!(server.stop().code(), Some(0));
}
