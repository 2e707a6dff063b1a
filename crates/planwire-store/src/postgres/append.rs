//! The one statement that compares the head and appends.
//!
//! Everything that a batch changes hangs on the row that moved the head: if another process was first, the statement
//! waits for it, finds another head and changes nothing. A plan that starts and ends in the same batch is inserted as
//! ended, since a statement does not see its own rows.

use std::collections::HashMap;

use planwire_event::PlanId;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};

use crate::contract::{BLOB_CHUNK_BYTES, Batch, Head, PlanChange, PlanRow, Row};
use crate::postgres::error::sql_number;
use crate::postgres::instant::Instant;
use crate::postgres::session::Session;
use crate::row::{Members, Texts};

/// The head moves iff it is the expected one of the expected log, over the same rows, and nobody has looked what
/// became of a lost batch since.
macro_rules! move_head {
    () => {
        "WITH moved AS (UPDATE planwire_log SET head = $1, recorded_at = $2, frontier = $3 \
           WHERE head = $4 AND frontier = $5 AND log_id = $6 AND fence = $7 RETURNING 1), \
         events AS (INSERT INTO plan_events (id, event_id, event_type, plan_id, timestamp, payload, seq, root_plan_id, \
             parent_plan_id, depth, recorded_at, meta, leaf, crc) \
           SELECT id, event_id, event_type, plan_id, timestamp, payload::jsonb, seq, root_plan_id, parent_plan_id, \
             depth, recorded_at, meta, leaf, crc \
           FROM moved, unnest($8::bigint[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::text[], \
             $14::bigint[], $15::text[], $16::text[], $17::integer[], $18::timestamptz[], $19::text[], $20::bytea[], \
             $21::bigint[]) AS new (id, event_id, event_type, plan_id, timestamp, payload, seq, root_plan_id, \
             parent_plan_id, depth, recorded_at, meta, leaf, crc))"
    };
}

/// Appends events and nothing else.
const APPEND_EVENTS: &str = concat!(move_head!(), " SELECT count(*) FROM moved");

/// Appends events with all that may come with them. An end of a plan that is not there undoes everything.
const APPEND_ALL: &str = concat!(
    move_head!(),
    ", started AS (INSERT INTO plans (plan_id, root_plan_id, parent_plan_id, depth, name, context_id, \
         document_digest, state, reason, first_position, last_position, last_seq, started_at, ended_at, owner, hold) \
       SELECT new.*, 0 FROM moved, unnest($22::text[], $23::text[], $24::text[], $25::integer[], $26::text[], \
         $27::text[], $28::bytea[], $29::text[], $30::text[], $31::bigint[], $32::bigint[], $33::bigint[], \
         $34::timestamptz[], $35::timestamptz[], $36::text[]) AS new), \
     ended AS (UPDATE plans SET state = new.state, reason = new.reason, last_position = new.last_position, \
         last_seq = new.last_seq, ended_at = new.ended_at, owner = new.owner \
       FROM moved, unnest($37::text[], $38::text[], $39::text[], $40::bigint[], $41::bigint[], $42::timestamptz[], \
         $43::text[]) AS new (plan_id, state, reason, last_position, last_seq, ended_at, owner) \
       WHERE plans.plan_id = new.plan_id RETURNING 1), \
     adopted AS (UPDATE plans SET owner = new.owner \
       FROM moved, unnest($44::text[], $45::text[]) AS new (root_plan_id, owner) \
       WHERE plans.root_plan_id = new.root_plan_id AND plans.state = 'open' AND plans.plan_id <> ALL ($37::text[])), \
     documents AS (INSERT INTO plan_documents (digest, body) \
       SELECT new.* FROM moved, unnest($46::bytea[], $47::text[]) AS new ON CONFLICT DO NOTHING), \
     chunks AS (INSERT INTO blobs (digest, chunk, body) \
       SELECT new.* FROM moved, unnest($48::bytea[], $49::integer[], $50::bytea[]) AS new ON CONFLICT DO NOTHING) \
     SELECT CASE WHEN moves = 0 OR ends = cardinality($37::text[]) THEN moves \
       ELSE planwire_refuse('a plan ends that is unknown') END \
     FROM (SELECT (SELECT count(*) FROM moved) AS moves, (SELECT count(*) FROM ended) AS ends) AS done"
);

/// Prepares the statement for `batch`, so that the first one costs no more than the next.
pub(crate) async fn prepare(session: &mut Session, batch: &Batch) -> Result<Statement, Error> {
    session.prepared(if has_events_only(batch) { APPEND_EVENTS } else { APPEND_ALL }).await
}

fn has_events_only(batch: &Batch) -> bool {
    batch.plans.is_empty() && batch.documents.is_empty() && batch.blobs.is_empty()
}

/// Runs the statement; whether the head moved, and everything with it.
pub(crate) async fn run(
    session: &Session,
    statement: &Statement,
    expected: &Head,
    fence: i64,
    batch: &Batch,
) -> Result<bool, Error> {
    let heads = Heads::new(expected, &batch.next, fence);
    let events = EventColumns::new(&batch.rows);
    let mut parameters = heads.parameters();
    parameters.extend(events.parameters());
    let others = (!has_events_only(batch)).then(|| OtherColumns::new(batch));
    parameters.extend(others.iter().flat_map(OtherColumns::parameters));
    // `query` reads to the end of the answer, beyond the commit.
    let rows = session.client.query(statement, &parameters).await?;
    let moved: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(moved == 1)
}

type Parameter<'a> = &'a (dyn ToSql + Sync);

/// Parameters 1 to 7.
struct Heads<'a> {
    head: i64,
    recorded_at: Instant,
    frontier: Vec<u8>,
    expected_head: i64,
    expected_frontier: Vec<u8>,
    log_id: &'a str,
    fence: i64,
}

impl<'a> Heads<'a> {
    fn new(expected: &'a Head, next: &Head, fence: i64) -> Self {
        Self {
            head: sql_number(next.position.get()),
            recorded_at: Instant(next.recorded_at),
            frontier: next.frontier.to_bytes(),
            expected_head: sql_number(expected.position.get()),
            expected_frontier: expected.frontier.to_bytes(),
            log_id: expected.log_id.as_str(),
            fence,
        }
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        vec![
            &self.head,
            &self.recorded_at,
            &self.frontier,
            &self.expected_head,
            &self.expected_frontier,
            &self.log_id,
            &self.fence,
        ]
    }
}

/// Columns of `plan_events`, parameters 8 to 21.
#[derive(Default)]
struct EventColumns<'a> {
    id: Vec<i64>,
    event_id: Vec<String>,
    event_type: Vec<&'a str>,
    plan_id: Vec<&'a str>,
    timestamp: Vec<Instant>,
    payload: Vec<&'a str>,
    seq: Vec<i64>,
    root_plan_id: Vec<&'a str>,
    parent_plan_id: Vec<Option<&'a str>>,
    depth: Vec<i32>,
    recorded_at: Vec<Instant>,
    meta: Vec<&'a str>,
    leaf: Vec<&'a [u8]>,
    crc: Vec<i64>,
}

impl<'a> EventColumns<'a> {
    fn new(rows: &'a [Row]) -> Self {
        let mut columns = Self::default();
        let mut scratch = Vec::with_capacity(512);
        for row in rows {
            columns.push(row, &mut scratch);
        }
        columns
    }

    fn push(&mut self, row: &'a Row, scratch: &mut Vec<u8>) {
        let stored = &*row.event;
        let mut texts = Texts::default();
        let members = Members::of(row, &mut texts);
        self.crc.push(i64::from(members.crc(scratch)));
        self.id.push(members.id);
        self.event_type.push(stored.event.event_type().as_str());
        self.plan_id.push(stored.plan_id().as_str());
        self.timestamp.push(Instant(stored.event.timestamp()));
        self.payload.push(stored.event.payload().as_str());
        self.seq.push(members.seq);
        self.root_plan_id.push(stored.root_plan_id.as_str());
        self.parent_plan_id.push(stored.parent_plan_id.as_ref().map(|plan| plan.as_str()));
        self.depth.push(sql_depth(stored.depth));
        self.recorded_at.push(Instant(stored.recorded_at));
        self.meta.push(&row.meta);
        self.leaf.push(&row.leaf);
        self.event_id.push(members.event_id.to_owned());
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        vec![
            &self.id,
            &self.event_id,
            &self.event_type,
            &self.plan_id,
            &self.timestamp,
            &self.payload,
            &self.seq,
            &self.root_plan_id,
            &self.parent_plan_id,
            &self.depth,
            &self.recorded_at,
            &self.meta,
            &self.leaf,
            &self.crc,
        ]
    }
}

/// A depth; those of plans stay below a hundred.
fn sql_depth(depth: u32) -> i32 {
    i32::try_from(depth).unwrap_or(i32::MAX)
}

/// Columns of all other tables, parameters 22 to 50.
#[derive(Default)]
struct OtherColumns<'a> {
    started: StartedColumns<'a>,
    ended_plan_id: Vec<&'a str>,
    ended_state: Vec<&'static str>,
    ended_reason: Vec<Option<&'static str>>,
    ended_position: Vec<i64>,
    ended_seq: Vec<i64>,
    ended_at: Vec<Instant>,
    ended_owner: Vec<Option<&'a str>>,
    adopted: HashMap<&'a str, &'a str>,
    adopted_root: Vec<&'a str>,
    adopted_owner: Vec<&'a str>,
    document_digest: Vec<&'a [u8]>,
    document_body: Vec<&'a str>,
    blob_digest: Vec<&'a [u8]>,
    blob_chunk: Vec<i32>,
    blob_body: Vec<&'a [u8]>,
}

/// Columns of new rows of `plans`, parameters 22 to 36.
#[derive(Default)]
struct StartedColumns<'a> {
    plan_id: Vec<&'a str>,
    root_plan_id: Vec<&'a str>,
    parent_plan_id: Vec<Option<&'a str>>,
    depth: Vec<i32>,
    name: Vec<&'a str>,
    context_id: Vec<&'a str>,
    document_digest: Vec<Option<&'a [u8]>>,
    state: Vec<&'static str>,
    reason: Vec<Option<&'static str>>,
    first_position: Vec<i64>,
    last_position: Vec<Option<i64>>,
    last_seq: Vec<Option<i64>>,
    started_at: Vec<Instant>,
    ended_at: Vec<Option<Instant>>,
    owner: Vec<Option<&'a str>>,
}

impl<'a> StartedColumns<'a> {
    fn push(&mut self, plan: &'a PlanRow) {
        self.plan_id.push(plan.plan_id.as_str());
        self.root_plan_id.push(plan.root_plan_id.as_str());
        self.parent_plan_id.push(plan.parent_plan_id.as_ref().map(|parent| parent.as_str()));
        self.depth.push(sql_depth(plan.depth));
        self.name.push(&plan.name);
        self.context_id.push(&plan.context_id);
        self.document_digest.push(plan.document_digest.as_ref().map(|digest| &digest.as_bytes()[..]));
        self.state.push(plan.status.state());
        self.reason.push(plan.status.reason());
        self.first_position.push(sql_number(plan.first_position.get()));
        self.last_position.push(plan.last_position.map(|position| sql_number(position.get())));
        self.last_seq.push(plan.last_seq.map(|seq| sql_number(seq.get())));
        self.started_at.push(Instant(plan.started_at));
        self.ended_at.push(plan.ended_at.map(Instant));
        self.owner.push(plan.owner.as_deref());
    }

    fn parameters(&self) -> [Parameter<'_>; 15] {
        [
            &self.plan_id,
            &self.root_plan_id,
            &self.parent_plan_id,
            &self.depth,
            &self.name,
            &self.context_id,
            &self.document_digest,
            &self.state,
            &self.reason,
            &self.first_position,
            &self.last_position,
            &self.last_seq,
            &self.started_at,
            &self.ended_at,
            &self.owner,
        ]
    }
}

impl<'a> OtherColumns<'a> {
    fn new(batch: &'a Batch) -> Self {
        let mut columns = Self::default();
        let mut fresh: HashMap<&PlanId, usize> = HashMap::new();
        for change in &batch.plans {
            match change {
                PlanChange::Started(plan) => {
                    fresh.entry(&plan.plan_id).or_insert(columns.started.plan_id.len());
                    columns.started.push(plan);
                }
                ended @ PlanChange::Ended { plan_id, .. } => columns.end(ended, fresh.get(plan_id).copied()),
                PlanChange::Adopted { root_plan_id, owner } => columns.adopt(root_plan_id, owner),
            }
        }
        (columns.adopted_root, columns.adopted_owner) = columns.adopted.iter().unzip();
        for document in &batch.documents {
            columns.document_digest.push(document.digest.as_bytes());
            columns.document_body.push(&document.body);
        }
        for blob in &batch.blobs {
            // An empty blob has one empty chunk, so that it can be told from one that is missing.
            let whole = blob.body.is_empty().then_some(&[][..]);
            for (chunk, body) in (0_i32..).zip(blob.body.chunks(BLOB_CHUNK_BYTES).chain(whole)) {
                columns.blob_digest.push(blob.digest.as_bytes());
                columns.blob_chunk.push(chunk);
                columns.blob_body.push(body);
            }
        }
        columns
    }

    /// Takes in an end: of a plan that `fresh` says was started before in this batch, or of an older one.
    fn end(&mut self, change: &'a PlanChange, fresh: Option<usize>) {
        let PlanChange::Ended { plan_id, status, position, seq, ended_at, owner } = change else { return };
        let (position, seq) = (sql_number(position.get()), sql_number(seq.get()));
        match fresh {
            Some(at) => {
                let started = &mut self.started;
                (started.state[at], started.reason[at]) = (status.state(), status.reason());
                (started.last_position[at], started.last_seq[at]) = (Some(position), Some(seq));
                started.ended_at[at] = Some(Instant(*ended_at));
                started.owner[at] = owner.as_deref();
            }
            None => {
                self.ended_plan_id.push(plan_id.as_str());
                self.ended_state.push(status.state());
                self.ended_reason.push(status.reason());
                self.ended_position.push(position);
                self.ended_seq.push(seq);
                self.ended_at.push(Instant(*ended_at));
                self.ended_owner.push(owner.as_deref());
            }
        }
    }

    /// Takes in who owns a tree from now on; what started or ended before in this batch is not in the table yet, or
    /// left as it is.
    fn adopt(&mut self, root: &'a PlanId, owner: &'a str) {
        let started = &mut self.started;
        for at in 0..started.plan_id.len() {
            if started.root_plan_id[at] == root.as_str() && started.ended_at[at].is_none() {
                started.owner[at] = Some(owner);
            }
        }
        // One row is changed once in a statement: the last owner counts.
        self.adopted.insert(root.as_str(), owner);
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        let mut parameters = self.started.parameters().to_vec();
        parameters.extend([
            &self.ended_plan_id as Parameter<'_>,
            &self.ended_state,
            &self.ended_reason,
            &self.ended_position,
            &self.ended_seq,
            &self.ended_at,
            &self.ended_owner,
            &self.adopted_root,
            &self.adopted_owner,
            &self.document_digest,
            &self.document_body,
            &self.blob_digest,
            &self.blob_chunk,
            &self.blob_body,
        ]);
        parameters
    }
}
