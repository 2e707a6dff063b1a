//! Tells other processes that the head moved, on a connection of its own: a hint, which costs the writer nothing and
//! whose loss costs its readers no more than the interval at which they look by themselves.

use std::sync::Arc;
use std::time::Duration;

use planwire_event::Position;
use tokio::sync::watch;
use tokio_postgres::types::Type;

use crate::postgres::backoff::Backoff;
use crate::postgres::error::sql_number;
use crate::postgres::server::Server;
use crate::postgres::session::Session;

/// The channel of all logs of a database; what is told names the schema.
pub(crate) const CHANNEL: &str = "planwire";

/// Pause after each hint, so that a busy writer sends no more of them than a reader has use for.
const PAUSE: Duration = Duration::from_millis(2);

/// What is said on [`CHANNEL`].
pub(crate) fn message(schema: &str, position: i64) -> String {
    format!("{schema} {position}")
}

/// The position that `message` tells of `schema`.
pub(crate) fn position_of(schema: &str, message: &str) -> Option<Position> {
    let (of, position) = message.split_once(' ')?;
    (of == schema).then(|| position.parse().ok().map(Position::new))?
}

/// Sends hints until it is dropped.
#[derive(Debug)]
pub(crate) struct Notifier {
    head: watch::Sender<Position>,
}

impl Notifier {
    pub(crate) fn start(server: &Arc<Server>) -> Self {
        let (head, moved) = watch::channel(Position::ZERO);
        server.handle().spawn(run(Arc::clone(server), moved));
        Self { head }
    }

    /// Says that the head is at `position`; returns at once.
    pub(crate) fn head_moved(&self, position: Position) {
        self.head.send_replace(position);
    }
}

async fn run(server: Arc<Server>, mut moved: watch::Receiver<Position>) {
    let mut session = None;
    let mut backoff = Backoff::new(server.options.jitter_seed);
    while moved.changed().await.is_ok() {
        let position = sql_number(moved.borrow_and_update().get());
        match tell(&server, &mut session, position).await {
            Some(()) => {
                backoff = Backoff::new(server.options.jitter_seed);
                tokio::time::sleep(PAUSE).await;
            }
            None => {
                session = None;
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

/// `None` if nobody could be told in time.
async fn tell(server: &Server, session: &mut Option<Session>, position: i64) -> Option<()> {
    tokio::time::timeout(server.options.answer_max, try_to_tell(server, session, position)).await.ok()?
}

async fn try_to_tell(server: &Server, session: &mut Option<Session>, position: i64) -> Option<()> {
    if session.is_none() {
        let connected = server.connect().await.ok()?;
        // A notification is no event: it may be lost in a crash, so its commit waits for no disk.
        connected.client.batch_execute("SET synchronous_commit TO off").await.ok()?;
        *session = Some(connected);
    }
    let message = message(server.url.schema(), position);
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&CHANNEL, Type::TEXT), (&message, Type::TEXT)];
    session.as_ref()?.client.query_typed("SELECT pg_notify($1, $2)", &parameters).await.ok().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_of_one_schema() {
        assert_eq!(position_of("a", &message("a", 7)), Some(Position::new(7)));
        assert_eq!(position_of("a", &message("b", 7)), None);
        assert_eq!(position_of("a", "a"), None);
        assert_eq!(position_of("a", "a x"), None);
    }
}
