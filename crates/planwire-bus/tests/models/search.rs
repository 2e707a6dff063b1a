//! Runs a model in many orders of its steps.
//!
//! One seed is [`ORDERS`] orders: of even seeds by choosing at each point among all who could go on, of odd ones by
//! priorities with some changes (PCT, Burckhardt 2010), which finds what takes a long run of one thread between two
//! steps of another. Both do the same each time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::seeds::{of_all_processors, seeds};

/// A program of some threads; it panics where a promise is broken.
pub(crate) type Model = fn();

/// Orders of one seed.
pub(crate) const ORDERS: usize = 50;

/// Steps of a run that goes nowhere.
const STEPS_MAX: usize = 200_000;

/// Bytes of a thread's stack: the bus is compiled without optimisation.
const STACK_BYTES: usize = 512 * 1024;

/// Seeds of each model.
const SEEDS_CI: usize = 60;
const SEEDS_SOAK: usize = 4_000;

/// Changes of priority that the odd seeds take in turns.
const CHANGES: [usize; 3] = [2, 3, 5];

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    // A seed repeats an order, in fewer characters.
    config.failure_persistence = FailurePersistence::None;
    // All orders that are tried are sequentially consistent; decision 0008 says why that is enough.
    config.silence_warnings = true;
    config
}

/// What an order of this seed breaks, if one does.
pub(crate) fn find(seed: u64, model: Model) -> Option<String> {
    let run = || {
        if seed.is_multiple_of(2) {
            Runner::new(RandomScheduler::new_from_seed(seed, ORDERS), config()).run(model)
        } else {
            let changes = CHANGES[usize::try_from(seed / 2).unwrap() % CHANGES.len()];
            Runner::new(PctScheduler::new_from_seed(seed, changes, ORDERS), config()).run(model)
        }
    };
    let broken = catch_unwind(AssertUnwindSafe(run)).err()?;
    let text = broken.downcast_ref::<String>().cloned();
    Some(text.or_else(|| broken.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
}

/// Runs a model in the orders of all seeds of this tier, or of the one that `PLANWIRE_SEED` names; gives their number.
pub(crate) fn check(name: &str, model: Model) -> usize {
    let (first, count) = seeds(SEEDS_CI, SEEDS_SOAK);
    let broken = Mutex::new(None);
    of_all_processors(first, count, |seed| {
        if broken.lock().unwrap().is_none() {
            let found = find(seed, model).map(|finding| (seed, finding));
            let mut broken = broken.lock().unwrap();
            *broken = broken.take().or(found);
        }
    });
    if let Some((seed, finding)) = broken.into_inner().unwrap() {
        panic!(
            "seed {seed}: {finding}\nagain: PLANWIRE_SEED={seed} cargo nextest run -p planwire-bus \
             --features models --test models {name}"
        );
    }
    usize::try_from(count).unwrap() * ORDERS
}

/// Makes a test of each model.
macro_rules! models {
    ($($name:ident)*) => {
        $(
            mod $name {
                #[test]
                fn soak_model() {
                    let orders = crate::search::check(stringify!($name), super::$name);
                    println!("{orders} orders: {}", stringify!($name));
                }
            }
        )*
    };
}
pub(crate) use models;
