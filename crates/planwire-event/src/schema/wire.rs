//! JSON Schema of what is written by hand: ids, places, times, and the lists of a fold.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::cursor::{Cursor, Position, Seq};
use crate::digest::Digest;
use crate::ids::{EventId, PlanId};
use crate::lifecycle::PlanStatus;
use crate::limits::PLAN_ID_CHARS_MAX;
use crate::state::{Kept, QuestionRecord, Questions};
use crate::timestamp::Timestamp;
use crate::vocabulary::FailureReason;

/// Schemas that stand where they are used: a line each, not worth a reference.
macro_rules! inline {
    ($($name:ident => $schema:expr;)*) => { $(
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema.try_into().unwrap_or_default()
            }
        }
    )* };
}

inline! {
    PlanId => plan_id();
    EventId => event_id();
    Cursor => cursor();
    Timestamp => timestamp();
    Position => json!({"type": "integer", "minimum": 0});
    Seq => json!({"type": "integer", "minimum": 0});
    Digest => json!({"type": "string", "pattern": "^[0-9a-f]{64}$"});
}

pub(super) fn plan_id() -> Value {
    json!({"type": "string", "pattern": format!("^[A-Za-z0-9_-]{{1,{PLAN_ID_CHARS_MAX}}}$")})
}

pub(super) fn event_id() -> Value {
    json!({"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$"})
}

pub(super) fn cursor() -> Value {
    json!({"type": "string", "pattern": "^[0-9A-HJKMNP-TV-Z]{8}-[0-9a-f]{16}$"})
}

pub(super) fn timestamp() -> Value {
    json!({"type": "string", "format": "date-time"})
}

/// Written as the two members `state` and `reason` of what has it.
impl JsonSchema for PlanStatus {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PlanStatus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let reasons: Vec<Option<&str>> =
            FailureReason::ALL.iter().map(|reason| Some(reason.as_str())).chain([None]).collect();
        json_schema!({
            "type": "object",
            "properties": {
                "state": {
                    "description": "Whether it runs, and how it ended if not.",
                    "type": "string",
                    "enum": ["open", "completed", "failed"],
                },
                "reason": {
                    "description": "The kind of end, of a plan that failed.",
                    "type": ["string", "null"],
                    "enum": reasons,
                },
            },
            "required": ["state", "reason"],
        })
    }
}

impl<T: JsonSchema> JsonSchema for Kept<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        <Vec<T>>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        <Vec<T>>::json_schema(generator)
    }
}

impl JsonSchema for Questions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Questions".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        <Vec<QuestionRecord>>::json_schema(generator)
    }
}
