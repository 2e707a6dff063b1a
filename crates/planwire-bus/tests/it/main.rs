//! The promises of the bus, driven through its public face.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stands")]

mod cache;
mod filters;
mod group_commit;
mod handlers;
mod kit;
mod lifecycle;
mod opening;
mod other_writers;
mod publish;
mod read_faults;
mod readers;

mod shutdown;
mod store_faults;
mod streams;
mod threads;
