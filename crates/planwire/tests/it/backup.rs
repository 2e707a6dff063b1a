//! Copies of a log that is written, and logs that go on from them: `backup` and `restore`.

use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::faults::chance::Chance;
use crate::harness::{Place, Running};
use crate::script::{members, script};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn filled(events: usize) -> Place {
    let place = Place::new();
    place.run_with(&["import", "-"], &script(events)).text(0);
    place
}

/// What lies in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn backup_never_replaces_a_file_by_itself_and_leaves_nothing_when_it_fails() {
    let place = filled(40);
    let folder = place.folder("backups");
    let file = folder.join("a.db");
    place.run(&["backup", text(&file)]).text(0);
    let first = std::fs::read(&file).expect("the backup");
    place.run_with(&["import", "-"], &script(60)).text(0);
    let again = place.run(&["backup", text(&file)]);
    assert!(again.code == Some(2) && again.stderr.contains("is there already"), "{again:?}");
    assert_eq!(std::fs::read(&file).expect("the backup"), first);
    assert!(place.run(&["backup", "--force", text(&file)]).text(0).contains("up to position 60 is in"));
    place.run(&["verify", "--file", text(&file)]).text(0);
    assert_eq!(names(&folder), ["a.db", "a.db.head"]);
    // No log that is in use is replaced, the one that is copied least of all.
    let held = filled(20);
    let server = held.serve(&[]);
    for log in [place.database(), held.database()] {
        let refused = place.run(&["backup", "--force", text(&log)]);
        assert!(
            refused.code == Some(2) && refused.stderr.contains("which no backup replaces"),
            "{refused:?}"
        );
    }
    assert!(server.stop().success());
    held.run(&["verify"]).text(0);
    // A log that is not whole has no backup.
    let mut bytes = std::fs::read(place.database()).expect("the database");
    // Pages hold what was moved within them, too: all of it is changed.
    for at in 0..bytes.len() - 8 {
        bytes[at] ^= u8::from(bytes[at..].starts_with(b"somebody"));
    }
    std::fs::write(place.database(), bytes).expect("a changed database");
    let refused = place.run(&["backup", text(&folder.join("b.db"))]);
    assert!(refused.code == Some(74) && refused.stderr.contains("is not whole"), "{refused:?}");
    assert_eq!(names(&folder), ["a.db", "a.db.head"]);
    assert_eq!(
        Place::new().run(&["backup", text(&folder.join("c.db"))]).code,
        Some(1),
        "there is no log yet"
    );
}

/// The cursor of the event at a place of the log.
fn cursor(place: &Place, at: usize) -> String {
    let events = place.run(&["--json", "events"]).json(0);
    events[at - 1]["cursor"].as_str().expect("a cursor").to_owned()
}

#[test]
fn restored_log_goes_on_and_cursors_hold_as_far_as_the_backup_reaches() {
    let place = filled(40);
    let file = place.folder("backups").join("a.db");
    place.run(&["backup", text(&file)]).text(0);
    place.run_with(&["import", "-"], &script(80)).text(0);
    let (early, late) = (cursor(&place, 30), cursor(&place, 70));
    let backed_up = members(place.run(&["export"]).text(0))[..40].to_vec();
    // Beside what is there: nothing, unless that is said.
    let refused = place.run(&["restore", text(&file)]);
    assert!(refused.code == Some(2) && refused.stderr.contains("--force"), "{refused:?}");
    let held = place.serve(&[]);
    let refused = place.run(&["restore", "--force", text(&file)]);
    assert!(refused.code == Some(74) && refused.stderr.contains("is held by process"), "{refused:?}");
    assert!(held.stop().success());
    let told = &place.run(&["--json", "restore", "--force", text(&file)]).json(0)[0];
    assert_eq!((&told["head"], &told["continues"]["valid_to"]), (&40.into(), &40.into()));
    assert_ne!(told["log_id"], told["continues"]["log_id"]);
    assert!(early.starts_with(told["continues"]["log_id"].as_str().expect("an id")));
    assert_eq!(place.run(&["--json", "events", "--after", &early]).json(0).len(), 10);
    assert_eq!(place.run(&["events", "--after", &late]).code, Some(2), "others will be there");
    place.run(&["verify"]).text(0);
    // What was replaced is whole still, and the log takes events.
    let aside = told["replaced"].as_str().expect("a path");
    assert_eq!(place.run(&["--json", "verify", "--file", aside]).json(0)[0]["position"], 80);
    place.run_with(&["import", "-"], &script(90)).text(0);
    assert_eq!(place.run(&["events", "--after", &late]).code, Some(2), "others are there");
    assert_eq!(place.run(&["--json", "events", "--after", &early]).json(0).len(), 60);
    assert!(cursor(&place, 90).starts_with(told["log_id"].as_str().expect("an id")));
    // A place whose database is gone is restored as it is.
    std::fs::remove_file(place.database()).expect("the database");
    assert_eq!(place.run(&["plans"]).code, Some(74), "the witness knows");
    place.run(&["restore", text(&file)]).text(0);
    assert_eq!(members(place.run(&["export"]).text(0)), backed_up);
    assert_eq!(place.run(&["restore", "nowhere"]).code, Some(2));
    let foreign = place.file("no.db", "no database");
    assert_eq!(Place::new().run(&["restore", text(&foreign)]).code, Some(74));
}

#[test]
fn killed_in_mid_restore_the_old_log_or_the_new_one_is_there() {
    let place = filled(3_000);
    let file = place.folder("backups").join("a.db");
    place.run(&["backup", text(&file)]).text(0);
    place.run_with(&["import", "-"], &script(3_100)).text(0);
    let mut chance = Chance::of(77);
    for _ in 0..12 {
        let mut command = place.command(&["restore", "--force", text(&file)]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let running = Running::start(command);
        std::thread::sleep(std::time::Duration::from_micros(chance.between(0, 400_000)));
        running.signal(Signal::KILL);
        running.end();
        let found = place.run(&["--json", "verify"]);
        // Between two renames there is no database, and the witness says so to everybody.
        let gone = found.code == Some(74) && found.stderr.contains("there is none, and events");
        let position = || found.json(0)[0]["position"].clone();
        assert!(gone || position() == 3_100 || position() == 3_000, "{found:?}");
    }
    place.run(&["restore", "--force", text(&file)]).text(0);
    assert_eq!(place.run(&["--json", "verify"]).json(0)[0]["position"], 3_000);
    let kept = names(&place.data());
    let kept: Vec<_> =
        kept.iter().filter(|name| name.contains(".replaced-") && !name.contains(".head")).collect();
    let positions = kept.iter().map(|name| {
        let path = place.data().join(name);
        place.run(&["--json", "verify", "--file", text(&path)]).json(0)[0]["position"].clone()
    });
    let positions: Vec<Value> = positions.collect();
    assert!(
        positions.contains(&3_100.into()),
        "the log that was replaced first is there still: {positions:?}"
    );
}

#[test]
fn log_in_postgresql_names_what_copies_it() {
    let Some(cluster) = Cluster::start("backup of postgresql") else { return };
    let mut place = Place::new();
    place.set_variable("PLANWIRE_DB", cluster.url("planwire"));
    place.run_with(&["import", "-"], &script(20)).text(0);
    for (command, tool) in [("backup", "pg_dump"), ("restore", "pg_restore")] {
        let ran = place.run(&[command, "file"]);
        assert!(
            ran.code == Some(2) && ran.stderr.contains(tool) && ran.stderr.contains("planwire move"),
            "{ran:?}"
        );
    }
}
