//! The page in a real browser, while its server is killed and started again.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use planwire_event::IdGenerator;
use serde_json::{Value, json};

use super::chance::{Chance, skip};
use crate::harness::{Place, Server};

const TEST: &str = "page_shows_every_event_once_after_its_server_was_killed_and_started_again";
const PLAN: &str = "seen";
const KILLS: u64 = 3;
/// Events before each kill and after each start.
const EVENTS: u64 = 10;
/// Ports that the operating system gives to nobody by itself, so that a server finds its own again.
const PORTS: (u64, u64) = (20_000, 30_000);

#[test]
fn page_shows_every_event_once_after_its_server_was_killed_and_started_again() {
    let Some(mut browser) = Browser::start() else { return };
    let place = Place::new();
    let address = free_address();
    let mut server = place.serve_at(&address, &[]);
    let payload = json!({"goal": "be seen", "inputs": {}, "name": PLAN});
    let started = json!({"event_type": "PlanStarted", "plan_id": PLAN, "payload": payload});
    server.http.post("/v1/events", &started).json(200);
    browser.tell(&format!("open {}/#{PLAN}", server.url));
    let ids = IdGenerator::system();
    let mut published = 0;
    for _ in 0..KILLS {
        browser.check(published);
        publish(&server, &ids, &mut published);
        server.kill();
        server = place.serve_at(&address, &[]);
        browser.check(published);
        publish(&server, &ids, &mut published);
    }
    browser.check(published);
    println!(
        "{KILLS} kills: the page shows {published} events once each, in order, and was never loaded again"
    );
    assert_eq!(server.stop().code(), Some(0));
}

fn publish(server: &Server, ids: &IdGenerator, published: &mut u64) {
    for _ in 0..EVENTS {
        *published += 1;
        let payload = json!({ "number": *published });
        let event = json!({"event_id": ids.next_id(), "event_type": "acme.note", "plan_id": PLAN, "payload": payload});
        server.http.post("/v1/events", &event).json(200);
    }
}

fn free_address() -> String {
    let mut chance = Chance::of(u64::from(std::process::id()));
    let mut addresses = std::iter::repeat_with(|| format!("127.0.0.1:{}", chance.between(PORTS.0, PORTS.1)));
    addresses.find(|address| TcpListener::bind(address).is_ok()).expect("there is always another port")
}

/// A browser that `page.mjs` drives: a line in, a line of JSON out.
struct Browser {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Browser {
    /// None where there is no browser.
    fn start() -> Option<Self> {
        let (Some(chromium), Some(modules)) =
            (std::env::var_os("PLANWIRE_CHROMIUM"), std::env::var_os("PLANWIRE_NODE_MODULES"))
        else {
            skip(TEST, "there is no browser with its driver (PLANWIRE_CHROMIUM, PLANWIRE_NODE_MODULES)");
            return None;
        };
        let driver = PathBuf::from(modules).join("playwright-core");
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/page.mjs");
        let mut command = Command::new("node");
        command.arg(script).arg(driver).arg(chromium).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("node starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
        Some(Self { child, stdin, stdout })
    }

    fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the browser listens");
        writeln!(stdin, "{line}").expect("the browser listens");
    }

    /// Waits until the page counts PlanStarted and `notes` more events; then each of them has one row, in order.
    fn check(&mut self, notes: u64) {
        self.tell(&format!("await {}", notes + 1));
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("an answer");
        let seen: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let expected: Vec<_> = (1..=notes).map(|number| json!({ "number": number }).to_string()).collect();
        assert_eq!(seen["notes"], json!(expected));
        assert_eq!(seen["loads"], 1, "the page was not loaded again");
        assert_eq!(seen["problems"], json!([]));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without input it closes the browser and ends; a kill would leave the browser behind.
        self.stdin = None;
        let _ = self.child.wait();
    }
}
