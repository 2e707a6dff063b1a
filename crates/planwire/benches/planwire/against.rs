//! The rows of `--against`: the product beside what else could be used, in turns.
//!
//! - [`publish`]: one in flight, many publishers, bulk; [`postgres`]: our repository there, and how far readers lag
//! - [`replay`], [`live`]: from the store, and from publish over the disk to a client
//! - [`dispatch`], [`plans`]: from the ring to readers in the program
//! - [`burst`], [`steady`], [`memory`]: event streams of many clients
//!
//! The rows of the engine are the same as without `--against`.

mod burst;
mod dispatch;
mod live;
mod memory;
mod plans;
mod postgres;
mod publish;
mod replay;
mod steady;

use crate::{Family, engine};

/// What a table by hand is called.
const TABLE: &str = "PostgreSQL INSERT";

/// What Redis is called.
const REDIS: &str = "Redis, appendfsync always";

/// What has no row of its own, and why.
pub(crate) const LEFT_OUT: [&str; 3] = [
    "fjall: its crates would be compiled for this row alone",
    "durable-streams: its server is no Debian package",
    "a Python ORM with a bus: of its own making, and slower by orders of magnitude",
];

/// The families in the order in which they run, by the name under which they are asked for.
pub(crate) const FAMILIES: [(&str, Family); 18] = [
    ("publish-1", publish::one_in_flight),
    ("publish-64", publish::sixty_four),
    ("bulk", publish::bulk),
    ("postgres-64", postgres::sixty_four),
    ("lag", postgres::lag),
    ("replay", replay::from_the_store),
    ("live", live::at_200_per_second),
    ("live-full", live::at_full_speed),
    ("engine", engine::steps_in_sequence),
    ("engine-children", engine::children_in_parallel),
    ("engine-one", engine::one_step),
    ("dispatch", dispatch::from_the_ring),
    ("plans", plans::each_of_another),
    ("burst-100", burst::to_a_hundred),
    ("burst-1000", burst::to_a_thousand),
    ("burst-5000", burst::to_five_thousand),
    ("steady", steady::to_a_thousand),
    ("memory", memory::idle_clients),
];
