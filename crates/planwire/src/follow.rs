//! Events as they come, from wherever they can be had: the bus of this process, a server, or the file.
//!
//! **Invariant:** each event of the filter comes exactly once and in order, also when a server ends or starts
//! meanwhile: whatever the source is, it goes on after the cursor that the last one had reached.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use planwire_bus::{Item, Subscription};
use planwire_event::{Cursor, Filter, PlanId, Position, Scope, StoredEvent};
use planwire_store::{EventRepository, PageLimits, PlanQuery, PlanScope};

use crate::client::{Step, Stream};
use crate::failure::Failure;
use crate::place::{Holder, Place};

/// How often a file is looked at that nobody serves.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Where following begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// At the first event.
    Start,
    /// After the last event that is there now.
    Now,
    /// After this place.
    After(Cursor),
}

/// Follows the events of a filter.
pub(crate) enum Follower {
    /// By the bus of this process.
    Bus(Box<Subscription>),
    /// By what other processes offer.
    Place(Box<PlaceFollower>),
}

impl Follower {
    /// The next event; none when what is followed has ended. Cancel safe.
    ///
    /// # Errors
    ///
    /// If the log cannot be read, or nobody is left to write it.
    pub(crate) async fn next(&mut self) -> Result<Option<Arc<StoredEvent>>, Failure> {
        match self {
            Self::Bus(subscription) => match subscription.next().await {
                Ok(Some(Item::Event(event))) => Ok(Some(Arc::new((**event).clone()))),
                Ok(_) => Ok(None),
                Err(error) => Err(Failure::storage(error)),
            },
            Self::Place(place) => place.next().await,
        }
    }
}

/// Follows what another process writes into a data place.
pub(crate) struct PlaceFollower {
    place: Place,
    filter: Filter,
    from: From,
    /// How long nobody may hold the log before following is given up.
    give_up_after: Option<Duration>,
    unheld_since: Option<Instant>,
    source: Source,
    pending: VecDeque<Arc<StoredEvent>>,
}

enum Source {
    /// Neither is open.
    None,
    /// A server's stream.
    Server(Box<Stream>),
    /// The file, read only.
    File(Arc<dyn EventRepository>),
    /// Everything was seen.
    Ended,
}

impl PlaceFollower {
    /// Follows `filter` in `place`.
    pub(crate) fn new(place: Place, filter: Filter, from: From, give_up_after: Option<Duration>) -> Self {
        let (source, pending) = (Source::None, VecDeque::new());
        Self { place, filter, from, give_up_after, unheld_since: None, source, pending }
    }

    async fn next(&mut self) -> Result<Option<Arc<StoredEvent>>, Failure> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(Some(event));
            }
            match &mut self.source {
                Source::Ended => return Ok(None),
                Source::None => self.open().await?,
                Source::File(_) => self.poll().await?,
                Source::Server(stream) => match stream.next().await {
                    Ok(Step::Event(event)) => return Ok(Some(event)),
                    Ok(Step::End) => self.source = Source::Ended,
                    Ok(Step::Lost) => self.leave_server(),
                    Err(failure) => return Err(failure),
                },
            }
        }
    }

    fn leave_server(&mut self) {
        if let Source::Server(stream) = std::mem::replace(&mut self.source, Source::None)
            && let Some(cursor) = stream.scanned
        {
            self.from = From::After(cursor);
        }
    }

    /// Finds a server, else the file, else waits a little.
    async fn open(&mut self) -> Result<(), Failure> {
        match self.place.holder()? {
            Some(Holder { client: Some(client), .. }) => {
                let after = match self.from {
                    From::Start => "start".to_owned(),
                    From::Now => "now".to_owned(),
                    From::After(cursor) => cursor.to_string(),
                };
                match Stream::open(&client, &self.filter, &after).await {
                    Ok(Some(stream)) => self.source = Source::Server(Box::new(stream)),
                    Ok(None) => self.source = Source::Ended,
                    // It ends, or is full for the moment.
                    Err(failure) if failure.is_unreachable() || failure.is_busy() => {
                        tokio::time::sleep(POLL_INTERVAL).await
                    }
                    Err(failure) => return Err(failure),
                }
                self.unheld_since = None;
            }
            holder => {
                self.check_patience(holder.is_some())?;
                match self.place.open_reader()? {
                    Some(repository) => self.enter_file(repository).await?,
                    None => {
                        // The log begins later, so all of it is new.
                        self.from = if self.from == From::Now { From::Start } else { self.from };
                        tokio::time::sleep(POLL_INTERVAL).await;
                    }
                }
            }
        }
        Ok(())
    }

    fn check_patience(&mut self, held: bool) -> Result<(), Failure> {
        let since = *self.unheld_since.get_or_insert_with(Instant::now);
        match self.give_up_after {
            _ if held => self.unheld_since = None,
            Some(patience) if since.elapsed() > patience => {
                return Err(Failure::failed("the process that ran the plan has ended")
                    .hint("`planwire resume` or the next `planwire serve` goes on with the plan"));
            }
            _ => {}
        }
        Ok(())
    }

    async fn enter_file(&mut self, repository: Arc<dyn EventRepository>) -> Result<(), Failure> {
        let info = repository.log_info().await?;
        let position = match self.from {
            From::Start => Position::ZERO,
            From::Now => info.head,
            From::After(cursor) => check_cursor(cursor, &info)?,
        };
        if let Some(plan) = self.filter.named_plan() {
            let known = PlanQuery { scope: PlanScope::These(vec![plan.clone()]), ..PlanQuery::default() };
            if repository.plans(&known).await?.plans.is_empty() {
                return Err(Failure::failed(format!("plan {plan} is unknown"))
                    .hint("list plans with `planwire plans --all`"));
            }
        }
        self.from = From::After(Cursor { log_id: info.log_id, position });
        self.source = Source::File(repository);
        Ok(())
    }

    /// Reads one page; at the end of the log waits a little, and looks for a server.
    async fn poll(&mut self) -> Result<(), Failure> {
        let (Source::File(repository), From::After(cursor)) = (&self.source, self.from) else {
            return Ok(());
        };
        let ended = match &self.filter.scope {
            Scope::All => false,
            Scope::Plan(plan) => has_ended(repository.as_ref(), plan, false).await?,
            Scope::Tree(plan) => has_ended(repository.as_ref(), plan, true).await?,
        };
        let page = repository.read_after(cursor.position, &self.filter, PageLimits::default()).await?;
        let position = page.scanned_to.max(cursor.position);
        self.from = From::After(Cursor { log_id: cursor.log_id, position });
        self.pending.extend(page.events);
        if !page.at_head {
            return Ok(());
        }
        if ended {
            // The end was there before the last page was read, so nothing follows it.
            self.source = Source::Ended;
        } else if self.pending.is_empty() {
            tokio::time::sleep(POLL_INTERVAL).await;
            let holder = self.place.holder()?;
            self.check_patience(holder.is_some())?;
            if holder.is_some_and(|holder| holder.client.is_some()) {
                self.source = Source::None;
            }
        }
        Ok(())
    }
}

/// The place of a cursor in this log.
///
/// # Errors
///
/// If it belongs to another log, lies beyond the end, or before what is kept.
pub(crate) fn check_cursor(cursor: Cursor, info: &planwire_store::LogInfo) -> Result<Position, Failure> {
    let continued = info.lineage.iter().find(|(log_id, _)| *log_id == cursor.log_id);
    let valid_to = if cursor.log_id == info.log_id { Some(info.head) } else { continued.map(|(_, to)| *to) };
    match valid_to {
        None => {
            Err(Failure::usage(format!("cursor {cursor} belongs to another log, this is {}", info.log_id)))
        }
        Some(to) if cursor.position > to => {
            Err(Failure::usage(format!("cursor {cursor} lies beyond the end of the log, which is at {to}")))
        }
        Some(_) if cursor.position < info.pruned_to => {
            Err(Failure::failed(format!("events after cursor {cursor} were removed by retention"))
                .hint("go on with what is kept: --after start"))
        }
        Some(_) => Ok(cursor.position),
    }
}

async fn has_ended(repository: &dyn EventRepository, plan: &PlanId, tree: bool) -> Result<bool, Failure> {
    let scope = if tree { PlanScope::Tree(plan.clone()) } else { PlanScope::These(vec![plan.clone()]) };
    let open = PlanQuery { scope, open_only: true, limit: 1, ..PlanQuery::default() };
    Ok(repository.plans(&open).await?.plans.is_empty())
}

#[cfg(test)]
mod tests {
    use planwire_store::LogInfo;

    use super::*;
    use crate::failure::Exit;

    fn cursor(log_id: &str, position: u64) -> Cursor {
        Cursor { log_id: log_id.parse().unwrap(), position: Position::new(position) }
    }

    #[test]
    fn cursor_is_checked_against_its_log() {
        let info = LogInfo {
            log_id: "7Q4M2K9A".parse().unwrap(),
            head: Position::new(9),
            pruned_to: Position::new(3),
            lineage: vec![("00000001".parse().unwrap(), Position::new(5))],
        };
        let check = |cursor, expected: Result<u64, Exit>| {
            let found = check_cursor(cursor, &info).map(Position::get).map_err(|failure| failure.exit);
            assert_eq!(found, expected, "{cursor}");
        };
        check(cursor("7Q4M2K9A", 9), Ok(9));
        check(cursor("7Q4M2K9A", 3), Ok(3));
        check(cursor("7Q4M2K9A", 10), Err(Exit::Usage));
        check(cursor("7Q4M2K9A", 2), Err(Exit::Failed));
        check(cursor("00000001", 5), Ok(5));
        check(cursor("00000001", 6), Err(Exit::Usage));
        check(cursor("00000002", 4), Err(Exit::Usage));
    }

    #[tokio::test]
    async fn follower_gives_up_when_nobody_runs_the_plan() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::find(Some(folder.path().to_owned())).unwrap();
        let filter = Filter::plan("p".parse().unwrap());
        let mut follower =
            Follower::Place(Box::new(PlaceFollower::new(place, filter, From::Now, Some(Duration::ZERO))));
        let failure = follower.next().await.unwrap_err();
        assert!(failure.to_string().contains("has ended"), "{failure}");
    }
}
