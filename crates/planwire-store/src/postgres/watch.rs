//! Watches the head of a log that other processes write: looks at the table at an interval, and at once when a
//! notification comes. The table is the truth: whatever becomes of notifications, events wait no longer than the
//! interval.

use std::sync::Arc;

use futures_util::FutureExt as _;
use planwire_event::Position;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::contract::{HeadSeen, HeadWatch};
use crate::postgres::backoff::Backoff;
use crate::postgres::notify::{CHANNEL, position_of};
use crate::postgres::pool::Pool;
use crate::postgres::query;
use crate::postgres::server::Server;
use crate::postgres::session::Session;

/// Ends the tasks of a watch.
struct Guard([AbortHandle; 2]);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Calls `seen` with what is known of the head, until the watch is dropped.
pub(crate) fn start(pool: &Arc<Pool>, seen: HeadSeen) -> HeadWatch {
    let seen: Arc<dyn Fn(Position) + Send + Sync> = seen.into();
    let runtime = pool.server().handle();
    let looks = runtime.spawn(look(Arc::clone(pool), Arc::clone(&seen)));
    let listens = runtime.spawn(listen(Arc::clone(pool.server()), seen));
    HeadWatch::new(Guard([looks.abort_handle(), listens.abort_handle()]))
}

/// Looks at the table at an interval. A look that fails is made up for by the next.
async fn look(pool: Arc<Pool>, seen: Arc<dyn Fn(Position) + Send + Sync>) {
    loop {
        tokio::time::sleep(pool.server().options.head_poll_interval).await;
        if let Ok((_, head)) = pool.run(&|session| query::log_end(session).boxed()).await {
            seen(head);
        }
    }
}

/// Listens for notifications on a connection of its own, and begins it anew when it is lost.
async fn listen(server: Arc<Server>, seen: Arc<dyn Fn(Position) + Send + Sync>) {
    let mut backoff = Backoff::new(server.options.jitter_seed);
    loop {
        if let Some((_session, mut messages)) = begin(&server).await {
            backoff = Backoff::new(server.options.jitter_seed);
            while let Some(message) = messages.recv().await {
                if let Some(position) = position_of(server.url.schema(), &message) {
                    seen(position);
                }
            }
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn begin(server: &Server) -> Option<(Session, mpsc::Receiver<String>)> {
    let (tell, messages) = mpsc::channel(MESSAGES_MAX);
    let session = server.connect_listening(tell).await.ok()?;
    let listen = format!("LISTEN {CHANNEL}");
    let listening = session.client.batch_execute(&listen);
    tokio::time::timeout(server.options.answer_max, listening).await.ok()?.ok()?;
    Some((session, messages))
}

/// Notifications that wait to be told; further ones are dropped, since the next one says as much.
const MESSAGES_MAX: usize = 16;
