//! Publishers: each answer is true, or the run ends.

use planwire_bus::{PublishError, Published};
use planwire_event::{Event, EventId, Position};
use planwire_store::StoreError;

use super::super::disk::Disk;
use super::super::model::{Follows, Model};
use super::{Finding, Judge};

pub(crate) type RequestId = usize;

/// The words of every failure that the seed asked for.
pub(crate) const AS_ASKED: &str = "as the seed asked";

/// A request as its publisher remembers it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) producer: String,
    /// Which life of the process took it; another process has none.
    life: Option<usize>,
    pub(crate) events: Vec<Event>,
    /// Rows that were visible when it was asked.
    at_head: u64,
    /// Whether the answer was heard.
    answered: bool,
    /// Whether nobody waits for it.
    dropped: bool,
    /// The places that it got.
    stored: Vec<u64>,
}

impl Judge {
    /// A publisher asks. The order of these calls is the order in which each publisher asked.
    pub(crate) fn ask(&mut self, producer: &str, life: Option<usize>, events: &[Event]) -> RequestId {
        for event in events {
            let named = self.named.entry(event.event_id()).or_default();
            named.maybe += 1;
            named.asked += 1;
            named.contents.push((producer.to_owned(), event.clone()));
        }
        self.requests.push(Asked {
            producer: producer.to_owned(),
            life,
            events: events.to_vec(),
            at_head: self.head(),
            answered: false,
            dropped: false,
            stored: Vec::new(),
        });
        self.requests.len() - 1
    }

    /// The requests of a life whose answers nobody heard.
    pub(crate) fn unheard(&self, life: usize) -> Vec<Asked> {
        let unheard = |request: &&Asked| request.life == Some(life) && !request.answered;
        self.requests.iter().filter(unheard).cloned().collect()
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn give_up(&mut self, id: RequestId) {
        self.requests[id].dropped = true;
    }

    /// A request of a life that still waits for its answer.
    pub(crate) fn waiting(&self, life: usize) -> Option<RequestId> {
        let waits = |request: &Asked| request.life == Some(life) && !request.answered && !request.dropped;
        self.requests.iter().position(waits)
    }

    /// A publisher hears an answer.
    pub(crate) fn answer(
        &mut self,
        id: RequestId,
        answer: &Result<Vec<Published>, PublishError>,
        disk: &Disk,
    ) -> Finding {
        self.requests[id].answered = true;
        match answer {
            Ok(places) => self.acknowledged(id, places),
            Err(PublishError::Unknown(error)) => asked_for(error),
            Err(error) => {
                match error {
                    PublishError::Rejected { index, refusal } => {
                        self.rejected(id, *index).map_err(|why| format!("{why}; told: {refusal}"))?;
                    }
                    PublishError::Conflict { index, event_id } => self.conflict(id, *index, *event_id)?,
                    PublishError::Refused(error) => asked_for(error)?,
                    PublishError::Stopped | PublishError::Closed => {}
                    other => return Err(format!("an answer that nothing asked for: {other}")),
                }
                self.withdraw(id, disk)
            }
        }
    }

    fn acknowledged(&mut self, id: RequestId, places: &[Published]) -> Finding {
        let request = self.requests[id].clone();
        if places.len() != request.events.len() {
            return Err(format!("{} places for {} events", places.len(), request.events.len()));
        }
        let mut new = Vec::new();
        for (event, place) in request.events.iter().zip(places) {
            let position = place.position.get();
            let Some(row) = self.row(position) else {
                return Err(format!("lost: acknowledged at {position}, which is not on the disk"));
            };
            if row.event.event_id() != event.event_id() || place.event_id != event.event_id() {
                return Err(format!("lost: acknowledged at {position}, where another event is"));
            }
            if !row.event.same_content(event) {
                return Err(format!("altered: acknowledged at {position}, where its id says something else"));
            }
            if row.seq != place.seq || row.cursor() != place.cursor {
                return Err(format!("seq or cursor at {position} is not what was told"));
            }
            if !place.duplicate {
                new.push(position);
            } else if self.named.get(&event.event_id()).is_none_or(|named| named.asked < 2) {
                return Err(format!("{position} was told as a duplicate of nothing"));
            }
        }
        if new.windows(2).any(|pair| pair[1] != pair[0] + 1) {
            return Err(format!("reorder: the new events of one request are at {new:?}"));
        }
        if new.first().is_some_and(|first| *first <= request.at_head) {
            return Err(format!("{new:?} were there before they were asked for"));
        }
        self.check_order(id, &new)?;
        self.requests[id].stored = new;
        Ok(())
    }

    /// Requests of one publisher are stored in the order in which it asked.
    fn check_order(&self, id: RequestId, new: &[u64]) -> Finding {
        let (Some(first), Some(last)) = (new.first(), new.last()) else { return Ok(()) };
        let mine = &self.requests[id];
        for (other, request) in self.requests.iter().enumerate() {
            if request.producer != mine.producer || request.life != mine.life || other == id {
                continue;
            }
            let wrong = request.stored.iter().any(|at| if other < id { at > first } else { at < last });
            if wrong {
                return Err(format!("reorder: requests {other} and {id} of {}", mine.producer));
            }
        }
        Ok(())
    }

    /// There is a moment between question and answer at which the event could not follow.
    fn rejected(&self, id: RequestId, index: usize) -> Finding {
        let request = &self.requests[id];
        let mut model = Model::default();
        let mut why = String::new();
        for rows in 0..=self.head() {
            if rows > 0 {
                let row = self.row(rows).ok_or("a row is missing")?;
                model.take(&row.event, row.position);
            }
            if rows >= request.at_head {
                match first_refused(&model, &request.events) {
                    (at, Follows::No(_)) if at == index => return Ok(()),
                    (at, found) => why = format!("event {index} rejected, but at {at}: {found:?}"),
                }
            }
        }
        Err(why)
    }

    fn conflict(&self, id: RequestId, index: usize, event_id: EventId) -> Finding {
        let event = &self.requests[id].events[index];
        let within = &self.requests[id].events[..index];
        let differs = |other: &Event| other.event_id() == event_id && !other.same_content(event);
        if event.event_id() == event_id
            && (within.iter().any(differs) || self.seen.iter().any(|row| differs(&row.event)))
        {
            return Ok(());
        }
        Err(format!("event {index} of request {id} conflicts with nothing"))
    }

    /// The publisher was told that certainly nothing of the request is stored.
    fn withdraw(&mut self, id: RequestId, disk: &Disk) -> Finding {
        for event in self.requests[id].events.clone() {
            let Some(named) = self.named.get_mut(&event.event_id()) else { continue };
            named.maybe -= 1;
            if named.maybe == 0 && disk.may_hold(event.event_id()) {
                return Err(format!("phantom: {} is told as certainly not stored and is", event.event_id()));
            }
        }
        Ok(())
    }
}

/// The first event of a request that may not follow.
fn first_refused(model: &Model, events: &[Event]) -> (usize, Follows) {
    let mut model = model.clone();
    for (at, event) in events.iter().enumerate() {
        match model.held(event.event_id()) {
            Some(first) if first.same_content(event) => continue,
            Some(_) => return (at, Follows::Conflict),
            None => {}
        }
        match model.follows(event) {
            Follows::Yes => model.take(event, Position::ZERO),
            other => return (at, other),
        }
    }
    (events.len(), Follows::Yes)
}

fn asked_for(error: &StoreError) -> Finding {
    use std::error::Error as _;
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    if source == AS_ASKED || matches!(error, StoreError::Full) {
        return Ok(());
    }
    Err(format!("a failure that nothing asked for: {error} ({source})"))
}
