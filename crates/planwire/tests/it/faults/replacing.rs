//! `kill -9` at each call while one log takes the place of another: one of both is there, and no third one passes.

use std::path::PathBuf;

use super::chance::count;
use super::row::Row;
use super::shim::{self, Rule};
use crate::harness::Place;
use crate::script::script;

/// Events of the log, and of the copy of it that is older.
const EVENTS: usize = 40;
const KEPT: usize = 20;

/// A log, an older copy of its database, and a backup of that time.
struct Before {
    place: Place,
    whole: Vec<u8>,
    older: Vec<u8>,
    witness: Vec<u8>,
    backup: PathBuf,
    /// The last cursor.
    last: String,
}

impl Before {
    fn make() -> Self {
        let place = Place::new();
        let backup = place.folder("backups").join("a.db");
        place.run_with(&["import", "-"], &script(KEPT)).text(0);
        let older = std::fs::read(place.database()).expect("the log");
        place.run(&["backup", backup.to_str().expect("UTF-8")]).text(0);
        place.run_with(&["import", "-"], &script(EVENTS)).text(0);
        let [whole, witness] = [place.database(), place.data().join("default.db.head")]
            .map(|path| std::fs::read(path).expect("a file of the log"));
        let events = place.run(&["--json", "events"]).json(0);
        let last = events[EVENTS - 1]["cursor"].as_str().expect("a cursor").to_owned();
        Self { place, whole, older, witness, backup, last }
    }

    fn log_id(&self) -> &str {
        self.last.split_once('-').expect("a cursor").0
    }

    /// A place of its own with the witness and that database.
    fn again(&self, database: &[u8]) -> Place {
        let place = Place::new();
        std::fs::create_dir_all(place.data()).expect("a folder");
        std::fs::write(place.database(), database).expect("the log");
        std::fs::write(place.data().join("default.db.head"), &self.witness).expect("its witness");
        place
    }

    /// Kills `command` at every `step`-th call to a file of the log, over `database`, until it is through; `check` looks
    /// at what each has left.
    fn kill_at_each_call(&self, database: &[u8], command: &[&str], check: impl Fn(&Place)) -> u64 {
        let step = count(3, 1);
        for number in 0.. {
            let mut place = self.again(database);
            let nth = 1 + number * step;
            let trigger = shim::load(&mut place, Rule { act: "kill-half", call: "any", kind: "file", nth });
            trigger.arm();
            let ran = place.run(command);
            shim::unload(&mut place);
            if !trigger.was_hit() {
                assert_eq!(ran.code, Some(0), "{ran:?}");
                return number;
            }
            assert_eq!(ran.code, None, "{ran:?}");
            check(&place);
        }
        0
    }

    /// The log that went on has what was kept, and another name; nothing of before passes for it.
    fn check_went_on(&self, place: &Place) {
        let events = place.run(&["--json", "events"]).json(0);
        assert_eq!(events.len(), KEPT);
        let cursor = events[0]["cursor"].as_str().expect("a cursor");
        assert!(!cursor.starts_with(self.log_id()), "{cursor} is of the log before");
        assert_eq!(place.run(&["events", "--after", &self.last]).code, Some(2), "others may be there");
        place.run_with(&["import", "-"], &script(EVENTS)).text(0);
        for before in [&self.older, &self.whole] {
            std::fs::write(place.database(), before).expect("the log");
            let refused = place.run(&["events"]);
            assert!(refused.code == Some(74) && refused.stderr.contains("it is another log"), "{refused:?}");
        }
    }
}

/// How many events the log has, or why it is refused.
fn events(place: &Place) -> Result<usize, String> {
    let ran = place.run(&["--json", "events"]);
    if ran.code == Some(0) { Ok(ran.json(0).len()) } else { Err(ran.stderr) }
}

#[test]
fn soak_killed_at_each_call_of_accept_loss_it_is_accepted_or_still_refused() {
    let before = Before::make();
    let command = ["--json", "accept-loss", "--yes"];
    let kills = before.kill_at_each_call(&before.older, &command, |place| {
        let seen = events(place);
        let again = &place.run(&command).json(0)[0];
        match seen {
            Ok(events) => assert_eq!((events, &again["accepted"]), (KEPT, &false.into())),
            Err(refusal) => {
                assert!(refusal.contains("its end is missing"), "{refusal}");
                assert_eq!(again["continues"]["log_id"], before.log_id());
                assert_eq!(again["continues"]["valid_to"], KEPT);
            }
        }
        before.check_went_on(place);
    });
    assert!(kills > 5, "{kills}");
    Row::new("kill -9 at each call of `accept-loss`", format!("{kills} calls"))
        .figure("accepted or still refused, never another log")
        .check();
}

#[test]
fn soak_killed_at_each_call_of_restore_the_old_log_or_the_new_one_is_there() {
    let before = Before::make();
    let backup = before.backup.to_str().expect("UTF-8");
    let command = ["--json", "restore", "--force", backup];
    let kills = before.kill_at_each_call(&before.whole, &command, |place| {
        match events(place) {
            Ok(KEPT) => {}
            Ok(EVENTS) => drop(place.run(&command).json(0)),
            Err(refusal) if refusal.contains("there is none, and events") => {
                drop(place.run(&command).json(0))
            }
            other => panic!("{other:?}"),
        }
        before.check_went_on(place);
    });
    assert!(kills > 2, "{kills}");
    Row::new("kill -9 at each call of `restore`", format!("{kills} calls"))
        .figure("the old log or the new one, never another log")
        .check();
}

#[test]
fn log_that_was_restored_elsewhere_does_not_pass_for_the_one_that_it_came_from() {
    let before = Before::make();
    let elsewhere = Place::new();
    elsewhere.run(&["restore", before.backup.to_str().expect("UTF-8")]).text(0);
    elsewhere.run(&["events"]).text(0);
    std::fs::copy(elsewhere.database(), before.place.database()).expect("a copy");
    for command in [&["events"][..], &["plans"], &["serve", "--listen", "127.0.0.1:0"]] {
        let refused = before.place.run(command);
        let told = format!("what was stored here is {} up to position {EVENTS}", before.log_id());
        assert!(refused.code == Some(74) && refused.stderr.contains(&told), "{refused:?}");
    }
    before.place.run(&["accept-loss", "--yes"]).text(0);
    assert_eq!(before.place.run(&["--json", "events"]).json(0).len(), KEPT);
}
