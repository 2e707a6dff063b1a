//! Which databases are opened, and what a person is told of the others.

use std::sync::Arc;

use planwire_store::{LogWriter as _, PostgresOpenError, PostgresOptions, PostgresStore, PostgresUrl};

use crate::author::{read_all, two_trees};
use crate::cluster::Cluster;
use crate::stores::{open_postgres, postgres_options};

fn refusal(url: &str) -> String {
    told(&PostgresStore::open(&url.parse().unwrap(), &postgres_options()).unwrap_err())
}

fn reading_refusal(url: &str) -> String {
    told(&PostgresStore::open_read_only(&url.parse().unwrap(), &postgres_options()).unwrap_err())
}

/// The error with all of its causes, as a person sees it.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn check(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

#[test]
fn log_is_found_again_by_whatever_way_the_server_is_reached() {
    let Some(cluster) = Cluster::start("postgres_opening log_is_found_again") else { return };
    let mut author = two_trees();
    let (mut writer, repository) = open_postgres(&cluster.url("audit"));
    author.commit(&mut writer);
    drop((writer, repository));
    let (mut writer, repository) = open_postgres(&cluster.socket_url("audit"));
    assert_eq!(writer.head().unwrap(), author.head);
    assert_eq!(read_all(&*repository), author.events);
    author.say("root", "acme.note", "{}").commit(&mut writer);
    let reader =
        PostgresStore::open_read_only(&cluster.url("audit").parse().unwrap(), &PostgresOptions::default());
    assert_eq!(read_all(&*reader.unwrap()), author.events);
}

#[test]
fn schemas_of_a_database_are_logs_of_their_own() {
    let Some(cluster) = Cluster::start("postgres_opening schemas_are_logs") else { return };
    let open = |schema: &str| {
        PostgresStore::open(&cluster.url(schema).parse().unwrap(), &PostgresOptions::default()).unwrap()
    };
    let (mut one, mut two) = (open("one").0, open("two").0);
    assert_ne!(one.head().unwrap().log_id, two.head().unwrap().log_id, "new logs have random ids");
    let mut author = crate::author::Author::new(one.head().unwrap().log_id);
    author.start("p", None).commit(&mut one);
    assert_eq!(two.head().unwrap().position.get(), 0);
    assert_eq!(open("one").0.head().unwrap(), author.head);
}

#[test]
fn executors_are_seen_until_they_are_forgotten() {
    use planwire_store::Executors as _;
    let Some(cluster) = Cluster::start("postgres_opening executors_are_seen") else { return };
    let (_writer, log) = open_postgres(&cluster.url("one"));
    let (_other_writer, other) = open_postgres(&cluster.url("two"));
    let wait = |future: futures_util::future::BoxFuture<'_, Result<(), planwire_store::StoreError>>| {
        crate::block_on::block_on(future).unwrap();
    };
    wait(log.seen("a", Some("http://127.0.0.1:1")));
    wait(log.seen("b", None));
    wait(log.seen("b", None));
    let seen = crate::block_on::block_on(log.list()).unwrap();
    let named: Vec<_> = seen.iter().map(|seen| (seen.executor_id.as_str(), seen.url.as_deref())).collect();
    assert_eq!(named, [("a", Some("http://127.0.0.1:1")), ("b", None)]);
    assert!(seen.iter().all(|seen| seen.age < std::time::Duration::from_secs(60)), "{seen:?}");
    assert!(seen[0].age >= seen[1].age, "{seen:?}");
    assert_eq!(crate::block_on::block_on(other.list()).unwrap(), []);
    wait(log.gone("b"));
    let gone = crate::block_on::block_on(log.list()).unwrap().pop().unwrap();
    assert!(gone.age > std::time::Duration::from_secs(1_000_000), "{gone:?}");
    wait(log.forget("a"));
    let seen = crate::block_on::block_on(log.list()).unwrap();
    assert_eq!(seen.iter().map(|seen| &*seen.executor_id).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn openers_that_race_for_a_new_log_make_one() {
    let Some(cluster) = Cluster::start("postgres_opening openers_that_race") else { return };
    let url: PostgresUrl = cluster.url("race").parse().unwrap();
    let barrier = Arc::new(std::sync::Barrier::new(8));
    let openers: Vec<_> = (0..8)
        .map(|_| {
            let (url, barrier) = (url.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                let (mut writer, _readers) = PostgresStore::open(&url, &PostgresOptions::default()).unwrap();
                writer.head().unwrap().log_id
            })
        })
        .collect();
    let ids: Vec<_> = openers.into_iter().map(|opener| opener.join().unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(cluster.sql("SELECT count(*) FROM race.planwire_log"), "1");
}

#[test]
fn log_of_another_version_is_refused_and_not_changed() {
    let Some(cluster) = Cluster::start("postgres_opening log_of_another_version") else { return };
    drop(open_postgres(&cluster.url("planwire")));
    cluster.sql("UPDATE planwire.planwire_schema SET version = 9");
    for message in [refusal(&cluster.url("planwire")), reading_refusal(&cluster.url("planwire"))] {
        check(&message, &["schema=planwire", "version 9", "up to 1", "use the newer Planwire"]);
    }
    cluster.sql("UPDATE planwire.planwire_schema SET version = 0");
    check(&reading_refusal(&cluster.url("planwire")), &["version 0", "reads version 1", "planwire serve"]);
    assert_eq!(cluster.sql("SELECT version FROM planwire.planwire_schema"), "0");
}

#[test]
fn what_is_no_log_is_told_apart() {
    let Some(cluster) = Cluster::start("postgres_opening what_is_no_log") else { return };
    check(&reading_refusal(&cluster.url("none")), &["there is no log at", "schema=none"]);
    assert_eq!(cluster.sql("SELECT to_regnamespace('none') IS NULL"), "t", "a reader makes nothing");
    cluster.sql("CREATE SCHEMA theirs; CREATE TABLE theirs.orders (id INTEGER)");
    for message in [refusal(&cluster.url("theirs")), reading_refusal(&cluster.url("theirs"))] {
        check(&message, &["another program", "nothing was changed", "name another schema"]);
    }
    cluster.sql("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0");
    let ascii = cluster.url("planwire").replace("/postgres?", "/ascii?");
    check(&refusal(&ascii), &["can not hold a log", "SQL_ASCII", "must be UTF8"]);
}

#[test]
fn schema_that_an_administrator_made_is_enough() {
    let Some(cluster) = Cluster::start("postgres_opening schema_of_an_administrator") else { return };
    cluster.sql("CREATE ROLE guest LOGIN; CREATE SCHEMA given AUTHORIZATION guest");
    let guest = |schema: &str| cluster.url(schema).replace("planwire@", "guest@");
    let (mut writer, repository) = open_postgres(&guest("given"));
    let mut author = two_trees();
    author.commit(&mut writer);
    assert_eq!(read_all(&*repository), author.events);
    check(&refusal(&guest("other")), &["may not open the log", "permission denied"]);
    let looks = "GRANT USAGE ON SCHEMA theirs TO guest; GRANT SELECT ON ALL TABLES IN SCHEMA theirs TO guest";
    drop(open_postgres(&cluster.url("theirs")));
    check(&refusal(&guest("theirs")), &["may not open the log", "permission denied for schema theirs"]);
    cluster.sql(looks);
    check(&refusal(&guest("theirs")), &["may not write the log", "lacks UPDATE on planwire_log, INSERT on"]);
    PostgresStore::open_read_only(&guest("theirs").parse().unwrap(), &postgres_options()).unwrap();
}

#[test]
fn server_that_would_lose_events_is_refused() {
    let Some(cluster) = Cluster::start_with("postgres_opening fsync_off", "fsync = off") else { return };
    check(&refusal(&cluster.url("planwire")), &["fsync=off", "loses acknowledged events"]);
    assert_eq!(cluster.sql("SELECT to_regnamespace('planwire') IS NULL"), "t");
}

#[test]
fn sessions_wait_for_the_disk_whatever_the_server_does_by_default() {
    let settings =
        "synchronous_commit = off\nfull_page_writes = off\ndefault_transaction_isolation = serializable";
    let Some(cluster) = Cluster::start_with("postgres_opening sessions_wait_for_the_disk", settings) else {
        return;
    };
    // The trigger writes down what holds in the session that commits.
    let (mut writer, _readers) = open_postgres(&cluster.url("planwire"));
    cluster.sql(
        "CREATE TABLE public.seen (name text, value text); \
         CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           INSERT INTO public.seen SELECT name, current_setting(name) FROM unnest(ARRAY['synchronous_commit', \
             'transaction_isolation', 'lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout']) name; \
           RETURN NULL; END $$; \
         CREATE TRIGGER note AFTER UPDATE ON planwire.planwire_log EXECUTE FUNCTION public.note()",
    );
    two_trees().commit(&mut writer);
    assert_eq!(
        cluster.sql("SELECT string_agg(name || '=' || value, ' ' ORDER BY name) FROM public.seen"),
        "idle_in_transaction_session_timeout=3s lock_timeout=5s statement_timeout=7s synchronous_commit=on \
         transaction_isolation=read committed"
    );
}

#[test]
fn server_that_is_not_there_or_says_no_is_named_without_the_password() {
    let Some(mut cluster) = Cluster::start("postgres_opening server_that_is_not_there") else { return };
    let secret = |url: String| url.replace("planwire@", "planwire:hunter2@");
    let elsewhere = secret(cluster.url("planwire").replace("/postgres?", "/nowhere?"));
    let refused = refusal(&elsewhere);
    check(&refused, &["refuses the connection", "nowhere", "does not exist"]);
    cluster.stop(crate::cluster::Stop::Immediate);
    let impatient =
        PostgresOptions { connect_max: std::time::Duration::from_millis(200), ..postgres_options() };
    let url: PostgresUrl = secret(cluster.url("planwire")).parse().unwrap();
    let gone = PostgresStore::open(&url, &impatient).unwrap_err();
    assert!(matches!(gone, PostgresOpenError::Unreachable { .. }), "{gone:?}");
    for text in [refused, told(&gone), format!("{gone:?}"), format!("{url:?} {url}")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}
