//! What a database may lack: connections, rights, a primary, syncs. Each is told by its kind, and passes with its cause.

use super::super::author::Author;
use super::super::checker::Counts;
use super::super::crowd::kind_of;
use super::super::row::Row;
use super::Pair;
use crate::cluster::{Cluster, Stop};
use crate::harness::{Place, Server, eventually};

const EVENT_BYTES: usize = 10;
const CONNECTIONS_MAX: usize = 16;

/// A server over a cluster, and what it was told so far.
struct Served {
    pair: Pair,
    server: Server,
    author: Author,
}

impl Served {
    fn start(cluster: &Cluster) -> Self {
        let pair = Pair::on(cluster);
        let server = pair.0[0].serve(&[]);
        let author = Author::begin(&server);
        Self { pair, server, author }
    }

    /// The kind of the refusal of an event.
    fn refusal(&mut self) -> String {
        let (status, answer) = self.author.note(&self.server, EVENT_BYTES).expect("an answer");
        assert_eq!(status, 503, "{}", String::from_utf8_lossy(&answer));
        kind_of(&answer)
    }

    /// Waits until what was refused last is stored.
    fn resume(&mut self) {
        eventually("an event that is stored again", || {
            (self.author.ask_again(&self.server) == 200).then_some(())
        });
    }

    fn end(self) -> Counts {
        assert!(self.server.stop().success());
        self.pair.verify();
        self.author.check(self.pair.place(), &[])
    }
}

/// `planwire serve` says why it does not serve.
fn check_not_served(place: &Place, said: &str) {
    let ran = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(ran.code == Some(74) && ran.stderr.contains(said), "{said}: {ran:?}");
}

#[test]
fn postgres_without_a_connection_left_is_told_as_unreachable_until_there_is_one() {
    let settings = format!("max_connections = {CONNECTIONS_MAX}");
    let Some(cluster) = Cluster::start_with("postgres connections", &settings) else { return };
    let mut served = Served::start(&cluster);
    // Others take what is left, and what is ours as soon as it is free.
    let mut first = cluster.session();
    first.sql("SELECT 1");
    let mut taken = Vec::new();
    eventually("a server without a connection", || {
        taken.extend(std::iter::repeat_with(|| cluster.session()).take(4));
        first.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'planwire %'");
        let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'planwire %'";
        let full = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
        (first.sql(ours) == "0" && first.sql(full) == CONNECTIONS_MAX.to_string()).then_some(())
    });
    assert_eq!(served.refusal(), "store-unreachable");
    let read = served.server.http.get("/v1/plans");
    assert_eq!(read.json(503)["type"], "urn:planwire:problem:store-unreachable");
    check_not_served(served.pair.place(), "too many clients already");
    drop(taken);
    served.resume();
    Row::new("PostgreSQL has no connection left", "1 time").counts(served.end()).check();
}

#[test]
fn postgres_that_comes_back_as_a_standby_or_without_fsync_takes_nothing_until_it_is_a_primary_that_syncs() {
    let Some(mut cluster) = Cluster::start("postgres standby") else { return };
    let mut served = Served::start(&cluster);
    cluster.stop(Stop::Fast);
    std::fs::write(cluster.data().join("standby.signal"), "").expect("a file");
    cluster.run();
    assert_eq!(served.refusal(), "store-failed");
    check_not_served(served.pair.place(), "the server is a standby of another one; name the primary");
    cluster.sql("SELECT pg_promote()");
    served.resume();
    let mut set = |sql: &str| {
        cluster.sql(sql);
        cluster.stop(Stop::Fast);
        cluster.run();
    };
    set("ALTER SYSTEM SET fsync = off");
    assert_eq!(served.refusal(), "store-failed");
    check_not_served(served.pair.place(), "the server runs with fsync=off and loses acknowledged events");
    set("ALTER SYSTEM RESET fsync");
    served.resume();
    Row::new("PostgreSQL comes back as a standby, or with fsync=off", "1 time each")
        .counts(served.end())
        .check();
}

#[test]
fn postgres_roles_without_rights_are_told_what_they_lack() {
    let Some(cluster) = Cluster::start("postgres rights") else { return };
    let mut served = Served::start(&cluster);
    let url = cluster.url("planwire").replace("planwire@", "weak@");
    let mut weak = Place::new();
    let mut check = |url: &str, said: &str| {
        weak.set_variable("PLANWIRE_DB", url);
        check_not_served(&weak, said);
    };
    check(&url, "role \"weak\" does not exist");
    cluster.sql("CREATE ROLE weak LOGIN");
    check(&url, "permission denied for schema planwire");
    check(&url.replace("schema=planwire", "schema=other"), "permission denied for database postgres");
    cluster
        .sql("GRANT USAGE ON SCHEMA planwire TO weak; GRANT SELECT ON ALL TABLES IN SCHEMA planwire TO weak");
    check(&url, "may not write the log: it lacks UPDATE on planwire_log, INSERT on plan_events, ");
    weak.run(&["plans"]).text(0);
    cluster.sql("GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA planwire TO weak");
    let server = weak.serve(&[]);
    assert_eq!(served.author.note(&server, EVENT_BYTES).expect("an answer").0, 200);
    // Taken away while it serves.
    cluster.sql("REVOKE INSERT ON planwire.plan_events FROM weak");
    let (status, answer) = served.author.note(&server, EVENT_BYTES).expect("an answer");
    assert_eq!((status, kind_of(&answer).as_str()), (503, "store-failed"));
    assert!(server.stop().success());
    served.resume();
    Row::new("roles of PostgreSQL without rights", "5 times").counts(served.end()).check();
}
