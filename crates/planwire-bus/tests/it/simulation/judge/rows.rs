//! The disk: each new row once, against what publishers said and what may follow.

use std::sync::Arc;

use planwire_event::{EventType, StoredEvent};
use planwire_store::Row;

use super::super::disk::Content;
use super::super::model::Follows;
use super::{Finding, Judge};

impl Judge {
    /// How many rows were seen.
    pub(crate) fn head(&self) -> u64 {
        self.seen.len() as u64
    }

    pub(super) fn row(&self, position: u64) -> Option<&Arc<StoredEvent>> {
        self.seen.get(usize::try_from(position.checked_sub(1)?).ok()?)
    }

    /// Looks at the rows that are new.
    pub(crate) fn audit(&mut self, content: &Content) -> Finding {
        if content.rows.len() < self.seen.len() {
            return Err(format!("lost: {} rows were visible, {} are", self.seen.len(), content.rows.len()));
        }
        for row in content.rows.iter().skip(self.seen.len()).cloned().collect::<Vec<_>>() {
            let place = row.event.position;
            self.audit_row(&row, content).map_err(|wrong| format!("row {place}: {wrong}"))?;
        }
        if content.head.position.get() != self.head() {
            return Err(format!("the head is {}, there are {} rows", content.head.position, self.head()));
        }
        if content.head.frontier != self.frontier {
            return Err("the frontier is not that of the leaves".into());
        }
        match self.recorded_at == Some(content.head.recorded_at) || self.seen.is_empty() {
            true => Ok(()),
            false => Err("the head's time is not that of the last row".into()),
        }
    }

    fn audit_row(&mut self, row: &Row, content: &Content) -> Finding {
        let stored = &*row.event;
        let event = &stored.event;
        if stored.position.get() != self.head() + 1 || stored.log_id != content.head.log_id {
            return Err("gap or reorder: it is not at its place".into());
        }
        if self.model.held(event.event_id()).is_some() {
            return Err(format!("duplicate: {} is stored twice", event.event_id()));
        }
        let Some(named) = self.named.get(&event.event_id()) else {
            return Err("phantom: nobody published it".into());
        };
        let producer = stored.meta.producer.as_str();
        if !named.contents.iter().any(|(by, said)| said.same_content(event) && by == producer) {
            return Err("altered: nobody published this under its id".into());
        }
        if named.maybe == 0 {
            return Err("phantom: its publishers were told that it is certainly not stored".into());
        }
        if let Follows::No(why) = self.model.follows(event) {
            return Err(format!("it may not follow: {why}"));
        }
        self.model.take(event, stored.position);
        self.audit_place(stored, content)?;
        if serde_json::to_string(&stored.meta).ok().as_deref() != Some(&*row.meta)
            || row.leaf != planwire_store::leaf(stored, &row.meta)
        {
            return Err("altered: meta or leaf is not that of the row".into());
        }
        if self.recorded_at.is_some_and(|last| stored.recorded_at < last) {
            return Err("reorder: it is recorded before the row before it".into());
        }
        self.recorded_at = Some(stored.recorded_at);
        self.frontier.push(row.leaf);
        self.seen.push(Arc::clone(&row.event));
        Ok(())
    }

    /// The place of a row in its plan and tree, there and in `plans`.
    fn audit_place(&self, stored: &StoredEvent, content: &Content) -> Finding {
        let Some(plan) = self.model.plans.get(stored.plan_id()) else { return Ok(()) };
        if stored.seq.get() != plan.seq {
            return Err(format!("seq {} instead of {}", stored.seq, plan.seq));
        }
        if stored.root_plan_id != plan.root
            || stored.parent_plan_id != plan.parent
            || stored.depth != plan.depth
        {
            return Err("its lineage is not that of its plan".into());
        }
        let event_type = stored.event.event_type();
        if *event_type != EventType::PlanStarted && !event_type.is_terminal() {
            return Ok(());
        }
        let Some(row) = content.plan(stored.plan_id()) else { return Err("plans has no row of it".into()) };
        let place = row.first_position == plan.first
            && row.root_plan_id == plan.root
            && row.parent_plan_id == plan.parent
            && row.depth == plan.depth;
        let end = !event_type.is_terminal()
            || (row.last_position == plan.last && row.last_seq.map(|seq| seq.get()) == Some(plan.seq));
        if place && end { Ok(()) } else { Err("its row of plans is wrong".into()) }
    }

    /// At the end of a run: requests whose answer nobody heard are stored whole or not at all.
    pub(crate) fn whole(&self) -> Finding {
        for (number, request) in self.requests.iter().enumerate() {
            let mut ids: Vec<_> = request.events.iter().map(planwire_event::Event::event_id).collect();
            ids.sort_unstable();
            ids.dedup();
            if ids.iter().any(|id| self.named.get(id).is_none_or(|named| named.asked != 1)) {
                continue;
            }
            let stored = ids.iter().filter(|id| self.model.held(**id).is_some()).count();
            if stored != 0 && stored != ids.len() {
                return Err(format!("{stored} of the {} events of request {number} are stored", ids.len()));
            }
        }
        Ok(())
    }
}
