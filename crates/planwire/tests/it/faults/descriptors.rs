//! A server that has no file descriptor left goes on with those whom it serves, waits without spinning, and recovers.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::author::Author;
use super::checker::Wanted;
use super::raw::{Raw, ask_for_stream};
use super::reader::Reader;
use super::row::Row;
use crate::harness::{Place, Server, eventually};

const DESCRIPTORS: u64 = 64;
const CLIENTS: usize = 100;
const EVENTS: usize = 50;
/// How long the server is watched while nothing happens but clients that wait to be let in.
const WATCHED: Duration = Duration::from_secs(2);
/// Hundredths of one core that it may take meanwhile. An accept loop that spins takes a hundred, or what it can get.
const CPU_PERCENT_MAX: u64 = 25;

#[test]
fn server_without_file_descriptors_goes_on_without_spinning_and_recovers() {
    let place = Place::new();
    let server = place.serve(&[]);
    let (mut author, mut connection) = (Author::of("p"), Raw::connect(&server.url).unwrap());
    author.start(&mut connection);
    let mut follower = Reader::new(&server.url, Wanted::default());
    follower.ask();
    let pid = Pid::from_raw(i32::try_from(server.running.pid()).unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum }).unwrap();
    let crowd: Vec<_> =
        (0..CLIENTS).map(|_| ask_for_stream(&server.url, "/v1/events?after=now", None).unwrap()).collect();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.running.pid())).unwrap().count();
    eventually("the last descriptor to be taken", || (open() as u64 >= DESCRIPTORS).then_some(()));
    for _ in 0..EVENTS {
        let note = author.text(0);
        assert_eq!(author.write(&mut connection, &[note]).unwrap().0, 200);
    }
    follower.read_until(author.head());
    let percent = cpu_percent(&server);
    assert!(open() as u64 >= DESCRIPTORS, "they were full all the time");
    drop(crowd);
    // Whoever comes then is served: one that asks, one that writes, one that reads from the beginning.
    assert_eq!(server.http.get("/readyz").status, 200);
    assert_eq!(author.note(&server, 0).unwrap().0, 200);
    let mut late = Reader::new(&server.url, Wanted::default());
    for reader in [&mut follower, &mut late] {
        reader.read_until(author.head());
    }
    assert_eq!(server.stop().code(), Some(0));
    Row::new("no file descriptor left", format!("{CLIENTS} clients for {DESCRIPTORS} descriptors"))
        .counts(author.check(&place, &[follower.finish(), late.finish()]))
        .figure(format!("{percent} % of a core while full, allowed {CPU_PERCENT_MAX} %"))
        .figure("others served afterwards")
        .check();
    assert!(percent <= CPU_PERCENT_MAX, "{percent} % of a core");
}

/// What the server takes of a core for [`WATCHED`].
fn cpu_percent(server: &Server) -> u64 {
    let (begun, before) = (Instant::now(), cpu_ticks(server));
    std::thread::sleep(WATCHED);
    let ticks = cpu_ticks(server) - before;
    let milliseconds = u64::try_from(begun.elapsed().as_millis()).expect("a short time");
    ticks * 1_000 / rustix::param::clock_ticks_per_second() * 100 / milliseconds
}

/// Time of the processor that the server took so far, in user mode and in the kernel, as proc(5) counts it.
fn cpu_ticks(server: &Server) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.running.pid())).expect("a process");
    // After the name, which is the second: state is the third, user time the 14th, time in the kernel the 15th.
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    let fields: Vec<_> = rest.split(' ').collect();
    [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("a number")).sum()
}
