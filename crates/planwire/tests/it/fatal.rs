//! A log that cannot be written any more: readers are answered a little longer, then the restart decides.

use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::faults::author::Author;
use crate::faults::checker::Wanted;
use crate::faults::reader::Reader;
use crate::faults::row::Row;
use crate::harness::{Place, Running, Server};
use crate::http::Http;

const EVENT_BYTES: usize = 100_000;
const EVENTS_MAX: u64 = 1_000;

/// A server whose files may not grow beyond a few MiB. The kernel then fails the write itself, as a broken disk does.
fn serve_on_a_broken_disk(place: &Place) -> Server {
    // The signal that would end the process is ignored, so that the write returns an error.
    let line = "trap '' XFSZ; ulimit -f 6000; exec \"$0\" --json serve --listen 127.0.0.1:0";
    let plain = place.command::<&str>(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).arg(plain.get_program());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let mut running = Running::start(shell);
    let greeting: Value = serde_json::from_str(&running.line().expect("a greeting")).expect("JSON");
    let url = greeting["url"].as_str().expect("an address").to_owned();
    Server { http: Http::new(&url), url, running }
}

#[test]
fn readers_are_answered_and_then_the_server_exits_with_74() {
    let place = Place::new();
    let server = serve_on_a_broken_disk(&place);
    let mut author = Author::begin(&server);
    let mut reader = Reader::new(&server.url, Wanted::default());
    reader.read_until(author.head());
    let status = author.note_until_refused(&server, EVENT_BYTES, EVENTS_MAX).expect("a disk that breaks");
    let failed = Instant::now();
    assert!(status >= 500, "{status}");
    let head = author.head();
    assert!(head > 10, "{head}");
    // Nothing more is taken: if it were stored all the same, it would be nobody's.
    assert_eq!(author.note(&server, EVENT_BYTES).expect("an answer").0, 503);
    author.claims.pop();
    assert_eq!(server.http.get("/readyz").status, 503);
    assert_eq!(server.http.get("/healthz").status, 200);
    // What was acknowledged can be read, by those who were there and by those who come.
    let mut late = Reader::new(&server.url, Wanted::default());
    for reader in [&mut reader, &mut late] {
        reader.read_until(head);
        assert_eq!(reader.position(), head, "the event of which nobody knows is not shown");
    }
    let (status, _) = server.running.end();
    let ended = failed.elapsed();
    assert_eq!(status.code(), Some(74), "after {ended:?}");
    // The restart decides: all that was acknowledged is there, and the log takes events again.
    let server = place.serve(&[]);
    assert_eq!(author.ask_again(&server), 200);
    assert_eq!(author.note(&server, EVENT_BYTES).expect("an answer").0, 200);
    for reader in [&mut reader, &mut late] {
        reader.move_to(&server.url);
        reader.read_until(author.head());
    }
    assert!(server.stop().success());
    Row::new("files that may not grow (EFBIG)", "1 time")
        .counts(author.check(&place, &[reader.finish(), late.finish()]))
        .figure(format!("readers answered for 10 s, exit 74 after {} ms", ended.as_millis()))
        .check();
}
