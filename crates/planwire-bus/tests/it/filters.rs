//! Filters neither leak nor miss, live or replayed: checked against a scan of the whole log.

use std::collections::{BTreeSet, HashMap};

use planwire_bus::{Config, StartAt};
use planwire_event::{Cursor, EventType, Filter, PlanId, Position, Scope};

use crate::kit::{Kit, id, take};
use crate::seeds::count;

/// A small random generator, so that a seed gives the same run everywhere (xorshift64*).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}

const PLANS: usize = 60;
const TYPES: [&str; 6] = ["test.a", "test.b", "test.c", "test.d", "test.e", "test.f"];

fn random_filter(random: &mut Seeded) -> Filter {
    let plan = id(&format!("p{}", random.below(PLANS)));
    let filter = match random.below(3) {
        0 => Filter::all(),
        1 => Filter::plan(plan),
        _ => Filter::tree(plan),
    };
    match random.below(3) {
        0 => filter,
        _ => {
            let types: BTreeSet<EventType> =
                (0..=random.below(4)).map(|_| TYPES[random.below(6)].parse().unwrap()).collect();
            filter.with_types(types)
        }
    }
}

/// Whether `filter` wants an event, by the plain definition.
fn wants(filter: &Filter, plan: &PlanId, event_type: &EventType, parents: &HashMap<PlanId, PlanId>) -> bool {
    let in_scope = match &filter.scope {
        Scope::All => true,
        Scope::Plan(wanted) => wanted == plan,
        Scope::Tree(top) => {
            std::iter::successors(Some(plan), |plan| parents.get(*plan)).any(|above| above == top)
        }
    };
    in_scope && filter.types.contains(event_type)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_filters_neither_leak_nor_miss() {
    let (events, filters) = (count(100_000, 100_000), 200);
    let mut random = Seeded(42);
    let kit = Kit::with(Config { ring_bytes_max: 256 * 1024, ..Config::default() });
    let mut parents = HashMap::new();
    for number in 0..PLANS {
        let plan = format!("p{number}");
        if number % 10 == 0 {
            kit.publish(vec![kit.started(&plan)]).await;
        } else {
            let parent = format!("p{}", number / 10 * 10 + random.below(number % 10));
            parents.insert(id(&plan), id(&parent));
            kit.publish(vec![kit.spawned(&parent, &plan), kit.child_started(&plan, &parent)]).await;
        }
    }
    let filters: Vec<_> = (0..filters).map(|_| random_filter(&mut random)).collect();
    let made: Vec<_> = (0..events)
        .map(|number| kit.typed(&format!("p{}", random.below(PLANS)), TYPES[random.below(6)], number))
        .collect();
    let start = kit.bus.tail();
    let expected: Vec<Vec<u64>> = filters
        .iter()
        .map(|filter| {
            let positions = (start.position.get() + 1..).zip(&made);
            positions
                .filter(|(_, event)| wants(filter, event.plan_id(), event.event_type(), &parents))
                .map(|(at, _)| at)
                .collect()
        })
        .collect();
    let mut live = Vec::new();
    for (filter, expected) in filters.iter().zip(&expected) {
        let mut stream = kit.bus.stream(filter.clone(), StartAt::Now).await.unwrap();
        let wanted = expected.len();
        live.push(tokio::spawn(async move { crate::kit::positions(&take(&mut stream, wanted).await) }));
    }
    let door = kit.publisher("x");
    for chunk in made.chunks(100) {
        door.publish_all(chunk.to_vec()).await.unwrap();
    }
    let mut wrong = 0;
    for (task, expected) in live.into_iter().zip(&expected) {
        wrong += usize::from(task.await.unwrap() != *expected);
    }
    for (filter, expected) in filters.iter().zip(&expected) {
        let from = Cursor { log_id: start.log_id, position: Position::new(start.position.get()) };
        let mut stream = kit.bus.stream(filter.clone(), StartAt::After(from)).await.unwrap();
        wrong += usize::from(crate::kit::positions(&take(&mut stream, expected.len()).await) != *expected);
    }
    println!(
        "{} events x {} filters, live and replayed: {wrong} filters with a leak or a miss",
        events,
        filters.len()
    );
    assert_eq!(wrong, 0);
}
