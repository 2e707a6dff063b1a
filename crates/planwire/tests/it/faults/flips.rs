//! One bit of the log's files is flipped, or one of them ends early, while nobody has them open.
//!
//! Each is either harmless (whatever commands read is as before) or reported: by a command that refuses the files, or by
//! `verify`. What is neither is silent, and there must be none of it.

use std::path::Path;

use super::author::Author;
use super::chance::{Chance, count};
use super::row::Row;
use crate::harness::Place;

const EVENTS: u64 = 100;
const EVENT_BYTES: usize = 300;
const FILES: [&str; 4] = ["default.db", "default.db-wal", "default.db-shm", "default.db.head"];
/// Once in so many a file is cut off instead.
const CUT_OFF_ONCE_IN: u64 = 4;

/// What people read of a log.
const READS: [&[&str]; 5] = [
    &["events", "--json"],
    &["events", "--json", "--plan", "author", "--tree"],
    &["events", "--json", "--type", "acme.note"],
    &["plans", "--json", "--all"],
    &["show", "--json", "author"],
];

/// What becomes of a log whose files were damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Harmless,
    /// Something said so; whether an event was lost or altered is known to whoever looks.
    Reported,
    /// The events read are the first ones of the log, and nothing says that there were more.
    TailLost,
    /// Something reads otherwise than it was written, and nothing says so.
    Altered,
}

#[test]
fn soak_flipped_bit_or_cut_file_is_harmless_or_reported() {
    let damages = count(100, 1_000);
    let original = killed_log();
    let expected = read(&copy(&original)).expect("the log can be read");
    assert!(expected[0].lines().count() as u64 > EVENTS);
    copy(&original).run(&["verify"]).text(0);
    let mut chance = Chance::of(25);
    let mut seen = Vec::new();
    for _ in 0..damages {
        let place = copy(&original);
        let file = FILES[usize::try_from(chance.between(0, 3)).expect("a small number")];
        let done = damage(&place.data().join(file), &mut chance);
        let what = compare(&place, &expected);
        assert!(!matches!(what, Seen::Altered | Seen::TailLost), "{file}, {done}: {what:?}");
        seen.push((file, what));
    }
    let number = |what: Seen| seen.iter().filter(|(_, seen)| *seen == what).count();
    let mut row = Row::new("bit flip or truncation of the files", format!("{damages} copies"))
        .figure(format!("harmless {}, reported {}", number(Seen::Harmless), number(Seen::Reported)))
        .figure("lost or altered in silence 0");
    for file in FILES {
        let of = |what: Seen| seen.iter().filter(|seen| **seen == (file, what)).count();
        row = row.figure(format!("{file}: {} and {}", of(Seen::Harmless), of(Seen::Reported)));
    }
    row.check();
}

/// A log with one half of its events in the database and the other in the WAL, as a killed server leaves it.
fn killed_log() -> Place {
    let place = Place::new();
    let server = place.serve(&[]);
    let mut author = Author::begin(&server);
    assert_eq!(author.note_until_refused(&server, EVENT_BYTES, EVENTS / 2), None);
    assert_eq!(server.stop().code(), Some(0));
    let server = place.serve(&[]);
    assert_eq!(author.note_until_refused(&server, EVENT_BYTES, EVENTS / 2), None);
    server.kill();
    place
}

fn copy(original: &Place) -> Place {
    let place = Place::new();
    std::fs::create_dir(place.data()).expect("a folder");
    for file in FILES {
        std::fs::copy(original.data().join(file), place.data().join(file)).expect("a file");
    }
    place
}

/// Damages a file, and says how.
fn damage(file: &Path, chance: &mut Chance) -> String {
    let mut bytes = std::fs::read(file).expect("a file");
    let at = usize::try_from(chance.between(0, bytes.len() as u64 - 1)).expect("a place in the file");
    let done = if chance.once_in(CUT_OFF_ONCE_IN) {
        bytes.truncate(at);
        format!("cut off at {at}")
    } else {
        let bit = chance.between(0, 7);
        bytes[at] ^= 1 << bit;
        format!("bit {bit} of byte {at}")
    };
    std::fs::write(file, bytes).expect("a file");
    done
}

/// What commands read; none if one of them says that something is wrong.
fn read(place: &Place) -> Option<Vec<String>> {
    let ran = READS.iter().map(|command| place.run(command));
    ran.map(|ran| (ran.code == Some(0)).then_some(ran.stdout)).collect()
}

fn compare(place: &Place, expected: &[String]) -> Seen {
    // First, since it is the one that changes nothing.
    if place.run(&["verify"]).code != Some(0) {
        return Seen::Reported;
    }
    let Some(read) = read(place) else { return Seen::Reported };
    if read == expected {
        Seen::Harmless
    } else if read[0] != expected[0] && expected[0].starts_with(&read[0]) {
        Seen::TailLost
    } else {
        Seen::Altered
    }
}
