//! Tools whose processes want to go on, after a cancel, a time limit and the end of their server, that take all they can get,
//! and that look where they should not.

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
pub(super) const CONTAINMENTS: [&str; 3] = ["cgroup", "pid-namespace", "subreaper"];

/// Whether this containment, which holds from now on, can be had; a line among the skips where it cannot.
pub(super) fn has(place: &mut Place, containment: &str, test: &str) -> bool {
    place.set_variable("PLANWIRE_ENGINE_TOOLS_CONTAINMENT", containment);
    // Only loopback addresses are served, so this ends in any case.
    let asked = place.run(&["serve", "--listen", "192.0.2.1:1"]);
    let lacks = asked.stderr.contains("engine.tools");
    if lacks {
        skip(test, &asked.stderr);
    }
    !lacks
}

/// Serves with this containment; none, and a line among the skips, where it cannot be had.
fn serve(place: &mut Place, containment: &str, test: &str) -> Option<Server> {
    if !has(place, containment, test) {
        return None;
    }
    // What comes over the network may do nothing by itself.
    let policy = place.file("policy.toml", "[[network.allow]]\ntool = 'exec'\n");
    place.set_variable("PLANWIRE_ENGINE_POLICY", policy);
    let server = place.serve(&["--allow-inline-documents"]);
    let facts = &server.http.get("/readyz").json(200)["facts"];
    assert!(containment == "auto" || facts["containment"] == containment, "{facts}");
    Some(server)
}

/// The processes that work in a folder, by their states as proc(5) has them.
pub(crate) fn states(folder: &Path) -> Vec<char> {
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    let inside = entries
        .filter(|entry| std::fs::read_link(entry.path().join("cwd")).is_ok_and(|working| working == folder));
    let stats = inside.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next()).collect()
}

/// Starts a plan with the tree.
fn start(server: &Server, folder: &Path, timeout: &str) -> String {
    let text = DOCUMENT.replace("TIMEOUT", timeout);
    started(server, &json!({"text": text, "name": "tree.yaml", "inputs": {"folder": folder}}))
}

pub(super) fn started(server: &Server, body: &Value) -> String {
    let started = server.http.post("/v1/plans", body);
    assert!(started.status < 300, "{started:?}");
    let started: Value = serde_json::from_str(&started.body).expect("JSON");
    started["plan_id"].as_str().expect("a plan").to_owned()
}

/// Waits until all of the tree is there, the stopped one stopped.
fn all_there(folder: &Path) {
    eventually("the whole tree", || {
        let there = std::fs::read_to_string(folder.join("there")).unwrap_or_default().lines().count();
        let states = states(folder);
        (there == PROCESSES && states.len() == PROCESSES && states.contains(&'T')).then_some(())
    });
}

/// What the one call of a plan says when the plan has ended.
fn completed(server: &Server, plan: &str) -> Value {
    eventually("the end of the plan", || {
        server.http.get(&format!("/v1/plans/{plan}/events")).json(200)["ended"].as_bool()?.then_some(())
    });
    let page = server.http.get(&format!("/v1/plans/{plan}/events?event_type=ToolCompleted")).json(200);
    let events = page["events"].as_array().expect("a list");
    let [event] = events.as_slice() else { panic!("one ToolCompleted: {events:?}") };
    event["payload"].clone()
}

#[test]
fn soak_cancelled_and_timed_out_tools_leave_no_process_and_end_once() {
    let test = "cancelled_and_timed_out_tools_leave_no_process";
    let times = count(4, 100);
    for containment in CONTAINMENTS {
        let mut place = Place::new();
        let Some(server) = serve(&mut place, containment, test) else { continue };
        let mut ends = Vec::new();
        let mut late = 0;
        for (number, code) in (0..times).zip(["cancelled", "timed_out"].into_iter().cycle()) {
            let folder = place.folder(format!("trees/{number}"));
            let timeout = if code == "cancelled" { "300s" } else { "3s" };
            let plan = start(&server, &folder, timeout);
            if code == "cancelled" {
                all_there(&folder);
                assert!(server.http.post(&format!("/v1/plans/{plan}/cancel"), &json!({})).status < 300);
            }
            let begun = Instant::now();
            let completed = completed(&server, &plan);
            let error = &completed["error"];
            assert_eq!(error["code"], code, "{containment}: {completed}");
            if code == "cancelled" {
                ends.push(begun.elapsed());
            }
            // A machine that has no time for it is told so.
            let said_so =
                error["message"].as_str().is_some_and(|message| message.contains(" goes on to end it"));
            late += u32::from(said_so);
            assert!(said_so || states(&folder).is_empty(), "{containment}: {code}: {:?}", states(&folder));
            eventually("the end of the tree", || states(&folder).is_empty().then_some(()));
        }
        Row::new("tools that will not end", format!("{times} of 4 processes, {containment}"))
            .figure(format!("left 0; {late} calls said that some are still being ended"))
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
            start(&server, &folder, "300s");
            all_there(&folder);
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

/// What a tool takes, how, and the code with which its call ends.
const TAKES: [(&str, &str, &str); 5] = [
    ("processes", "n=0; while test $n -lt 200; do n=$((n+1)); sleep 1000 & done; wait", "process_limit"),
    ("memory", "x=0123456789abcdef; while :; do x=$x$x; done", "memory_limit"),
    ("CPU time", "while :; do :; done", "cpu_limit"),
    ("a large file", "exec dd if=/dev/zero of=large bs=65536 count=1000", "file_size_limit"),
    ("endless output", "exec yes", "output_limit"),
];

#[test]
fn tools_that_take_everything_are_ended_and_their_calls_say_of_what_there_was_too_much() {
    for containment in CONTAINMENTS {
        let mut place = Place::new();
        for (name, value) in [("MEMORY_MIB", "64"), ("CPU_S", "1"), ("FILE_MIB", "1")] {
            place.set_variable(&format!("PLANWIRE_ENGINE_TOOLS_{name}"), value);
        }
        let Some(server) = serve(&mut place, containment, "tools_that_take_everything") else { continue };
        let mut figures = Vec::new();
        for (what, script, code) in TAKES {
            let folder = place.folder(format!("takes/{code}"));
            let text = format!(
                "plan: take\ngoal: Take all\ninputs: {{ folder: {{ type: path }} }}\nsteps:\n  run:\n    tool: exec\n    \
                 timeout: 300s\n    with:\n      cwd: \"${{inputs.folder}}\"\n      max_output_bytes: 100000\n      \
                 argv: [sh, -c, {}]\n",
                json!(script)
            );
            let body = json!({"text": text, "name": "take.yaml", "inputs": {"folder": folder}});
            let completed = completed(&server, &started(&server, &body));
            assert_eq!(completed["error"]["code"], code, "{containment}: {what}: {completed}");
            assert_eq!(states(&folder), [], "{containment}: {what}");
            figures.push(format!("{what} after {} ms", completed["duration_ms"]));
        }
        let done = format!("{} programs, {containment}", TAKES.len());
        Row::new("tools that take everything", done).figure(figures.join(", ")).check();
        assert_eq!(server.stop().code(), Some(0));
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
        let plan = started(&server, &json!({"text": text, "name": "look.yaml"}));
        let error = &completed(&server, &plan)["error"];
        assert_eq!(error["code"], "exit_status", "{}", target.display());
        let denied = error["message"].as_str().is_some_and(|message| message.contains("Permission denied"));
        assert!(denied, "{}: {error}", target.display());
    }
    Row::new("tools that look around", "log, WAL, lock and environment of the server")
        .figure("read 0")
        .check();
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn tool_has_a_temporary_folder_of_its_own_also_where_the_server_was_given_one() {
    let mut place = Place::new();
    let temporary = place.folder("temporary");
    place.set_variable("TMPDIR", &temporary);
    let plan = place.file(
        "own.yaml",
        "plan: own\ngoal: Write\nsteps:\n  run: { tool: exec, with: { argv: [sh, -c, 'touch $TMPDIR/a; echo $TMPDIR'] } }\n\
         outputs: { folder: \"${steps.run.output.stdout}\" }\n",
    );
    let ran = place.run(&["--json", "run", plan.to_str().expect("UTF-8")]);
    let outputs = &ran.json(0).pop().expect("an end")["payload"]["outputs"];
    let folder = Path::new(outputs["folder"].as_str().expect("a folder").trim());
    assert!(folder.starts_with(&temporary) && folder != temporary, "{outputs}");
    assert!(!folder.exists(), "it is gone afterwards");
}
