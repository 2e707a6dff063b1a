//! The log's file is replaced, below clients that hold a cursor of the one before.

use super::author::{Author, follow};
use super::row::Row;
use crate::harness::{Place, Server};
use crate::http::Answer;

const EVENTS: u64 = 20;
const FILE: &str = "default.db";
const WITNESS: &str = "default.db.head";

#[test]
fn cursor_of_another_or_of_a_newer_log_is_refused_and_never_waited_on() {
    let place = Place::new();
    let server = place.serve(&[]);
    let mut author = Author::begin(&server);
    assert_eq!(author.note_until_refused(&server, 10, EVENTS), None);
    assert_eq!(server.stop().code(), Some(0));
    let older = settled(&place);
    let server = place.serve(&[]);
    assert_eq!(author.note_until_refused(&server, 10, EVENTS), None);
    let head = author.head();
    let reading = follow(&server, Some(head)).join().expect("a reader");
    let cursor = ready_cursor(&server);
    assert_eq!(server.stop().code(), Some(0));
    let counts = author.check(&place, &[reading]);
    // Restored from a backup that is older.
    std::fs::write(place.data().join(FILE), &older).expect("the older log");
    accept(&place, "its end is missing");
    let server = place.serve(&[]);
    let mut asked = refused(&server, &cursor, "cursor-other-log");
    assert_eq!(server.stop().code(), Some(0));
    // A copy that nobody can tell from one that was never written on.
    std::fs::remove_file(place.data().join(WITNESS)).expect("the witness");
    std::fs::write(place.data().join(FILE), &older).expect("the older log");
    let server = place.serve(&[]);
    asked += refused(&server, &cursor, "cursor-beyond-head");
    assert_eq!(server.stop().code(), Some(0));
    // Another log under the same name, which is longer.
    let other = Place::new();
    let server = other.serve(&[]);
    let mut stranger = Author::begin(&server);
    assert_eq!(stranger.note_until_refused(&server, 10, 3 * EVENTS), None);
    assert_eq!(server.stop().code(), Some(0));
    std::fs::write(place.data().join(FILE), settled(&other)).expect("the other log");
    accept(&place, "it is another log");
    let server = place.serve(&[]);
    asked += refused(&server, &cursor, "cursor-other-log");
    assert_eq!(server.stop().code(), Some(0));
    Row::new("database swapped, or restored from an older copy", "3 files")
        .counts(counts)
        .figure("refused at each start until it is accepted")
        .figure(format!("409 for {asked} of {asked} readers"))
        .check();
}

/// The database with all of its events: whoever reads a log that nobody writes moves its WAL there.
fn settled(place: &Place) -> Vec<u8> {
    place.run(&["events"]).text(0);
    std::fs::read(place.data().join(FILE)).expect("a log")
}

/// No command takes the file before its loss is accepted.
fn accept(place: &Place, what: &str) {
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["events"]] {
        let refused = place.run(command);
        assert!(refused.code == Some(74) && refused.stderr.contains(what), "{command:?}: {refused:?}");
    }
    place.run(&["accept-loss", "--yes"]).text(0);
}

fn ready_cursor(server: &Server) -> String {
    server.http.get("/readyz").json(200)["head"].as_str().expect("a cursor").to_owned()
}

/// Asks in each way in which a reader comes back; gives how many these are.
fn refused(server: &Server, cursor: &str, problem: &str) -> usize {
    let stream = |path: &str| {
        let headers = [("Accept", "text/event-stream"), ("Last-Event-ID", cursor)];
        server.http.send("GET", path, &headers, "")
    };
    let answers: [Answer; 4] = [
        stream("/v1/events"),
        stream("/v1/plans/author/events"),
        server.http.get(&format!("/v1/events?after={cursor}")),
        server.http.get(&format!("/v1/plans/author/events?after={cursor}")),
    ];
    for answer in &answers {
        assert!(answer.status == 409 && answer.body.contains(problem), "{answer:?}");
    }
    answers.len()
}
