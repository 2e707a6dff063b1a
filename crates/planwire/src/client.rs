//! Speaks to a running planwire server on this machine.
//!
//! - [`http`]: requests and answers
//! - [`sse`]: the format of event streams
//! - [`wire`]: events read back into stored events

pub(crate) mod http;
pub(crate) mod sse;
pub(crate) mod wire;

use std::collections::VecDeque;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::Incoming;
use planwire_event::{Cursor, EventTypes, Filter, IdGenerator, Scope, StoredEvent};

pub(crate) use http::{Client, Refused};

use crate::failure::Failure;

/// What came out of an open stream.
#[derive(Debug)]
pub(crate) enum Step {
    /// The next event.
    Event(Arc<StoredEvent>),
    /// What was followed has ended.
    End,
    /// The connection is gone; what was not seen is still to come.
    Lost,
}

/// One connection to an event stream.
#[derive(Debug)]
pub(crate) struct Stream {
    body: Incoming,
    parser: sse::Parser,
    pending: VecDeque<sse::Frame>,
    ids: IdGenerator,
    /// Everything up to here was seen.
    pub(crate) scanned: Option<Cursor>,
}

impl Stream {
    /// Opens the stream of `filter` after `after`, `start` or `now`; none if it has ended already.
    pub(crate) async fn open(client: &Client, filter: &Filter, after: &str) -> Result<Option<Self>, Failure> {
        let answer = client.stream(&path(filter, after), None).await?;
        match answer.status() {
            StatusCode::NO_CONTENT => Ok(None),
            StatusCode::OK => Ok(Some(Self {
                body: answer.into_body(),
                parser: sse::Parser::default(),
                pending: VecDeque::new(),
                ids: IdGenerator::system(),
                scanned: after.parse().ok(),
            })),
            _ => Err(http::refused(answer).await),
        }
    }

    /// The next event. Cancel safe: dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Step, Failure> {
        loop {
            while let Some(frame) = self.pending.pop_front() {
                if let Some(step) = self.take(&frame)? {
                    return Ok(step);
                }
            }
            let Some(Ok(part)) = self.body.frame().await else { return Ok(Step::Lost) };
            if let Ok(bytes) = part.into_data() {
                let frames = self.parser.feed(&bytes);
                self.pending.extend(frames.map_err(Failure::failed)?);
            }
        }
    }

    fn take(&mut self, frame: &sse::Frame) -> Result<Option<Step>, Failure> {
        let scanned = frame.id.as_deref().and_then(|id| id.parse().ok());
        self.scanned = scanned.or(self.scanned);
        match frame.event.as_str() {
            "end" => Ok(Some(Step::End)),
            "gap" => Err(Failure::failed("retention removed events before they could be read")
                .hint("go on with what is kept: --after start")),
            _ if frame.data.is_empty() => Ok(None),
            _ => wire::read_event(&frame.data, &self.ids).map(|event| Some(Step::Event(Arc::new(event)))),
        }
    }
}

/// The path and query of a filter.
fn path(filter: &Filter, after: &str) -> String {
    let (base, tree) = match &filter.scope {
        Scope::All => ("/v1/events".to_owned(), ""),
        Scope::Plan(plan) => (format!("/v1/plans/{plan}/events"), ""),
        Scope::Tree(plan) => (format!("/v1/plans/{plan}/events"), "&tree=true"),
    };
    let types = match &filter.types {
        EventTypes::All => String::new(),
        EventTypes::Only(types) => types.iter().map(|name| format!("&event_type={name}")).collect(),
    };
    format!("{base}?after={after}{tree}{types}")
}

#[cfg(test)]
mod tests {
    use planwire_event::EventType;

    use super::*;

    #[test]
    fn filter_is_a_path_and_a_query() {
        let plan: planwire_event::PlanId = "p".parse().unwrap();
        assert_eq!(path(&Filter::all(), "now"), "/v1/events?after=now");
        assert_eq!(path(&Filter::tree(plan.clone()), "start"), "/v1/plans/p/events?after=start&tree=true");
        let types = Filter::plan(plan).with_types([EventType::ToolCalled, "a.b".parse().unwrap()]);
        assert_eq!(
            path(&types, "start"),
            "/v1/plans/p/events?after=start&event_type=ToolCalled&event_type=a.b"
        );
    }
}
