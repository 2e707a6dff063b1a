//! One bit of the log's files is flipped, or one of them ends early, while nobody has them open.
//!
//! Each is either harmless (every event reads as before) or reported by the command that reads them. What is neither is
//! silent. A flip in the WAL ends what SQLite finds in it: as long as nothing outside of the database says where the
//! log ended, a lost tail is silent, and is counted as such.

use std::path::Path;

use super::author::Author;
use super::chance::{Chance, count};
use super::checker::Counts;
use super::row::Row;
use crate::harness::{Place, Ran};

const EVENTS: u64 = 100;
const EVENT_BYTES: usize = 300;
const FILES: [&str; 3] = ["default.db", "default.db-wal", "default.db-shm"];
/// Once in so many a file is cut off instead.
const CUT_OFF_ONCE_IN: u64 = 4;

/// What reading says after a file was damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Harmless,
    Reported,
    /// The events read are the first ones of the log, and nothing says that there were more.
    TailLost,
    /// An event reads otherwise than it was written.
    Altered,
}

#[test]
fn soak_flipped_bit_or_cut_file_never_alters_an_event_in_silence() {
    let damages = count(100, 1_000);
    let original = damaged_log();
    let expected = copy(&original).run(&["events", "--json"]);
    assert!(expected.text(0).lines().count() as u64 > EVENTS);
    let mut chance = Chance::of(25);
    let mut seen = Vec::new();
    for _ in 0..damages {
        let place = copy(&original);
        let file = FILES[usize::try_from(chance.between(0, 2)).expect("a small number")];
        damage(&place.data().join(file), &mut chance);
        let what = compare(&place.run(&["events", "--json"]), &expected);
        assert_ne!(what, Seen::Altered, "{file}");
        seen.push((file, what));
    }
    let number = |what: Seen| seen.iter().filter(|(_, seen)| *seen == what).count();
    let of_database = seen.iter().filter(|(file, what)| *what == Seen::TailLost && *file == FILES[0]).count();
    assert_eq!(of_database, 0, "damage of the database is seen");
    // The known gap is shown where losses are looked for.
    let mut counts = Counts::default();
    counts.broken.lost = number(Seen::TailLost);
    Row::new("bit flip or truncation of the files", format!("{damages} copies"))
        .counts(counts)
        .figure(format!("harmless {}, reported {}", number(Seen::Harmless), number(Seen::Reported)))
        .figure(format!("copies whose WAL lost its tail in silence {}", number(Seen::TailLost)))
        .tell();
}

/// A log with one half of its events in the database and the other in the WAL, as a killed server leaves it.
fn damaged_log() -> Place {
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

fn damage(file: &Path, chance: &mut Chance) {
    let mut bytes = std::fs::read(file).expect("a file");
    let at = usize::try_from(chance.between(0, bytes.len() as u64 - 1)).expect("a place in the file");
    if chance.once_in(CUT_OFF_ONCE_IN) {
        bytes.truncate(at);
    } else {
        bytes[at] ^= 1 << chance.between(0, 7);
    }
    std::fs::write(file, bytes).expect("a file");
}

fn compare(ran: &Ran, expected: &Ran) -> Seen {
    if ran.code != Some(0) {
        return Seen::Reported;
    }
    if ran.stdout == expected.stdout {
        Seen::Harmless
    } else if expected.stdout.starts_with(&ran.stdout) {
        Seen::TailLost
    } else {
        Seen::Altered
    }
}
