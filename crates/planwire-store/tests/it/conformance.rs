//! One suite for all stores: a new store adds a line to `stores!` and has to pass.

use std::sync::Arc;

use planwire_event::vocabulary::FailureReason;
use planwire_event::{Digest, EventId, EventType, EventTypes, Filter, PlanStatus, Position, StoredEvent};
use planwire_store::{
    AppendError, Appended, BLOB_BYTES_MAX, BLOB_CHUNK_BYTES, Head, LogInfo, PAGE_EVENTS_MAX, Page,
    PageLimits, PlanOrder, PlanQuery, PlanScope, Removal, StoreError,
};

use crate::author::{Author, log_id, plan_id, positions, read_all, two_trees};
use crate::block_on::block_on;
use crate::stores::{self, Store};

macro_rules! stores {
    ($($promise:ident),* $(,)?) => {
        mod memory { $(#[test] fn $promise() { super::$promise(super::stores::memory()); })* }
        mod sqlite { $(#[test] fn $promise() { super::$promise(super::stores::sqlite()); })* }
        mod postgres {
            $(#[test] fn $promise() {
                super::stores::postgres(concat!("conformance ", stringify!($promise))).map(super::$promise);
            })*
        }
    };
}

stores!(
    empty_log_has_a_head,
    what_was_appended_is_read_back_whole,
    filter_leaks_nothing_and_misses_nothing,
    pages_join_without_gap_or_repetition,
    page_ends_at_its_bytes,
    page_of_a_rare_type_says_how_far_it_looked,
    reader_beyond_the_head_is_not_sent_back,
    subtree_includes_plans_that_start_later,
    plan_is_listed_in_seq_order,
    events_are_found_by_id,
    repeated_id_stores_nothing_and_is_named,
    batch_on_another_head_stores_nothing,
    batch_that_tears_the_log_is_refused,
    locked_head_is_the_one_appended_to,
    plans_are_found_by_scope_order_and_page,
    writer_that_knows_plans_knows_what_the_repository_does,
    ended_plans_are_found_by_status_context_and_end,
    adopted_tree_has_another_owner_as_far_as_it_is_open,
    plan_changes_that_contradict_are_refused,
    documents_and_blobs_are_kept_once,
    awkward_payloads_come_back_byte_for_byte,
    payload_that_was_removed_leaves_its_digest_and_its_leaf,
);

fn page(store: &Store, after: u64, filter: &Filter, limits: PageLimits) -> Page {
    block_on(store.repository.read_after(Position::new(after), filter, limits)).unwrap()
}

fn empty_log_has_a_head(mut store: Store) {
    assert_eq!(store.writer.head().unwrap(), Head::empty(log_id()));
    let info =
        LogInfo { log_id: log_id(), head: Position::ZERO, pruned_to: Position::ZERO, lineage: Vec::new() };
    assert_eq!(block_on(store.repository.log_info()).unwrap(), info);
    let nothing = Page { events: Vec::new(), scanned_to: Position::ZERO, at_head: true };
    assert_eq!(page(&store, 0, &Filter::all(), PageLimits::default()), nothing);
    assert_eq!(page(&store, 0, &Filter::tree(plan_id("none")), PageLimits::default()), nothing);
}

fn writer_that_knows_plans_knows_what_the_repository_does(mut store: Store) {
    let mut author = two_trees();
    author.commit(&mut *store.writer);
    author.start("third", None).end("third", None);
    author.commit(&mut *store.writer);
    let these: Vec<_> = ["root", "none", "leaf", "third"].map(plan_id).into();
    let query = PlanQuery { scope: PlanScope::These(these.clone()), ..PlanQuery::default() };
    let mut known = block_on(store.repository.plans(&query)).unwrap().plans;
    assert_eq!(known.len(), 3);
    let Some(named) = store.writer.plans_named(&these) else { return };
    let mut named = named.unwrap();
    known.sort_by_key(|row| row.first_position);
    named.sort_by_key(|row| row.first_position);
    assert_eq!(named, known);
    // Also between a head that is locked and the append that lets go of it.
    store.writer.lock_head().unwrap();
    assert_eq!(store.writer.plans_named(&these).unwrap().unwrap().len(), 3);
}

fn what_was_appended_is_read_back_whole(mut store: Store) {
    let mut author = two_trees();
    author.commit(&mut *store.writer);
    author.start("third", None).say("other", "acme.note", "{}");
    author.commit(&mut *store.writer);
    assert_eq!(store.writer.head().unwrap(), author.head);
    assert_eq!(read_all(&*store.repository), author.events);
    let info = block_on(store.repository.log_info()).unwrap();
    assert_eq!(info.head, author.head.position);
    let lines = |events: &[Arc<StoredEvent>]| events.iter().map(|event| event.to_json()).collect::<Vec<_>>();
    assert_eq!(lines(&read_all(&*store.repository)), lines(&author.events));
}

fn filter_leaks_nothing_and_misses_nothing(mut store: Store) {
    let mut author = two_trees();
    author.commit(&mut *store.writer);
    let check = |filter: Filter, wanted: &dyn Fn(&StoredEvent) -> bool| {
        for after in 0..=author.head.position.get() {
            let page = page(&store, after, &filter, PageLimits::default());
            let expected = author.positions(|event| event.position.get() > after && wanted(event));
            assert_eq!(positions(&page.events), expected, "{filter:?} after {after}");
            assert!(page.at_head && page.scanned_to == author.head.position, "{filter:?} after {after}");
        }
    };
    let of = |event: &StoredEvent, plans: &[&str]| plans.contains(&event.plan_id().as_str());
    let is = |event: &StoredEvent, name: &str| event.event.event_type().as_str() == name;
    let note = || ["acme.note".parse::<EventType>().unwrap()];
    check(Filter::all(), &|_| true);
    check(Filter::all().with_types(note()), &|event| is(event, "acme.note"));
    check(Filter::all().with_types([]), &|_| false);
    check(Filter::plan(plan_id("left")), &|event| of(event, &["left"]));
    check(Filter::plan(plan_id("right")), &|event| of(event, &["right"]));
    check(Filter::plan(plan_id("none")), &|_| false);
    check(Filter::plan(plan_id("root")).with_types(note()), &|event| {
        of(event, &["root"]) && is(event, "acme.note")
    });
    check(Filter::tree(plan_id("root")), &|event| event.root_plan_id.as_str() == "root");
    check(Filter::tree(plan_id("other")), &|event| of(event, &["other"]));
    check(Filter::tree(plan_id("left")), &|event| of(event, &["left", "leaf"]));
    check(Filter::tree(plan_id("right")).with_types(note()), &|event| {
        of(event, &["right", "late"]) && is(event, "acme.note")
    });
    check(Filter::tree(plan_id("leaf")), &|event| of(event, &["leaf"]));
}

fn pages_join_without_gap_or_repetition(mut store: Store) {
    let mut author = two_trees();
    author.commit(&mut *store.writer);
    let filters = [Filter::all(), Filter::plan(plan_id("root")), Filter::tree(plan_id("right"))];
    for (filter, size) in filters.iter().flat_map(|filter| (1..5).map(move |size| (filter, size))) {
        let whole = page(&store, 0, filter, PageLimits::default()).events;
        let mut joined = Vec::new();
        let mut after = 0;
        loop {
            let page = page(&store, after, filter, PageLimits::events(size));
            assert!(page.events.len() <= size);
            joined.extend(page.events);
            after = page.scanned_to.get();
            if page.at_head {
                break;
            }
        }
        assert_eq!(joined, whole, "{filter:?} in pages of {size}");
    }
    let exact = page(&store, 0, &Filter::all(), PageLimits::events(author.events.len()));
    assert!(exact.at_head, "a full page that ends at the head knows it");
    let one = page(&store, 0, &Filter::all(), PageLimits { events: 0, bytes: 0 });
    assert_eq!((one.events.len(), one.scanned_to.get(), one.at_head), (1, 1, false));
    assert_eq!(PageLimits::events(usize::MAX).events, PAGE_EVENTS_MAX);
}

fn page_ends_at_its_bytes(mut store: Store) {
    let mut author = Author::new(log_id());
    author.start("p", None);
    for _ in 0..10 {
        author.say("p", "acme.note", &format!(r#"{{"text":"{}"}}"#, "x".repeat(989)));
    }
    author.commit(&mut *store.writer);
    let limits = PageLimits { events: 100, bytes: 2_500 };
    assert_eq!(positions(&page(&store, 1, &Filter::all(), limits).events), [2, 3, 4]);
}

fn page_of_a_rare_type_says_how_far_it_looked(mut store: Store) {
    let mut author = Author::new(log_id());
    author.start("p", None).start("q", Some("p"));
    for _ in 0..25_000 {
        author.say("p", "acme.often", "{}");
    }
    author.say("q", "acme.rare", "{}");
    author.commit(&mut *store.writer);
    let rare = || ["acme.rare".parse::<EventType>().unwrap()];
    for filter in [Filter::all().with_types(rare()), Filter::plan(plan_id("q")).with_types(rare())] {
        let mut after = 0;
        let mut pages = Vec::new();
        while pages.last().is_none_or(|page: &Page| !page.at_head) {
            pages.push(page(&store, after, &filter, PageLimits::default()));
            after = pages.last().unwrap().scanned_to.get();
        }
        assert_eq!(pages.len(), 3, "{filter:?}");
        assert_eq!(pages.iter().map(|page| page.events.len()).collect::<Vec<_>>(), [0, 0, 1]);
        assert_eq!(after, author.head.position.get());
    }
}

fn reader_beyond_the_head_is_not_sent_back(mut store: Store) {
    two_trees().commit(&mut *store.writer);
    for after in [1_000, u64::MAX] {
        let page = page(&store, after, &Filter::all(), PageLimits::default());
        assert_eq!(page, Page { events: Vec::new(), scanned_to: Position::new(after), at_head: true });
    }
}

fn subtree_includes_plans_that_start_later(mut store: Store) {
    let mut author = two_trees();
    author.commit(&mut *store.writer);
    let filter = Filter::tree(plan_id("right"));
    let before = page(&store, 0, &filter, PageLimits::default());
    author.start("later", Some("late")).say("root", "acme.note", "{}").say("later", "acme.note", "{}");
    author.commit(&mut *store.writer);
    let after = page(&store, before.scanned_to.get(), &filter, PageLimits::default());
    assert_eq!(positions(&after.events), author.positions(|event| event.plan_id().as_str() == "later"));
}

fn plan_is_listed_in_seq_order(mut store: Store) {
    let mut author = two_trees();
    author.commit(&mut *store.writer);
    let plan = plan_id("left");
    let list = |types: EventTypes, after: Position| {
        block_on(store.repository.list_by_plan(&plan, types, after, PageLimits::default())).unwrap().events
    };
    let seqs: Vec<u64> = list(EventTypes::All, Position::ZERO).iter().map(|event| event.seq.get()).collect();
    assert_eq!(seqs, [1, 2, 3]);
    let failed = list([EventType::PlanFailed].into_iter().collect(), Position::ZERO);
    assert_eq!(failed.len(), 1);
    assert!(list(EventTypes::All, failed[0].position).is_empty());
}

fn events_are_found_by_id(mut store: Store) {
    let mut author = two_trees();
    author.commit(&mut *store.writer);
    let find = |ids: &[EventId]| block_on(store.repository.by_event_ids(ids)).unwrap();
    let wanted: Vec<_> = author.events.iter().step_by(3).cloned().collect();
    let mut ids: Vec<_> = wanted.iter().map(|event| event.event.event_id()).collect();
    ids.push(EventId::from(5));
    let mut found = find(&ids);
    found.sort_by_key(|event| event.position);
    assert_eq!(found, wanted);
    assert!(find(&[]).is_empty());
}

fn repeated_id_stores_nothing_and_is_named(mut store: Store) {
    let mut author = two_trees();
    author.commit(&mut *store.writer);
    let head = author.head.clone();
    let (first, last) = (author.events[0].event.event_id(), author.events[5].event.event_id());
    let mut again = author.clone();
    again.say_as(last, "root", "acme.note", "{}").start("new", None).attach("{}", b"x");
    again.say("root", "acme.note", "{}").say_as(first, "root", "acme.note", "{}");
    let appended = store.writer.append(&head, &again.batch).unwrap();
    assert_eq!(appended, Appended::Duplicate(vec![first, last]));
    let mut twice = author.clone();
    let id = EventId::from(77);
    twice.say_as(id, "root", "acme.note", "{}").say_as(id, "root", "acme.note", "{}");
    assert_eq!(store.writer.append(&head, &twice.batch).unwrap(), Appended::Duplicate(vec![id]));
    assert_eq!(store.writer.head().unwrap(), head);
    assert_eq!(read_all(&*store.repository), author.events);
    assert_eq!(block_on(store.repository.document(Digest::of(b"{}"))).unwrap(), None);
    author.say_as(id, "root", "acme.note", "{}").commit(&mut *store.writer);
}

fn batch_on_another_head_stores_nothing(mut store: Store) {
    let mut author = two_trees();
    let mut late = author.clone();
    author.commit(&mut *store.writer);
    late.say("root", "acme.note", "{}");
    let empty = Head::empty(log_id());
    assert_eq!(store.writer.append(&empty, &late.batch).unwrap(), Appended::HeadMoved);
    // As high as the log, but over other events.
    let mut other = Author::new(log_id());
    other.start("x", None);
    while other.batch.next.position < author.head.position {
        other.say("x", "acme.note", "{}");
    }
    other.stored();
    other.say("x", "acme.note", "{}");
    assert_eq!(store.writer.append(&other.head, &other.batch).unwrap(), Appended::HeadMoved);
    assert_eq!(read_all(&*store.repository), author.events);
}

fn batch_that_tears_the_log_is_refused(mut store: Store) {
    let mut author = two_trees();
    author.commit(&mut *store.writer);
    author.say("root", "acme.note", "{}");
    let good = author.batch.clone();
    let mut bad = vec![good.clone(), good.clone(), good.clone(), good.clone()];
    bad[0].next.position = bad[0].next.position.next();
    bad[1].rows.clear();
    bad[2].next.frontier.push([0; 32]);
    let rows = bad[3].rows.clone();
    bad[3].rows.extend(rows);
    for batch in &bad {
        let error = store.writer.append(&author.head, batch).unwrap_err();
        assert!(matches!(error, AppendError::Refused(StoreError::Failed(_))), "{error:?}");
    }
    author.commit(&mut *store.writer);
    assert_eq!(read_all(&*store.repository), author.events);
}

fn locked_head_is_the_one_appended_to(mut store: Store) {
    let mut author = two_trees();
    let head = store.writer.lock_head().unwrap();
    assert_eq!(head, author.head);
    author.commit(&mut *store.writer);
    assert_eq!(store.writer.lock_head().unwrap(), author.head);
    assert_eq!(store.writer.head().unwrap(), author.head);
    let mut late = two_trees();
    assert_eq!(store.writer.append(&late.head, &late.batch).unwrap(), Appended::HeadMoved);
    late.stored();
    author.say("root", "acme.note", "{}").commit(&mut *store.writer);
    assert_eq!(read_all(&*store.repository), author.events);
}

fn plans_are_found_by_scope_order_and_page(mut store: Store) {
    let mut author = two_trees();
    author.commit(&mut *store.writer);
    let rows = author.plan_rows();
    let these = ["late", "root", "none", "late", "leaf"].map(plan_id).to_vec();
    let scopes: [(PlanScope, &[&str]); 7] = [
        (PlanScope::All, &["root", "left", "other", "leaf", "right", "late"]),
        (PlanScope::Roots, &["root", "other"]),
        (PlanScope::Tree(plan_id("root")), &["root", "left", "leaf", "right", "late"]),
        (PlanScope::Tree(plan_id("right")), &["right", "late"]),
        (PlanScope::Tree(plan_id("none")), &[]),
        (PlanScope::These(these), &["root", "leaf", "late"]),
        (PlanScope::These(Vec::new()), &[]),
    ];
    for (scope, names) in scopes {
        for (order, open_only) in [
            (PlanOrder::NewestFirst, false),
            (PlanOrder::NewestFirst, true),
            (PlanOrder::OldestFirst, false),
            (PlanOrder::OldestFirst, true),
        ] {
            let mut expected: Vec<_> = rows
                .iter()
                .filter(|row| names.contains(&row.plan_id.as_str()) && (row.status.is_open() || !open_only))
                .cloned()
                .collect();
            if order == PlanOrder::NewestFirst {
                expected.reverse();
            }
            for limit in [0, 1, 2, 6] {
                let scope = scope.clone();
                let mut query = PlanQuery { scope, open_only, order, limit, ..PlanQuery::default() };
                let mut found = Vec::new();
                loop {
                    let page = block_on(store.repository.plans(&query)).unwrap();
                    assert!(limit == 0 || page.plans.len() <= limit);
                    found.extend(page.plans);
                    query.after = page.next;
                    if page.next.is_none() {
                        break;
                    }
                }
                assert_eq!(found, expected, "{query:?}");
            }
        }
    }
}

fn ended_plans_are_found_by_status_context_and_end(mut store: Store) {
    let mut author = two_trees();
    author.commit(&mut *store.writer);
    let ask = |query: PlanQuery| {
        let query = PlanQuery { order: PlanOrder::LastEndedFirst, count: true, ..query };
        let page = block_on(store.repository.plans(&query)).unwrap();
        let ids: Vec<_> = page.plans.iter().map(|row| row.plan_id.to_string()).collect();
        (ids, page.next, page.total)
    };
    let ended = author.plans.values().filter(|row| !row.status.is_open());
    let mut by_end: Vec<_> = ended.map(|row| (row.last_position.unwrap(), row.plan_id.to_string())).collect();
    by_end.sort();
    by_end.reverse();
    let names = |rows: &[(Position, String)]| rows.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>();
    let total = Some(by_end.len() as u64);
    assert!(by_end.len() >= 2, "{by_end:?}");
    assert_eq!(ask(PlanQuery::default()), (names(&by_end), None, total));
    let first = ask(PlanQuery { limit: 1, ..PlanQuery::default() });
    assert_eq!(first, (names(&by_end[..1]), Some(by_end[0].0), total));
    let rest = ask(PlanQuery { after: Some(by_end[0].0), ..PlanQuery::default() });
    assert_eq!(rest, (names(&by_end[1..]), None, total), "the count is of all pages");
    let from = ask(PlanQuery { ended_from: Some(by_end[0].0), ..PlanQuery::default() });
    assert_eq!(from, (names(&by_end[..1]), None, Some(1)));
    let open = ask(PlanQuery { statuses: vec![PlanStatus::Open], ..PlanQuery::default() });
    assert_eq!(open, (vec![], None, Some(0)));
    for row in author.plans.values() {
        let scope = PlanScope::Context(Arc::clone(&row.context_id));
        let of_context = PlanQuery { scope, order: PlanOrder::OldestFirst, ..PlanQuery::default() };
        let found = block_on(store.repository.plans(&of_context)).unwrap().plans;
        assert!(found.contains(row) && found.iter().all(|other| other.context_id == row.context_id));
    }
}

fn adopted_tree_has_another_owner_as_far_as_it_is_open(mut store: Store) {
    let mut author = Author::new(log_id());
    author.start("root", None).start("before", Some("root")).start("other", None);
    author.start("ended", Some("root")).end("ended", None);
    author.commit(&mut *store.writer);
    // Within one batch: what ends and starts before and after.
    author.end("before", Some(FailureReason::Error));
    author.start("brief", Some("root")).end("brief", None).start("stays", Some("root"));
    author.adopt("root", "executor-2");
    author.start("later", Some("root")).end("later", None);
    author.commit(&mut *store.writer);
    author.adopt("root", "executor-3").adopt("root", "executor-4").end("stays", None);
    author.commit(&mut *store.writer);
    let query = PlanQuery { order: PlanOrder::OldestFirst, ..PlanQuery::default() };
    let found = block_on(store.repository.plans(&query)).unwrap().plans;
    let owners: Vec<_> = found.iter().map(|row| (row.plan_id.as_str(), row.owner.as_deref())).collect();
    assert_eq!(
        owners,
        [
            ("root", Some("executor-4")),
            ("before", Some("executor-1")),
            ("other", None),
            ("ended", Some("executor-1")),
            ("brief", Some("executor-1")),
            ("stays", Some("executor-4")),
            ("later", Some("executor-1")),
        ]
    );
    assert!(author.plans.values().all(|row| found.contains(row)));
}

fn plan_changes_that_contradict_are_refused(mut store: Store) {
    let mut author = two_trees();
    author.commit(&mut *store.writer);
    let mut again = author.clone();
    again.start("root", None);
    let mut unknown = author.clone();
    unknown.say("root", "acme.note", "{}").end("root", Some(FailureReason::Error));
    let batch = &mut unknown.batch;
    if let Some(planwire_store::PlanChange::Ended { plan_id: ended, .. }) = batch.plans.last_mut() {
        *ended = plan_id("nobody");
    }
    for batch in [&again.batch, &unknown.batch] {
        let error = store.writer.append(&author.head, batch).unwrap_err();
        assert!(matches!(error, AppendError::Refused(StoreError::Failed(_))), "{error:?}");
    }
    assert_eq!(store.writer.head().unwrap(), author.head);
}

fn documents_and_blobs_are_kept_once(mut store: Store) {
    let large: Vec<u8> = (0..BLOB_CHUNK_BYTES + 3).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let mut author = Author::new(log_id());
    author.start("p", None).attach(r#"{"a":1}"#, &large).attach("{}", b"").attach("{}", b"");
    author.commit(&mut *store.writer);
    author.say("p", "acme.note", "{}").attach(r#"{"a":1}"#, &large).commit(&mut *store.writer);
    let document = |text: &str| block_on(store.repository.document(Digest::of(text.as_bytes()))).unwrap();
    assert_eq!(document(r#"{"a":1}"#).as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(document("none"), None);
    let chunk = |body: &[u8], chunk: u32| block_on(store.repository.blob(Digest::of(body), chunk)).unwrap();
    assert_eq!(chunk(&large, 0).as_deref(), Some(&large[..BLOB_CHUNK_BYTES]));
    assert_eq!(chunk(&large, 1).as_deref(), Some(&large[BLOB_CHUNK_BYTES..]));
    assert_eq!((chunk(&large, 2), chunk(&large, u32::MAX)), (None, None));
    assert_eq!((chunk(b"", 0), chunk(b"", 1)), (Some(Vec::new()), None));
    assert_eq!(chunk(b"none", 0), None);
    author.say("p", "acme.note", "{}").attach("{}", &vec![0; BLOB_BYTES_MAX + 1]);
    let error = store.writer.append(&author.head, &author.batch).unwrap_err();
    assert!(matches!(error, AppendError::Refused(StoreError::Failed(_))), "{error:?}");
}

fn awkward_payloads_come_back_byte_for_byte(mut store: Store) {
    let mut author = Author::new(log_id());
    author.start("p", None);
    let payloads = [
        r#"{"":""}"#,
        r#"{"a":"\u0001\n\t\"\\/"}"#,
        r#"{"a":"'; DROP TABLE plan_events; --","b":"%_?1"}"#,
        r#"{"é":"\ud83d\ude00","ﬁ":"ａ","\u2028":"\u0085"}"#,
        r#"{"n":[-0.0,1e19,1e20,18446744073709551615,-9223372036854775808,5e-324,1e300,0.1]}"#,
        r#"{"deep":[[[[[[[[{}]]]]]]]]}"#,
    ];
    for payload in payloads {
        author.say("p", "acme.odd", payload);
    }
    author.say("p", "acme.odd", &format!(r#"{{"long":"{}"}}"#, "é".repeat(120_000)));
    author.commit(&mut *store.writer);
    let text = |events: &[Arc<StoredEvent>]| {
        events.iter().map(|event| event.event.payload().as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(text(&read_all(&*store.repository)), text(&author.events));
}

fn payload_that_was_removed_leaves_its_digest_and_its_leaf(mut store: Store) {
    let mut author = two_trees();
    author.say("other", "acme.note", r#"{"key":"leaked"}"#);
    author.commit(&mut *store.writer);
    let before = author.events.clone();
    let [started, said] = [&before[0], before.last().unwrap()];
    assert_eq!(store.writer.remove_payload(EventId::from(7_u128)).unwrap(), Removal::Unknown);
    for event in [started, said] {
        let id = event.event.event_id();
        assert_eq!(store.writer.remove_payload(id).unwrap(), Removal::Removed);
        assert_eq!(store.writer.remove_payload(id).unwrap(), Removal::Before);
    }
    let after = read_all(&*store.repository);
    assert_eq!(after.len(), before.len());
    for (old, new) in before.iter().zip(&after) {
        let is_gone = [started, said].iter().any(|gone| gone.position == old.position);
        let (payload, was) = (new.event.payload(), old.event.payload());
        assert_eq!(payload.removed_digest().is_some(), is_gone, "{new:?}");
        assert_eq!(payload.digest(), was.digest());
        let meta = serde_json::to_string(&old.meta).unwrap();
        assert_eq!(planwire_store::leaf(new, &meta), planwire_store::leaf(old, &meta));
        assert_eq!((new.seq, &new.meta, new.event.same_content(&old.event)), (old.seq, &old.meta, true));
    }
    let line = after.last().unwrap().to_json();
    assert!(line.contains(r#""payload":{"$removed":""#) && !line.contains("leaked"), "{line}");
    let scope = PlanScope::These(vec![started.plan_id().clone()]);
    let rows = block_on(store.repository.plans(&PlanQuery { scope, ..PlanQuery::default() })).unwrap();
    assert_eq!(rows.plans[0].name, "");
    // The log goes on.
    author.say("other", "acme.note", "{}");
    author.commit(&mut *store.writer);
    assert_eq!(store.writer.head().unwrap(), author.head);
}
