//! Opening a bus over what a file holds.

use std::sync::Arc;

use planwire_bus::{Config, EventBus, Log};
use planwire_event::{Event, IdGenerator, Producer, SystemClock};
use planwire_store::{OpenOptions, SqliteStore};

use crate::kit::{id, start};

#[tokio::test]
async fn a_log_with_many_open_plans_is_opened_within_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let open = || {
        let (writer, repository) = SqliteStore::open(&path, &OpenOptions::default()).unwrap();
        Log::open(Box::new(writer), repository, Arc::new(SystemClock)).unwrap()
    };
    let bus = EventBus::open(open(), Config::default()).unwrap();
    let ids = IdGenerator::system();
    let plans = (0..200)
        .map(|number| Event::of(&ids, &SystemClock, id(&format!("p{number}")), &start(None)).unwrap());
    bus.publisher(Producer::new("x")).publish_all(plans.collect()).await.unwrap();
    bus.shutdown().await;
    let bus = EventBus::open(open(), Config::default()).unwrap();
    assert_eq!(bus.tail().position.get(), 200);
}
