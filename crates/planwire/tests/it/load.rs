//! Clients that never read, and clients that come and go: what they cost, and that they miss nothing.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::faults::author::Author;
use crate::faults::chance::count;
use crate::faults::checker::{Claim, Line, Reading, Wanted, check, digest};
use crate::faults::crowd::{head, log_of};
use crate::faults::raw::{Raw, RawStream, ask_for_stream};
use crate::faults::reader::Reader;
use crate::faults::row::Row;
use crate::harness::{Place, Running, Server, eventually};

const KIB: u64 = 1024;
/// Memory above idle that no number of clients and events may exceed, beside what each client costs.
const MEMORY_KIB_MAX: u64 = 64 * KIB;
/// Memory that a client costs that does not read.
const CLIENT_KIB_MAX: u64 = 32;
const PUBLISHERS: usize = 4;
const BATCH_EVENTS: u64 = 500;
const TEXT_BYTES: usize = 100;
/// Threads that read for all clients at the end.
const READERS: usize = 4;
const CONNECTS: usize = 10_000;
const CONNECT_THREADS: usize = 8;
/// Plans, of which each client follows one: a debug build takes minutes to hand out 8,000,000 events, and a share of the
/// events is still more than any socket holds.
const PLANS_CI: u64 = 20;
const PLANS_SOAK: u64 = 100;

#[test]
fn soak_clients_that_never_read_cost_little_and_get_all_when_they_do() {
    let (clients, events) = (count(200, 1_000), count(40_000, 1_000_000));
    let plans = count(PLANS_CI, PLANS_SOAK);
    let place = Place::new();
    let server = place.serve(&[]);
    let idle = memory_kib(&server);
    let mut authors = start_plans(&server, plans);
    let stalled: Vec<Reader> = (0..clients).map(|client| stalled(&server, client % plans)).collect();
    let process = Stopped::follow(&place);
    publish(&server, &mut authors, events / plans);
    let heads: Vec<u64> = authors.iter().map(Author::head).collect();
    let told = process.go_on(head(&server));
    let mut readings = catch_up(stalled, &heads);
    readings.push(told);
    let grown = memory_max_kib(&server).saturating_sub(idle);
    assert_eq!(server.stop().code(), Some(0));
    let allowed = MEMORY_KIB_MAX + CLIENT_KIB_MAX * clients;
    let claims: Vec<Claim> = authors.into_iter().flat_map(|author| author.claims).collect();
    Row::new("clients that never read", format!("{clients} clients, 1 stopped process, {events} events"))
        .counts(check(&log_of(&place), &claims, &readings))
        .figure(format!("{grown} KiB above idle ({idle} KiB), allowed {allowed} KiB"))
        .check();
    assert!(grown < allowed, "{grown} KiB");
}

#[test]
fn ten_thousand_connects_leave_no_file_descriptor_behind() {
    let place = Place::new();
    let server = place.serve(&[]);
    let (_, sockets_of_nobody) = open_files(&server);
    let mut authors = start_plans(&server, 1);
    publish(&server, &mut authors, BATCH_EVENTS);
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
    let mut reader = Reader::new(&server.url, Wanted::default());
    reader.read_until(head(&server));
    assert_eq!(server.stop().code(), Some(0));
    Row::new("clients that come and go", format!("{CONNECTS} connects"))
        .counts(authors.remove(0).check(&place, &[reader.finish()]))
        .figure(format!("descriptors before {before}, after {left}; memory grew by {grown} KiB"))
        .check();
}

fn plan_of(number: u64) -> String {
    format!("load-{number}")
}

fn start_plans(server: &Server, plans: u64) -> Vec<Author> {
    let mut connection = Raw::connect(&server.url).expect("a server that listens");
    let mut authors: Vec<_> = (0..plans).map(|plan| Author::of(&plan_of(plan))).collect();
    authors.iter_mut().for_each(|author| author.start(&mut connection));
    authors
}

/// Asks for the events of a plan and waits for the stream's beginning, which stays unread too.
fn stalled(server: &Server, plan: u64) -> Reader {
    let mut reader = Reader::new(&server.url, Wanted::plan(&plan_of(plan)));
    reader.ask();
    reader
}

/// Publishes so many events into each plan, several plans at a time.
fn publish(server: &Server, authors: &mut [Author], events: u64) {
    let share = authors.len().div_ceil(PUBLISHERS);
    std::thread::scope(|scope| {
        for authors in authors.chunks_mut(share) {
            scope.spawn(move || {
                let mut connection = Raw::connect(&server.url).expect("a server that listens");
                for _ in 0..events / BATCH_EVENTS {
                    for author in &mut *authors {
                        let batch: Vec<_> = (0..BATCH_EVENTS).map(|_| author.text(TEXT_BYTES)).collect();
                        let (status, answer) = author.write(&mut connection, &batch).expect("an answer");
                        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
                    }
                }
            });
        }
    });
}

/// Lets all clients read up to the last event of their plans: every second one in turn goes on with its stream, the
/// others with another one, which begins at the cursor of the last that they have.
fn catch_up(stalled: Vec<Reader>, heads: &[u64]) -> Vec<Reading> {
    let next = AtomicUsize::new(0);
    let stalled: Vec<_> = stalled.into_iter().map(|reader| Mutex::new(Some(reader))).collect();
    let read = &|number: usize| {
        let mut reader = stalled.get(number)?.lock().expect("no thread panicked").take()?;
        let head = heads[number % heads.len()];
        if (number / heads.len()).is_multiple_of(2) {
            reader.read_until(1);
            reader.leave();
        }
        reader.read_until(head);
        Some(reader.finish())
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                scope.spawn(move || numbers.map_while(read).collect::<Vec<_>>())
            })
            .collect();
        readers.into_iter().flat_map(|reader| reader.join().expect("a reader")).collect()
    })
}

/// A process that follows the log and was stopped (SIGSTOP) when it had begun.
struct Stopped {
    running: Running,
    first: Line,
}

impl Stopped {
    fn follow(place: &Place) -> Self {
        let mut command = place.command(&["events", "--follow", "--json"]);
        command.stderr(Stdio::null());
        let mut running = Running::start(command);
        let first = Line::parse(&running.line().expect("the first event"));
        running.signal(Signal::STOP);
        Self { running, first }
    }

    /// Lets it go on up to `head`, and gives what it told.
    fn go_on(mut self, head: u64) -> Reading {
        self.running.signal(Signal::CONT);
        let mut delivered = vec![(self.first.position, self.first.digest)];
        while delivered.last().is_some_and(|(position, _)| *position < head) {
            let text = self.running.line().expect("the next event");
            delivered.push((Line::parse(&text).position, digest(&text)));
        }
        Reading { wanted: Wanted::default(), delivered }
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
    let mut stream = RawStream::of(stream);
    // What is unread at the end turns the FIN into a RST.
    assert_eq!(stream.peek_status().expect("a stream that begins"), 200);
    if how == 1 {
        stream.frames().expect("a stream that begins");
    }
}

fn proc_of(server: &Server, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{name}", server.running.pid()))
}

/// Resident memory of the server in KiB.
pub(crate) fn memory_kib(server: &Server) -> u64 {
    status_kib(server, "VmRSS:")
}

/// The most that was ever resident of the server, in KiB.
pub(crate) fn memory_max_kib(server: &Server) -> u64 {
    status_kib(server, "VmHWM:")
}

fn status_kib(server: &Server, name: &str) -> u64 {
    let status = std::fs::read_to_string(proc_of(server, "status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Open file descriptors of the server, and how many of them are sockets.
pub(crate) fn open_files(server: &Server) -> (usize, usize) {
    let entries = std::fs::read_dir(proc_of(server, "fd")).expect("a process");
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.fold((0, 0), |(all, sockets), target| {
        (all + 1, sockets + usize::from(target.to_string_lossy().starts_with("socket:")))
    })
}
