//! Clients that never read, and clients that come and go: what they cost, and that they miss nothing.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use planwire_event::IdGenerator;
use serde_json::json;

use crate::faults::chance::count;
use crate::faults::checker::{Counts, digest};
use crate::faults::raw::{Raw, RawStream, ask_for_stream, position_of};
use crate::faults::row::Row;
use crate::harness::{Place, Server, eventually};

const KIB: u64 = 1024;
/// Memory above idle that no number of clients and events may exceed, beside what each client costs.
const MEMORY_KIB_MAX: u64 = 64 * KIB;
/// Memory that a client costs that does not read.
const CLIENT_KIB_MAX: u64 = 32;
const PUBLISHERS: u64 = 4;
const BATCH_EVENTS: u64 = 500;
/// Threads that read for all clients at the end.
const READERS: usize = 4;
const CONNECTS: usize = 10_000;
const CONNECT_THREADS: usize = 8;
const PLAN: &str = "load";
/// Event types, of which each client follows one: reading 8,000,000 events takes a debug build minutes, and a twentieth
/// of the events is still more than any socket holds. The soak run has one type for all.
const KINDS_CI: u64 = 20;

#[test]
fn soak_clients_that_never_read_cost_little_and_get_all_when_they_do() {
    let (clients, events) = (count(200, 1_000), count(40_000, 200_000));
    let place = Place::new();
    let server = place.serve(&[]);
    start_plan(&server);
    let idle = memory_kib(&server);
    let kinds = count(KINDS_CI, 1);
    let stalled: Vec<TcpStream> =
        (0..clients).map(|client| stalled_client(&server, client % kinds)).collect();
    let peak = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..PUBLISHERS {
            scope.spawn(|| publish(&server, events / PUBLISHERS, kinds, &peak));
        }
    });
    let head = head(&server);
    assert_eq!(head, events + 1);
    let logs: Vec<_> = (0..kinds).map(|kind| reference(&server, kind, events / kinds)).collect();
    let next = AtomicUsize::new(0);
    let stalled: Vec<_> = stalled.into_iter().map(|stream| std::sync::Mutex::new(Some(stream))).collect();
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(client) = stalled.get(number) else { break };
                    let stream = client.lock().unwrap().take().unwrap();
                    let kind = number % logs.len();
                    let wakes = [Wakes::Resuming, Wakes::Reading][number / logs.len() % 2];
                    catch_up(&server, stream, kind as u64, &logs[kind], wakes);
                    peak.fetch_max(memory_kib(&server), Ordering::Relaxed);
                }
            });
        }
    });
    let grown = peak.load(Ordering::Relaxed).saturating_sub(idle);
    let allowed = MEMORY_KIB_MAX + CLIENT_KIB_MAX * clients;
    let delivered = usize::try_from(clients * events / kinds).expect("a number of events");
    let acked = usize::try_from(events + 1).expect("a number of events");
    Row::new("clients that never read", format!("{clients} clients, {events} events"))
        .counts(Counts { stored: acked, acked, delivered, ..Counts::default() })
        .figure(format!("{grown} KiB above idle ({idle} KiB), allowed {allowed} KiB"))
        .check();
    assert!(grown < allowed, "{grown} KiB");
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn ten_thousand_connects_leave_no_file_descriptor_behind() {
    let place = Place::new();
    let server = place.serve(&[]);
    let (_, sockets_of_nobody) = open_files(&server);
    start_plan(&server);
    publish(&server, BATCH_EVENTS, 1, &AtomicU64::new(0));
    // Connections of the store are opened as they are needed, and stay.
    come_and_go(&server, CONNECTS / 10);
    let before = eventually("the end of the first connections", || {
        let (all, sockets) = open_files(&server);
        (sockets == sockets_of_nobody).then_some(all)
    });
    let memory = memory_kib(&server);
    come_and_go(&server, CONNECTS);
    let mut left = 0;
    eventually("the end of all connections", || {
        left = open_files(&server).0;
        (left <= before).then_some(())
    });
    let grown = memory_kib(&server).saturating_sub(memory);
    Row::new("clients that come and go", format!("{CONNECTS} connects"))
        .figure(format!("descriptors before {before}, after {left}; memory grew by {grown} KiB"))
        .check();
    assert_eq!(server.http.get("/readyz").status, 200);
    assert_eq!(server.stop().code(), Some(0));
}

fn start_plan(server: &Server) {
    let payload = json!({"goal": "be read", "inputs": {}, "name": PLAN});
    let event = json!({"event_type": "PlanStarted", "plan_id": PLAN, "payload": payload});
    server.http.post("/v1/events", &event).json(200);
}

fn stream_path(kind: u64) -> String {
    format!("/v1/events?event_type=acme.kind{kind}")
}

/// Asks for the events of a type and waits for the stream's beginning, which stays unread too.
fn stalled_client(server: &Server, kind: u64) -> TcpStream {
    let stream = ask_for_stream(&server.url, &stream_path(kind), None).expect("a server that listens");
    stream.peek(&mut [0]).expect("a stream that begins");
    stream
}

fn publish(server: &Server, events: u64, kinds: u64, memory_peak: &AtomicU64) {
    let ids = IdGenerator::system();
    let mut connection = Raw::connect(&server.url).expect("a server that listens");
    let text = "x".repeat(100);
    for batch in 0..events / BATCH_EVENTS {
        let event = |number: u64| {
            json!({
                "event_id": ids.next_id(), "event_type": format!("acme.kind{}", number % kinds), "plan_id": PLAN,
                "payload": {"batch": batch, "number": number, "text": text},
            })
        };
        let body = json!({ "events": (0..BATCH_EVENTS).map(event).collect::<Vec<_>>() }).to_string();
        let (status, answer) = connection.post("/v1/events", &body).expect("an answer");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        memory_peak.fetch_max(memory_kib(server), Ordering::Relaxed);
    }
}

fn head(server: &Server) -> u64 {
    position_of(server.http.get("/readyz").json(200)["head"].as_str().expect("a cursor"))
}

/// Positions and digests of all events of a type, as a reader gets them that was never slow.
fn reference(server: &Server, kind: u64, events: u64) -> Vec<(u64, u64)> {
    let mut log = Vec::new();
    let mut stream = RawStream::open(&server.url, &stream_path(kind), None).expect("a stream");
    while (log.len() as u64) < events {
        let frames = stream.frames().expect("a stream").expect("a stream without end");
        let frames = frames.iter().filter(|frame| !frame.data.is_empty());
        log.extend(frames.map(|frame| (frame.position(), digest(&frame.data))));
    }
    assert!(log.is_sorted() && log.len() as u64 == events);
    log
}

/// How a client goes on that did not read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wakes {
    /// On the same connection, if the server still has it.
    Reading,
    /// On another connection, which begins at the last cursor of what lay in the socket.
    Resuming,
}

/// Reads everything.
fn catch_up(server: &Server, stream: TcpStream, kind: u64, log: &[(u64, u64)], mut wakes: Wakes) {
    let mut stream = RawStream::of(stream);
    let mut given = 0;
    let mut cursor: Option<String> = None;
    while given < log.len() {
        let frames = stream.frames().ok().flatten();
        // A server gives up a client that takes nothing for a minute; the client resumes then.
        let is_cut = frames.is_none();
        for frame in frames.into_iter().flatten() {
            if !frame.data.is_empty() {
                assert_eq!((frame.position(), digest(&frame.data)), log[given], "each event once, in order");
                given += 1;
            }
            cursor = frame.id.or(cursor);
        }
        if is_cut || wakes == Wakes::Resuming {
            wakes = Wakes::Reading;
            stream = RawStream::open(&server.url, &stream_path(kind), cursor.as_deref()).expect("a stream");
        }
    }
}

/// Connects and leaves: before asking, by FIN after the beginning was read, by RST with unread bytes.
fn come_and_go(server: &Server, connects: usize) {
    std::thread::scope(|scope| {
        for thread in 0..CONNECT_THREADS {
            scope.spawn(move || {
                for number in 0..connects / CONNECT_THREADS {
                    leave(server, (number + thread) % 3);
                }
            });
        }
    });
}

fn leave(server: &Server, how: usize) {
    if how == 0 {
        Raw::connect(&server.url).expect("a server that listens");
        return;
    }
    let path = if how == 1 { "/v1/events?after=now" } else { "/v1/events" };
    let stream = ask_for_stream(&server.url, path, None).expect("a server that listens");
    if how == 1 {
        RawStream::of(stream).frames().expect("a stream that begins");
    } else {
        // What is unread at the end turns the FIN into a RST.
        stream.peek(&mut [0]).expect("a stream that begins");
    }
}

fn proc_of(server: &Server, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{name}", server.running.pid()))
}

/// Resident memory of the server in KiB.
pub(crate) fn memory_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(proc_of(server, "status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("resident memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Open file descriptors of the server, and how many of them are sockets.
fn open_files(server: &Server) -> (usize, usize) {
    let entries = std::fs::read_dir(proc_of(server, "fd")).expect("a process");
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.fold((0, 0), |(all, sockets), target| {
        (all + 1, sockets + usize::from(target.to_string_lossy().starts_with("socket:")))
    })
}
