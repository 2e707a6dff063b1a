//! What a request asks for, from its path, query and headers. Nothing that is unknown is ignored.
//!
//! The tables of parameters are also what `/openapi.json` says: whoever parses must take all of its table and nothing
//! else.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use planwire_bus::{FrameForm, StartAt};
use planwire_event::limits::FILTER_TYPES_MAX;
use planwire_event::{EventType, EventTypes, Filter, PlanId, Scope};
use planwire_store::PAGE_EVENTS_MAX;
use serde::de::DeserializeOwned;

use crate::accept::Form;
use crate::config::PAGE_EVENTS_DEFAULT;
use crate::openapi::{Parameter, Place, Values};
use crate::problem::{Kind, Problem};

/// The query as pairs in the order in which they stand.
pub(crate) struct Pairs(pub(crate) Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Pairs {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::new(Kind::ParameterInvalid, "the query is malformed"))?;
        Ok(Self(pairs))
    }
}

/// What stands in the path, as text.
pub(crate) struct InPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(found) = Path::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::new(Kind::IdMalformed, "the path is not UTF-8"))?;
        Ok(Self(found))
    }
}

/// The plan id in the path.
pub(crate) struct PlanPath(pub(crate) PlanId);

impl<S: Send + Sync> FromRequestParts<S> for PlanPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let InPath(segments) = InPath::<Vec<(String, String)>>::from_request_parts(parts, state).await?;
        let text = segments.iter().find(|(name, _)| name == "plan_id").map_or("", |(_, value)| value);
        Ok(Self(text.parse()?))
    }
}

/// What a reader of events asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct ReadParams {
    pub(crate) filter: Filter,
    pub(crate) start: StartAt,
    /// Events of a page.
    pub(crate) limit: usize,
    /// Frames of a stream.
    pub(crate) form: FrameForm,
}

const AFTER: Parameter = Parameter::query(
    "after",
    Values::Start,
    "Where to begin: after a cursor, at the `start` (if left out), or `now`.",
);
const EVENT_TYPE: Parameter =
    Parameter::query("event_type", Values::EventTypes, "Only events of these types.");
const NAMED_PLAN: Parameter = Parameter::query("plan_id", Values::PlanId, "Only events of this plan.");
const TREE: Parameter = Parameter::query(
    "tree",
    Values::Choices(&["true", "false"]),
    "`true`: also of all plans below the plan, also of those that start later. Needs a plan.",
);
const LIMIT: Parameter = Parameter::query(
    "limit",
    Values::Limit { default: PAGE_EVENTS_DEFAULT },
    "Events of a page. A stream has none.",
);
const EVENT_FIELD: Parameter = Parameter::query(
    "event_field",
    Values::Choices(&["off", "on"]),
    "`off`: the frames of a stream carry no `event:`, so that `EventSource.onmessage` sees all types. A page has none.",
);
const LAST_EVENT_ID: Parameter = Parameter {
    name: "Last-Event-ID",
    place: Place::Header,
    values: Values::Cursor,
    description: "The cursor of the last event that was seen; wins over `after`.",
};

/// What may be asked of the whole log.
pub(crate) const READ_LOG: &[Parameter] =
    &[AFTER, EVENT_TYPE, NAMED_PLAN, TREE, LIMIT, EVENT_FIELD, LAST_EVENT_ID];

/// What may be asked of a plan that the path names.
pub(crate) const READ_PLAN: &[Parameter] = &[AFTER, EVENT_TYPE, TREE, LIMIT, EVENT_FIELD, LAST_EVENT_ID];

/// Why a request for events is not one.
pub(crate) const READ_PROBLEMS: &[Kind] =
    &[Kind::ParameterInvalid, Kind::CursorMalformed, Kind::NotAcceptable];

/// The plan in the path.
pub(crate) const IN_PATH_PLAN: &[Parameter] =
    &[Parameter { name: "plan_id", place: Place::Path, values: Values::PlanId, description: "The plan." }];

impl ReadParams {
    /// Reads what applies to `form`; `plan` is the one in the path.
    pub(crate) fn parse(
        pairs: &[(String, String)],
        headers: &HeaderMap,
        plan: Option<PlanId>,
        form: Form,
    ) -> Result<Self, Problem> {
        let mut query = Parameters::new(pairs, if plan.is_some() { READ_PLAN } else { READ_LOG });
        let types = event_types(&query.all(&EVENT_TYPE))?;
        let named = if plan.is_some() { None } else { query.parsed::<PlanId>(&NAMED_PLAN)? };
        let tree = query.choice(&TREE, [true, false])?.unwrap_or(false);
        let scope = match (plan.or(named), tree) {
            (None, false) => Scope::All,
            (None, true) => return Err(invalid("tree", "it needs a plan: name one by plan_id")),
            (Some(plan), false) => Scope::Plan(plan),
            (Some(plan), true) => Scope::Tree(plan),
        };
        let limit = query.parsed::<usize>(&LIMIT)?;
        let unnamed = query.choice(&EVENT_FIELD, [FrameForm::SseUnnamed, FrameForm::Sse])?;
        match form {
            Form::Sse if limit.is_some() => {
                return Err(invalid("limit", "a stream has none; ask for a page"));
            }
            Form::Json if unnamed.is_some() => {
                return Err(invalid("event_field", "a page has none; ask with Accept: text/event-stream"));
            }
            _ => {}
        }
        let after = query.one(&AFTER)?;
        query.finish()?;
        Ok(Self {
            filter: Filter { types, scope },
            start: start(after, headers)?,
            limit: page_limit(limit, PAGE_EVENTS_DEFAULT)?,
            form: unnamed.unwrap_or(FrameForm::Sse),
        })
    }
}

/// `limit` of a page.
pub(crate) fn page_limit(limit: Option<usize>, default: usize) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(default);
    if (1..=PAGE_EVENTS_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(invalid("limit", &format!("it must be 1 to {PAGE_EVENTS_MAX}")))
}

/// `Last-Event-ID`, else `after`, else the start. A browser that reconnects sends both.
fn start(after: Option<&str>, headers: &HeaderMap) -> Result<StartAt, Problem> {
    let after = match after {
        None | Some("start") => StartAt::Start,
        Some("now") => StartAt::Now,
        Some(cursor) => StartAt::After(cursor.parse()?),
    };
    let mut ids = headers.get_all(LAST_EVENT_ID.name).iter();
    let Some(id) = ids.next() else { return Ok(after) };
    if ids.next().is_some() {
        return Err(Problem::new(Kind::CursorMalformed, "Last-Event-ID stands more than once"));
    }
    let id = id.to_str().map_err(|_| Problem::new(Kind::CursorMalformed, "Last-Event-ID is not ASCII"))?;
    Ok(StartAt::After(id.parse()?))
}

fn event_types(names: &[&str]) -> Result<EventTypes, Problem> {
    if names.is_empty() {
        return Ok(EventTypes::All);
    }
    let types = names
        .iter()
        .map(|name| name.parse::<EventType>())
        .collect::<Result<BTreeSet<_>, _>>()
        .map_err(|error| invalid("event_type", &error))?;
    if types.len() > FILTER_TYPES_MAX {
        return Err(invalid("event_type", &format!("at most {FILTER_TYPES_MAX} types")));
    }
    Ok(EventTypes::Only(types))
}

pub(crate) fn invalid(name: &str, message: &(impl Display + ?Sized)) -> Problem {
    Problem::new(Kind::ParameterInvalid, format!("parameter {name}: {message}")).with("parameter", name)
}

/// Takes the parameters of a table one after the other and refuses what is left.
pub(crate) struct Parameters<'a> {
    pairs: Vec<(&'a str, &'a str)>,
    table: &'static [Parameter],
    taken: usize,
}

impl<'a> Parameters<'a> {
    pub(crate) fn new(pairs: &'a [(String, String)], table: &'static [Parameter]) -> Self {
        let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Self { pairs, table, taken: 0 }
    }

    /// The names of the table.
    fn known(&self) -> impl Iterator<Item = &'static str> {
        let in_query = self.table.iter().filter(|parameter| parameter.place == Place::Query);
        in_query.map(|parameter| parameter.name)
    }

    pub(crate) fn all(&mut self, parameter: &Parameter) -> Vec<&'a str> {
        debug_assert!(self.known().any(|name| name == parameter.name), "{} is undescribed", parameter.name);
        self.taken += 1;
        let taken = self.pairs.extract_if(.., |pair| pair.0 == parameter.name);
        taken.map(|(_, value)| value).collect()
    }

    pub(crate) fn one(&mut self, parameter: &Parameter) -> Result<Option<&'a str>, Problem> {
        match *self.all(parameter) {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            _ => Err(invalid(parameter.name, "it stands more than once")),
        }
    }

    pub(crate) fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        parameter: &Parameter,
    ) -> Result<Option<T>, Problem> {
        let value = self.one(parameter)?;
        value.map(str::parse).transpose().map_err(|error| invalid(parameter.name, &error))
    }

    /// The meaning of the chosen word; `meanings` stand in the order of the words.
    pub(crate) fn choice<T, const N: usize>(
        &mut self,
        parameter: &Parameter,
        meanings: [T; N],
    ) -> Result<Option<T>, Problem> {
        let words = parameter.choices();
        debug_assert_eq!(words.len(), N, "each word of {} means something", parameter.name);
        let Some(value) = self.one(parameter)? else { return Ok(None) };
        let found = words.iter().zip(meanings).find(|(word, _)| **word == value);
        found
            .map(|(_, meaning)| Some(meaning))
            .ok_or_else(|| invalid(parameter.name, &format!("it must be {}", words.join(" or "))))
    }

    pub(crate) fn finish(self) -> Result<(), Problem> {
        debug_assert_eq!(self.taken, self.known().count(), "what is described is taken, each once");
        let Some((name, _)) = self.pairs.first() else { return Ok(()) };
        let name: String = name.chars().take(48).collect();
        let known = self.known().collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none" } else { &known };
        Err(invalid(&name, &format!("it is unknown; known are {known}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURSOR: &str = "7Q4M2K9A-00000000000004d2";

    fn parse(
        query: &[(&str, &str)],
        form: Form,
        last_event_id: Option<&[u8]>,
    ) -> Result<ReadParams, Problem> {
        let pairs: Vec<_> = query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut headers = HeaderMap::new();
        if let Some(id) = last_event_id {
            headers.insert("last-event-id", axum::http::HeaderValue::from_bytes(id).unwrap());
        }
        ReadParams::parse(&pairs, &headers, None, form)
    }

    #[test]
    fn everything_can_be_asked_for() {
        let query = [
            ("plan_id", "p"),
            ("tree", "true"),
            ("event_type", "ToolCalled"),
            ("event_type", "a.b"),
            ("after", CURSOR),
            ("event_field", "off"),
        ];
        let params = parse(&query, Form::Sse, None).unwrap();
        let types = ["ToolCalled", "a.b"].map(|name| name.parse::<EventType>().unwrap());
        assert_eq!(params.filter, Filter::tree("p".parse().unwrap()).with_types(types));
        assert_eq!(params.start, StartAt::After(CURSOR.parse().unwrap()));
        assert_eq!(params.form, FrameForm::SseUnnamed);
        assert_eq!(parse(&[("limit", "7")], Form::Json, None).unwrap().limit, 7);
    }

    #[test]
    fn start_is_the_last_event_id_or_after_or_the_start() {
        let start = |query: &[(&str, &str)], id| parse(query, Form::Sse, id).map(|params| params.start);
        assert_eq!(start(&[], None), Ok(StartAt::Start));
        assert_eq!(start(&[("after", "start")], None), Ok(StartAt::Start));
        assert_eq!(start(&[("after", "now")], None), Ok(StartAt::Now));
        let cursor = StartAt::After(CURSOR.parse().unwrap());
        assert_eq!(start(&[("after", "now")], Some(CURSOR.as_bytes())), Ok(cursor));
    }

    #[test]
    fn bad_cursors_are_malformed() {
        let long = "9".repeat(10_000);
        for id in ["", "-1", "9223372036854775808", "start", &long, "7Q4M2K9A-00000000000004D2 "] {
            let kind = parse(&[], Form::Sse, Some(id.as_bytes())).unwrap_err().kind();
            assert_eq!(kind, Kind::CursorMalformed, "{id}");
            assert_eq!(
                parse(&[("after", if id == "start" { "x" } else { id })], Form::Json, None)
                    .unwrap_err()
                    .kind(),
                Kind::CursorMalformed
            );
        }
        assert_eq!(parse(&[], Form::Sse, Some(b"\xe9")).unwrap_err().kind(), Kind::CursorMalformed);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (query, form) in [
            (&[("tree", "true")][..], Form::Json),
            (&[("tree", "yes"), ("plan_id", "p")], Form::Json),
            (&[("plan_id", "p"), ("plan_id", "q")], Form::Json),
            (&[("plan_id", "p\n")], Form::Json),
            (&[("event_type", "Unknown")], Form::Json),
            (&[("event_type", "")], Form::Json),
            (&[("limit", "0")], Form::Json),
            (&[("limit", "1001")], Form::Json),
            (&[("limit", "-1")], Form::Json),
            (&[("limit", "10")], Form::Sse),
            (&[("event_field", "off")], Form::Json),
            (&[("event_field", "no")], Form::Sse),
            (&[("after", "start"), ("after", "now")], Form::Sse),
            (&[("afterr", "start")], Form::Sse),
        ] {
            let kind = parse(query, form, None).unwrap_err().kind();
            assert_eq!(kind, Kind::ParameterInvalid, "{query:?}");
        }
        let pairs = [("plan_id".to_owned(), "q".to_owned())];
        let twice = ReadParams::parse(&pairs, &HeaderMap::new(), Some("p".parse().unwrap()), Form::Json);
        assert_eq!(twice.unwrap_err().kind(), Kind::ParameterInvalid);
    }

    #[test]
    fn too_many_types_are_refused() {
        let names: Vec<_> = (0..=FILTER_TYPES_MAX).map(|n| format!("a.b{n}")).collect();
        let query: Vec<_> = names.iter().map(|name| ("event_type", name.as_str())).collect();
        assert_eq!(parse(&query, Form::Json, None).unwrap_err().kind(), Kind::ParameterInvalid);
        assert!(parse(&query[1..], Form::Json, None).is_ok());
    }
}
