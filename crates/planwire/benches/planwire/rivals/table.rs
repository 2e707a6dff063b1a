//! The table of events that one would write by hand in PostgreSQL: unique ids, and a plan can be read in order.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::{SinkExt as _, TryStreamExt as _, pin_mut};
use planwire_event::{Event, PlanId};
use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row, Statement};

use crate::numbers::per_second;
use crate::product::{BULK_EVENTS, EventMaker};
use crate::rivals::postgres::Postgres;
use crate::setting::{SIDE_MAX, Setting};

/// As many duties as our own log has: each event once by its id, and a plan in its order.
const MAKE: &str = "
DROP TABLE IF EXISTS events;
CREATE TABLE events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id text NOT NULL UNIQUE,
    event_type text NOT NULL,
    plan_id text NOT NULL,
    time timestamptz NOT NULL,
    payload jsonb NOT NULL
);
CREATE INDEX ON events (plan_id, position);
CHECKPOINT;
";

const INSERT: &str = "INSERT INTO events (event_id, event_type, plan_id, time, payload) VALUES ($1, $2, $3, $4, $5::text::jsonb)";

const UNNEST: &str = "INSERT INTO events (event_id, event_type, plan_id, time, payload) \
     SELECT a, b, c, d, e::jsonb FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[]) \
     AS batch (a, b, c, d, e)";

const COPY: &str = "COPY events (event_id, event_type, plan_id, time, payload) FROM STDIN";

/// Connections of the UNNEST row, one statement each in flight.
const UNNEST_CONNECTIONS: usize = 2;

/// Rows of one page of a replay.
const PAGE_ROWS: i64 = 10_000;

const PAGE: &str = "SELECT position, event_id, event_type, plan_id, time, payload::text FROM events \
     WHERE plan_id = $1 AND position > $2 ORDER BY position LIMIT $3";

/// A table in a server.
pub(crate) struct Table<'a> {
    server: &'a Postgres,
    setting: &'a Setting,
    maker: &'a EventMaker,
}

impl<'a> Table<'a> {
    /// Uses `server` with events of `maker`.
    pub(crate) const fn new(setting: &'a Setting, server: &'a Postgres, maker: &'a EventMaker) -> Self {
        Self { server, setting, maker }
    }

    /// Makes the table anew, empty.
    async fn make(&self) -> Result<Client> {
        let client = connect(self.server).await?;
        client.batch_execute(MAKE).await?;
        Ok(client)
    }

    /// How long each event took, one INSERT after the other.
    pub(crate) fn one_by_one(&self, events: usize) -> Result<Vec<Duration>> {
        self.setting.runtime.block_on(async {
            let inserter = Inserter::prepare(self.make().await?).await?;
            let plan = self.maker.plan_id();
            let (mut times, first) = (Vec::with_capacity(events), Instant::now());
            while times.len() < events && first.elapsed() < SIDE_MAX {
                let begun = Instant::now();
                inserter.insert(&self.maker.make(&plan)?).await?;
                times.push(begun.elapsed());
            }
            Ok(times)
        })
    }

    /// INSERTs per second of connections that each wait for their own.
    pub(crate) fn publishers(&self, connections: usize, plans: usize, each: usize) -> Result<f64> {
        self.setting.runtime.block_on(async {
            let _made = self.make().await?;
            let mut inserters = Vec::with_capacity(connections);
            for _ in 0..connections {
                inserters.push(Inserter::prepare(connect(self.server).await?).await?);
            }
            let plans: Vec<PlanId> = (0..plans).map(|_| self.maker.plan_id()).collect();
            let (begun, mut tasks) = (Instant::now(), JoinSet::new());
            for (inserter, plan) in inserters.into_iter().zip(plans.iter().cycle()) {
                let (maker, plan) = (self.maker.clone(), plan.clone());
                tasks.spawn(async move {
                    let mut inserted = 0;
                    while inserted < each && begun.elapsed() < SIDE_MAX {
                        inserter.insert(&maker.make(&plan)?).await?;
                        inserted += 1;
                    }
                    anyhow::Ok(inserted)
                });
            }
            let inserted = tasks.join_all().await.into_iter().sum::<Result<usize>>()?;
            Ok(per_second(inserted, begun.elapsed()))
        })
    }

    /// Events per second of one COPY, durable at its end.
    pub(crate) fn copy(&self, plans: usize, events: usize) -> Result<f64> {
        self.setting.runtime.block_on(async {
            let client = self.make().await?;
            let plans: Vec<PlanId> = (0..plans).map(|_| self.maker.plan_id()).collect();
            let begun = Instant::now();
            self.copy_into(&client, &plans, events).await?;
            Ok(per_second(events, begun.elapsed()))
        })
    }

    async fn copy_into(&self, client: &Client, plans: &[PlanId], events: usize) -> Result<()> {
        let sink = client.copy_in::<_, Bytes>(COPY).await?;
        pin_mut!(sink);
        let (mut plans, mut left) = (plans.iter().cycle(), events);
        while left > 0 {
            let (count, mut text) = (left.min(BULK_EVENTS), String::new());
            for plan in plans.by_ref().take(count) {
                push_line(&mut text, &self.maker.make(plan)?);
            }
            sink.send(Bytes::from(text)).await?;
            left -= count;
        }
        let copied = sink.finish().await?;
        ensure!(copied == events as u64, "{copied} events were copied instead of {events}");
        Ok(())
    }

    /// Events per second of one statement for each batch, on two connections.
    pub(crate) fn unnest(&self, plans: usize, events: usize) -> Result<f64> {
        self.setting.runtime.block_on(async {
            let _made = self.make().await?;
            let plans: Vec<PlanId> = (0..plans).map(|_| self.maker.plan_id()).collect();
            let mut batches = Vec::new();
            for _ in 0..UNNEST_CONNECTIONS {
                let client = connect(self.server).await?;
                let statement = client.prepare(UNNEST).await?;
                batches.push((client, statement, self.maker.clone(), plans.clone()));
            }
            let (begun, mut tasks) = (Instant::now(), JoinSet::new());
            for (client, statement, maker, plans) in batches {
                let statements = events / UNNEST_CONNECTIONS / BULK_EVENTS;
                tasks.spawn(async move {
                    let mut inserted = 0;
                    for _ in 0..statements {
                        inserted += insert_batch(&client, &statement, &maker, &plans).await?;
                    }
                    anyhow::Ok(inserted)
                });
            }
            let inserted = tasks.join_all().await.into_iter().sum::<Result<usize>>()?;
            Ok(per_second(inserted, begun.elapsed()))
        })
    }

    /// Makes the table with one plan of so many events.
    pub(crate) fn fill(&self, events: usize) -> Result<PlanId> {
        self.setting.runtime.block_on(async {
            let (client, plan) = (self.make().await?, self.maker.plan_id());
            self.copy_into(&client, std::slice::from_ref(&plan), events).await?;
            client.batch_execute("VACUUM ANALYZE events").await?;
            Ok(plan)
        })
    }

    /// Reads a plan in pages; events per second.
    pub(crate) fn replay(&self, plan: &PlanId, events: usize) -> Result<f64> {
        self.setting.runtime.block_on(async {
            let client = connect(self.server).await?;
            let page = client.prepare(PAGE).await?;
            let (begun, mut after, mut read) = (Instant::now(), 0_i64, 0);
            loop {
                let parameters: [&(dyn ToSql + Sync); 3] = [&plan.as_str(), &after, &PAGE_ROWS];
                let rows = client.query_raw(&page, parameters).await?;
                pin_mut!(rows);
                let before = read;
                while let Some(row) = rows.try_next().await? {
                    after = look_at(&row)?;
                    read += 1;
                }
                if read - before < PAGE_ROWS as usize {
                    break;
                }
            }
            ensure!(read == events, "{read} events were read instead of {events}");
            Ok(per_second(read, begun.elapsed()))
        })
    }
}

/// Decodes all columns, as a reader of events has to; the position.
fn look_at(row: &Row) -> Result<i64> {
    let texts: [&str; 4] = [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(5)?];
    let _time: SystemTime = row.try_get(4)?;
    std::hint::black_box(texts);
    Ok(row.try_get(0)?)
}

/// A connection with its statement.
struct Inserter {
    client: Client,
    statement: Statement,
}

impl Inserter {
    async fn prepare(client: Client) -> Result<Self> {
        let statement = client.prepare(INSERT).await?;
        Ok(Self { client, statement })
    }

    async fn insert(&self, event: &Event) -> Result<()> {
        let (id, event_type, plan) =
            (event.event_id().to_string(), event.event_type().as_str(), event.plan_id());
        let (plan, time, payload) = (plan.as_str(), SystemTime::now(), event.payload().as_str());
        self.client.execute(&self.statement, &[&id, &event_type, &plan, &time, &payload]).await?;
        Ok(())
    }
}

async fn insert_batch(
    client: &Client,
    statement: &Statement,
    maker: &EventMaker,
    plans: &[PlanId],
) -> Result<usize> {
    let events: Result<Vec<Event>> =
        plans.iter().cycle().take(BULK_EVENTS).map(|plan| maker.make(plan)).collect();
    let events = events?;
    let ids: Vec<String> = events.iter().map(|event| event.event_id().to_string()).collect();
    let types: Vec<&str> = events.iter().map(|event| event.event_type().as_str()).collect();
    let plans: Vec<&str> = events.iter().map(|event| event.plan_id().as_str()).collect();
    let times = vec![SystemTime::now(); events.len()];
    let payloads: Vec<&str> = events.iter().map(|event| event.payload().as_str()).collect();
    client.execute(statement, &[&ids, &types, &plans, &times, &payloads]).await?;
    Ok(events.len())
}

/// A line of COPY; what the events hold needs no escapes.
fn push_line(text: &mut String, event: &Event) {
    let columns = [
        &event.event_id().to_string(),
        event.event_type().as_str(),
        event.plan_id().as_str(),
        &event.timestamp().to_string(),
        event.payload().as_str(),
    ];
    text.push_str(&columns.join("\t"));
    text.push('\n');
}

async fn connect(server: &Postgres) -> Result<Client> {
    let (client, connection) =
        server.config().connect(NoTls).await.context("failed to connect to PostgreSQL")?;
    // It ends when its client is dropped, and whoever waits for an answer is told what went wrong.
    tokio::spawn(connection);
    Ok(client)
}
