//! One walk over the rows of a log, in position order.

use std::collections::HashMap;

use planwire_event::lifecycle::Fact;
use planwire_event::{EventType, PlanId, Position, Seq, Timestamp};

use crate::contract::{Head, PlanRow, Row};
use crate::merkle::{self, Frontier, HASH_BYTES};
use crate::verify::plans::Listed;
use crate::verify::{Flaw, Mark};

/// What the rows so far add up to.
pub(crate) struct Walk<'a> {
    frontier: Frontier,
    recorded_at: Timestamp,
    /// Plans that have not ended: nothing follows the end of a plan.
    open: HashMap<PlanId, Open>,
    marks: &'a [Mark],
}

struct Open {
    seq: Seq,
    listed: Option<Listed>,
}

/// Whether the row starts a plan, so that `plans` has a row of it.
pub(crate) fn starts(row: &Row) -> bool {
    *row.event.event.event_type() == EventType::PlanStarted
}

impl<'a> Walk<'a> {
    pub(crate) fn new(marks: &'a [Mark]) -> Self {
        let recorded_at = Timestamp::from_micros_clamped(i64::MIN);
        Self { frontier: Frontier::default(), recorded_at, open: HashMap::new(), marks }
    }

    /// Everything up to here was good.
    pub(crate) const fn position(&self) -> Position {
        Position::new(self.frontier.leaves())
    }

    pub(crate) fn root(&self) -> [u8; HASH_BYTES] {
        self.frontier.root()
    }

    /// Takes the next row; `listed` is the next row of `plans`, if this one starts a plan.
    pub(crate) fn take(&mut self, row: &Row, listed: Option<&PlanRow>) -> Result<(), Flaw> {
        let position = self.position().next();
        if row.event.position != position {
            return Err(Flaw::Missing { position });
        }
        if merkle::leaf(&row.event, &row.meta) != row.leaf {
            return Err(Flaw::Leaf { position });
        }
        if row.event.recorded_at < self.recorded_at {
            return Err(Flaw::RecordedAt { position });
        }
        self.take_into_plan(row, listed)?;
        self.check_marks(position, row.leaf)?;
        self.frontier.push(row.leaf);
        self.recorded_at = row.event.recorded_at;
        Ok(())
    }

    /// Compares the root that `leaf` leads to with those that were noted of this size.
    fn check_marks(&self, position: Position, leaf: [u8; HASH_BYTES]) -> Result<(), Flaw> {
        let mut marks = self.marks.iter().filter(|mark| mark.size == position.get()).peekable();
        if marks.peek().is_none() {
            return Ok(());
        }
        let mut frontier = self.frontier.clone();
        frontier.push(leaf);
        let root = frontier.root();
        if marks.all(|mark| mark.root == root) { Ok(()) } else { Err(Flaw::Mark { position }) }
    }

    fn take_into_plan(&mut self, row: &Row, listed: Option<&PlanRow>) -> Result<(), Flaw> {
        let (position, plan_id) = (row.event.position, row.event.plan_id());
        let before = self.open.get(plan_id).map_or(Seq::ZERO, |plan| plan.seq);
        let (found, expected) = (row.event.seq, before.next());
        if found != expected {
            return Err(Flaw::Seq { position, plan_id: plan_id.clone(), found, expected });
        }
        let flaw = |what| Flaw::Plan { position, plan_id: plan_id.clone(), what };
        let message = |error| Flaw::Unreadable { position, message: format!("{error}") };
        let event = &row.event.event;
        if event.payload().removed_digest().is_some() {
            return self.take_without_payload(row, listed, found).map_err(flaw);
        }
        match Fact::of(event.event_type(), event.payload()).map_err(message)? {
            Fact::Started(started) => {
                let parent = row.event.parent_plan_id.as_ref().and_then(|parent| self.open.get(parent));
                let parent = parent.and_then(|parent| parent.listed.as_ref());
                let plan = listed.ok_or_else(|| flaw("it is not in the list"))?;
                let listed = Listed::check(&row.event, Some(&started), plan, parent).map_err(flaw)?;
                self.open.insert(plan_id.clone(), Open { seq: found, listed: Some(listed) });
            }
            fact @ (Fact::Completed | Fact::Failed(_)) => {
                let ended = self.open.remove(plan_id).and_then(|plan| plan.listed);
                ended.map_or(Ok(()), |listed| listed.check_end(&row.event, &fact)).map_err(flaw)?;
            }
            fact => {
                if let Fact::Adopted { executor_id, .. } = fact {
                    let listed = self.open.values_mut().filter_map(|plan| plan.listed.as_mut());
                    listed.for_each(|listed| listed.adopt(plan_id, &executor_id));
                }
                match self.open.get_mut(plan_id) {
                    Some(plan) => plan.seq = found,
                    None => {
                        self.open.insert(plan_id.clone(), Open { seq: found, listed: None });
                    }
                }
            }
        }
        Ok(())
    }

    /// A row whose payload was removed: it is in its place, and what only its payload could say is believed of `plans`.
    fn take_without_payload(
        &mut self,
        row: &Row,
        listed: Option<&PlanRow>,
        seq: Seq,
    ) -> Result<(), &'static str> {
        let plan_id = row.event.plan_id();
        match row.event.event.event_type() {
            EventType::PlanStarted => {
                let parent = row.event.parent_plan_id.as_ref().and_then(|parent| self.open.get(parent));
                let parent = parent.and_then(|parent| parent.listed.as_ref());
                let plan = listed.ok_or("it is not in the list")?;
                let listed = Some(Listed::check(&row.event, None, plan, parent)?);
                self.open.insert(plan_id.clone(), Open { seq, listed });
                Ok(())
            }
            event_type if event_type.is_terminal() => {
                let ended = self.open.remove(plan_id).and_then(|plan| plan.listed);
                ended.map_or(Ok(()), |listed| listed.check_end_of(&row.event))
            }
            _ => {
                self.open.entry(plan_id.clone()).or_insert(Open { seq, listed: None }).seq = seq;
                Ok(())
            }
        }
    }

    /// Compares what the rows add up to with the head, once all of them were taken.
    pub(crate) fn finish(&self, head: &Head) -> Result<(), Flaw> {
        let position = self.position();
        let empty = Frontier::default().root();
        if self.marks.iter().any(|mark| mark.size == 0 && mark.root != empty) {
            return Err(Flaw::Mark { position: Position::ZERO });
        }
        let ahead = self.marks.iter().map(|mark| mark.size).filter(|size| *size > position.get()).max();
        if let Some(size) = ahead {
            return Err(Flaw::Short { position: position.next(), size });
        }
        let recorded = position == Position::ZERO || self.recorded_at == head.recorded_at;
        if position != head.position || self.frontier != head.frontier || !recorded {
            return Err(Flaw::Head { position });
        }
        let mut ends: Vec<_> = self.open.iter().collect();
        ends.sort_by_key(|(plan_id, _)| *plan_id);
        for (plan_id, plan) in ends {
            // The row may be younger than the head.
            let end = plan.listed.as_ref().and_then(Listed::end).filter(|end| *end <= position);
            if let Some(position) = end {
                return Err(Flaw::Plan { position, plan_id: plan_id.clone(), what: "it has not ended" });
            }
        }
        Ok(())
    }

    /// Compares the owners of open plans with what the rows say.
    pub(crate) fn check_owners(&self) -> Result<(), Flaw> {
        let listed = self.open.values().filter_map(|plan| plan.listed.as_ref());
        let flaws = listed.filter_map(Listed::wrong_owner);
        flaws.min_by_key(|(position, _)| *position).map_or(Ok(()), |(position, plan_id)| {
            Err(Flaw::Plan { position, plan_id: plan_id.clone(), what: "its owner" })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use planwire_event::{Event, Meta, Payload, Producer, StoredEvent};

    use super::*;

    /// Row `at` of plan p: its `seq`-th event.
    fn row(at: u64, seq: u64, event_type: &str, payload: &str) -> Row {
        let plan_id: PlanId = "p".parse().unwrap();
        let time = |seconds: u64| Timestamp::from_micros_clamped(i64::try_from(seconds).unwrap() * 1_000_000);
        let event = Event::from_stored(
            u128::from(at).into(),
            event_type.parse().unwrap(),
            plan_id.clone(),
            time(at),
            Payload::from_normal(payload),
            None,
        );
        Row::seal(Arc::new(StoredEvent {
            event,
            log_id: "7Q4M2K9A".parse().unwrap(),
            position: Position::new(at),
            seq: Seq::new(seq),
            root_plan_id: plan_id,
            parent_plan_id: None,
            depth: 0,
            recorded_at: time(at),
            meta: Meta { producer: Producer::new("engine"), traceparent: None, redacted: Vec::new() },
        }))
    }

    /// What is wrong with the last of these rows, the others being good.
    fn flaw(rows: &[Row]) -> Flaw {
        let mut walk = Walk::new(&[]);
        let (last, before) = rows.split_last().unwrap();
        before.iter().for_each(|row| walk.take(row, None).unwrap());
        let flaw = walk.take(last, None).unwrap_err();
        assert_eq!(walk.position().get(), before.len() as u64, "what is bad is not taken");
        assert_eq!(flaw.position(), Some(Position::new(rows.len() as u64)));
        flaw
    }

    #[test]
    fn leaf_of_another_event_is_noticed_where_the_checksum_is_right() {
        let first = row(1, 1, "acme.note", "{}");
        let mut second = row(2, 2, "acme.note", "{}");
        second.leaf[31] ^= 1;
        assert_eq!(flaw(&[first.clone(), second]), Flaw::Leaf { position: Position::new(2) });
        let renamed = Row { meta: r#"{"producer":"somebody"}"#.into(), ..first };
        assert_eq!(flaw(&[renamed]), Flaw::Leaf { position: Position::new(1) });
    }

    #[test]
    fn seq_has_no_gap_and_nothing_follows_the_end() {
        let note = |at, seq| row(at, seq, "acme.note", "{}");
        let seq = |flaw| match flaw {
            Flaw::Seq { found, expected, .. } => (found.get(), expected.get()),
            other => panic!("{other}"),
        };
        assert_eq!(seq(flaw(&[note(1, 1), note(2, 3)])), (3, 2));
        assert_eq!(seq(flaw(&[note(1, 1), note(2, 1)])), (1, 2));
        assert_eq!(seq(flaw(&[note(1, 1), row(2, 2, "PlanCompleted", "{}"), note(3, 3)])), (3, 1));
    }

    #[test]
    fn time_of_recording_never_falls() {
        let mut late = (*row(1, 1, "acme.note", "{}").event).clone();
        late.recorded_at = Timestamp::from_micros_clamped(9_000_000);
        let rows = [Row::seal(Arc::new(late)), row(2, 2, "acme.note", "{}")];
        assert_eq!(flaw(&rows), Flaw::RecordedAt { position: Position::new(2) });
    }

    #[test]
    fn payload_that_does_not_fit_its_type_is_no_event() {
        let flaw = flaw(&[row(1, 1, "PlanFailed", "{}")]);
        assert!(matches!(&flaw, Flaw::Unreadable { message, .. } if message.contains("reason")), "{flaw}");
    }

    #[test]
    fn plan_that_starts_is_in_the_list() {
        let flaw = flaw(&[row(1, 1, "PlanStarted", r#"{"name":"n"}"#)]);
        assert!(matches!(flaw, Flaw::Plan { what: "it is not in the list", .. }), "{flaw}");
    }
}
