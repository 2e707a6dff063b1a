//! Connections, from the first byte to the end of the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use planwire_bus::{Config, EventBus, Log};
use planwire_event::{ManualClock, SystemClock, Timestamp};
use planwire_server::{BindError, Server, ServerConfig};
use planwire_store::MemoryStore;

use crate::client::{Client, Stream, get};
use crate::served::{Served, eventually};

#[tokio::test]
async fn addresses_that_others_could_reach_and_clocks_before_1970_are_refused() {
    let (writer, repository) = MemoryStore::open("7Q4M2K9A".parse().unwrap());
    let log = Log::open(writer, repository, Arc::new(SystemClock)).unwrap();
    let bus = EventBus::open(log, Config::default()).unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.168.1.1:0", "[::ffff:127.0.0.1]:0"] {
        let config = ServerConfig { listen: address.parse().unwrap(), ..ServerConfig::default() };
        let refused = Server::bind(config, bus.clone(), None).await.err().unwrap();
        assert!(matches!(refused, BindError::NotLoopback { .. }), "{address}");
        assert!(refused.to_string().starts_with("refusing to listen on"), "{refused}");
    }
    let first = ServerConfig { listen: "127.0.0.1:0".parse().unwrap(), ..ServerConfig::default() };
    let server = Server::bind(first.clone(), bus.clone(), None).await.unwrap();
    let second = ServerConfig { listen: server.address(), ..first };
    let taken = Server::bind(second, bus.clone(), None).await.err().unwrap();
    assert!(matches!(taken, BindError::Listen { .. }), "{taken}");
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros_clamped(-1)));
    let early = ServerConfig { clock, ..ServerConfig::default() };
    let early = Server::bind(early, bus, None).await.err().unwrap();
    assert!(early.to_string().contains("clock shows 1969-12-31T23:59:59.999999Z"), "{early}");
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let served = Served::start().await;
    let mut client = Client::connect(served.address).await;
    for _ in 0..3 {
        client.ask("GET", "/healthz", &[], "").await;
        assert_eq!(client.answer().await.json()["status"], "ok");
    }
    assert_eq!(served.gauges.connections_open(), 1);
}

#[tokio::test]
async fn heads_that_do_not_arrive_and_idle_connections_are_closed() {
    let head_read = Duration::from_millis(50);
    let served = Served::with(|config| config.limits.head_read = head_read, None).await;
    let mut silent = Client::connect(served.address).await;
    let mut slow = Client::connect(served.address).await;
    slow.send("GET / HTTP/1.1\r\nHost: local").await;
    let mut idle = Client::connect(served.address).await;
    idle.ask("GET", "/healthz", &[], "").await;
    idle.answer().await;
    for client in [&mut silent, &mut slow, &mut idle] {
        client.rest().await;
    }
    eventually("all are closed", || served.gauges.connections_open() == 0).await;
}

#[tokio::test]
async fn bodies_that_do_not_arrive_are_answered() {
    let body_read = Duration::from_millis(50);
    let served = Served::with(|config| config.limits.body_read = body_read, None).await;
    let mut client = Client::connect(served.address).await;
    client
        .send("POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.problem().as_str()), (408, "body-timeout"));
}

#[tokio::test]
async fn more_connections_than_may_be_open_are_closed_at_once() {
    let served = Served::with(|config| config.limits.connections_max = 2, None).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(Stream::open(served.address, "/v1/events", &[]).await);
    }
    assert!(Client::connect(served.address).await.rest().await.is_empty());
    assert_eq!(served.gauges.connections_refused(), 1);
    open.pop();
    eventually("a place is free", || served.gauges.connections_open() == 1).await;
    eventually("it is let in", || served.gauges.connections_open() < 2).await;
    Stream::open(served.address, "/v1/events", &[]).await;
}

#[tokio::test]
async fn many_connects_leave_nothing_behind() {
    let served = Served::start().await;
    served.start_plan("p").await;
    for n in 0..10_000 {
        let mut client = Client::connect(served.address).await;
        if n % 3 > 0 {
            client.ask("GET", "/v1/plans/p/events", &["Accept: text/event-stream"], "").await;
        }
        if n % 3 > 1 {
            client.head().await;
        }
        if n % 2 == 0 {
            // A reset instead of a polite end.
            client.stream.get_ref().set_zero_linger().unwrap();
        }
    }
    eventually("all connections are gone", || served.gauges.connections_open() == 0).await;
    assert_eq!(served.bus.counters().subscriptions_open, 0);
}

#[tokio::test]
async fn requests_that_do_not_end_are_cut_off_when_the_server_shuts_down() {
    let shutdown = Duration::from_millis(50);
    let mut served = Served::with(|config| config.limits.shutdown = shutdown, None).await;
    let mut client = Client::connect(served.address).await;
    client
        .send("POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        .await;
    eventually("it is let in", || served.gauges.connections_open() == 1).await;
    served.stop().await;
    assert!(client.rest().await.is_empty());
    assert_eq!(served.gauges.connections_open(), 0);
    assert!(tokio::net::TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_shutdown() {
    let mut served = Served::start().await;
    let address: SocketAddr = served.address;
    let mut idle = Client::connect(address).await;
    idle.ask("GET", "/readyz", &[], "").await;
    assert_eq!(idle.answer().await.status, 200);
    served.stop().await;
    assert!(idle.rest().await.is_empty());
}

#[tokio::test]
async fn server_that_shuts_down_is_not_ready() {
    let mut served = Served::start().await;
    let mut client = Client::connect(served.address).await;
    client.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n").await;
    eventually("it is let in", || served.gauges.connections_open() == 1).await;
    served.bus.shutdown().await;
    let answer = get(served.address, "/readyz").await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "shutting-down"));
    served.begin_stop();
}
