//! A publisher: several requests in flight, receipts that are dropped, answers that are heard late, and what nobody
//! answered asked again under the same event ids.

use std::collections::VecDeque;

use planwire_bus::{PublishError, Published, Publisher, Receipt};
use planwire_event::{Clock as _, Event};

use super::judge::RequestId;
use super::sim::{Sim, State};

const IN_FLIGHT_MAX: usize = 6;
const TRIES_MAX: usize = 3;

impl State {
    /// A publisher hears an answer.
    pub(crate) fn hear(&mut self, id: RequestId, answer: &Result<Vec<Published>, PublishError>) {
        let tally = &mut self.tally;
        let count = match answer {
            Ok(_) => &mut tally.acknowledged,
            Err(PublishError::Rejected { .. }) => &mut tally.rejected,
            Err(PublishError::Conflict { .. }) => &mut tally.conflicts,
            Err(PublishError::Refused(_)) => &mut tally.refused,
            Err(PublishError::Unknown(_)) => &mut tally.unknown,
            Err(_) => &mut tally.stopped,
        };
        *count += 1;
        if let Ok(places) = answer {
            tally.duplicates += places.iter().filter(|place| place.duplicate).count() as u64;
        }
        match answer {
            Ok(places) => {
                let places: Vec<_> =
                    places.iter().map(|place| (place.position.get(), place.duplicate)).collect();
                self.note(format_args!("request {id}: {places:?}"));
            }
            Err(error) => self.note(format_args!("request {id}: {error}")),
        }
        if let Err(finding) = self.judge.answer(id, answer, &self.disk) {
            self.accuse(format_args!("request {id}: {finding}"));
        }
    }

    /// Looks at what is new on the disk.
    pub(crate) fn audit(&mut self) {
        if let Err(finding) = self.judge.audit(&self.disk.visible) {
            self.accuse(format_args!("{finding}"));
        }
    }
}

/// One publisher of one life of the process.
pub(crate) struct Publishing {
    pub(crate) sim: Sim,
    pub(crate) door: Publisher,
    pub(crate) name: String,
    pub(crate) life: usize,
}

struct Flight {
    id: RequestId,
    events: Vec<Event>,
    receipt: Receipt,
    tries: usize,
}

impl Publishing {
    /// Publishes what earlier lives left unanswered, then what the script says.
    pub(crate) async fn run(self, again: Vec<Vec<Event>>) {
        let requests = self.sim.lock().chances.requests;
        let mut flights = VecDeque::new();
        for events in again {
            self.submit(&mut flights, events, 0).await;
        }
        for _ in 0..requests {
            let events = {
                let mut state = self.sim.lock();
                let State { script, random, judge, .. } = &mut *state;
                script.request(random, self.sim.clock.now(), &judge.model)
            };
            self.submit(&mut flights, events, 0).await;
            self.idle().await;
            while flights.len() > self.in_flight() {
                self.hear_first(&mut flights).await;
            }
        }
        while !flights.is_empty() {
            self.hear_first(&mut flights).await;
        }
    }

    fn in_flight(&self) -> usize {
        self.sim.lock().random.below(IN_FLIGHT_MAX)
    }

    async fn idle(&self) {
        let turns = {
            let random = &mut self.sim.lock().random;
            if random.percent(30) { random.below(25) } else { 0 }
        };
        self.sim.pause(turns).await;
    }

    async fn submit(&self, flights: &mut VecDeque<Flight>, events: Vec<Event>, tries: usize) {
        let id = {
            let mut state = self.sim.lock();
            state.tally.requests += 1;
            let id = state.judge.ask(&self.name, Some(self.life), &events);
            state.note(format_args!("{} asks {id}: {}", self.name, Words(&events)));
            id
        };
        match self.door.submit(events.clone()).await {
            Ok(receipt) if self.sim.lock().random.percent(94) => {
                flights.push_back(Flight { id, events, receipt, tries });
            }
            // It does not want to know; the events are stored all the same.
            Ok(_) => self.sim.lock().judge.give_up(id),
            Err(error) => self.sim.lock().hear(id, &Err(error)),
        }
    }

    /// Waits for the oldest answer; what was refused may be asked again.
    async fn hear_first(&self, flights: &mut VecDeque<Flight>) {
        let Some(Flight { id, events, receipt, tries }) = flights.pop_front() else { return };
        let answer = receipt.await;
        let again = {
            let mut state = self.sim.lock();
            state.hear(id, &answer);
            matches!(answer, Err(PublishError::Refused(_))) && state.random.percent(60)
        };
        if again && tries < TRIES_MAX {
            self.idle().await;
            self.submit(flights, events, tries + 1).await;
        }
    }
}

/// Events as the record shows them.
pub(crate) struct Words<'a>(pub(crate) &'a [Event]);

impl std::fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for event in self.0 {
            let low = event.event_id().as_u128() & 0xFFFF;
            write!(f, "{}({} {low:04x}) ", event.event_type(), event.plan_id())?;
        }
        Ok(())
    }
}
