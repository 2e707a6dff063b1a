//! Pages of long plans: read over the table and by two threads where that is faster, and the same as by the index.

use std::path::Path;

use planwire_event::{EventTypes, Filter, Position, Scope};
use planwire_store::{EventRepository, MemoryStore, Page, PageLimits, SqliteRepository, StoreError};
use rusqlite::Connection;

use crate::author::{Author, log_id, plan_id};
use crate::block_on::block_on;
use crate::stores::open;

/// A tree whose rows lie close together, one whose rows are every tenth, and one of few.
fn three_trees() -> Author {
    let mut author = Author::new(log_id());
    author.start("dense", None).start("below", Some("dense")).start("tenth", None).start("rare", None);
    for at in 0..3_000 {
        let plan = match at % 10 {
            3 => "tenth",
            5 if at > 1_500 => "below",
            _ => "dense",
        };
        let payload = format!(r#"{{"n":{at},"text":"{}"}}"#, "x".repeat(at % 97));
        author.say(plan, if at % 7 == 0 { "acme.seventh" } else { "acme.said" }, &payload);
        if at % 700 == 0 {
            author.say("rare", "acme.said", "{}");
        }
    }
    author.end("below", None).end("dense", None);
    author
}

/// A tree of one plan, alone in its log.
fn one_tree() -> Author {
    let mut author = Author::new(log_id());
    author.start("dense", None);
    for at in 0..1_500 {
        author.say("dense", "acme.said", &format!(r#"{{"n":{at}}}"#));
    }
    author
}

fn pages(repository: &dyn EventRepository, filter: &Filter, limits: PageLimits) -> Vec<Page> {
    let mut pages: Vec<Page> = Vec::new();
    while pages.last().is_none_or(|page| !page.at_head) {
        let after = pages.last().map_or(Position::ZERO, |page| page.scanned_to);
        pages.push(block_on(repository.read_after(after, filter, limits)).unwrap());
    }
    pages
}

fn plan(name: &str) -> Filter {
    Filter::plan(plan_id(name))
}

#[test]
fn pages_of_long_plans_are_those_of_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, repository) = open(&folder.path().join("log.db"));
    three_trees().commit(&mut writer);
    let (mut writer, memory) = MemoryStore::open(log_id());
    three_trees().commit(&mut *writer);
    let seventh = EventTypes::Only(["acme.seventh".parse().unwrap()].into());
    let filters = [
        Filter::all(),
        Filter { types: seventh.clone(), ..Filter::all() },
        plan("dense"),
        plan("below"),
        plan("tenth"),
        plan("rare"),
        Filter::tree(plan_id("dense")),
        Filter::tree(plan_id("below")),
        Filter { types: seventh, scope: Scope::Plan(plan_id("dense")) },
    ];
    let limits = [
        PageLimits::default(),
        PageLimits::events(700),
        PageLimits::events(64),
        PageLimits { bytes: 20_000, ..PageLimits::default() },
    ];
    for filter in &filters {
        for limits in limits {
            let (here, there) = (pages(&*repository, filter, limits), pages(&*memory, filter, limits));
            assert!(here == there, "{filter:?} {limits:?}");
        }
    }
}

/// A closed log of [`three_trees`] after `sql`, opened anew, and its events as they were.
fn changed(path: &Path, sql: &str) -> (std::sync::Arc<SqliteRepository>, Author) {
    changed_log(three_trees(), path, sql)
}

fn changed_log(mut author: Author, path: &Path, sql: &str) -> (std::sync::Arc<SqliteRepository>, Author) {
    let (mut writer, repository) = open(path);
    author.commit(&mut writer);
    drop((writer, repository));
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
    (SqliteRepository::open_read_only(path).unwrap(), author)
}

/// The position of the first event of `name` after `after`.
fn position(author: &Author, name: &str, after: u64) -> u64 {
    let plan = plan_id(name);
    let found = author.events.iter().find(|of| *of.plan_id() == plan && of.position.get() > after);
    found.unwrap().position.get()
}

#[test]
fn damage_is_told_to_those_who_read_it_alone() {
    let author = {
        let mut author = three_trees();
        author.stored();
        author
    };
    // Where the page is tried, where the first thread reads, and where the second does.
    for after in [20, 300, 900] {
        let folder = tempfile::tempdir().unwrap();
        let bad = position(&author, "tenth", after);
        let sql = format!("UPDATE plan_events SET payload = '{{}}' WHERE id = {bad}");
        let (repository, author) = changed(&folder.path().join("log.db"), &sql);
        let read: Vec<u64> = pages(&*repository, &Filter::tree(plan_id("dense")), PageLimits::default())
            .iter()
            .flat_map(|page| page.events.iter().map(|event| event.position.get()))
            .collect();
        assert_eq!(read, author.positions(|event| event.root_plan_id == plan_id("dense")), "{after}");
        for filter in [plan("tenth"), Filter::all()] {
            let page = block_on(repository.read_after(Position::ZERO, &filter, PageLimits::default()));
            assert!(
                matches!(page, Err(StoreError::Damaged { position, .. }) if position.get() == bad),
                "{after} {filter:?} {page:?}"
            );
        }
    }
}

#[test]
fn missing_row_ends_no_page() {
    let author = {
        let mut author = three_trees();
        author.stored();
        author
    };
    for after in [20, 300, 900] {
        let folder = tempfile::tempdir().unwrap();
        let gone = position(&author, "dense", after);
        let sql = format!("DELETE FROM plan_events WHERE id = {gone}");
        let (repository, author) = changed(&folder.path().join("log.db"), &sql);
        let read: Vec<u64> = pages(&*repository, &plan("dense"), PageLimits::default())
            .iter()
            .flat_map(|page| page.events.iter().map(|event| event.position.get()))
            .collect();
        let dense = author.positions(|event| *event.plan_id() == plan_id("dense"));
        let expected: Vec<u64> = dense.into_iter().filter(|position| *position != gone).collect();
        assert_eq!(read, expected, "{after}");
    }
}

#[test]
fn row_that_only_the_index_knows_is_not_left_out_in_silence() {
    // Where the page is tried, where one thread reads on, and where a second one reads.
    for (log, after) in [(three_trees as fn() -> Author, 20), (three_trees, 900), (one_tree, 900)] {
        let mut author = log();
        author.stored();
        let folder = tempfile::tempdir().unwrap();
        let gone = position(&author, "dense", after);
        // The index is out of sight while the row goes.
        let sql = format!(
            "PRAGMA writable_schema = ON; \
             CREATE TEMP TABLE hidden AS SELECT * FROM sqlite_schema WHERE name = 'plan_events_tree'; \
             DELETE FROM sqlite_schema WHERE name = 'plan_events_tree'; \
             PRAGMA writable_schema = RESET; \
             DELETE FROM plan_events WHERE id = {gone}; \
             PRAGMA writable_schema = ON; \
             INSERT INTO sqlite_schema SELECT * FROM hidden; \
             PRAGMA writable_schema = RESET;"
        );
        let (repository, _) = changed_log(log(), &folder.path().join("log.db"), &sql);
        let filter = plan("dense");
        let mut from = Position::ZERO;
        let refused = loop {
            match block_on(repository.read_after(from, &filter, PageLimits::default())) {
                Ok(page) if page.at_head => panic!("{gone} is left out"),
                Ok(page) => from = page.scanned_to,
                Err(error) => break error,
            }
        };
        assert!(from.get() < gone, "{from:?} {gone} {refused}");
    }
}
