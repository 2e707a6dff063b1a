//! Faults of the database below servers that share a log in PostgreSQL.
//!
//! Each test has a cluster of its own and mostly two servers over it, between which publishers and readers are divided.
//! They stay while PostgreSQL goes and comes: what is held against the log at the end was written and read through
//! connections to servers that nobody restarted.
//!
//! - [`writers`]: commits that pause while others wait; the control that such pauses break
//! - [`restarts`], [`stopped`]: PostgreSQL crashes, stops, is away
//! - [`power`]: the power of its disk is cut; the control whose commits do not wait for the disk
//! - [`sessions`], [`answers`]: sessions are killed in the middle of commits; connections are cut around them
//! - [`making`]: whoever makes the log is killed
//! - [`hints`]: notifications that nobody hears, and how long events of another server take
//! - [`space`]: its disk is full
//! - [`half_dead`]: a server that holds the head and stops
//! - [`refusals`]: no connection left, no rights, a standby, a server that does not sync

mod answers;
mod half_dead;
mod hints;
mod making;
mod power;
mod refusals;
mod restarts;
mod sessions;
mod space;
mod stopped;
mod writers;

use super::crowd::{Crowd, Stage, Survived};
use crate::cluster::Cluster;
use crate::harness::{Place, Server};

/// Writers and readers of two servers, 4 and 6 at each.
const CROWD: Crowd = Crowd { publishers: 8, readers: 12, pause_ms_max: 5 };

/// Where two servers find one log.
struct Pair([Place; 2]);

impl Pair {
    /// Both on the database itself.
    fn on(cluster: &Cluster) -> Self {
        Self::at([cluster.url("planwire"), cluster.url("planwire")])
    }

    /// By these URLs of one log.
    fn at(urls: [String; 2]) -> Self {
        Self(urls.map(|url| {
            let mut place = Place::new();
            place.set_variable("PLANWIRE_DB", url);
            place
        }))
    }

    /// For commands that look at the log.
    const fn place(&self) -> &Place {
        &self.0[1]
    }

    /// Starts both servers and lets the crowd to them.
    fn begin(&self, stage: &Stage) -> Vec<Server> {
        let servers: Vec<_> = self.0.iter().map(|place| stage.start(place)).collect();
        stage.admit_all(&servers);
        servers
    }

    /// The leaves of the log, from its first event to its head, are those of its events.
    fn verify(&self) {
        let ran = self.place().run(&["verify"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

/// Nobody's stream broke: each reader was served one.
fn assert_streams_stayed(survived: &Survived, crowd: Crowd) {
    assert_eq!(survived.streams, crowd.readers as u64, "streams did not stay open");
}

/// What was refused, by kind.
fn refusals_of(stage: &Stage) -> String {
    let kinds = stage.kinds();
    if kinds.is_empty() {
        return "nobody refused".to_owned();
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, times)| format!("{kind} {times}")).collect();
    format!("refused meanwhile: {}", kinds.join(", "))
}
