//! The log as a plain list of events, and what follows from it. What may follow what is said by the bookkeeping of the
//! simulation's checker, which shares no code with the bus.

use planwire_bus::{PublishError, Published};
use planwire_event::{Event, Filter, PlanId, Position, Seq};

use crate::simulation::model::{Follows, Model};

/// What a request must be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Position, seq and whether it was there before, of each event.
    Stored(Vec<(u64, Seq, bool)>),
    Rejected(usize),
    Conflict(usize),
    Other(String),
}

impl Answer {
    pub(crate) fn of(answer: &Result<Vec<Published>, PublishError>) -> Self {
        match answer {
            Ok(places) => {
                let place = |place: &Published| (place.position.get(), place.seq, place.duplicate);
                Self::Stored(places.iter().map(place).collect())
            }
            Err(PublishError::Rejected { index, .. }) => Self::Rejected(*index),
            Err(PublishError::Conflict { index, .. }) => Self::Conflict(*index),
            Err(error) => Self::Other(error.to_string()),
        }
    }
}

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    log: Vec<(Event, Seq)>,
    model: Model,
}

impl Expected {
    /// The last position.
    pub(crate) fn head(&self) -> u64 {
        self.log.len() as u64
    }

    pub(crate) fn knows(&self, plan: &PlanId) -> bool {
        self.model.plans.contains_key(plan)
    }

    pub(crate) fn open_plans(&self) -> Vec<PlanId> {
        self.model.plans.iter().filter(|(_, plan)| plan.last.is_none()).map(|(id, _)| id.clone()).collect()
    }

    /// Children that were announced and have not started, with their parents.
    pub(crate) fn announced(&self) -> Vec<(PlanId, PlanId)> {
        self.model.announced.iter().map(|(child, parent)| (child.clone(), parent.clone())).collect()
    }

    /// Takes a request in, all of it or nothing.
    pub(crate) fn publish(&mut self, events: &[Event]) -> Answer {
        let (length, before) = (self.log.len(), self.model.clone());
        let mut places = Vec::new();
        for (index, event) in events.iter().enumerate() {
            let refused = match self.place(event) {
                Ok(place) => {
                    places.push(place);
                    continue;
                }
                Err(Follows::Conflict) => Answer::Conflict(index),
                Err(_) => Answer::Rejected(index),
            };
            self.log.truncate(length);
            self.model = before;
            return refused;
        }
        Answer::Stored(places)
    }

    fn place(&mut self, event: &Event) -> Result<(u64, Seq, bool), Follows> {
        let held = self.log.iter().position(|(held, _)| held.event_id() == event.event_id());
        if let Some(at) = held {
            let (held, seq) = &self.log[at];
            return if held.same_content(event) {
                Ok((at as u64 + 1, *seq, true))
            } else {
                Err(Follows::Conflict)
            };
        }
        match self.model.follows(event) {
            Follows::Yes => {}
            refused => return Err(refused),
        }
        let position = self.head() + 1;
        self.model.take(event, Position::new(position));
        let seq = Seq::new(
            self.log.iter().filter(|(held, _)| held.plan_id() == event.plan_id()).count() as u64 + 1,
        );
        self.log.push((event.clone(), seq));
        Ok((position, seq, false))
    }

    /// Positions of the events that a filter wants after a place.
    pub(crate) fn due(&self, filter: &Filter, after: u64) -> Vec<u64> {
        let from = usize::try_from(after).unwrap().min(self.log.len());
        let wanted = |(at, (event, _)): (usize, &(Event, Seq))| {
            self.model.wants(filter, event).then_some((from + at) as u64 + 1)
        };
        self.log[from..].iter().enumerate().filter_map(wanted).collect()
    }

    /// Where the scope of a filter has ended, if it has.
    pub(crate) fn end_of(&self, filter: &Filter) -> Option<u64> {
        self.model.end_of(filter).map(Position::get)
    }

    pub(crate) fn event(&self, position: u64) -> &Event {
        &self.log[usize::try_from(position).unwrap() - 1].0
    }
}
