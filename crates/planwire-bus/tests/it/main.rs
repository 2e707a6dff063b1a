//! The promises of the bus, driven through its public face.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stands")]

mod cache;
#[expect(dead_code, reason = "the store's own tests use more of it")]
#[path = "../../../planwire-store/tests/it/cluster.rs"]
mod cluster;
mod filters;
mod group_commit;
mod handlers;
mod kit;
mod lifecycle;
mod opening;
mod other_writers;
mod postgres;
mod properties;
mod publish;
mod read_faults;
mod readers;
mod seeds;
mod shutdown;
mod simulation;
mod store_faults;
mod streams;
mod threads;
