//! Logs that move between files and PostgreSQL, with all that belongs to them.

use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::faults::chance::Chance;
use crate::harness::{Place, Running, eventually};
use crate::script::script;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn in_database(url: &str) -> Place {
    let mut place = Place::new();
    place.set_variable("PLANWIRE_DB", url);
    place
}

/// A log with plans, a document and events of all kinds.
fn filled(events: usize) -> Place {
    let place = Place::new();
    place.run_with(&["import", "-"], &script(events)).text(0);
    place
        .run(&["run", "repo-report", "--input", &format!("folder={}", text(&place.folder("subject")))])
        .text(0);
    place
}

/// All that a log says of itself.
fn state(place: &Place) -> (String, Value, Value) {
    let verified = place.run(&["--json", "verify"]).json(0).swap_remove(0);
    let whole = json!([verified["log_id"], verified["position"], verified["root"]]);
    let plans = Value::from(place.run(&["--json", "plans", "--all", "--limit", "1000"]).json(0));
    (place.run(&["--json", "events"]).text(0).to_owned(), whole, plans)
}

#[test]
fn log_is_the_same_after_it_moved_there_and_back() {
    let Some(cluster) = Cluster::start("moving there and back") else { return };
    let url = cluster.url("planwire");
    let (file, database) = (filled(3_000), in_database(&url));
    let before = state(&file);
    let middle =
        before.0.lines().nth(1_500).and_then(|line| line.split("\"cursor\":\"").nth(1)?.split('"').next());
    let middle = middle.expect("a cursor").to_owned();
    let told = &file.run(&["--json", "move", "--to", &url]).json(0)[0];
    assert_eq!((&told["log_id"], &told["how"]), (&before.1[0], &"copied".into()));
    assert_eq!(state(&database), before, "all is as it was");
    let after = |place: &Place| place.run(&["--json", "events", "--after", &middle]).text(0).lines().count();
    assert_eq!(after(&database), before.0.lines().count() - 1_501, "cursors hold");
    // It takes events there, and never again here.
    let note = script(3_020).lines().skip(3_000).collect::<Vec<_>>().join("\n");
    for arguments in [&["import", "-"][..], &["publish", "-"], &["serve", "--listen", "127.0.0.1:0"]] {
        let refused = file.run_with(arguments, &note);
        assert_eq!(refused.code, Some(74), "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains("was moved to postgres://"), "{refused:?}");
    }
    assert_eq!(state(&file), before, "reading what is left stays possible");
    assert!(file.run(&["--json", "move", "--to", &url]).json(0)[0]["how"] == "before");
    database.run_with(&["import", "-"], &note).text(0);
    let more = state(&database);
    let home = Place::new();
    let told = database.run(&["move", "--to", text(&home.data())]);
    assert!(
        told.text(0).contains("was moved to") && told.stdout.contains("takes no events any more"),
        "{told:?}"
    );
    assert_eq!(state(&home), more);
    assert_eq!(home.run(&["--json", "verify"]).json(0)[0]["witness"], "whole");
    assert_eq!(after(&home), more.0.lines().count() - 1_501);
    home.run_with(&["import", "-"], &script(3_040)).text(0);
    let refused = database.run_with(&["publish", "-"], &note);
    assert!(refused.code == Some(74) && refused.stderr.contains("was moved to /"), "{refused:?}");
    // A place that has a log takes none.
    let occupied = Place::new();
    occupied.run_with(&["import", "-"], &script(20)).text(0);
    let refused = home.run(&["move", "--to", text(&occupied.data())]);
    assert!(refused.code == Some(2) && refused.stderr.contains("there is a log at"), "{refused:?}");
    assert_eq!(home.run(&["move", "--to", text(&home.data())]).code, Some(2));
    assert_eq!(Place::new().run(&["move", "--to", &url]).code, Some(74), "there is no log to move");
}

#[test]
fn log_that_others_write_is_not_moved() {
    let Some(cluster) = Cluster::start("moving a log that others write") else { return };
    let url = cluster.url("planwire");
    let (file, database) = (Place::new(), in_database(&url));
    file.run_with(&["import", "-"], &script(20)).text(0);
    let server = file.serve(&[]);
    let refused = file.run(&["move", "--to", &url]);
    assert!(refused.code == Some(74) && refused.stderr.contains("is held by process"), "{refused:?}");
    assert!(server.stop().success());
    file.run(&["move", "--to", &url]).text(0);
    let server = database.serve(&[]);
    let refused = database.run(&["move", "--to", text(&file.folder("other"))]);
    assert!(refused.code == Some(74) && refused.stderr.contains("other processes have"), "{refused:?}");
    assert!(server.stop().success());
    database.run(&["move", "--to", text(&file.folder("other"))]).text(0);
}

/// Whether a log takes events: it holds those of the script and takes a new plan.
fn takes(place: &Place, plan: &str) -> bool {
    let event = json!({"event_type": "PlanStarted", "plan_id": plan, "payload": {"name": "n"}});
    let ran = place.run_with(&["publish", "-"], &event.to_string());
    let closed = ran.stderr.contains("was moved to")
        || ran.stderr.contains("is on its way here")
        || ran.stderr.contains("there is none, and events");
    assert!(ran.code == Some(0) || ran.code == Some(74) && closed, "{ran:?}");
    ran.code == Some(0)
}

#[test]
fn log_is_not_moved_to_where_a_server_has_one_open() {
    let Some(cluster) = Cluster::start("moving to where a server is") else { return };
    let url = cluster.url("planwire");
    let (file, database) = (Place::new(), in_database(&url));
    file.run_with(&["import", "-"], &script(20)).text(0);
    // Its log has no event yet, so the place looks like a free one.
    let server = database.serve(&[]);
    let head = || server.http.get("/readyz").json(200)["head"].as_str().expect("a cursor").to_owned();
    let before = head();
    let refused = file.run(&["move", "--to", &url]);
    assert!(refused.code == Some(74) && refused.stderr.contains("other processes have"), "{refused:?}");
    assert_eq!(head(), before);
    assert!(takes(&file, "here"), "the log stays where it was");
    assert!(server.stop().success());
    file.run(&["move", "--to", &url]).text(0);
    assert_eq!(database.run(&["--json", "verify"]).json(0)[0]["position"], 21);
}

#[test]
fn server_ends_when_another_log_is_put_in_the_place_of_its_own() {
    let Some(cluster) = Cluster::start("another log below a server") else { return };
    let (database, other) = (in_database(&cluster.url("planwire")), in_database(&cluster.url("other")));
    other.run_with(&["import", "-"], &script(20)).text(0);
    let server = database.serve(&[]);
    // As one does who restores a dump of another log. Nobody publishes: the server looks by itself.
    cluster.sql(
        "UPDATE planwire.planwire_log AS log SET log_id = new.log_id, head = new.head, frontier = new.frontier, \
         recorded_at = new.recorded_at FROM other.planwire_log AS new",
    );
    let refused = eventually("a server that takes nothing any more", || {
        let answer = server.http.get("/readyz");
        (answer.status == 503).then_some(answer)
    });
    assert!(refused.body.contains("urn:planwire:problem:writer-stopped"), "{refused:?}");
    let started = json!({"event_type": "PlanStarted", "plan_id": "p", "payload": {"name": "n"}});
    assert_eq!(server.http.post("/v1/events", &started).status, 503);
    let (status, _) = server.running.end();
    assert_eq!(status.code(), Some(74));
    assert_eq!(cluster.sql("SELECT count(*) FROM planwire.plan_events"), "0");
}

#[test]
fn killed_at_any_instant_of_a_move_one_place_at_most_takes_events_and_a_repeat_ends_it() {
    let Some(cluster) = Cluster::start("moving and kills") else { return };
    let mut chance = Chance::of(91);
    let mut place = Place::new();
    place.run_with(&["import", "-"], &script(2_000)).text(0);
    let mut expected = 2_000;
    for round in 0..8 {
        let url = cluster.url(&format!("round_{round}"));
        let there = if round % 2 == 0 { in_database(&url) } else { Place::new() };
        let to = if round % 2 == 0 { url } else { text(&there.data()).to_owned() };
        let mut killed = 0;
        loop {
            let mut command = place.command(&["move", "--to", &to]);
            command.stdout(Stdio::piped()).stderr(Stdio::null());
            let running = Running::start(command);
            std::thread::sleep(std::time::Duration::from_micros(chance.between(0, 1_500_000)));
            running.signal(Signal::KILL);
            let (status, _) = running.end();
            if status.success() {
                break;
            }
            killed += 1;
            // What was written while the move was not done is not left behind.
            let here = takes(&place, &format!("round-{round}-{killed}"));
            expected += u64::from(here);
            let gone = !here || !there_takes(&there, &place);
            assert!(gone, "both take events");
            if killed == 4 {
                place.run(&["move", "--to", &to]).text(0);
                break;
            }
        }
        let again = place.run(&["--json", "move", "--to", &to]).json(0);
        assert_eq!(again[0]["how"], "before");
        assert!(!takes(&place, "late"), "it is closed");
        let found = &there.run(&["--json", "verify"]).json(0)[0];
        assert_eq!((&found["position"], &found["whole"]), (&expected.into(), &true.into()), "round {round}");
        place = there;
    }
}

/// Whether the other place would take an event of a log that is open here too. An empty log that a killed move had
/// begun to make is none of them.
fn there_takes(there: &Place, here: &Place) -> bool {
    let of = |place: &Place| {
        let ran = place.run(&["--json", "verify"]);
        serde_json::from_str::<Value>(ran.stdout.lines().next()?).ok().map(|found| found["log_id"].clone())
    };
    let id = of(here);
    id.is_some() && of(there) == id && takes(there, "elsewhere")
}
