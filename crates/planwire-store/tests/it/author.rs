//! Writes logs as the bus would: gives events their place, and keeps what was written to compare with.

use std::collections::BTreeMap;
use std::sync::Arc;

use planwire_event::vocabulary::FailureReason;
use planwire_event::{
    Digest, Event, EventId, EventType, LogId, Meta, Payload, PlanId, PlanStatus, Position, Producer, Seq,
    StoredEvent, Timestamp,
};
use planwire_store::{
    Appended, Batch, Blob, Document, EventRepository, Head, LogWriter, PlanChange, PlanRow, Row,
};

pub(crate) fn log_id() -> LogId {
    "7Q4M2K9A".parse().unwrap()
}

pub(crate) fn plan_id(name: &str) -> PlanId {
    name.parse().unwrap()
}

/// A batch in the making, and all that was stored before.
#[derive(Clone)]
pub(crate) struct Author {
    pub(crate) head: Head,
    pub(crate) plans: BTreeMap<String, PlanRow>,
    pub(crate) events: Vec<Arc<StoredEvent>>,
    pub(crate) batch: Batch,
    seqs: BTreeMap<String, u64>,
    next_id: u128,
}

impl Author {
    pub(crate) fn new(log_id: LogId) -> Self {
        let head = Head::empty(log_id);
        Self {
            batch: empty(&head),
            head,
            plans: BTreeMap::new(),
            events: Vec::new(),
            seqs: BTreeMap::new(),
            next_id: 1 << 80,
        }
    }

    /// Starts a plan; below another, if `parent` names one.
    pub(crate) fn start(&mut self, name: &str, parent: Option<&str>) -> &mut Self {
        let above = parent.map(|parent| self.plans[parent].clone());
        let started_at =
            Timestamp::from_micros_clamped(1_000_000 + i64::try_from(self.next_id & 0xffff).unwrap());
        let row = PlanRow {
            plan_id: plan_id(name),
            root_plan_id: above.as_ref().map_or_else(|| plan_id(name), |above| above.root_plan_id.clone()),
            parent_plan_id: parent.map(plan_id),
            depth: above.as_ref().map_or(0, |above| above.depth + 1),
            name: format!("document of {name}"),
            context_id: above.as_ref().map_or_else(|| name.into(), |above| Arc::clone(&above.context_id)),
            document_digest: parent.is_none().then(|| Digest::of(name.as_bytes())),
            status: PlanStatus::Open,
            first_position: self.batch.next.position.next(),
            last_position: None,
            last_seq: None,
            started_at,
            ended_at: None,
            owner: parent.map(|_| "executor-1".into()),
        };
        self.plans.insert(name.to_owned(), row.clone());
        self.batch.plans.push(PlanChange::Started(Box::new(row)));
        self.say(name, "PlanStarted", r#"{"name":"x"}"#)
    }

    /// Adds an event of a plan that was started.
    pub(crate) fn say(&mut self, plan: &str, event_type: &str, payload: &str) -> &mut Self {
        self.next_id += 1;
        self.say_as(EventId::from(self.next_id), plan, event_type, payload)
    }

    /// Adds an event with an id of its own.
    pub(crate) fn say_as(&mut self, id: EventId, plan: &str, event_type: &str, payload: &str) -> &mut Self {
        let row = &self.plans[plan];
        let seq = self.seqs.entry(plan.to_owned()).or_insert(0);
        *seq += 1;
        let at = i64::try_from(self.batch.next.position.get()).unwrap();
        let traceparent: Option<Arc<str>> =
            (at % 3 == 0).then(|| "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
        let event = Event::new(
            id,
            event_type.parse::<EventType>().unwrap(),
            row.plan_id.clone(),
            Timestamp::from_micros_clamped(1_795_000_000_000_000 - at * 86_400_000_123),
            Payload::parse(payload).unwrap(),
        );
        let position = self.batch.next.position.next();
        let stored = StoredEvent {
            event: event.unwrap().with_traceparent(traceparent.clone()),
            log_id: self.head.log_id,
            position,
            seq: Seq::new(*seq),
            root_plan_id: row.root_plan_id.clone(),
            parent_plan_id: row.parent_plan_id.clone(),
            depth: row.depth,
            recorded_at: Timestamp::from_micros_clamped(1_795_000_000_000_000 + at),
            meta: Meta {
                producer: Producer::new(format!("http:user-{}", at % 2)),
                traceparent,
                redacted: if at % 5 == 0 { vec!["/secret".to_owned()] } else { Vec::new() },
            },
        };
        let sealed = Row::seal(Arc::new(stored));
        self.batch.next.position = position;
        self.batch.next.recorded_at = sealed.event.recorded_at;
        self.batch.next.frontier.push(sealed.leaf);
        self.batch.rows.push(sealed);
        self
    }

    /// Ends a plan, well or by `reason`.
    pub(crate) fn end(&mut self, plan: &str, reason: Option<FailureReason>) -> &mut Self {
        match reason {
            None => self.say(plan, "PlanCompleted", "{}"),
            Some(reason) => {
                let error = r#"{"code":"c","message":"m"}"#;
                self.say(
                    plan,
                    "PlanFailed",
                    &format!(r#"{{"reason":"{}","error":{error}}}"#, reason.as_str()),
                )
            }
        };
        let status = reason.map_or(PlanStatus::Completed, PlanStatus::Failed);
        let event = Arc::clone(&self.batch.rows.last().unwrap().event);
        let row = self.plans.get_mut(plan).unwrap();
        row.status = status;
        row.last_position = Some(event.position);
        row.last_seq = Some(event.seq);
        row.ended_at = Some(event.event.timestamp());
        self.batch.plans.push(PlanChange::Ended {
            plan_id: row.plan_id.clone(),
            status,
            position: event.position,
            seq: event.seq,
            ended_at: event.event.timestamp(),
            owner: row.owner.clone(),
        });
        self
    }

    /// Gives a tree to another executor: all plans of it that are open.
    pub(crate) fn adopt(&mut self, root: &str, owner: &str) -> &mut Self {
        self.say(root, "PlanAdopted", &format!(r#"{{"executor_id":"{owner}","previous":"executor-1"}}"#));
        let root_plan_id = plan_id(root);
        for row in
            self.plans.values_mut().filter(|row| row.root_plan_id == root_plan_id && row.status.is_open())
        {
            row.owner = Some(owner.into());
        }
        self.batch.plans.push(PlanChange::Adopted { root_plan_id, owner: owner.into() });
        self
    }

    pub(crate) fn attach(&mut self, document: &str, blob: &[u8]) -> &mut Self {
        let digest = Digest::of(document.as_bytes());
        self.batch.documents.push(Document { digest, body: document.into() });
        self.batch.blobs.push(Blob { digest: Digest::of(blob), body: blob.into() });
        self
    }

    /// Appends the batch, which must be taken.
    pub(crate) fn commit(&mut self, writer: &mut dyn LogWriter) {
        assert_eq!(writer.append(&self.head, &self.batch).unwrap(), Appended::Stored);
        self.stored();
    }

    /// Takes the batch for stored.
    pub(crate) fn stored(&mut self) {
        self.events.extend(self.batch.rows.iter().map(|row| Arc::clone(&row.event)));
        self.head = self.batch.next.clone();
        self.batch = empty(&self.head);
    }

    /// Positions of the stored events that `wanted` picks.
    pub(crate) fn positions(&self, wanted: impl Fn(&StoredEvent) -> bool) -> Vec<u64> {
        self.events.iter().filter(|event| wanted(event)).map(|event| event.position.get()).collect()
    }

    /// Stored rows of `plans` in the order of their start.
    pub(crate) fn plan_rows(&self) -> Vec<PlanRow> {
        let mut rows: Vec<_> = self.plans.values().cloned().collect();
        rows.sort_by_key(|row| row.first_position);
        rows
    }
}

fn empty(head: &Head) -> Batch {
    Batch {
        rows: Vec::new(),
        plans: Vec::new(),
        documents: Vec::new(),
        blobs: Vec::new(),
        next: head.clone(),
    }
}

/// Two trees, of which one has three levels, with custom events between; some plans have ended.
pub(crate) fn two_trees() -> Author {
    let mut author = Author::new(log_id());
    author.start("root", None).start("left", Some("root")).start("other", None);
    author.say("left", "acme.note", r#"{"n":1}"#).start("leaf", Some("left")).say("root", "acme.note", "{}");
    author.say("leaf", "acme.other", r#"{"n":2}"#).start("right", Some("root"));
    author.end("leaf", None).end("left", Some(FailureReason::TimedOut)).say("other", "acme.note", "{}");
    author.start("late", Some("right")).say("late", "acme.note", "{}").say("right", "acme.other", "{}");
    author
}

/// Ends of a page, for comparisons.
pub(crate) fn positions(events: &[Arc<StoredEvent>]) -> Vec<u64> {
    events.iter().map(|event| event.position.get()).collect()
}

pub(crate) fn read_all(repository: &dyn EventRepository) -> Vec<Arc<StoredEvent>> {
    let mut events = Vec::new();
    let mut after = Position::ZERO;
    loop {
        let filter = planwire_event::Filter::all();
        let page =
            crate::block_on::block_on(repository.read_after(after, &filter, Default::default())).unwrap();
        events.extend(page.events);
        after = page.scanned_to;
        if page.at_head {
            return events;
        }
    }
}
