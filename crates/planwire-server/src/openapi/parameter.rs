//! A parameter: its name, its place and what it may be. Requests are parsed by the same tables.

use planwire_event::limits::FILTER_TYPES_MAX;
use planwire_event::{Cursor, EventId, PlanId};
use planwire_store::PAGE_EVENTS_MAX;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::Schemas;

/// A parameter of an operation.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) values: Values,
    pub(crate) description: &'static str,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
}

/// What a parameter may be.
#[derive(Debug)]
pub(crate) enum Values {
    PlanId,
    EventId,
    Digest,
    Cursor,
    /// A cursor, `start` or `now`.
    Start,
    /// Names of event types; the parameter may stand more than once.
    EventTypes,
    /// Entries of a page.
    Limit {
        default: usize,
    },
    /// One of these words.
    Choices(&'static [&'static str]),
    /// From 0 to this.
    Count {
        max: u32,
    },
    Timestamp,
    /// The name of a state of A2A.
    TaskState,
    /// Tasks of a page of A2A.
    Page {
        max: u32,
    },
    /// Of this form, and it must be there.
    Required {
        pattern: &'static str,
    },
    /// Any text that fits into the head.
    Any,
    /// Any text up to a length.
    Text {
        chars_max: usize,
    },
}

impl Parameter {
    /// One that stands in the path.
    pub(crate) const fn path(name: &'static str, values: Values, description: &'static str) -> Self {
        Self { name, place: Place::Path, values, description }
    }

    /// One that stands in the head.
    pub(crate) const fn header(name: &'static str, values: Values, description: &'static str) -> Self {
        Self { name, place: Place::Header, values, description }
    }

    /// One that stands in the query.
    pub(crate) const fn query(name: &'static str, values: Values, description: &'static str) -> Self {
        Self { name, place: Place::Query, values, description }
    }

    /// The words that it may be.
    pub(crate) const fn choices(&self) -> &'static [&'static str] {
        match self.values {
            Values::Choices(choices) => choices,
            _ => &[],
        }
    }

    /// As OpenAPI has it.
    pub(super) fn to_json(&self, schemas: &mut Schemas) -> Value {
        let place = match self.place {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
        };
        let mut json = json!({
            "name": self.name,
            "in": place,
            "description": self.description,
            "required": self.place == Place::Path || matches!(self.values, Values::Required { .. }),
            "schema": self.values.schema(schemas),
        });
        if matches!(self.values, Values::EventTypes) {
            json["style"] = "form".into();
            json["explode"] = true.into();
        }
        json
    }
}

impl Values {
    fn schema(&self, schemas: &mut Schemas) -> Value {
        fn of<T: JsonSchema>(schemas: &mut Schemas) -> Value {
            schemas.answer::<T>()
        }
        match self {
            Self::PlanId => of::<PlanId>(schemas),
            Self::EventId => of::<EventId>(schemas),
            Self::Digest => of::<planwire_event::Digest>(schemas),
            Self::Cursor => of::<Cursor>(schemas),
            Self::Start => json!({"anyOf": [{"enum": ["start", "now"]}, of::<Cursor>(schemas)]}),
            Self::EventTypes => json!({
                "type": "array",
                "items": schemas.event_type(),
                "maxItems": FILTER_TYPES_MAX,
            }),
            Self::Limit { default } => {
                json!({"type": "integer", "minimum": 1, "maximum": PAGE_EVENTS_MAX, "default": default})
            }
            Self::Choices(choices) => json!({"type": "string", "enum": choices}),
            Self::Count { max } => json!({"type": "integer", "minimum": 0, "maximum": max}),
            Self::TaskState => crate::a2a::described::task_state(schemas),
            Self::Page { max } => json!({"type": "integer", "minimum": 1, "maximum": max}),
            Self::Timestamp => of::<planwire_event::Timestamp>(schemas),
            Self::Required { pattern } => json!({"type": "string", "pattern": pattern}),
            Self::Any => json!({"type": "string"}),
            Self::Text { chars_max } => {
                json!({"type": "string", "maxLength": chars_max})
            }
        }
    }
}
