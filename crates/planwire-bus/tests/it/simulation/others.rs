//! Another process that writes the same log: a [`Log`] of its own over the same disk.

use std::sync::Arc;

use planwire_bus::Log;
use planwire_event::{Clock as _, Producer};

use super::publisher::Words;
use super::sim::{Sim, State};
use super::store::{SimRepository, SimWriter, Who};

const NAME: &str = "other";
/// The watched process has the numbers of its lives.
const NUMBER: usize = usize::MAX;

pub(crate) fn open(sim: &Sim) -> Log {
    let writer = SimWriter::new(sim.clone(), Who::Other, NUMBER, None);
    let repository = SimRepository { sim: sim.clone(), who: Who::Other };
    Log::open(Box::new(writer), Arc::new(repository), sim.clock.clone())
        .expect("nothing fails in the store of the other process")
}

/// Writes what the script says, each event by itself.
pub(crate) fn write(sim: &Sim, log: &mut Log) {
    let events = {
        let mut state = sim.lock();
        let State { script, random, judge, .. } = &mut *state;
        script.request(random, sim.clock.now(), &judge.model)
    };
    for event in events {
        let id = {
            let mut state = sim.lock();
            let id = state.judge.ask(NAME, None, std::slice::from_ref(&event));
            state.note(format_args!("{NAME} asks {id}: {}", Words(std::slice::from_ref(&event))));
            id
        };
        let answer = log.save(&Producer::new(NAME), event).map(|place| vec![place]);
        let mut state = sim.lock();
        state.tally.others += u64::from(answer.is_ok());
        state.audit();
        state.hear(id, &answer);
    }
}
