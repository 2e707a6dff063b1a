//! One method of one path: what it takes, and everything that it may answer.

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{Parameter, Schemas};
use crate::problem::Kind;

/// What a handler takes and gives.
#[derive(Debug)]
pub(crate) struct Operation {
    /// The operation's name, unique in the document.
    pub(crate) id: &'static str,
    /// A line.
    pub(crate) summary: &'static str,
    /// The rest, as Markdown.
    pub(crate) description: &'static str,
    /// Tables of parameters, of path, query and head.
    pub(crate) parameters: &'static [&'static [Parameter]],
    /// What is sent along.
    pub(crate) body: Option<Body>,
    /// What it answers if all goes well.
    pub(crate) answers: &'static [Answer],
    /// What it answers otherwise, where that is no problem+json but the form of a protocol.
    pub(crate) faults: &'static [Answer],
    /// What may go wrong, besides what the guard refuses before the handler is asked.
    pub(crate) problems: &'static [&'static [Kind]],
}

/// What is sent along.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) content: Content,
    pub(crate) required: bool,
}

/// A form of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    pub(crate) media_type: &'static str,
    pub(crate) schema: fn(&mut Schemas) -> Value,
}

impl Content {
    pub(crate) const fn of(media_type: &'static str, schema: fn(&mut Schemas) -> Value) -> Self {
        Self { media_type, schema }
    }

    /// JSON that is written from a `T`.
    pub(crate) const fn answer<T: JsonSchema>() -> Self {
        Self::of("application/json", |schemas| schemas.answer::<T>())
    }

    /// A body that must be there, read as a `T`.
    pub(crate) const fn request<T: JsonSchema>() -> Body {
        Body { content: Self::of("application/json", |schemas| schemas.request::<T>()), required: true }
    }

    /// Server-sent events. The schema is that of a frame as [`frame`] has it.
    pub(crate) const fn stream(frame: fn(&mut Schemas) -> Value) -> Self {
        Self::of("text/event-stream", frame)
    }
}

/// A frame of server-sent events whose `data` is JSON. OpenAPI 3.1 has no word for streams; what reads the schema of one
/// takes it as that of each frame.
pub(crate) fn frame(event: &str, data: &Value) -> Value {
    json!({
        "title": "A frame",
        "type": "object",
        "properties": {
            "id": {"description": "The cursor: `Last-Event-ID` of who comes back.", "type": "string"},
            "event": {"description": event, "type": "string"},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
            "retry": {"description": "Milliseconds after which to come back.", "type": "integer"},
        },
    })
}

/// An answer that is no problem+json.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) description: &'static str,
    pub(crate) contents: &'static [Content],
    /// Headers with their description.
    pub(crate) headers: &'static [(&'static str, &'static str)],
}

impl Answer {
    pub(crate) const fn new(status: u16, description: &'static str, contents: &'static [Content]) -> Self {
        Self { status, description, contents, headers: &[] }
    }

    pub(crate) const fn with_headers(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.headers = headers;
        self
    }
}
