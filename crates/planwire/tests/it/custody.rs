//! Whether a log is whole: what is said where it is not, and how to go on.

use std::path::PathBuf;

use serde_json::Value;

use crate::harness::Place;

const STARTED: &str = r#"{"event_type":"PlanStarted","plan_id":"p","payload":{"name":"nightly"}}"#;
const NOTE: &str = r#"{"event_type":"acme.note","plan_id":"p","payload":{"n":1}}"#;

fn database(place: &Place) -> PathBuf {
    place.data().join("default.db")
}

/// The database with all of its events: whoever reads a log that nobody writes moves its WAL there.
fn settled(place: &Place) -> Vec<u8> {
    place.run(&["events"]).text(0);
    std::fs::read(database(place)).expect("the log")
}

/// A log of four events, of which an older copy holds two.
fn lost() -> (Place, String) {
    let place = Place::new();
    place.run_with(&["publish", "-"], &format!("{STARTED}{NOTE}")).text(0);
    let copy = settled(&place);
    place.run_with(&["publish", "-"], &format!("{NOTE}{NOTE}")).text(0);
    let last = place.run(&["--json", "events"]).json(0)[3]["cursor"].as_str().expect("a cursor").to_owned();
    std::fs::write(database(&place), copy).expect("an older copy");
    (place, last)
}

#[test]
fn older_copy_is_refused_by_every_command_until_the_loss_is_accepted() {
    let (place, last) = lost();
    for command in [&["events"][..], &["plans"], &["show", "p"], &["serve", "--listen", "127.0.0.1:0"]] {
        let ran = place.run(command);
        assert_eq!(ran.code, Some(74), "{command:?}: {ran:?}");
        for part in
            ["ends at position 2", "missing: positions 3 to 4", "planwire accept-loss", "nothing was changed"]
        {
            assert!(ran.stderr.contains(part), "{command:?}: {ran:?}");
        }
    }
    assert_eq!(place.run_with(&["publish", "-"], NOTE).code, Some(74));
    let unasked = place.run(&["accept-loss"]);
    assert_eq!(unasked.code, Some(2), "{unasked:?}");
    assert!(unasked.stderr.contains("--yes"), "{unasked:?}");

    let accepted = &place.run(&["--json", "accept-loss", "--yes"]).json(0)[0];
    let (old, _) = last.split_once('-').expect("a cursor");
    assert_eq!((&accepted["head"], &accepted["continues"]["valid_to"]), (&2.into(), &2.into()));
    assert_eq!(accepted["continues"]["log_id"], old);
    place.run_with(&["publish", "-"], &format!("{NOTE}{NOTE}")).text(0);
    let kept = format!("{old}-0000000000000001");
    let events = place.run(&["--json", "events", "--after", &kept]).json(0);
    let positions: Vec<&Value> = events.iter().map(|event| &event["position"]).collect();
    assert_eq!(positions, [2, 3, 4], "a cursor of the old log holds as far as that was kept");
    let gone = place.run(&["events", "--after", &last]);
    assert_eq!(gone.code, Some(2), "position 4 is another event now: {gone:?}");
    let server = place.serve(&[]);
    let refused = server.http.get(&format!("/v1/events?after={last}"));
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(server.stop().success());
}

#[test]
fn nothing_is_accepted_where_nothing_is_missing() {
    let place = Place::new();
    let none = place.run(&["accept-loss", "--yes"]);
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.stderr.contains("there is no log in"), "{none:?}");
    place.run_with(&["publish", "-"], STARTED).text(0);
    assert!(place.run(&["accept-loss"]).text(0).starts_with("nothing is missing"));
    assert_eq!(place.run(&["--json", "accept-loss"]).json(0)[0]["accepted"], false);
}

#[test]
fn loss_is_not_accepted_beside_a_server() {
    let place = Place::new();
    let server = place.serve(&[]);
    place.run_with(&["publish", "-"], &format!("{STARTED}{NOTE}")).text(0);
    // What a second start would see; the server goes on with the file that it has open.
    std::fs::remove_file(database(&place)).expect("the log");
    let refused = place.run(&["accept-loss", "--yes"]);
    assert_eq!(refused.code, Some(74), "{refused:?}");
    assert!(refused.stderr.contains("is held by process"), "{refused:?}");
    server.kill();
}

#[test]
fn database_that_is_gone_is_told_from_one_that_never_was() {
    let (place, _) = lost();
    std::fs::remove_file(database(&place)).expect("the log");
    let ran = place.run(&["plans"]);
    assert_eq!(ran.code, Some(74), "{ran:?}");
    assert!(ran.stderr.contains("events of the log") && ran.stderr.contains("up to position 4"), "{ran:?}");
    place.run(&["accept-loss", "--yes"]).text(0);
    assert_eq!(place.run(&["--json", "events"]).json(0).len(), 0);
}
