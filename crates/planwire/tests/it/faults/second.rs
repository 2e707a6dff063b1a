//! Two servers on one SQLite file: the second one is refused and told who holds it, and takes over when that is gone.

use super::author::Author;
use super::row::Row;
use crate::harness::Place;

const STORAGE: i32 = 74;
const ATTEMPTS: usize = 5;

#[test]
fn second_server_on_one_file_is_refused_and_told_who_holds_it() {
    let place = Place::new();
    let first = place.serve(&[]);
    let holder = format!("is held by process {}", first.running.pid());
    let mut author = Author::begin(&first);
    for _ in 0..ATTEMPTS {
        let second = place.run(&["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!(second.code, Some(STORAGE), "{second:?}");
        for part in [&holder, &first.url] {
            assert!(second.stderr.contains(part), "'{part}' is not in: {}", second.stderr);
        }
        assert_eq!(author.note(&first, 10).expect("an answer").0, 200, "the first one goes on");
    }
    // What is left of a lock holds nobody back.
    first.kill();
    let second = place.serve(&[]);
    assert_eq!(author.note(&second, 10).expect("an answer").0, 200);
    assert!(second.stop().success());
    Row::new("two servers on one SQLite file", format!("{ATTEMPTS} starts beside a server"))
        .counts(author.check(&place, &[]))
        .figure(format!(
            "exit {STORAGE} each time, with process and address of the holder; taken over after kill -9"
        ))
        .check();
}
