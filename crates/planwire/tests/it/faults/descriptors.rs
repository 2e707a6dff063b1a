//! A server that has no file descriptor left goes on with those whom it serves, and recovers.

use planwire_event::IdGenerator;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;

use super::checker::Counts;
use super::raw::{Raw, RawStream, ask_for_stream};
use super::row::Row;
use crate::harness::{Place, eventually};

const DESCRIPTORS: u64 = 64;
const CLIENTS: usize = 100;
const EVENTS: usize = 50;

#[test]
fn server_without_file_descriptors_goes_on_and_recovers() {
    let place = Place::new();
    let server = place.serve(&[]);
    let mut publisher = Raw::connect(&server.url).unwrap();
    let mut follower = RawStream::open(&server.url, "/v1/events", None).unwrap();
    let ids = IdGenerator::system();
    let mut publish = |event_type: &str, payload| {
        let event =
            json!({"event_id": ids.next_id(), "event_type": event_type, "plan_id": "p", "payload": payload});
        let (status, answer) = publisher.post("/v1/events", &event.to_string()).unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    };
    publish("PlanStarted", json!({"goal": "go on", "inputs": {}, "name": "descriptors"}));
    let pid = Pid::from_raw(i32::try_from(server.running.pid()).unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum }).unwrap();
    let crowd: Vec<_> =
        (0..CLIENTS).map(|_| ask_for_stream(&server.url, "/v1/events?after=now", None).unwrap()).collect();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.running.pid())).unwrap().count();
    eventually("the last descriptor to be taken", || (open() as u64 >= DESCRIPTORS).then_some(()));
    (0..EVENTS).for_each(|number| publish("acme.note", json!({ "number": number })));
    let mut followed = 0;
    while followed <= EVENTS {
        let frames = follower.frames().unwrap().expect("the stream goes on");
        followed += frames.iter().filter(|frame| !frame.data.is_empty()).count();
    }
    drop(crowd);
    assert_eq!(server.http.get("/readyz").status, 200, "whoever comes then is served");
    let counts = Counts { acked: EVENTS + 1, delivered: followed, ..Counts::default() };
    Row::new("no file descriptor left", format!("{CLIENTS} clients for {DESCRIPTORS} descriptors"))
        .counts(counts)
        .figure("published and followed meanwhile, others served afterwards")
        .check();
    assert_eq!(server.stop().code(), Some(0));
}
