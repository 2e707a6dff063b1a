//! A seeded walk through several stores at once: each answer of one is the answer of the others, byte for byte.

use planwire_event::vocabulary::FailureReason;
use planwire_event::{Digest, EventId, EventType, EventTypes, Filter, PlanStatus, Position, Scope};
use planwire_store::{EventRepository, PageLimits, PlanOrder, PlanQuery, PlanScope};

use crate::author::{Author, log_id, plan_id};
use crate::awkward;
use crate::block_on::block_on;
use crate::cluster::Cluster;
use crate::random::{Random, count};
use crate::stores::{self, Store};

const STEPS: u32 = 120;

/// Adds a few random events, plans, documents and blobs.
fn write(random: &mut Random, author: &mut Author) {
    for _ in 0..=random.below(6) {
        let open: Vec<String> = author
            .plans
            .values()
            .filter(|plan| plan.status.is_open())
            .map(|plan| plan.plan_id.to_string())
            .collect();
        let name = format!("plan-{}", author.plans.len());
        match random.below(10) {
            0 => author.start(&name, None),
            1 | 2 if !open.is_empty() => author.start(&name, Some(random.of::<String>(&open))),
            3 if open.len() > 2 => {
                let reason =
                    *random.of(&[None, Some(FailureReason::Error), Some(FailureReason::Interrupted)]);
                author.end(random.of::<String>(&open), reason)
            }
            4 => author.attach(&format!(r#"{{"d":{}}}"#, random.below(5)), &vec![7; random.below(5_000)]),
            _ if !open.is_empty() => {
                let payload = match random.below(3) {
                    0 => format!(r#"{{"t":"{}"}}"#, "xé".repeat(random.below(400))),
                    _ => awkward::payload(random),
                };
                author.say(
                    random.of::<String>(&open),
                    ["acme.a", "acme.b", "acme.c"][random.below(3)],
                    &payload,
                )
            }
            _ => author.start(&name, None),
        };
    }
}

fn filter(random: &mut Random, author: &Author) -> Filter {
    let plan = plan_id(&format!("plan-{}", random.below(author.plans.len() + 2)));
    let types = ["acme.a", "acme.b", "PlanStarted", "PlanFailed", "acme.none"];
    let picked = (0..random.below(3)).map(|_| random.of(&types).parse::<EventType>().unwrap());
    let types = picked.collect::<EventTypes>();
    let types = if random.below(2) == 0 { EventTypes::All } else { types };
    let scope = match random.below(3) {
        0 => Scope::All,
        1 => Scope::Plan(plan),
        _ => Scope::Tree(plan),
    };
    Filter { types, scope }
}

fn query(random: &mut Random, author: &Author) -> PlanQuery {
    let plan = plan_id(&format!("plan-{}", random.below(author.plans.len() + 2)));
    let scope = match random.below(5) {
        0 => PlanScope::All,
        4 => PlanScope::Context(plan.as_str().into()),
        1 => PlanScope::Roots,
        2 => PlanScope::Tree(plan),
        _ => PlanScope::These(vec![plan_id("plan-0"), plan, plan_id("plan-3")]),
    };
    let after = Position::new(u64::try_from(random.below(author.events.len() + 2)).unwrap());
    PlanQuery {
        scope,
        open_only: random.below(2) == 0,
        statuses: match random.below(4) {
            0 => vec![PlanStatus::Completed, PlanStatus::Failed(FailureReason::Error)],
            1 => vec![PlanStatus::Open],
            _ => vec![],
        },
        ended_from: (random.below(4) == 0).then_some(after),
        order: *random.of(&[PlanOrder::NewestFirst, PlanOrder::OldestFirst, PlanOrder::LastEndedFirst]),
        after: (random.below(3) > 0).then_some(after),
        limit: random.below(8),
        count: random.below(2) == 0,
    }
}

/// What a store answers to a random round of questions, as text.
fn answers(random: &mut Random, author: &Author, repository: &dyn EventRepository) -> String {
    let after = Position::new(u64::try_from(random.below(author.events.len() + 2)).unwrap());
    let limits = PageLimits { events: random.below(20), bytes: random.below(20_000) };
    let filter = filter(random, author);
    let page = block_on(repository.read_after(after, &filter, limits)).unwrap();
    let lines: Vec<_> = page.events.iter().map(|event| event.to_json()).collect();
    let listed_of = plan_id(&format!("plan-{}", random.below(author.plans.len() + 1)));
    let listed = block_on(repository.list_by_plan(&listed_of, EventTypes::All, after, limits)).unwrap();
    let plans = block_on(repository.plans(&query(random, author))).unwrap();
    let ids: Vec<_> = (0..3)
        .map(|_| EventId::from((1 << 80) + u128::try_from(random.below(author.events.len() + 3)).unwrap()))
        .collect();
    let mut found = block_on(repository.by_event_ids(&ids)).unwrap();
    found.sort_by_key(|event| event.position);
    found.dedup();
    let digest = Digest::of(format!(r#"{{"d":{}}}"#, random.below(6)).as_bytes());
    let document = block_on(repository.document(digest)).unwrap();
    let blob = block_on(repository.blob(Digest::of(&vec![7; random.below(5_000)]), 0)).unwrap();
    let info = block_on(repository.log_info()).unwrap();
    format!("{page:?}\n{lines:?}\n{listed:?}\n{plans:?}\n{found:?}\n{document:?}\n{blob:?}\n{info:?}")
}

fn walk(seed: u64, mut all: Vec<Store>) {
    let mut random = Random(seed);
    let mut author = Author::new(log_id());
    for step in 0..STEPS {
        let before = author.clone();
        write(&mut random, &mut author);
        if random.below(8) == 0 && !author.events.is_empty() {
            let repeated = random.of(&author.events).event.event_id();
            let plan = author.plans.keys().next().unwrap().clone();
            author.say_as(repeated, &plan, "acme.a", "{}");
        }
        let expected =
            if random.below(10) == 0 { planwire_store::Head::empty(log_id()) } else { author.head.clone() };
        let mut append = |store: &mut Store| format!("{:?}", store.writer.append(&expected, &author.batch));
        let appended: Vec<_> = all.iter_mut().map(&mut append).collect();
        equal(&appended, seed, step);
        if appended[0] == "Ok(Stored)" {
            author.stored();
        } else {
            author = before;
        }
        if random.below(6) == 0 && !author.events.is_empty() {
            let removed = random.of(&author.events).event.event_id();
            let mut remove = |store: &mut Store| format!("{:?}", store.writer.remove_payload(removed));
            equal(&all.iter_mut().map(&mut remove).collect::<Vec<_>>(), seed, step);
        }
        let heads: Vec<_> = all.iter_mut().map(|store| store.writer.head().unwrap()).collect();
        equal(&heads, seed, step);
        assert_eq!(heads[0], author.head, "seed {seed} step {step}");
        let seed_of_questions = random.below(usize::MAX >> 1);
        let ask = |store: &Store| {
            let mut random = Random(u64::try_from(seed_of_questions).unwrap());
            answers(&mut random, &author, &*store.repository)
        };
        equal(&all.iter().map(ask).collect::<Vec<_>>(), seed, step);
    }
    assert!(author.events.len() > 100, "the walk wrote {} events", author.events.len());
}

fn equal<T: PartialEq + std::fmt::Debug>(answers: &[T], seed: u64, step: u32) {
    for answer in &answers[1..] {
        assert_eq!(*answer, answers[0], "seed {seed} step {step}");
    }
}

#[test]
fn sqlite_answers_as_memory_does() {
    (1..=12).for_each(|seed| walk(seed, vec![stores::memory(), stores::sqlite()]));
}

#[test]
fn postgres_answers_as_memory_and_sqlite_do_soak_seeds() {
    let test = "differential postgres_answers_as_memory_and_sqlite_do_soak_seeds";
    let Some(cluster) = Cluster::start(test) else { return };
    let seeds = count(4, 100);
    for seed in 1..=seeds {
        let postgres = stores::postgres_in(&cluster, &format!("seed_{seed}"));
        walk(seed, vec![stores::memory(), stores::sqlite(), postgres]);
    }
    println!("{seeds} seeds, {STEPS} steps each: no difference");
}
