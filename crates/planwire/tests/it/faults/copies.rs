//! Backups of a log that is written: each is whole, and the beginning of the log up to a moment within the command.

use std::path::Path;

use super::chance::{Chance, count};
use super::crowd::{Crowd, head, survive};
use super::row::Row;
use crate::harness::Place;

/// Acknowledgements between two backups.
const EVENTS_BETWEEN: u64 = 100;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn soak_backup_while_the_log_is_written_is_whole_and_the_beginning_of_it() {
    let (place, backups) = (Place::new(), count(5, 50));
    let folder = place.folder("backups");
    let survived = survive(&place, Crowd::LARGE, Chance::of(38), |stage, _| {
        let server = stage.begin(&place);
        for number in 0..backups {
            stage.go_on(EVENTS_BETWEEN);
            let (file, before) = (folder.join(format!("{number}.db")), head(&server));
            let made = &place.run(&["--json", "backup", text(&file)]).json(0)[0];
            let position = made["position"].as_u64().expect("a position");
            assert!(position >= before, "{made} holds less than was acknowledged before: {before}");
            assert!(position <= head(&server), "{made} holds more than there is");
            let found = &place.run(&["--json", "verify", "--file", text(&file)]).json(0)[0];
            assert_eq!((&found["whole"], &found["witness"]), (&true.into(), &"whole".into()), "{found}");
            assert_eq!((&found["position"], &found["log_id"]), (&made["position"], &made["log_id"]));
        }
        assert_eq!(server.stop().code(), Some(0));
        stage.gone();
    });
    let left = std::fs::read_dir(&folder).expect("a folder").count() as u64;
    assert_eq!(left, 2 * backups, "a file and its witness each, and nothing else");
    let log = place.run(&["--json", "events"]).text(0).to_owned();
    for number in 0..backups {
        let copy = Place::new();
        std::fs::create_dir_all(copy.data()).expect("a folder");
        std::fs::copy(folder.join(format!("{number}.db")), copy.database()).expect("the backup");
        assert!(log.starts_with(copy.run(&["--json", "events"]).text(0)), "backup {number}");
    }
    Row::new("backup while writing", format!("{backups} backups"))
        .counts(survived.counts)
        .figure("each whole, and the beginning of the log")
        .check();
}
