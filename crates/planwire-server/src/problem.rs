//! Every answer that is no success: what went wrong, as problem+json (RFC 9457), and with which status.
//!
//! This is the only place that maps failures to HTTP. Texts of a database never reach a client: what a store failed
//! with goes to the diagnostics, the client gets the kind.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use planwire_bus::{PublishError, StartError, StreamError};
use planwire_event::normal::NormalError;
use planwire_event::{CursorError, DraftError, IdError, PayloadError};
use planwire_store::StoreError;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::RETRY_AFTER_S;

/// Prefix of every problem type.
pub const TYPE_PREFIX: &str = "urn:planwire:problem:";

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $status:literal $slug:literal $title:literal;)*) => {
        /// What went wrong; its `type` is [`TYPE_PREFIX`] and [`Kind::slug`], and never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The last part of the problem type.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)* }
            }

            /// The same text for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// The HTTP status, as a number.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

kinds! {
    /// A query parameter is unknown, repeated, contradictory or has a value that does not fit.
    ParameterInvalid 400 "parameter-invalid" "A parameter does not fit";
    /// A plan id, event id or digest in the path is malformed.
    IdMalformed 400 "id-malformed" "An id is malformed";
    /// `Last-Event-ID` or `after` is no cursor.
    CursorMalformed 400 "cursor-malformed" "The cursor is malformed";
    /// The body is not what the route takes.
    BodyMalformed 400 "body-malformed" "The body is malformed";
    /// The answer does not fit its question.
    AnswerInvalid 400 "answer-invalid" "The answer does not fit the question";
    /// Several questions are open, and the answer does not say which is meant.
    QuestionUnnamed 400 "question-unnamed" "The answer does not say to which question";
    /// An event of the body is none.
    EventInvalid 400 "event-invalid" "An event is invalid";
    /// The request head contradicts itself.
    HeadMalformed 400 "head-malformed" "The request's head is malformed";
    /// A token was sent that is not ours.
    TokenRefused 401 "token-refused" "The token is not valid here";
    /// The request names a host that is not ours, as a rebound DNS name does.
    HostRefused 403 "host-refused" "The host is not allowed";
    /// Another page sent the request.
    OriginRefused 403 "origin-refused" "The origin is not allowed";
    /// Documents may not be sent along.
    InlineRefused 403 "inline-document-refused" "Plan documents may not be sent along";
    /// No such route.
    RouteUnknown 404 "route-unknown" "There is nothing at this path";
    /// No such plan.
    PlanUnknown 404 "plan-unknown" "The plan is unknown";
    /// No such event.
    EventUnknown 404 "event-unknown" "The event is unknown";
    /// The plan has no such blob.
    BlobUnknown 404 "blob-unknown" "The plan has no such blob";
    /// The plan has no document here.
    DocumentUnknown 404 "document-unknown" "The plan has no document here";
    /// The path does not take the method.
    MethodNotAllowed 405 "method-not-allowed" "The path does not take this method";
    /// Neither of our forms is acceptable.
    NotAcceptable 406 "not-acceptable" "No form of the answer is acceptable";
    /// The body did not arrive in time.
    BodyTimeout 408 "body-timeout" "The body did not arrive in time";
    /// The cursor belongs to another log.
    CursorOtherLog 409 "cursor-other-log" "The cursor belongs to another log";
    /// The cursor lies beyond the end of the log.
    CursorBeyondHead 409 "cursor-beyond-head" "The cursor lies beyond the end of the log";
    /// An event may not follow what the log holds.
    EventRefused 409 "event-refused" "An event may not follow what the log holds";
    /// The event id is taken.
    EventConflict 409 "event-conflict" "The event id is stored with other content";
    /// No question is open.
    QuestionNone 409 "question-none" "The plan asks nothing";
    /// The plan was started before.
    PlanExists 409 "plan-exists" "The plan was started before";
    /// The plan has ended.
    PlanEnded 409 "plan-ended" "The plan has ended";
    /// Retention has removed what follows the cursor.
    CursorPruned 410 "cursor-pruned" "What follows the cursor was removed";
    /// The body is too large.
    BodyTooLarge 413 "body-too-large" "The body is too large";
    /// A payload is too large.
    PayloadTooLarge 413 "payload-too-large" "The payload of an event is too large";
    /// The body has too many events.
    TooManyEvents 413 "too-many-events" "The request has too many events";
    /// The target is too long.
    UriTooLong 414 "uri-too-long" "The request's target is too long";
    /// The body is not JSON by its content type.
    ContentTypeUnsupported 415 "content-type-unsupported" "The content type is not supported";
    /// No document is registered under the name.
    DocumentUnregistered 422 "document-unregistered" "No plan document is registered under the name";
    /// The document has errors.
    DocumentInvalid 422 "document-invalid" "The plan document has errors";
    /// The inputs do not fit.
    InputsInvalid 422 "inputs-invalid" "The inputs do not fit the plan document";
    /// A store could not be read.
    ReadFailed 500 "read-failed" "The log could not be read";
    /// The server could not make the answer.
    Internal 500 "internal" "The server could not make the answer";
    /// This server runs no plans.
    NoEngine 501 "no-engine" "This server runs no plans";
    /// The disk is full; nothing was stored.
    StoreFull 503 "store-full" "No space is left for the log";
    /// The database is locked; nothing was stored.
    StoreBusy 503 "store-busy" "The log is locked by another process";
    /// The database does not answer; nothing was stored.
    StoreUnreachable 503 "store-unreachable" "The database does not answer";
    /// As many reads as may are under way.
    StoreExhausted 503 "store-exhausted" "Too many reads are under way";
    /// The store refused; nothing was stored.
    StoreFailed 503 "store-failed" "The log took nothing";
    /// The events may be stored or not.
    OutcomeUnknown 503 "outcome-unknown" "It is not known whether the events are stored";
    /// The log takes no events since a fatal error; nothing was stored.
    WriterStopped 503 "writer-stopped" "The log takes no events";
    /// The server shuts down; nothing was stored.
    ShuttingDown 503 "shutting-down" "The server shuts down";
    /// Too many streams are open.
    TooManyStreams 503 "too-many-streams" "Too many event streams are open";
    /// Another request starts the plan at this moment.
    PlanStarting 503 "plan-starting" "The plan is being started";
    /// Too many plans run.
    TooManyPlans 503 "too-many-plans" "Too many plans run";
}

impl Kind {
    /// What a failed read may be: [`Problem::of_read`].
    pub(crate) const OF_READ: &'static [Self] = &[
        Self::StoreBusy,
        Self::StoreUnreachable,
        Self::StoreExhausted,
        Self::ReadFailed,
        Self::ShuttingDown,
    ];

    /// What a cursor, or a plan that cannot be followed, may be: a [`StreamError`].
    pub(crate) const OF_STREAM: &'static [Self] = &[
        Self::CursorOtherLog,
        Self::CursorBeyondHead,
        Self::CursorPruned,
        Self::PlanUnknown,
        Self::Internal,
    ];

    /// What a [`PublishError`] may be.
    pub(crate) const OF_PUBLISH: &'static [Self] = &[
        Self::BodyTooLarge,
        Self::TooManyEvents,
        Self::EventRefused,
        Self::EventConflict,
        Self::StoreFull,
        Self::StoreBusy,
        Self::StoreUnreachable,
        Self::StoreFailed,
        Self::OutcomeUnknown,
        Self::WriterStopped,
        Self::ShuttingDown,
        Self::Internal,
    ];

    /// What a [`StartError`] may be, besides a [`PublishError`].
    pub(crate) const OF_START: &'static [Self] = &[
        Self::DocumentUnregistered,
        Self::DocumentInvalid,
        Self::InputsInvalid,
        Self::TooManyPlans,
        Self::ShuttingDown,
        Self::Internal,
    ];

    /// What to do, where the kind alone decides it.
    pub(crate) const fn retry_after_s(self) -> Option<u32> {
        match self {
            Self::StoreFull
            | Self::StoreBusy
            | Self::StoreUnreachable
            | Self::StoreExhausted
            | Self::StoreFailed
            | Self::OutcomeUnknown
            | Self::ShuttingDown
            | Self::TooManyStreams
            | Self::PlanStarting
            | Self::TooManyPlans => Some(RETRY_AFTER_S),
            _ => None,
        }
    }
}

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    kind: Kind,
    detail: String,
    members: Map<String, Value>,
}

impl Problem {
    /// Makes a problem of its kind and of what is special about this occurrence.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), members: Map::new() }
    }

    /// Adds a member beside type, title, status and detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What is special about this occurrence.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// A problem of an event of a publish request.
    #[must_use]
    pub fn of_draft(index: usize, error: &DraftError) -> Self {
        let kind = match error {
            DraftError::Payload(PayloadError::Normal(NormalError::TooLarge { .. })) => Kind::PayloadTooLarge,
            _ => Kind::EventInvalid,
        };
        Self::new(kind, format!("event {index} of the request: {error}")).with("index", index)
    }

    /// A failed read, whose cause goes to the diagnostics only.
    #[must_use]
    pub fn of_read(error: &StoreError) -> Self {
        tracing::error!(error = error as &dyn std::error::Error, "failed to read the log");
        match error {
            StoreError::Busy => Self::new(Kind::StoreBusy, "the log is locked by another process"),
            StoreError::Unreachable(_) => {
                Self::new(Kind::StoreUnreachable, "the log can be read again when the database answers")
            }
            StoreError::Exhausted { connections } => Self::new(
                Kind::StoreExhausted,
                format!("all {connections} connections for reading are in use"),
            ),
            StoreError::Damaged { position, .. } => {
                Self::new(Kind::ReadFailed, format!("the log is damaged at position {position}"))
                    .with("position", position.get())
            }
            StoreError::Closed => Self::new(Kind::ShuttingDown, "the log is closed"),
            _ => Self::new(Kind::ReadFailed, "the store failed; its message is in the server's diagnostics"),
        }
    }
}

/// The JSON of a problem, in the order of RFC 9457.
#[derive(Serialize)]
struct Body {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(flatten)]
    members: Map<String, Value>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = Body {
            kind: format!("{TYPE_PREFIX}{}", self.kind.slug()),
            title: self.kind.title(),
            status: self.kind.status(),
            detail: self.detail,
            members: self.members,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.kind.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == Kind::TokenRefused {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<CursorError> for Problem {
    fn from(error: CursorError) -> Self {
        Self::new(Kind::CursorMalformed, error.to_string())
    }
}

impl From<IdError> for Problem {
    fn from(error: IdError) -> Self {
        Self::new(Kind::IdMalformed, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::of_read(&error)
    }
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Self {
        let detail = error.to_string();
        match error {
            StreamError::OtherLog { cursor, log_id } => Self::new(Kind::CursorOtherLog, detail)
                .with("cursor", cursor.to_string())
                .with("log_id", log_id.to_string()),
            StreamError::BeyondHead { cursor, head } => Self::new(Kind::CursorBeyondHead, detail)
                .with("cursor", cursor.to_string())
                .with("head", head.to_string()),
            StreamError::Pruned { cursor, pruned_to } => Self::new(Kind::CursorPruned, detail)
                .with("cursor", cursor.to_string())
                .with("pruned_to", pruned_to.to_string()),
            StreamError::UnknownPlan { plan_id } => {
                Self::new(Kind::PlanUnknown, detail).with("plan_id", plan_id.as_str())
            }
            StreamError::Closed => Self::new(Kind::ShuttingDown, detail),
            StreamError::Store(source) => Self::of_read(&source),
            _ => Self::new(Kind::Internal, detail),
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let detail = error.to_string();
        match error {
            PublishError::TooLarge { max_bytes, .. } => {
                Self::new(Kind::BodyTooLarge, detail).with("max_bytes", max_bytes)
            }
            PublishError::TooMany { max_events, .. } => {
                Self::new(Kind::TooManyEvents, detail).with("max_events", max_events)
            }
            PublishError::Rejected { index, refusal } => {
                // The refusal's own members (refusal, plan_id, ...) say to programs what the detail says to people.
                let mut problem = Self::new(Kind::EventRefused, detail).with("index", index);
                if let Ok(Value::Object(members)) = serde_json::to_value(&refusal) {
                    problem.members.extend(members);
                }
                problem
            }
            PublishError::Conflict { index, event_id } => Self::new(Kind::EventConflict, detail)
                .with("index", index)
                .with("event_id", event_id.to_string()),
            PublishError::Refused(source) => of_refused(&source),
            PublishError::Unknown(source) => {
                tracing::error!(error = &*source as &dyn std::error::Error, "outcome of a commit is unknown");
                Self::new(
                    Kind::OutcomeUnknown,
                    "the events may be stored or not; publish them again with the same event_id once /readyz is 200",
                )
            }
            PublishError::Stopped => Self::new(Kind::WriterStopped, detail),
            PublishError::Closed => Self::new(Kind::ShuttingDown, detail),
            _ => Self::new(Kind::Internal, detail),
        }
    }
}

fn of_refused(source: &StoreError) -> Problem {
    tracing::error!(error = source as &dyn std::error::Error, "the store refused events");
    let kind = match source {
        StoreError::Full => Kind::StoreFull,
        StoreError::Busy => Kind::StoreBusy,
        StoreError::Unreachable(_) => Kind::StoreUnreachable,
        _ => Kind::StoreFailed,
    };
    Problem::new(kind, "nothing of the request is stored; it can be sent again as it is")
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        let detail = error.to_string();
        match error {
            StartError::UnknownDocument { name } => {
                Self::new(Kind::DocumentUnregistered, detail).with("document", name)
            }
            StartError::Invalid { diagnostics, .. } => {
                Self::new(Kind::DocumentInvalid, detail).with("diagnostics", diagnostics)
            }
            StartError::Inputs { .. } => Self::new(Kind::InputsInvalid, detail),
            StartError::TooMany { max } => Self::new(Kind::TooManyPlans, detail).with("max", max),
            StartError::Publish(source) => source.into(),
            StartError::Closed => Self::new(Kind::ShuttingDown, detail),
            _ => Self::new(Kind::Internal, detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_statuses_are_a_promise() {
        let lines: Vec<_> = Kind::ALL
            .iter()
            .map(|kind| format!("{} {}: {}", kind.status(), kind.slug(), kind.title()))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn damaged_rows_are_named_and_texts_of_the_store_are_not() {
        let damaged =
            StoreError::Damaged { position: planwire_event::Position::new(7), message: "secret".into() };
        let problem = Problem::from(damaged);
        assert_eq!(
            problem,
            Problem::new(Kind::ReadFailed, "the log is damaged at position 7").with("position", 7)
        );
        let failed = Problem::from(StreamError::Store(StoreError::Failed("secret".into())));
        assert_eq!((failed.kind(), failed.detail.contains("secret")), (Kind::ReadFailed, false));
        assert_eq!(Problem::of_read(&StoreError::Busy).kind(), Kind::StoreBusy);
        assert_eq!(Problem::of_read(&StoreError::Closed).kind(), Kind::ShuttingDown);
        let unreachable = StoreError::Unreachable("secret".into());
        assert_eq!(of_refused(&unreachable).kind(), Kind::StoreUnreachable);
        for error in [unreachable, StoreError::Exhausted { connections: 8 }] {
            let problem = Problem::of_read(&error);
            assert!(
                problem.kind().status() == 503 && problem.kind().retry_after_s().is_some(),
                "{problem:?}"
            );
            assert!(!problem.detail().contains("secret"), "{problem:?}");
        }
    }

    #[test]
    fn limits_of_the_bus_keep_their_kind() {
        let large = PublishError::TooLarge { len_bytes: 9, max_bytes: 8 };
        assert_eq!(Problem::from(large).kind(), Kind::BodyTooLarge);
        let many = PublishError::TooMany { events: 9, max_events: 8 };
        assert_eq!(Problem::from(many).kind(), Kind::TooManyEvents);
        assert_eq!(Problem::from(PublishError::Closed).kind(), Kind::ShuttingDown);
        let cursor: planwire_event::Cursor = "7Q4M2K9A-00000000000004d2".parse().unwrap();
        let pruned = StreamError::Pruned { cursor, pruned_to: cursor };
        assert_eq!(Problem::from(pruned).kind(), Kind::CursorPruned);
    }
}
