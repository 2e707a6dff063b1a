//! Logs in PostgreSQL: several processes with one log, which nobody holds.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::harness::{Place, Running, eventually, finish};
use crate::running::start_pausing;

const SLEEP: &str = r#"
plan: sleeper
goal: Take longer than anybody waits
steps:
  sleep: { tool: exec, with: { argv: [sleep, "600"] }, timeout: 20m }
"#;

/// A place of its own whose log lies in the database.
fn place(cluster: &Cluster) -> Place {
    let mut place = Place::new();
    place.set_variable("PLANWIRE_DB", cluster.url("planwire"));
    place.file("work/sleep.yaml", SLEEP);
    place
}

fn started(plan: &str) -> Value {
    json!({"event_type": "PlanStarted", "plan_id": plan, "payload": {"name": "n"}})
}

fn numbered(plan: &str, n: u64) -> Value {
    json!({"event_type": "acme.n", "plan_id": plan, "payload": {"n": n}})
}

#[test]
fn servers_of_one_database_show_each_other_s_events_live_and_in_order() {
    let Some(cluster) = Cluster::start("database servers_of_one_database") else { return };
    let (here, there) = (place(&cluster), place(&cluster));
    let (one, two) = (here.serve(&[]), there.serve(&[]));
    one.http.post("/v1/events", &started("p")).json(200);
    let mut streams = [&one, &two].map(|server| server.http.stream("/v1/plans/p/events", None));
    for n in 0..20 {
        let server = if n % 2 == 0 { &two } else { &one };
        let answer = server.http.post("/v1/events", &numbered("p", n)).json(200);
        assert_eq!(answer["events"][0]["seq"], n + 2);
    }
    two.http
        .post("/v1/events", &json!({"event_type": "PlanCompleted", "plan_id": "p", "payload": {}}))
        .json(200);
    let [first, second] =
        streams.each_mut().map(|stream| std::iter::from_fn(|| stream.event()).collect::<Vec<_>>());
    assert_eq!(first.len(), 22);
    assert_eq!(first, second);
    // A command beside them reads, and writes, by itself.
    assert_eq!(place(&cluster).run(&["--json", "events"]).json(0), first);
    assert!(!here.database().exists() && !here.data().join("default.db.lock").exists());
    assert!(one.stop().success());
    assert!(two.stop().success());
}

#[test]
fn commands_open_the_database_by_themselves() {
    let Some(cluster) = Cluster::start("database commands") else { return };
    let place = place(&cluster);
    let none = place.run(&["plans"]);
    assert!(none.stderr.contains("schema=planwire"), "{none:?}");
    assert!(place.run(&["show", "p"]).stderr.contains("there is no log in postgres://"));
    place.run_with(&["publish", "-"], &started("p").to_string()).text(0);
    assert_eq!(place.run(&["--json", "plans"]).json(0)[0]["plan_id"], "p");
    let follower = place.start(&["--json", "events", "--follow", "--plan", "p"]);
    place.run(&["end", "p", "--reason", "cancelled"]).text(0);
    let (status, rest) = follower.end();
    assert!(status.success());
    assert_eq!(rest.lines().count(), 2, "{rest}");
    assert!(place.run(&["show", "p"]).text(0).contains("cancelled"));
    // By the flag, without the variable: what is told to people names the database.
    let mut plain = Place::new();
    plain.set_variable("PLANWIRE_DB", "");
    let url = cluster.url("planwire");
    assert_eq!(plain.run(&["--json", "--db", &url, "plans"]).json(0)[0]["plan_id"], "p");
}

#[test]
fn plans_of_a_process_that_is_gone_go_on_with_a_server() {
    let Some(cluster) = Cluster::start("database plans_of_a_process_that_is_gone") else { return };
    let mut place = place(&cluster);
    place.set_variable("PLANWIRE_ENGINE_GONE_AFTER_MS", "2000");
    let mut command = place.command(&["--json", "run", "sleep.yaml"]);
    command.current_dir(place.folder("work"));
    let runner = Running::start(command);
    let plan = eventually("the sleeper's tool call", || {
        let ran = place.run(&["--json", "events", "--type", "ToolCalled"]);
        let event: Value = serde_json::from_str(ran.stdout.lines().next()?).ok()?;
        event["plan_id"].as_str().map(str::to_owned)
    });
    let last = || place.run(&["--json", "events", "--plan", &plan]).json(0).pop().unwrap_or_default();
    // Another server comes and goes: the plan runs on.
    assert!(place.serve(&[]).stop().success());
    assert_eq!(last()["event_type"], "ToolCalled");
    // Killed: it shows no life any more, and a server goes on with its plan, whose call may not be repeated.
    drop(runner);
    let end = eventually("the end of the plan", || {
        assert!(place.serve(&[]).stop().success());
        Some(last()).filter(|event| event["event_type"] == "PlanFailed")
    });
    assert_eq!(end["payload"]["error"]["code"], "interrupted");
}

#[test]
fn paused_plan_of_a_server_that_is_alive_is_resumed_and_followed_by_another_process() {
    let Some(cluster) = Cluster::start("database paused_plan") else { return };
    let (here, there) = (place(&cluster), place(&cluster));
    let server = here.serve_documents();
    let (plan, folder) = start_pausing(&here, &server);
    let mut seen = server.http.stream(&format!("/v1/plans/{plan}/events"), None);
    let mut until = |name: &str| while seen.event().expect("an event")["event_type"] != name {};
    until("ToolCalled");
    there.run(&["pause", &plan]).text(0);
    until("PauseRequested");
    std::fs::remove_dir(&folder).expect("the folder");
    until("ToolCompleted");
    let resumed = there.run(&["--json", "resume", &plan]);
    assert!(resumed.stderr.contains("following it there"), "{resumed:?}");
    let events = resumed.json(0);
    assert_eq!(events.last().expect("events")["payload"]["outputs"], json!({"said": "done\n"}));
    assert!(events.iter().all(|event| event["event_type"] != "PlanAdopted"));
    assert!(server.stop().success());
}

#[test]
fn password_of_the_database_is_shown_by_nobody() {
    let Some(mut cluster) = Cluster::start("database password") else { return };
    let secret = cluster.url("planwire").replace("planwire@", "planwire:hunter2@");
    let mut place = Place::new();
    place.set_variable("PLANWIRE_DB", &secret);
    let mut told = vec![place.run(&["config"]), place.run(&["--json", "config"]), place.run(&["plans"])];
    told.push(finish(place.command(&["--log-nothing"]), ""));
    cluster.stop(crate::cluster::Stop::Immediate);
    let gone = place.run(&["plans"]);
    assert_eq!(gone.code, Some(74));
    assert!(gone.stderr.contains("does not answer"), "{gone:?}");
    told.push(gone);
    place.set_variable("PLANWIRE_DB", secret.replace("?schema=", "?colour=hunter2&schema="));
    let wrong = place.run(&["plans"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("PLANWIRE_DB"), "{wrong:?}");
    told.push(wrong);
    place.set_variable("PLANWIRE_DB", "");
    let config = place.file("planwire.toml", &format!("db = \"mysql{secret}\"\n"));
    let config = config.to_string_lossy().into_owned();
    told.push(place.run(&["--config", &config, "plans"]));
    for ran in told {
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
}
